"""The fenced blocks of a Markdown page."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """Its language, the file that it is to be written to, and its text."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    """Of a page of docs/, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [Block(language, title, body) for language, title, body in _FENCE.findall(text)]
