"""How commands print: plain lines and tables for people, JSON for programs. Notes go to stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(soft_wrap=False)
notes = Console(soft_wrap=False, stderr=True)


def say(text: str) -> None:
    """A line that can be copied: it is not broken, and nothing in it is markup."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def say_text(text: str) -> None:
    """Sentences: broken between words on a terminal, one line elsewhere."""
    out.print(text, highlight=False, markup=False, soft_wrap=not out.is_terminal)


def note(text: str) -> None:
    """A line beside the answer."""
    notes.print(text, highlight=False, markup=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say_line(value: Any) -> None:
    """One line of JSON, at once: somebody may be waiting for it at the other end of a pipe."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table; the first column, the one that people copy, is never broken.

    Args:
        headings: of the columns.
        rows: a cell each; None is empty.
        right: headings of columns of numbers.
    """
    table = Table()
    for index, heading in enumerate(headings):
        table.add_column(heading, no_wrap=index == 0, justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    out.print(table, highlight=False)


def figure(name: str, value: float | None, metric: str = "accuracy") -> str | None:
    """A figure of a network as people read it; `metric` says what `accuracy` is (nas.train.tasks.SCORE)."""
    from nas.words import score

    if value is None or name == "accuracy":
        return score(value, metric)
    return f"{value:,.0f}" if name in ("params", "macs") else f"{value:,.3f}"


def called(metric: str, *, short: bool = False) -> str:
    """What a task's score is called; short, where there is room for one word."""
    from nas.words import NAMES, SHORT

    return (SHORT if short else NAMES)[metric]
