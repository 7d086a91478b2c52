"""How commands print: plain lines and tables for people, JSON for programs. Notes go to stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

BORDER: Final = 3
"""Of a column: its line, and a space on each side."""

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
    """A table; the first column, the one that people copy, is never broken. On a narrow terminal: a line for each cell.

    Args:
        headings: of the columns.
        rows: a cell each; None is empty.
        right: headings of columns of numbers.
    """
    found = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = widths_within(out.width, headings, found)
    if out.is_terminal and not widths:
        for row in found:
            for index, (heading, cell) in enumerate(zip(headings, row, strict=True)):
                if cell:
                    say_text(f"{'' if index == 0 else '  '}{heading}: {cell}")
        return
    table = Table()
    for index, heading in enumerate(headings):
        side: JustifyMethod = "right" if heading in right else "left"
        table.add_column(heading, no_wrap=index == 0, justify=side, width=widths[index] if widths else None)
    for row in found:
        table.add_row(*(escape(cell) for cell in row))
    out.print(table, highlight=False)


def widths_within(room: int, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column of a table is that is to fit into so many columns of a terminal, with no word cut off.

    What is left beyond the longest words goes to where it is wanted, the least wants first. Empty: there is no room.
    """
    columns = [[heading, *(row[index] for row in rows)] for index, heading in enumerate(headings)]
    whole = [max(map(cell_len, column)) for column in columns]
    widths = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    widths[0] = whole[0]
    spare = room - sum(widths) - BORDER * len(widths) - 1
    if spare < 0:
        return []
    wants = sorted(range(len(widths)), key=lambda index: whole[index] - widths[index])
    for done, index in enumerate(wants):
        given = min(whole[index] - widths[index], spare // (len(wants) - done))
        widths[index] += given
        spare -= given
    return widths


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
