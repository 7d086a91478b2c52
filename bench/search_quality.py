"""How good the search strategies are, on benchmark tables instead of training.

python bench/search_quality.py --data DIR [--runs 20] [--only auto,tpe] [--workers 1,16] [--processes 2] [--cache FILE]
python bench/search_quality.py --data DIR --tables [--runs 20]

The first form prints a table for each number of workers on the DARTS surrogate in DIR/nb301, by the protocol of
DIR/README.md: the noise-free accuracy of the fully trained network with the best observed accuracy, after 25, 50, 100
and 200 full trainings' worth of epochs; mean ± standard error over the runs. Beside them stand the figures that
DIR/README.md knows. A row without "halving" is the published algorithm, which trains all to the end.

The warm start of `auto` sees training-free scores that the project's own code computes (nwot, parameters, MACs), of
networks that are drawn at random; they are computed once, and kept in FILE. The second form is about the tables in
DIR/tables, which hold full trainings only: what is left of the way from a table's median to its best, in percent.
"""

import argparse
import ast
import csv
import gzip
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nas.search import simulate
from nas.search.catalog import STRATEGIES
from nas.search.screening import Scored, combine, warm_start
from nas.seeds import derive
from nas.space import Candidate, CategoricalSpace, CellSpace, Choices, Shape
from nas.space.cost import cost

TRAININGS = (25, 50, 100, 200)
EPOCHS = 98
OPERATIONS = (
    "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"
)  # fmt: skip
SPACE = CellSpace(OPERATIONS, 4, Shape(channels=16, cells=5))
"""The surrogate knows no frame; the training-free scores are of this one."""

POOL, DRAWN = 2_000, 500
"""Networks that are scored, and how many of them a run draws."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        strategy, pruning: see simulate.
        warm: whether it begins with what training-free scores say.
        noisy: whether the low fidelities have the strong noise.
        known: what DIR/README.md says it reaches with one worker.
    """

    strategy: str
    pruning: str | None = None
    warm: bool = False
    noisy: bool = False
    known: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """As it stands in the table."""
        parts = [self.strategy, self.pruning or "", "" if self.warm or self.strategy != "auto" else "no warm start"]
        return ", ".join(part for part in (*parts, "strong noise" if self.noisy else "") if part)


KNOWN = {
    "random": (95.27, 95.41, 95.47, 95.51),
    "tpe": (95.15, 95.59, 95.72, 95.84),
    "evolution": (95.25, 95.39, 95.70, 95.93),
    "local_search": (95.32, 95.45, 95.61, 95.72),
}


def rows() -> list[Row]:
    """Every strategy that can search the space, and the ways in which they are combined with halving."""
    plain = [
        Row(name, known=KNOWN.get(name, ()))
        for name, entry in STRATEGIES.items()
        if name != "auto" and entry.prepares != "supernet" and entry.refuses(SPACE) is None
    ]
    return [
        *plain,
        Row("random", "halving", known=(95.46, 95.59, 95.62, 95.68)),
        Row("random", "hyperband"),
        Row("evolution", "halving", known=(95.50, 95.67, 95.85, 96.05)),
        Row("tpe", "halving"),
        Row("auto", known=(95.58, 95.86, 96.09, 96.22)),
        Row("auto", warm=True, known=(95.72, 95.93, 96.15, 96.25)),
        Row("random", "halving", noisy=True),
        Row("evolution", "halving", noisy=True),
        Row("auto", warm=True, noisy=True, known=(95.52, 95.66, 95.94, 96.15)),
    ]


class Surrogate:
    """The surrogate with the protocol's luck and noise."""

    def __init__(self, data: Path, pool: Sequence[Scored]) -> None:
        sys.path.insert(0, str(data / "nb301"))
        from query import NB301  # comes with the data

        self._bench, self._pool = NB301(), pool
        self._known: dict[tuple[Any, int], tuple[float, float]] = {}
        rng = np.random.default_rng(0)
        self._typical = [_cells(SPACE.sample(rng)) for _ in range(1_000)]
        self._spread: dict[int, float] = {}

    def run(self, row: Row, workers: int, seed: int) -> list[float]:
        """A search; the noise-free accuracies of the best it had found after so many TRAININGS."""
        starts: list[Candidate] = []
        if row.warm:
            rng = np.random.default_rng(derive(seed, "pool"))
            drawn = [self._pool[index] for index in rng.permutation(len(self._pool))[:DRAWN]]
            trials = TRAININGS[-1] * EPOCHS // 16  # as many as fit if all four rungs cost the same
            starts = warm_start([one.candidate for one in drawn], combine(drawn), trials=trials, seed=seed)
        found = simulate(
            row.strategy,
            SPACE,
            lambda net, epochs: self._observe(net, epochs, seed, noisy=row.noisy),
            budget=TRAININGS[-1],
            epochs=EPOCHS,
            workers=workers,
            seed=seed,
            pruning=row.pruning,
            starts=starts,
        )
        return [
            self._query(_cells(last[-1].candidate), EPOCHS)[0]
            if (last := [step for step in found.trajectory if step.epochs <= trainings * EPOCHS])
            else float("nan")
            for trainings in TRAININGS
        ]

    def _observe(self, net: Candidate, epochs: int, seed: int, *, noisy: bool) -> tuple[float, float]:
        """Accuracy with the network's luck and the epoch's noise, and seconds."""
        cells = _cells(net)
        accuracy, seconds = self._query(cells, epochs)
        name = int.from_bytes(hashlib.sha256(repr(cells).encode()).digest()[:8], "big")
        luck = np.random.default_rng([seed, name]).normal(0, 0.15)
        noise, strong = np.random.default_rng([seed, name, epochs]).normal(size=2)
        left = 1 - epochs / EPOCHS
        accuracy += 0.8 * luck + 0.6 * 0.15 * (0.5 + 1.5 * left) * noise
        if noisy:
            if epochs not in self._spread:
                self._spread[epochs] = float(self._bench.query(self._typical, epochs)[:, 0].std())
            accuracy += 2 * self._spread[epochs] * left * strong
        return accuracy, seconds

    def _query(self, cells: Any, epochs: int) -> tuple[float, float]:
        if (cells, epochs) not in self._known:
            accuracy, seconds = self._bench.query([cells], epochs)[0]
            self._known[cells, epochs] = float(accuracy), float(seconds)
        return self._known[cells, epochs]


def _cells(net: Candidate) -> Any:
    """As the surrogate writes it."""
    cells = (net.architecture.normal, net.architecture.reduce)
    return tuple(tuple((edge.source, edge.op) for edges in cell.nodes for edge in edges) for cell in cells)


def scored(cache: Path, data: Path) -> list[Scored]:
    """The pool for warm starts, with scores of images of the kind that is searched for."""
    if cache.exists():
        return [Scored.from_json(entry) for entry in json.loads(cache.read_text())]
    import torch

    from nas.model.scores import score_candidate, shrink

    torch.set_num_threads(1)
    pixels = torch.from_numpy(_images(data / "cifar10-jpeg.tar.xz")).float()
    images = shrink((pixels - pixels.mean((0, 2, 3), True)) / pixels.std((0, 2, 3), keepdim=True), 8)
    rng = np.random.default_rng(derive(0, "pool"))
    found = []
    for _ in progress(range(POOL), "training-free scores"):
        net = SPACE.sample(rng)
        costs = cost(net, image=(3, 32, 32), outputs=10)
        found.append(Scored(net, score_candidate(net, images, outputs=10, seed=0), costs.params, costs.macs))
    cache.write_text(json.dumps([one.to_json() for one in found]))
    return found


def _images(archive: Path, of_each: int = 4) -> np.ndarray:
    """A few training images of every class: uint8 [n, 3, 32, 32]."""
    from PIL import Image

    counts: dict[str, int] = defaultdict(int)
    found = []
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if member.isfile() and "train" in parts and counts[parts[-2]] < of_each:
                counts[parts[-2]] += 1
                found.append(np.asarray(Image.open(tar.extractfile(member))).transpose(2, 0, 1))
    return np.stack(found)


@dataclass(frozen=True)
class Table:
    """A benchmark table: candidate → what a search sees of it (one of these values), and what it is judged by."""

    space: CategoricalSpace
    seen: dict[Choices, tuple[float, ...]]
    true: dict[Choices, float]

    def run(self, strategy: str, seed: int) -> list[float]:
        """What is left of the way from the median to the best, in percent, after so many TRAININGS."""
        found = simulate(
            strategy,
            self.space,
            lambda net, epochs: (self.seen[net][seed % len(self.seen[net])], 1.0),
            budget=TRAININGS[-1],
            seed=seed,
        )
        best, median = max(self.true.values()), statistics.median(self.true.values())
        return [
            100 * (best - self.true[[step for step in found.trajectory if step.epochs <= n][-1].candidate])
            / (best - median)
            for n in TRAININGS
        ]  # fmt: skip


def tables(data: Path) -> dict[str, Table]:
    """Seven tasks of TransNAS-Bench-101 (six edges, four operations); NAS-Bench-Macro (eight layers of three kinds)."""
    found = {}
    with gzip.open(data / "tables" / "tnb101_micro_val.csv.gz", "rt") as file:
        cells = list(csv.DictReader(file))
    space = CategoricalSpace({f"edge {index}": (0, 1, 2, 3) for index in range(6)})
    names = [_choices(space, ast.literal_eval(row["arch"])) for row in cells]
    for task in list(cells[0])[1:]:
        true = {name: float(row[task]) for name, row in zip(names, cells, strict=True)}
        found[f"TransNAS {task}"] = Table(space, {name: (value,) for name, value in true.items()}, true)
    chains = json.loads(gzip.decompress((data / "tables" / "nasbench_macro.json.gz").read_bytes()))
    space = CategoricalSpace({f"layer {index}": ("0", "1", "2") for index in range(8)})
    found["NAS-Bench-Macro"] = Table(
        space,
        {_choices(space, chain): tuple(entry["test_acc"]) for chain, entry in chains.items()},
        {_choices(space, chain): entry["mean_acc"] for chain, entry in chains.items()},
    )
    return found


def _choices(space: CategoricalSpace, values: Sequence[Any]) -> Choices:
    return space.decode(dict(zip(space.distributions(), values, strict=True)))


WORLD: dict[str, Any] = {}
"""What a process works with: read once."""


def begin(data: Path, cache: Path | None) -> None:
    """Sets a process up."""
    WORLD.update(tables(data) if cache is None else {"surrogate": Surrogate(data, scored(cache, data))})


def surrogate_run(row: Row, workers: int, seed: int) -> list[float]:
    """A task of a process."""
    found: list[float] = WORLD["surrogate"].run(row, workers, seed)
    return found


def table_run(name: str, strategy: str, seed: int) -> list[float]:
    """A task of a process."""
    found: list[float] = WORLD[name].run(strategy, seed)
    return found


def progress(items: Sequence[Any] | range, what: str, total: int = 0) -> Iterator[Any]:
    """The items, with a line of progress on stderr."""
    began, shown, total = time.monotonic(), 0.0, total or len(items)
    for done, item in enumerate(items, 1):
        yield item
        taken = time.monotonic() - began
        if taken > shown + 1 or done == total:
            left = taken / done * (total - done)
            print(f"\r{what}: {done}/{total}, {taken:.0f} s, {left:.0f} s left   ", end="", file=sys.stderr, flush=True)
            shown = taken
    print(file=sys.stderr)


def measure(
    task: Callable[..., list[float]], asked: list[tuple[Any, ...]], runs: int, processes: int, setup: tuple[Any, ...]
) -> dict[tuple[Any, ...], list[list[float]]]:
    """Runs all that is asked with all seeds; what is interrupted gives what is there."""
    found: dict[tuple[Any, ...], list[list[float]]] = defaultdict(list)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, begin, setup) as pool:
        futures = {pool.submit(task, *what, seed): what for seed in range(runs) for what in asked}
        try:
            for future in progress(as_completed(futures), "runs", len(futures)):  # type: ignore[arg-type]
                found[futures[future]].append(future.result())
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def figures(results: list[list[float]], digits: int = 2) -> str:
    """Mean ± standard error of each column."""
    cells = []
    for column in zip(*results, strict=True):
        error = statistics.stdev(column) / len(column) ** 0.5 if len(column) > 1 else float("nan")
        cells.append(f"{statistics.mean(column):.{digits}f} ± {error:.{digits}f}")
    return " | ".join(f"{cell:13}" for cell in cells)


def head(runs: int) -> str:
    """What the figures depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "scikit-learn", "onnxruntime"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {runs} runs; {machine}, {packages}"


def print_surrogate(options: argparse.Namespace, only: set[str]) -> None:
    """The tables of the surrogate."""
    chosen = [row for row in rows() if not only or row.strategy in only]
    scored(options.cache, options.data)
    print(f"DARTS surrogate; {head(options.runs)}")
    for workers in options.workers:
        asked = [(row, workers) for row in chosen]
        found = measure(surrogate_run, asked, options.runs, options.processes, (options.data, options.cache))
        print(f"\n{workers} worker{'s' * (workers > 1)}: accuracy in % after so many full trainings' worth of epochs\n")
        print(f"| {'strategy':34} | " + " | ".join(f"{n:<13}" for n in TRAININGS) + f" | {'README, 1 worker':27} |")
        print(f"|{'-' * 36}|" + f"{'-' * 15}|" * len(TRAININGS) + f"{'-' * 29}|")
        for row in chosen:
            known = " ".join(f"{value:.2f}" for value in row.known)
            print(f"| {row.label:34} | {figures(found[row, workers])} | {known:27} |", flush=True)


def print_tables(options: argparse.Namespace, only: set[str]) -> None:
    """The other tables."""
    names = list(tables(options.data))
    strategies = sorted(only) or ["random", "evolution", "auto"]
    asked = [(name, strategy) for name in names for strategy in strategies]
    found = measure(table_run, asked, options.runs, options.processes, (options.data, None))
    print(f"Tables; {head(options.runs)}")
    print("\nWhat is left of the way from a table's median to its best, in %, after so many trainings\n")
    print(f"| {'table':26} | {'strategy':12} | " + " | ".join(f"{n:<13}" for n in TRAININGS) + " |")
    print(f"|{'-' * 28}|{'-' * 14}|" + f"{'-' * 15}|" * len(TRAININGS))
    for name in names:
        for strategy in strategies:
            print(f"| {name:26} | {strategy:12} | {figures(found[name, strategy], 1)} |")
    for strategy in strategies:
        means = [
            np.mean([found[name, strategy][run] for name in names], axis=0).tolist() for run in range(options.runs)
        ]
        print(f"| {'mean of all':26} | {strategy:12} | {figures(means, 1)} |")


def main() -> None:
    """Reads the options and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with nb301 and tables")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", help="names of strategies, with commas")
    parser.add_argument("--workers", default="1,16", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "nas-search-quality-scores.json")
    parser.add_argument("--tables", action="store_true", help="the tables instead of the surrogate")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes: each has a core
    only = set(filter(None, options.only.split(",")))
    (print_tables if options.tables else print_surrogate)(options, only)


if __name__ == "__main__":
    main()
