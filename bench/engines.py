"""What running trials costs beyond training them: both engines beside plain Optuna and plain Ray Tune.

python bench/engines.py [--quick] [--lengths 0.1 1 10] [--systems "Optuna engine" …] [--backend sqlite] [--out FILE]

The systems run the same search one after the other, two processes of one thread each: TPE over the cells of the DARTS
space, no trial stopped early, every epoch reported. First with trials that train for about 0.1, 1 and 10 s on a core
(the number of images is what that takes here and now), then on scikit-learn's digits as they are. What the Optuna
engine proposes is what the plain scripts train; the Ray engine has the same seed. Ours keep a checkpoint of every
epoch and all rows that a dashboard shows; the plain scripts keep what their libraries keep.

Training is the time within `fit` up to its last epoch, validation included, without the reports of the epochs before:
a stopwatch in every process, see engines_timing. Overhead is what else passes on a process from the beginning of a
training to that of the next one: the proposal, the database, building the network, starting a process for it. `busy`
is training as a share of that, `whole` the same from the start of the first process to the end of the last trial,
with imports, a cluster's start and an idle process at the end. On a machine that does other work, training takes
longer and overhead as well: state the machine with the figures.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch
from engines_run import SYSTEMS, run
from engines_timing import Figures, figures
from engines_work import Work, of_length, on_digits

PROCESSES: Final = 2

LENGTHS: Final = {0.1: (80, 1), 1.0: (20, 4), 10.0: (6, 10)}
"""Seconds of training → trials, and epochs of each."""

FEWER: Final = {0.1: {"plain Ray Tune": 14}, 1.0: {"plain Ray Tune": 12}}
"""Trials of a system that would take minutes for as many as the others."""

DIGITS: Final = (16, 3)

TARGETS: Final = {
    "Optuna engine": ("< 20 ms", "0.97"),
    "Ray engine": ("plain Ray Tune's", "0.90"),
}
"""A system → its overhead a trial, at any length, and its share of training on digits."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    work: str
    system: str
    found: Figures

    def __str__(self) -> str:
        found, (overhead, busy) = self.found, TARGETS.get(self.system, ("", ""))
        target = busy if self.work == "digits" else overhead
        return (
            f"| {self.work} | {self.system} | {found.trials} | {found.rate:.2f} | {found.training_s:.3f} "
            f"| {1e3 * found.overhead_s:.0f} | {found.busy:.3f} | {found.whole:.3f} | {found.startup_s:.1f} "
            f"| {target} |"
        )


HEAD: Final = (
    "| trials | system | n | trials/s | training a trial, s | overhead a trial, ms | busy | whole | start-up, s "
    "| to reach |\n|---|---|---|---|---|---|---|---|---|---|"
)


def measure(work: Work, systems: Sequence[str], backend: str, say: Callable[[str], None]) -> None:
    """A row a system; the first one's candidates are what the plain scripts train."""
    for system in systems:
        fewer = FEWER.get(float(work.name.split()[0]), {}).get(system) if work.name.endswith(" s") else None
        mine = replace(work, spec=_cut(work.spec, fewer)) if fewer is not None and fewer < work.trials else work
        launched, trials, done = run(system, mine, backend)
        work = work if work.candidates else replace(work, candidates=done.candidates)
        say(str(Row(work.name, system, figures(trials, work.processes, launched))))


def _cut(spec: dict[str, object], trials: int) -> dict[str, object]:
    budget = spec["budget"]
    assert isinstance(budget, dict)
    return spec | {"budget": budget | {"trials": trials}}


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    processor = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "ray", "sqlalchemy"))
    load = os.getloadavg()[0]
    return f"{processor}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {packages}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="0.1 s and digits, few trials: a minute")
    parser.add_argument("--lengths", nargs="*", type=float, default=list(LENGTHS), choices=list(LENGTHS))
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--backend", default="sqlite", choices=["sqlite", "postgresql"], help="of our engines")
    parser.add_argument("--out", type=Path, help="a file that gets the table as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(line, flush=True)

    say(f"bench/engines.py, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {machine()}, our database {options.backend}\n")
    say(HEAD)
    with tempfile.TemporaryDirectory(prefix="nas-") as name:
        folder = Path(name)
        share = 4 if options.quick else 1
        for seconds in options.lengths[:1] if options.quick else options.lengths:
            trials, epochs = LENGTHS[seconds]
            measure(
                of_length(seconds, trials // share, epochs, PROCESSES, folder), options.systems, options.backend, say
            )
        trials, epochs = DIGITS
        measure(
            on_digits(trials // (share // 2 or 1), epochs, PROCESSES, folder), options.systems, options.backend, say
        )
    if options.out is not None:
        options.out.write_text("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
