"""What a terminal shows of a job: a progress bar with an ETA, and in the end what came out."""

import json
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from nas.client import Client
from nas.errors import InvalidInput
from nas.spec import MAX_TRIALS

POLL_S = 0.5
LINE_S = 5.0
"""Where no terminal shows a bar, a line is printed this often."""

STARTING_S = 15.0
"""Workers that are being started are not called missing for so long."""

PHASES = {
    "screening": "scoring candidates without training",
    "supernet": "training the supernet",
    "search": "searching",
    "finalist": "retraining the winner",
    "control": "retraining random controls",
    "reference": "retraining the hand-designed network",
    "report": "scoring, exporting, verifying",
    "done": "done",
}


def watch(client: Client, job_id: str, console: Console) -> dict[str, Any]:
    """Shows the job until it ends; returns its last dashboard."""
    began = time.monotonic()

    def look() -> "_Look":
        shown = client.dashboard(job_id)
        description, figures = _line(shown, patient=time.monotonic() - began < STARTING_S)
        return _Look(shown, shown["progress"]["fraction"], description, figures, shown["job"]["phase"] == "done")

    return _follow(look, console)


def watch_trial(client: Client, job_id: str, number: int, console: Console) -> dict[str, Any]:
    """Shows a retraining until it ends; returns the trial as it is then."""

    def look() -> "_Look":
        trial = client.trial(job_id, number)
        waiting = client.dashboard(job_id)["waiting"] if trial["state"] == "queued" else None
        done = trial["state"] not in ("queued", "running")
        return _Look(trial, trial["epoch"] / max(1, trial["epochs"]), *_line_of(trial, waiting), done)

    return _follow(look, console)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a terminal shows at one moment."""

    shown: dict[str, Any]
    fraction: float
    description: str
    figures: str
    done: bool


def _follow(look: Callable[[], _Look], console: Console) -> dict[str, Any]:
    """Looks again and again, with a bar on a terminal and lines elsewhere; returns what was shown at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("waiting", total=1.0, figures="")
        last, printed = "", 0.0
        while True:
            seen = look()
            bar.update(task, completed=seen.fraction, description=seen.description, figures=seen.figures)
            due = seen.done or time.monotonic() - printed >= LINE_S
            if not console.is_terminal and due and seen.figures != last:
                line = f"{seen.fraction:4.0%} {seen.description}: {seen.figures}"
                console.print(line, highlight=False, soft_wrap=True)
                last, printed = seen.figures, time.monotonic()
            if seen.done:
                return seen.shown
            time.sleep(POLL_S)


def _line(shown: dict[str, Any], *, patient: bool) -> tuple[str, str]:
    progress, best, phase = shown["progress"], shown["best"], shown["job"]["phase"]
    figures = _figures(shown)
    if best and best["accuracy"] is not None:
        figures.append(f"best {_percent(best['accuracy'])} on validation")
    if shown["pareto"]:
        figures.append(f"{len(shown['pareto'])} in the Pareto set")
    figures.append(f"{_clock(progress['elapsed_s'])} gone")
    if progress["eta_s"] is not None:
        figures.append(f"about {_clock(progress['eta_s'])} left")
    if shown["waiting"] and not patient:
        figures.append(f"waiting: {shown['waiting']['text']}")
    return PHASES[phase], ", ".join(figures)


def _figures(shown: dict[str, Any]) -> list[str]:
    """How far the phase is."""
    progress, name, supernet = shown["progress"], shown["job"]["phase"], shown["supernet"]
    phase = shown["phases"].get(name, {})
    if name == "screening":
        return [f"batches {phase['finished']}/{phase['planned']}"]
    if name == "supernet" and supernet:
        said = [f"epoch {supernet['epoch']}/{supernet['epochs']}"]
        newest = supernet["curve"][-1] if supernet["curve"] else {}
        if newest.get("alpha_entropy") is not None:
            said.append(f"entropy {newest['alpha_entropy']:.2f}")
        if newest.get("skip_share") is not None:
            said.append(f"skip connections {newest['skip_share']:.0%}")
        return said
    unlimited = progress["trials_planned"] >= MAX_TRIALS
    figures = [f"trials {progress['trials_finished']}{'' if unlimited else '/' + str(progress['trials_planned'])}"]
    if name == "search" and shown["counts"]["paused"]:
        figures.append(f"{shown['counts']['paused']} paused at rungs")
    if name in ("finalist", "control", "reference"):
        figures.append(f"retrained {phase['finished']}/{phase['planned']}")
    return figures


def _line_of(trial: dict[str, Any], waiting: dict[str, Any] | None) -> tuple[str, str]:
    """Of a retraining."""
    figures = [f"epoch {trial['epoch']}/{trial['epochs']}"]
    if trial["accuracy"] is not None:
        figures.append(f"{_percent(trial['accuracy'])} on validation")
    if waiting:
        figures.append(f"waiting: {waiting['text']}")
    trained = trial["epoch"] >= trial["epochs"] and trial["state"] == "running"
    return PHASES["report"] if trained else f"retraining ({trial['state']})", ", ".join(figures)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def take_home(client: Client, job_id: str, folder: Path, trial: int | None = None) -> Path:
    """Downloads the package of a job, or of one of its trials, into a folder and unpacks it there; the zip's path."""
    path = client.download(job_id, folder / "model.zip", trial)
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
    metrics, shape = _contents(package)
    verdict, progress, phases = shown["verdict"], shown["progress"], shown["phases"]
    winner = verdict["winner"]
    retrained = sum(phases[name]["finished"] for name in ("finalist", "control", "reference"))
    rows = [
        *_network(metrics, shape),
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
            f"{_clock(progress['elapsed_s'])} for {progress['trials_finished']} trials, "
            f"{retrained} retrainings and the report",
        ),
    ]
    _print(rows, package, shown_as or package, console)


def summarise_alone(package: Path, console: Console) -> None:
    """Prints what a package says that holds one trial's network; of a job's winner also its verdict."""
    metrics, shape = _contents(package)
    says = metrics["verdict"] or metrics["retraining"]
    rows = [
        *_network(metrics, shape),
        ("these weights", f"{_percent(metrics['accuracy'])} on test, scored again in a fresh process"),
        ("verdict" if metrics["verdict"] else "no verdict", says["text"]),
    ]
    _print(rows, package, package, console)


def _contents(package: Path) -> list[Any]:
    """metrics.json and genotype.json."""
    with zipfile.ZipFile(package) as archive:
        return [json.loads(archive.read(name)) for name in ("metrics.json", "genotype.json")]


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
    files = f"{named} and, unpacked beside it, {', '.join(sorted(_names(package)))}"
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


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _names(package: Path) -> list[str]:
    with zipfile.ZipFile(package) as archive:
        return archive.namelist()
