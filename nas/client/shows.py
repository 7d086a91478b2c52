"""Where a job is watched: a terminal with a progress bar, a file with lines, a notebook with a live figure."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from nas.client import html
from nas.client.looks import Look, share

POLL_S: Final = 0.5
LINE_S: Final = 5.0
"""Where no terminal shows a bar, a line is printed this often."""


class Show(Protocol):
    """Somewhere to show a job."""

    pictures: bool
    """Whether pictures are shown there."""

    def show(self, look: Look) -> None:
        """How it is now."""

    def say(self, text: str) -> None:
        """A sentence that stays."""


def follow(look: Callable[[], Look], show: Show) -> Look:
    """Looks again and again until nothing more will come; returns the last look."""
    while True:
        seen = look()
        show.show(seen)
        if seen.done:
            return seen
        time.sleep(POLL_S)


async def follow_async(look: Callable[[], Awaitable[Look]], show: Show) -> Look:
    """The same, in a program that goes on meanwhile."""
    while True:
        seen = await look()
        show.show(seen)
        if seen.done:
            return seen
        await asyncio.sleep(POLL_S)


@contextmanager
def here(title: str, url: str) -> Iterator[Show]:
    """A notebook's figure in a notebook, else the terminal.

    Args:
        title: what is watched.
        url: of its page.
    """
    if in_notebook():
        yield Notebook(title, url)
    else:
        with terminal(Console()) as show:
            yield show


@contextmanager
def terminal(console: Console) -> Iterator[Show]:
    """A progress bar on a terminal, lines elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[share]}"),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield _Terminal(console, bar, bar.add_task("waiting", total=1.0, share="", figures=""))


def in_notebook() -> bool:
    """Whether this program runs in Jupyter or the like; IPython is not loaded for that."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and type(shell).__name__ != "TerminalInteractiveShell"


class _Terminal:
    pictures = False

    def __init__(self, console: Console, bar: Progress, task: TaskID) -> None:
        self._console, self._bar, self._task = console, bar, task
        self._last, self._printed_s = "", 0.0

    def show(self, look: Look) -> None:
        self._bar.update(
            self._task,
            completed=look.fraction,
            description=look.description,
            share=share(look),
            figures=look.figures,
        )
        due = look.done or time.monotonic() - self._printed_s >= LINE_S
        line = f"{share(look)} {look.description}: {look.figures}"
        if not self._console.is_terminal and due and line != self._last:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._last, self._printed_s = line, time.monotonic()

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Notebook:
    """One output of a cell, drawn anew whenever something has changed."""

    pictures = True

    def __init__(self, title: str, url: str) -> None:
        self._head = f"<div>{html.link(url, title)}</div>"
        self._handle: Any = None
        self._last, self._said = "", ""

    def show(self, look: Look) -> None:
        """How it is now."""
        drawn = "".join(html.picture(svg, says) for says, svg in look.pictures)
        self._draw(self._head + html.bar(look.fraction, f"{look.description}: {look.figures}") + drawn)

    def say(self, text: str) -> None:
        """A sentence that stays."""
        self._said = html.pairs([("", text)])
        self._draw(self._last, anew=True)

    def _draw(self, content: str, *, anew: bool = False) -> None:
        if content == self._last and not anew:
            return
        from IPython.display import HTML, display

        self._last = content
        shown = HTML(content + self._said)  # type: ignore[no-untyped-call]
        if self._handle is None:
            self._handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)
