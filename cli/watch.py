"""What a terminal shows of a job: a progress bar with an ETA, and in the end what came out."""

import json
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from nas.client import Client
from nas.errors import InvalidInput

POLL_S = 0.5
LINE_S = 5.0
"""Where no terminal shows a bar, a line is printed this often."""

STARTING_S = 15.0
"""Workers that are being started are not called missing for so long."""

PHASES = {
    "search": "searching",
    "finalist": "retraining the winner",
    "control": "retraining random controls",
    "reference": "retraining the hand-designed network",
    "report": "scoring, exporting, verifying",
    "done": "done",
}


def watch(client: Client, job_id: str, console: Console) -> dict[str, Any]:
    """Shows the job until it ends; returns its last dashboard."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("waiting", total=1.0, figures="")
        last, printed, began = "", 0.0, time.monotonic()
        while True:
            shown = client.dashboard(job_id)
            description, figures = _line(shown, patient=time.monotonic() - began < STARTING_S)
            bar.update(task, completed=shown["progress"]["fraction"], description=description, figures=figures)
            done = shown["job"]["phase"] == "done"
            if not console.is_terminal and (done or time.monotonic() - printed >= LINE_S) and figures != last:
                console.print(
                    f"{shown['progress']['fraction']:4.0%} {description}: {figures}", highlight=False, soft_wrap=True
                )
                last, printed = figures, time.monotonic()
            if done:
                return shown
            time.sleep(POLL_S)


def _line(shown: dict[str, Any], *, patient: bool) -> tuple[str, str]:
    progress, best = shown["progress"], shown["best"]
    figures = [f"trials {progress['trials_finished']}/{progress['trials_planned']}"]
    phase = shown["phases"].get(shown["job"]["phase"])
    if phase and shown["job"]["phase"] not in ("search", "report"):
        figures.append(f"retrained {phase['finished']}/{phase['planned']}")
    if best:
        figures.append(f"best {_percent(best['accuracy'])} on validation")
    figures.append(f"{_clock(progress['elapsed_s'])} gone")
    if progress["eta_s"] is not None:
        figures.append(f"about {_clock(progress['eta_s'])} left")
    if shown["waiting"] and not patient:
        figures.append(f"waiting: {shown['waiting']}")
    return PHASES[shown["job"]["phase"]], ", ".join(figures)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def take_home(client: Client, job_id: str, folder: Path) -> Path:
    """Downloads the package into a folder and unpacks it there; returns the zip's path."""
    path = client.download(job_id, folder / "model.zip")
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if Path(name).name != name:
                raise InvalidInput("package", name, "a package holds plain files only")
            (folder / name).write_bytes(archive.read(name))
    return path


def unpack_logs(client: Client, job_id: str, folder: Path) -> Path:
    """Downloads a job's TensorBoard logs and unpacks them into a folder, one folder a trial; returns it."""
    path = client.download_logs(job_id, folder / "logs.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)  # takes the parts of a name that would lead out of the folder away
    path.unlink()
    return folder


def summarise(shown: dict[str, Any], package: Path, console: Console, *, shown_as: Path | None = None) -> None:
    """Prints what a finished job found; `shown_as` is a path to print for the package."""
    named = shown_as or package
    with zipfile.ZipFile(package) as archive:
        metrics, shape = (json.loads(archive.read(name)) for name in ("metrics.json", "genotype.json"))
    verdict = shown["verdict"]
    winner = verdict["winner"]
    chosen = shape.get("candidate", {}).get("recipe", {})
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for row in (
        ("architecture", _architecture(shape)),
        (
            "network",
            (f"{shape['cells']} cells, {shape['channels']} channels, " if "cells" in shape else "")
            + f"{metrics['params']:,} parameters, {metrics['macs']:,} multiply-accumulates an image",
        ),
        ("recipe", ", ".join(f"{name} {value}" for name, value in chosen.items()) if chosen else ""),
        (
            f"test {verdict.get('score', 'accuracy')}",
            f"{_percent(winner['mean'])}, 95 % interval {_percent(winner['low'])} to {_percent(winner['high'])}, "
            f"over {winner['n']} retrainings and {verdict['test_images']} images",
        ),
        (
            "these weights",
            f"{_percent(metrics['accuracy'])} on test, scored again in a fresh process; ONNX Runtime within "
            f"{verdict['shipped']['onnx_difference']:.0e}",
        ),
        ("verdict", verdict["text"]),
        (
            "took",
            f"{_clock(shown['progress']['elapsed_s'])} for {shown['progress']['trials_finished']} trials, "
            f"{sum(shown['counts'].values()) - shown['progress']['trials_finished'] - 1} retrainings and the report",
        ),
        ("files", f"{named} and, unpacked beside it, {', '.join(sorted(_names(package)))}"),
        ("try it", f"nas predict {named} IMAGE.png"),
    ):
        if row[1]:
            table.add_row(f"[bold]{row[0]}[/bold]", row[1])
    console.print(table, highlight=False)


def _architecture(shape: dict[str, Any]) -> str:
    if "genotype" in shape:
        return str(shape.get("darts") or json.dumps(shape["genotype"]))
    layers = shape["candidate"]["layers"]
    return ", ".join(
        f"{'beside it ' if beside else ''}{kind} {kernel}×{kernel} {width}" for kind, width, kernel, beside in layers
    )


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _names(package: Path) -> list[str]:
    with zipfile.ZipFile(package) as archive:
        return archive.namelist()
