"""Strategies on real images at the same wall clock, their winners beside random networks and a hand-designed one.

python bench/search_real.py --data DIR --out FILE [--minutes 40] [--strategies auto tpe random pc_darts] [--images 2500]

One job a strategy, one after the other, on the images of DIR/cifar10-jpeg.tar.xz, through the service as a user has it:
HTTP API, database, worker processes. Each job gets the same share of the minutes for everything: search, retraining
of its winner over several seeds, and in the same way of random networks of the winner's size and of a plain residual
network of its size. Each seed's network is scored on test images that no search has seen. FILE gets the table.

The defaults suit two CPU cores. On a GPU for example:
    --device cuda --workers 3 --minutes 300 --images 40000 --validation 10000 --test 10000 --side 32
    --channels 16 --cells 8 --nodes 4 --epochs 27 --final-epochs 60
"""

import argparse
import io
import math
import os
import platform
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cli.places import find_gpus
from cli.service import local_service
from nas.client import Client
from nas.client.answers import Dashboard
from nas.settings import Settings

NAME = "cifar10-subset"
IN_TIME = 1.05
"""By which a job may exceed its time."""


def pack(archive: Path, target: Path, options: argparse.Namespace) -> None:
    """Writes the fixed subset as a zip file of class folders: of each class the first files in the order of names.

    The validation images are the training folder's after those that are trained on.
    """
    wanted = {
        ("train", "train"): (0, options.images // 10),
        ("train", "validation"): (options.images // 10, (options.images + options.validation) // 10),
        ("test", "test"): (0, options.test // 10),
    }
    with tarfile.open(archive) as source, zipfile.ZipFile(target, "w") as into:
        names: dict[tuple[str, str], list[tarfile.TarInfo]] = {}
        for member in source.getmembers():
            if member.isfile():
                folder, label, _ = member.name.removeprefix("./").split("/")
                names.setdefault((folder, label), []).append(member)
        parts: dict[str, str] = {}  # where each file goes
        for (folder, label), members in names.items():
            members.sort(key=lambda member: member.name)
            for (of, part), (begin, end) in wanted.items():
                if of == folder and end > len(members):
                    sys.exit(f"there are {len(members)} images a class in {folder}, and {end} were asked for")
                if of == folder:
                    parts |= {member.name: f"{part}/{label}/{Path(member.name).name}" for member in members[begin:end]}
        for member in source.getmembers():  # in the order of the archive: xz cannot go back
            if member.name in parts:
                file = source.extractfile(member) or io.BytesIO()
                into.writestr(parts[member.name], file.read())


def job(strategy: str, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """What is POSTed for a strategy."""
    return {
        "dataset": NAME,
        "name": strategy,
        "space": {"channels": options.channels, "cells": options.cells, "nodes": options.nodes},
        "strategy": strategy,
        "budget": {"seconds": seconds, "epochs": options.epochs},
        "final": {
            "finalists": 1,
            "controls": options.controls,
            "epochs": options.final_epochs,
            "seeds": options.seeds,
        },
        "seed": options.seed,
    }


def run(client: Client, spec: dict[str, Any]) -> Dashboard:
    """The dashboard of a job at its end."""
    job, said = client.search(spec), ""
    while True:
        shown = job.dashboard()
        progress = shown["progress"]
        now = f"{shown['job']['phase']}, {progress['trials_finished']} trials, {progress['elapsed_s'] / 60:.0f} min"
        if now != said:
            print(f"  {spec['strategy']}: {now}", file=sys.stderr, flush=True)
            said = now
        if shown["job"]["state"] in ("succeeded", "failed", "cancelled"):
            return shown
        time.sleep(2)


def table(shown: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A row a strategy."""
    yield (
        f"{'strategy':10} {'trials':>6} {'best val.':>9}  {'winner, test':>22} {'random, test':>22} "
        f"{'winner - random':>22} {'ResNet, test':>22} {'winner - ResNet':>22} {'params':>8} {'n':>2} {'min':>5}"
    )
    for one in shown:
        found, verdict = one["job"], one["verdict"]
        minutes = one["progress"]["elapsed_s"] / 60
        tried = one["phases"]["search"]["finished"]
        if verdict is None:
            yield f"{found['strategy']:10} {tried:6}  {found['state']}: {found['reason']}"
            continue
        best = max((incumbent["accuracy"] for incumbent in one["incumbents"]), default=math.nan)
        columns = [
            interval(verdict["winner"]),
            interval(verdict["controls"]),
            interval(verdict["difference"], "+"),
            interval(verdict["reference"]),
            interval(verdict["reference_difference"], "+"),
        ]
        yield (
            f"{found['strategy']:10} {tried:6} {100 * best:9.2f}  {' '.join(f'{column:>22}' for column in columns)} "
            f"{verdict['winner']['params']:8,} {verdict['winner']['n']:2} {minutes:5.1f}"
        )


def interval(found: dict[str, float], sign: str = "") -> str:
    """The mean and the ends of the 95 % interval, in percent or points."""
    return " ".join(
        (
            f"{100 * found['mean']:{sign}.2f}",
            f"[{100 * found['low']:{sign}.2f}, {100 * found['high']:{sign}.2f}]",
        )
    )


def describe(options: argparse.Namespace, seconds: float, gpus: list[str]) -> Iterator[str]:
    """What the figures depend on."""
    device = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "no GPU"
    yield f"Search on real images, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    yield f"{processor()}, {os.cpu_count()} cores, {device}, {options.workers} workers of one thread"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "optuna", "scikit-learn"))
    yield f"Python {platform.python_version()}, {packages}"
    yield (
        f"CIFAR-10 (JPEG), {options.side}x{options.side} pixels: the first {options.images:,} images to train on, the "
        f"next {options.validation:,} for validation, the first {options.test:,} of test"
    )
    yield (
        f"space: cells of {options.nodes} nodes, {options.channels} channels, {options.cells} cells, the default "
        f"operations; trials of up to {options.epochs} epochs, retrainings of {options.final_epochs}"
    )
    yield (
        f"{seconds:.0f} s for each job as a whole; {options.seeds} seeds; {options.controls} random networks of the "
        f"winner's size; job seed {options.seed}"
    )
    yield ""


def processor() -> str:
    """The processor's name."""
    source = Path("/proc/cpuinfo")
    lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--minutes", type=float, default=40, help="for all strategies together")
    parser.add_argument("--strategies", nargs="+", default=["auto", "tpe", "random", "pc_darts"])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int, default=2)
    for name, value in {
        "images": 2500,
        "validation": 2000,
        "test": 4000,
        "side": 16,
        "channels": 8,
        "cells": 5,
        "nodes": 3,
        "epochs": 9,
        "final-epochs": 10,
        "seeds": 3,
        "controls": 2,
        "seed": 0,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    return parser.parse_args()


def main() -> None:
    """See the module."""
    options, began = parsed(), time.monotonic()
    environ = dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": ""} if options.device == "cpu" else {})
    gpus = find_gpus(environ)
    if options.device == "cuda" and not gpus:
        sys.exit("--device is cuda, and there is no GPU")
    with tempfile.TemporaryDirectory(prefix="nas-bench-") as folder:
        images = Path(folder) / "images.zip"
        pack(options.data / "cifar10-jpeg.tar.xz", images, options)
        settings = Settings.read({"NAS_HOME": str(Path(folder) / "home"), "NAS_LOG": "WARNING"})
        with local_service(settings, options.workers, gpus, environ) as url, Client(url) as client:
            client.add_dataset(images, NAME, size=options.side)
            left_s = 60 * options.minutes - (time.monotonic() - began)
            seconds = math.floor(left_s / len(options.strategies) / IN_TIME)
            shown = [run(client, job(strategy, seconds, options)) for strategy in options.strategies]
    lines = [*describe(options, seconds, gpus), *table(shown), ""]
    lines += [
        "Means over seeds in percent, with 95 % intervals (bootstrap over test images, seeds, random networks).",
        "The best validation accuracy is that of a trial in the search. There is one search of each strategy: the",
        "intervals say how good its winner is, and not how another search of the strategy would end.",
        "",
    ]
    for one in shown:
        said = [one["verdict"]["text"] if one["verdict"] else one["job"]["reason"], one["job"]["note"]]
        lines.append(f"{one['job']['strategy']}: " + " ".join(f"{text.rstrip('.')}." for text in said if text))
    text = "\n".join(lines) + "\n"
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
