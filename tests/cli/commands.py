"""All commands, and one in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from cli.main import app


def walk(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below one, by its words."""
    for name, found in getattr(command, "commands", {}).items():
        words = f"{path} {name}".strip()
        yield words, found
        yield from walk(found, words)


ALL: Final = dict(walk(get_command(app)))
LEAVES: Final = [words for words, command in ALL.items() if not getattr(command, "commands", None)]


def run(arguments: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NAS_")}
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
