"""What a terminal shows of a job: the curve against a plain reference, the picture at several widths, and the end."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from cli.live import CURVE_ROWS, MOST_ROWS, braille, outcome, picture
from cli.output import say_table, widths_within
from cli.watch import watch

DASHBOARD: dict[str, Any] = {
    "job": {
        "id": "3cd14fbb6bd3",
        "name": "a [bold]name",
        "state": "running",
        "phase": "search",
        "reason": None,
        "dataset": "digits",
        "strategy": "evolution",
    },
    "metric": "accuracy",
    "progress": {"trials_finished": 9, "trials_planned": 24, "elapsed_s": 90.0, "eta_s": 61.0, "fraction": 0.4},
    "counts": {"complete": 7, "pruned": 2, "running": 12, "paused": 0},
    "phases": {},
    "best": {"accuracy": 0.9},
    "pareto": None,
    "supernet": None,
    "waiting": {"reason": "no_worker", "text": "no worker is alive"},
    "incumbents": [{"trial": n, "at_s": 10.0 * n, "accuracy": 0.5 + 0.05 * n} for n in range(1, 9)],
    "running": [
        {"trial": 20 + n, "phase": "search", "worker": f"box-{n}", "epoch": 1, "epochs": 8, "accuracy": None}
        for n in range(12)
    ],
    "verdict": None,
}


def drawn(shown: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(picture(shown, width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


def dots(lines: list[str]) -> np.ndarray[Any, Any]:
    """Braille as an array of dots, the top row first; by the numbering of the Unicode standard, written out."""
    places = {0: (0, 0), 1: (1, 0), 2: (2, 0), 3: (0, 1), 4: (1, 1), 5: (2, 1), 6: (3, 0), 7: (3, 1)}
    field = np.zeros((4 * len(lines), 2 * len(lines[0])), dtype=bool)
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):
            for bit, (down, right) in places.items():
                field[4 * row + down, 2 * column + right] = bool((ord(letter) - 0x2800) >> bit & 1)
    return field


def test_the_curve_goes_through_its_points_and_stays_between_them() -> None:
    points = [(1.0, 0.0), (4.0, 0.5), (6.0, 1.0)]
    field = dots(braille(points, 10.0, 10, 3))
    assert field.shape == (12, 20)
    tops = [int(np.argmax(column)) if column.any() else None for column in field.T]
    expected = []
    for dot in range(20):
        at = (dot + 1) / 2
        known = [y for x, y in points if x <= at]
        expected.append(11 - round(known[-1] * 11) if known else None)
    assert tops == expected
    steps = [column.sum() for column in field.T if column.any()]
    assert sum(steps) == len(steps) + (11 - tops[7]) + (tops[7] - 0)  # type: ignore[operator]


def test_a_curve_of_one_value_is_a_line_at_its_label() -> None:
    field = dots(braille([(0.0, 0.7)], 10.0, 5, 2))
    assert field[0].all()
    assert not field[1:].any()


@pytest.mark.parametrize("width", [40, 60, 80, 130, 200])
def test_the_picture_fits_every_terminal_and_says_what_matters(width: int) -> None:
    text = drawn(DASHBOARD, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for said in (
        "3cd14fbb6bd3",
        "a [bold]name",
        "40%",
        "90.00 %",
        "trials 9/24, 2 pruned, 12 running; 01:30 gone",
        "no worker is alive",
        "and 6 more",
    ):
        assert said in words, said
    assert sum(0x2800 < ord(letter) <= 0x28FF for letter in text) >= 10
    assert len(text.splitlines()) <= 3 + CURVE_ROWS + 2 * MOST_ROWS + 8


def test_a_curve_of_one_value_takes_one_row() -> None:
    flat = drawn(DASHBOARD | {"incumbents": DASHBOARD["incumbents"][:1]}, 80)
    assert flat.count("55.00 %") == 2  # of the curve, and in the table
    assert sum(any(0x2800 <= ord(letter) <= 0x28FF for letter in line) for line in flat.splitlines()) == 1


def test_a_job_that_has_nothing_yet_is_a_picture_too() -> None:
    bare = DASHBOARD | {"incumbents": [], "running": [], "counts": {"paused": 0}, "best": None, "waiting": None}
    text = drawn(bare, 80)
    assert "trials 9/24; 01:30 gone" in text
    assert "best trials" not in text


def test_retrainings_are_counted_apart_from_the_trials_that_were_asked_for() -> None:
    phases = {"finalist": {"finished": 2, "planned": 2}, "control": {"finished": 1, "planned": 4}}
    assert "trials 9/24, retrainings 3/6, 2 pruned" in drawn(DASHBOARD | {"phases": phases}, 80)


def test_it_is_not_done_before_it_is_done_and_an_estimate_of_nothing_is_not_shown() -> None:
    last = DASHBOARD | {"progress": DASHBOARD["progress"] | {"fraction": 0.999, "eta_s": 0.2}}
    assert " 99% less than a minute left" in drawn(last, 80)
    done = last | {"job": DASHBOARD["job"] | {"phase": "done"}, "progress": last["progress"] | {"fraction": 1.0}}
    assert "100%" in drawn(done, 80)


@pytest.mark.parametrize("width", [60, 90, 100, 140])
def test_the_curve_is_whole_and_its_labels_too(width: int) -> None:
    lines = drawn(DASHBOARD, width).splitlines()
    assert lines[4].startswith("90.00 % ")
    assert lines[3 + CURVE_ROWS].startswith("55.00 % ")
    curves = [len([letter for letter in line if 0x2800 <= ord(letter) <= 0x28FF]) for line in lines[4 : 4 + CURVE_ROWS]]
    assert curves == [min(72, width - (10 if width < 90 else 64))] * CURVE_ROWS


def test_what_came_of_a_job_is_said_once() -> None:
    failed = DASHBOARD | {"job": DASHBOARD["job"] | {"state": "failed", "reason": "no memory"}}
    assert outcome(failed) == "failed: no memory"
    assert outcome(DASHBOARD) == "running"
    assert outcome(DASHBOARD | {"verdict": {"text": "It beat them."}}) == "running: It beat them."
    assert "no memory" not in drawn(failed, 80)


def test_workers_that_are_being_started_are_not_called_missing() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(picture(DASHBOARD, 100, patient=True))
    console.print(picture(DASHBOARD | {"waiting": {"reason": "paused", "text": "it is paused"}}, 100, patient=True))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("no worker" in text, "it is paused" in text) == (False, True)


def test_a_terminal_shows_the_job_live_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    done = DASHBOARD | {"job": DASHBOARD["job"] | {"phase": "done", "state": "succeeded"}, "waiting": None}
    shown = [DASHBOARD, done]

    class Watched:
        """A job at two moments."""

        def looks(self) -> Any:
            from nas.client.looks import look_at

            return lambda: look_at(shown[0], patient=True)

        def dashboard(self) -> dict[str, Any]:
            return shown.pop(0) if len(shown) > 1 else shown[0]

    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr("cli.watch.time.sleep", lambda _: setattr(console, "width", 50))
    assert watch(Watched(), console) == done  # type: ignore[arg-type]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "running" in text
    assert "succeeded" in text
    assert text.count("\x1b[2J") == 1, "what the old width has broken is wiped away once"


def test_a_table_is_a_line_for_each_cell_where_its_words_would_be_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headings, rows = ("job", "state", "what it is"), [("3cd14fbb6bd3", "succeeded", "two words"), ("1", None, "[b]")]
    assert widths_within(13, headings[:1], [["two words"]]) == [9], "the first column is copied, and stays whole"
    assert widths_within(12, headings[:1], [["two words"]]) == []
    printed = []
    for width in (35, 36):
        monkeypatch.setattr("cli.output.out", Console(force_terminal=True, width=width, no_color=True))
        say_table(headings, rows)
        printed.append(capsys.readouterr().out)
    assert printed[0].splitlines() == [
        "job: 3cd14fbb6bd3",
        "  state: succeeded",
        "  what it is: two words",
        "job: 1",
        "  what it is: [b]",
    ]
    assert "│ 3cd14fbb6bd3 │ succeeded │ two   │" in printed[1]
