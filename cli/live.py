"""A job as a terminal shows it: bar, curve of the best so far, tables, why it waits. Pure functions of a dashboard."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.words import as_commands
from nas.words import SHORT, score

NARROW: Final = 90
"""Columns below which the tables stand below the curve instead of beside it."""

BESIDE: Final = 64
"""Columns that the tables take beside the curve, and its labels."""

WIDEST: Final = 72
CURVE_ROWS: Final = 6
MOST_ROWS: Final = 6
"""Of a table: the job's page has the rest."""

RETRAININGS: Final = ("finalist", "control", "reference")

DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character: its two columns, each from the top."""


def picture(shown: Mapping[str, Any], width: int, *, patient: bool = False) -> RenderableType:
    """A dashboard, for a terminal of so many columns; to the patient, workers that are being started do not lack."""
    curve = [(step["at_s"], step["accuracy"]) for step in shown["incumbents"]]
    tables = [table for table in (_best(shown), _running(shown, width)) if table is not None]
    parts: list[RenderableType] = [_head(shown), _bar(shown, width), _figures(shown)]
    if curve:
        room = min(WIDEST, width - (10 if width < NARROW else BESIDE))
        drawn = _plot(curve, shown["progress"]["elapsed_s"], room, shown["metric"])
        parts.append(_beside(drawn, tables) if width >= NARROW else Group(drawn, *tables))
    else:
        parts += tables
    if shown["waiting"] and not (patient and shown["waiting"]["reason"] == "no_worker"):
        parts.append(Text(f"waiting: {as_commands(shown['waiting']['text'])}", style="yellow"))
    return Group(*parts)


def outcome(shown: Mapping[str, Any]) -> str:
    """What came of the job, or its state and why it is in that."""
    why = shown["job"]["reason"] or (shown["verdict"] or {}).get("text", "")
    return f"{shown['job']['state']}: {why}" if why else str(shown["job"]["state"])


def braille(points: Sequence[tuple[float, float]], end: float, columns: int, rows: int) -> list[str]:
    """A curve of steps in braille: between two points it stays where it was.

    Args:
        points: (x, y), x rising.
        end: x of the right edge.
        columns, rows: characters.

    Returns:
        The rows from the top, each of that many characters.
    """
    low, high = min(y for _, y in points), max(y for _, y in points)
    flat, right = high == low, max(end, points[-1][0]) or 1.0
    cells = [[0] * columns for _ in range(rows)]
    before: int | None = None
    for dot in range(2 * columns):
        x = right * (dot + 1) / (2 * columns)
        known = [y for at, y in points if at <= x]
        if not known:
            continue
        share = 1.0 if flat else (known[-1] - low) / (high - low)
        height = round(share * (4 * rows - 1))
        # From where the dot before it was: a step is drawn as a line, and not as a gap.
        for level in range(min(height, height if before is None else before), height + 1):
            row = 4 * rows - 1 - level
            cells[row // 4][dot // 2] |= DOTS[dot % 2][row % 4]
        before = height
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def _head(shown: Mapping[str, Any]) -> Text:
    job = shown["job"]
    name = f" {job['name']}" if job["name"] else ""
    return Text(f"job {job['id']}{name}: {job['state']}, {job['dataset']}, {job['strategy']}", style="bold")


def _bar(shown: Mapping[str, Any], width: int) -> RenderableType:
    from nas.client.looks import left, look_at, share

    progress, look = shown["progress"], look_at(shown, patient=True)
    row = Table.grid(padding=(0, 1))
    room = max(10, min(40, width - 60))
    bar = ProgressBar(total=1.0, completed=look.fraction, width=room)
    row.add_row(look.description, bar, share(look), left(progress["eta_s"]) or "")
    return row


def _figures(shown: Mapping[str, Any]) -> Text:
    """How many trials of the search and how many retrainings are done, and what is not as it should be."""
    from nas.client.looks import clock, searched

    done = [shown["phases"].get(name, {"finished": 0, "planned": 0}) for name in RETRAININGS]
    again = f"retrainings {sum(one['finished'] for one in done)}/{sum(one['planned'] for one in done)}"
    others = [f"{count} {state}" for state, count in shown["counts"].items() if count and state != "complete"]
    said = [searched(shown["progress"]), *([again] if any(one["planned"] for one in done) else []), *others]
    return Text(f"{', '.join(said)}; {clock(shown['progress']['elapsed_s'])} gone", style="dim")


def _plot(curve: Sequence[tuple[float, float]], end: float, columns: int, metric: str) -> RenderableType:
    high, low = (score(pick(y for _, y in curve), metric) for pick in (max, min))
    labels = [high] if high == low else [high, *[""] * (CURVE_ROWS - 2), low]
    lines = braille(curve, end, columns, len(labels))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row("", Text("best on validation so far", style="dim"))
    for label, line in zip(labels, lines, strict=True):
        grid.add_row(label, Text(line, style="cyan"))
    return grid


def _beside(curve: RenderableType, tables: Sequence[RenderableType]) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(curve, Group(*tables))
    return grid


def _best(shown: Mapping[str, Any]) -> Table | None:
    """The trials that were the best, the newest first."""
    if not shown["incumbents"]:
        return None
    from nas.client.looks import clock

    table = Table("best trials", SHORT[shown["metric"]], "after", box=None, pad_edge=False, header_style="dim")
    for step in reversed(shown["incumbents"][-MOST_ROWS:]):
        table.add_row(str(step["trial"]), score(step["accuracy"], shown["metric"]), clock(step["at_s"]))
    return table


def _running(shown: Mapping[str, Any], width: int) -> RenderableType | None:
    trials = shown["running"]
    if not trials:
        return None
    headings = ["running", "phase", "epoch", SHORT[shown["metric"]], *(["worker"] if width >= NARROW else [])]
    table = Table(*headings, box=None, pad_edge=False, header_style="dim")
    for trial in trials[:MOST_ROWS]:
        epochs = f"{trial['epoch']}/{trial['epochs']}" if trial["epochs"] else ""  # the report trains nothing
        cells = [str(trial["trial"]), trial["phase"], epochs, score(trial["accuracy"], shown["metric"]) or ""]
        table.add_row(*cells, *([escape(trial["worker"] or "")] if width >= NARROW else []))
    more = len(trials) - MOST_ROWS
    return Group(table, Text(f"and {more} more", style="dim")) if more > 0 else table
