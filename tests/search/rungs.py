"""Searches with rungs that are made up: what their pruners would be shown."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nas.search.pruner import Pruner, Step
from nas.search.strategy import Observation


def at_rung(
    number: int, epoch: int, score: float, *before: tuple[int, float], others: tuple[float, ...] = ()
) -> Observation[str]:
    """A trial that is paused at a rung."""
    rungs = (*before, (epoch, score))
    return Observation(number, f"{number}", False, False, epoch, score, paused=True, rungs=rungs, others=others)


def grown(
    pruner: Pruner, epochs: int, trials: int, rng: random.Random, *, objectives: int = 1, workers: int = 3
) -> Iterator[list[Observation[Any]]]:
    """The history of a search after each thing that happens in it; some trials fail, break a limit or start over."""
    history: list[Observation[Any]] = []
    while True:
        running = [seen.number for seen in history if not seen.finished and not seen.paused]
        number = pruner.promote(history, epochs, closing=len(history) == trials and not running)
        if len(running) == workers or (number is None and len(history) == trials):
            if not running:
                return
            chosen = rng.choice(running)
            history[chosen] = _next(pruner, history, chosen, epochs, rng)
        elif number is not None:
            history[number] = replace(history[number], paused=False)
        else:
            others = tuple(float(rng.randrange(6)) for _ in range(objectives - 1))
            broken = rng.random() < 0.05
            history.append(
                Observation(len(history), f"{len(history)}", broken, False, 0, None, infeasible=broken, others=others)
            )
        yield list(history)


def _next(
    pruner: Pruner, history: list[Observation[Any]], number: int, epochs: int, rng: random.Random
) -> Observation[Any]:
    seen = history[number]
    dice = rng.random()
    if dice < 0.05:
        return replace(seen, finished=True, score=None)
    if dice < 0.1 and seen.rungs:  # its worker is lost; it goes on from its checkpoint
        return replace(seen, epoch=seen.rungs[-1][0], score=seen.rungs[-1][1])
    reached, score = seen.epoch + 1, rng.randrange(12) / 12
    if reached == epochs:
        return replace(seen, finished=True, complete=True, epoch=reached, score=score)
    if reached not in pruner.stages(number, epochs):
        return replace(seen, epoch=reached, score=score)
    there = replace(seen, epoch=reached, score=score, rungs=(*seen.rungs, (reached, score)))
    shown = [*history[:number], there, *history[number + 1 :]]
    step = pruner.after(number, shown, epochs)
    return replace(there, paused=step == Step.PAUSE, finished=step == Step.STOP)
