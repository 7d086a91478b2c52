"""Milliseconds that a proposal takes, strategy by strategy, by the number of trials in the history.

python bench/proposals.py [--strategies tpe gp] [--trials 100 1000 10000] [--asks 10]

The history is that of a job with successive halving (rungs 4, 11, 33 of 98 epochs): most trials wait at a rung, some
run, failed or break a limit. `first` is what a worker pays that has just started; `then` is the median over further
asks, each after a new trial and the promotion of another one, as a worker asks. The space is that of cells with all
operations; where a strategy refuses it, one of numbers or a small one. State the machine with the figures.
"""

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np

from nas.search.catalog import STRATEGIES, make_strategy
from nas.search.strategy import Observation
from nas.space import CategoricalSpace, CellSpace, Integer, JointSpace, Real, Space
from nas.space.operations import DEFAULT_OPERATIONS

CELLS = CellSpace(tuple(DEFAULT_OPERATIONS), nodes=4)
SPACES: tuple[Space[Any], ...] = (
    CELLS,
    JointSpace(CELLS, (("space.channels", Integer(4, 64)), ("recipe.lr", Real(1e-4, 1.0, log=True)))),
    CategoricalSpace({f"edge {index}": tuple("abcdefghij") for index in range(4)}),
)
RUNGS = (4, 11, 33, 98)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
parser.add_argument("--trials", nargs="+", type=int, default=[100, 1_000, 10_000])
parser.add_argument("--asks", type=int, default=10)
parser.add_argument("--objectives", type=int, default=1)
options = parser.parse_args()


def history_of(space: Space[Any], count: int, objectives: int) -> list[Observation[Any]]:
    """A made-up job: one trial in three goes on at each rung; one in fifty runs, failed, or breaks a limit."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        candidate, others = space.sample(rng), tuple(rng.normal(size=objectives - 1).tolist())
        goodness, reached, kind = rng.normal(), min(int(rng.geometric(2 / 3)), len(RUNGS)), int(rng.integers(150))
        if kind < 3:
            found.append(Observation(number, candidate, kind > 0, False, 0, None, infeasible=kind == 1))
            continue
        scores = tuple((rung, 0.9 + 0.01 * (goodness + np.log(rung) + rng.normal())) for rung in RUNGS[:reached])
        epoch, score = scores[-1]
        complete = epoch == RUNGS[-1]
        found.append(
            Observation(
                number, candidate, complete, complete, epoch, score, paused=not complete, rungs=scores, others=others
            )
        )
    return found


def promoted(history: list[Observation[Any]], rng: np.random.Generator) -> list[Observation[Any]]:
    """One that waits has reached the next rung."""
    found = list(history)
    index = int(rng.choice([index for index, observation in enumerate(found) if observation.paused]))
    before = found[index]
    rung, score = RUNGS[len(before.rungs)], (before.score or 0.0) + 0.01
    complete = rung == RUNGS[-1]
    found[index] = replace(
        before,
        epoch=rung,
        score=score,
        rungs=(*before.rungs, (rung, score)),
        finished=complete,
        complete=complete,
        paused=not complete,
    )
    return found


def measure(name: str, count: int) -> tuple[float, float]:
    """Milliseconds of the first proposal and of those that follow."""
    space = next(space for space in SPACES if STRATEGIES[name].refuses(space) is None)
    strategy, rng = make_strategy(name), np.random.default_rng(1)
    history, taken = history_of(space, count + options.asks, options.objectives), []
    for ask in range(options.asks + 1):
        shown = history[: count + ask]
        began = time.perf_counter()
        strategy.propose(space, shown, ask)
        taken.append(1e3 * (time.perf_counter() - began))
        history = promoted(history, rng)
    return taken[0], statistics.median(taken[1:])


print("strategy      " + "".join(f"{f'{count:,} trials':>22}" for count in options.trials))
print("              " + f"{'first':>13}{'then':>9}" * len(options.trials))
for name in options.strategies:
    if STRATEGIES[name].prepares == "supernet":
        continue  # proposes nothing
    make_strategy(name).propose(SPACES[-1], history_of(SPACES[-1], 50, 1), 0)  # imports its libraries
    figures = [measure(name, count) for count in options.trials]
    print(f"{name:14}" + "".join(f"{first:13.1f}{then:9.1f}" for first, then in figures), flush=True)
