"""What a terminal shows of a job: a progress bar with an ETA, and in the end what came out."""

import contextlib
import json
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.live import picture
from cli.package import describe, names
from nas.client import Job, NoService
from nas.client.answers import Dashboard, TrialDetail
from nas.client.looks import Look, clock, look_at_trial
from nas.client.seen import STARTING_S
from nas.client.shows import POLL_S, follow, terminal
from nas.errors import InvalidInput
from nas.train.tasks import SCORE
from nas.words import NAMES, named, score


def watch(job: Job, console: Console) -> Dashboard:
    """Shows the job until it ends, live on a terminal and in lines elsewhere; returns its last dashboard."""
    if not console.is_terminal:
        with terminal(console) as show:
            follow(job.looks(), show)
        return job.dashboard()
    look, began, width = job.looks(), time.monotonic(), console.width
    with Live(console=console, auto_refresh=False) as live:
        while True:
            seen = look()
            with contextlib.suppress(NoService):  # it has gone between the two: the next look waits for it
                shown = job.dashboard()
                patient = time.monotonic() - began < STARTING_S
                if console.width != width:  # the terminal has broken the lines of the last picture anew
                    width = console.width
                    console.clear()
                live.update(picture(shown, console.width, patient=patient), refresh=True)
                if seen.done:
                    return shown
            time.sleep(POLL_S)


def watch_trial(job: Job, number: int, console: Console) -> TrialDetail:
    """Shows a retraining until it ends; returns the trial as it is then."""
    seen: list[TrialDetail] = []

    def look() -> Look:
        seen[:] = [job.trial(number)]
        return look_at_trial(seen[0], job.dashboard()["waiting"] if seen[0]["state"] == "queued" else None)

    with terminal(console) as show:
        follow(look, show)
    return seen[0]


def take_home(job: Job, folder: Path, trial: int | None = None) -> Path:
    """Downloads the package of a job, or of one of its trials, into a folder and unpacks it there; the zip's path."""
    if folder.is_file():
        raise InvalidInput("--out", str(folder), "it is a file; name a folder, which is made if it is not there")
    path = job.download(folder / "model.zip", trial=trial)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if Path(name).name != name:
                raise InvalidInput("package", name, "a package holds plain files only")
            (folder / name).write_bytes(archive.read(name))
    return path


def unpack_logs(job: Job, folder: Path) -> Path:
    """Downloads a job's TensorBoard logs and unpacks them into a folder, one folder a trial; returns it."""
    path = job.tensorboard(folder / "logs.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)  # takes the parts of a name that would lead out of the folder away
    path.unlink()
    return folder


def summarise(shown: Mapping[str, Any], package: Path, console: Console, *, shown_as: Path | None = None) -> None:
    """Prints what a finished job found; `shown_as` is a path to print for the package."""
    metrics, shape = describe(package)
    verdict, progress, phases = shown["verdict"], shown["progress"], shown["phases"]
    winner, metric = verdict["winner"], _metric(metrics)
    retrained = sum(phases[name]["finished"] for name in ("finalist", "control", "reference"))
    rows = [
        *_network(metrics, shape),
        (
            f"test {NAMES[metric]}",
            f"{score(winner['mean'], metric)}, "
            f"95 % interval {score(winner['low'], metric)} to {score(winner['high'], metric)}, "
            f"over {winner['n']} retrainings and {verdict['test_images']} images",
        ),
        (
            "these weights",
            f"{_scored(metrics)}; ONNX Runtime within {verdict['shipped']['onnx_difference']:.0e}",
        ),
        ("verdict", verdict["text"]),
        (
            "took",
            f"{clock(progress['elapsed_s'])} for {progress['trials_finished']} trials, "
            f"{retrained} retrainings and the report",
        ),
    ]
    _print(rows, package, shown_as or package, console)


def summarise_alone(package: Path, console: Console) -> None:
    """Prints what a package says that holds one trial's network; of a job's winner also its verdict."""
    metrics, shape = describe(package)
    says = metrics["verdict"] or metrics["retraining"]
    rows = [
        *_network(metrics, shape),
        ("these weights", _scored(metrics)),
        ("verdict" if metrics["verdict"] else "no verdict", says["text"]),
    ]
    _print(rows, package, package, console)


def _network(metrics: dict[str, Any], shape: dict[str, Any]) -> list[tuple[str, str]]:
    chosen = shape.get("candidate", {}).get("recipe", {})
    return [
        ("architecture", _architecture(shape)),
        (
            "network",
            (f"{shape['cells']} cells, {shape['channels']} channels, " if "cells" in shape else "")
            + f"{metrics['params']:,} parameters, {metrics['macs']:,} multiply-accumulates an image",
        ),
        ("recipe", ", ".join(f"{name} {value}" for name, value in chosen.items()) if chosen else ""),
    ]


def _print(rows: Iterable[tuple[str, str]], package: Path, named: Path, console: Console) -> None:
    """The rows that say something, then what the package holds, by the name that is to be printed."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    inside = ", ".join(sorted(names(package)))
    files = f"{named} with {inside}" if package.is_dir() else f"{named} and, unpacked beside it, {inside}"
    for heading, text in (*rows, ("files", files), ("try it", f"nas predict {named} IMAGE.png")):
        if text:
            table.add_row(f"[bold]{heading}[/bold]", text)
    console.print(table, highlight=False)


def _architecture(shape: dict[str, Any]) -> str:
    if "genotype" in shape:
        return str(shape.get("darts") or json.dumps(shape["genotype"]))
    layers = shape["candidate"]["layers"]
    return ", ".join(
        f"{'beside it ' if beside else ''}{kind} {kernel}×{kernel} {width}" for kind, width, kernel, beside in layers
    )


def _metric(metrics: Mapping[str, Any]) -> str:
    return SCORE[metrics["data"]["task"]]


def _scored(metrics: Mapping[str, Any]) -> str:
    return f"{named(metrics['accuracy'], _metric(metrics))} on test, scored again in a fresh process"
