"""A stopwatch in every process that trains, and what the times of many trials add up to.

As a plugin module (NAS_PLUGINS=engines_timing) it is imported by whatever trains, whichever system that belongs to, and
puts the stopwatch around `fit`. NAS_BENCH_TIMES names the file that gets a line a trial.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import worker.evaluate
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe

LOSSES: Final[Mapping[str, Any]] = {}
"""None: a plugin module has to have one of the tables."""

TIMES: Final = "NAS_BENCH_TIMES"


@dataclass(frozen=True, slots=True)
class Timed:
    """The training of a trial.

    Attributes:
        pid: of the process.
        began, ended: when `fit` began, and when its last epoch was ready to be reported: Unix times.
        training_s: between the two, less what reporting the epochs before took.
        epochs: how many.
    """

    pid: int
    began: float
    ended: float
    training_s: float
    epochs: int


def read(path: Path) -> list[Timed]:
    """The trials of a file, in the order in which they began."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted((Timed(**json.loads(line)) for line in lines), key=lambda one: one.began)


def _stopwatch(fit: Callable[..., None], path: Path) -> Callable[..., None]:
    def timed(network: Any, train: Any, validation: Any, recipe: Recipe, *, on_epoch: Any, **others: Any) -> None:
        began, clock = time.time(), time.perf_counter
        begin, reporting_s = clock(), 0.0

        def counted(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
            nonlocal reporting_s
            ready = clock()
            if result.epoch == recipe.epochs:  # before it is reported: a scheduler may end the process with that
                training_s = ready - begin - reporting_s
                note = Timed(os.getpid(), began, began + ready - begin, training_s, result.epoch)
                with path.open("a") as file:
                    file.write(json.dumps(asdict(note)) + "\n")
            goes_on: bool = on_epoch(result, take)
            reporting_s += clock() - ready
            return goes_on

        fit(network, train, validation, recipe, on_epoch=counted, **others)

    return timed


if TIMES in os.environ:
    worker.evaluate.fit = _stopwatch(worker.evaluate.fit, Path(os.environ[TIMES]))


# --- what they add up to


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the trials of one run, on so many processes.

    A turn lasts from the beginning of a training to that of the next one in the same place: what is not training in it
    is overhead. Neither start-up nor the end, when there is nothing left for a process to do, are part of any turn.

    Attributes:
        trials: how many.
        rate: trials a second, of all processes together, by the mean turn.
        training_s: mean of a trial.
        overhead_s: mean of a turn.
        busy: training in all turns, as a share of them.
        whole: training of all trials, as a share of processes × (start of the first process to end of the last trial).
        startup_s: from the start of the first process to the first training.
    """

    trials: int
    rate: float
    training_s: float
    overhead_s: float
    busy: float
    whole: float
    startup_s: float


def figures(trials: Sequence[Timed], processes: int, launched: float) -> Figures:
    """What the times of a run come to.

    Args:
        trials: in the order in which they began.
        processes: that train at once.
        launched: when the first process was started, as a Unix time.
    """
    turns = [(later.began - one.began, one.training_s) for one, later in _followed(trials, processes)]
    turn_s, training_s = (sum(column) for column in zip(*turns, strict=True))
    whole_s = processes * (max(one.ended for one in trials) - launched)
    every_s = sum(one.training_s for one in trials)
    return Figures(
        trials=len(trials),
        rate=processes * len(turns) / turn_s,
        training_s=every_s / len(trials),
        overhead_s=(turn_s - training_s) / len(turns),
        busy=training_s / turn_s,
        whole=every_s / whole_s,
        startup_s=trials[0].began - launched,
    )


def _followed(trials: Sequence[Timed], processes: int) -> list[tuple[Timed, Timed]]:
    """Each trial with the next one in its place: the place that was free first.

    Process ids would not tell: without reuse each trial has a process of its own.
    """
    places, pairs = list(trials[:processes]), []
    for later in trials[processes:]:
        free = min(range(processes), key=lambda index: places[index].ended)
        pairs.append((places[free], later))
        places[free] = later
    return pairs
