"""Jobs that are made up: what their strategies would be shown, trial after trial."""

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from nas.search.strategy import Observation
from nas.space import Candidate, Genotype, Space

C = TypeVar("C")

OPTIMUM = "sep_conv_3x3"


def score(candidate: Any) -> float:
    """The share of edges that are separable 3×3 convolutions: an accuracy that a strategy can learn to raise.

    Of other candidates than cells it is some number from 0 to 1, always the same one.
    """
    genotype = candidate.architecture if isinstance(candidate, Candidate) else None
    if not isinstance(genotype, Genotype):
        return int(hashlib.sha256(json.dumps(candidate.to_json()).encode()).hexdigest()[:8], 16) / 2**32
    ops = [edge.op for cell in (genotype.normal, genotype.reduce) for edges in cell.nodes for edge in edges]
    return ops.count(OPTIMUM) / len(ops)


def cost(candidate: Any) -> float:
    """Something else to maximise: a number from -1 to 0, always the same one for a candidate."""
    return -int(hashlib.sha256(repr(candidate).encode()).hexdigest()[:8], 16) / 2**32


def completed(candidates: list[C], scores: list[float] | None = None, objectives: int = 1) -> list[Observation[C]]:
    """All of them trained to the end."""
    scores = scores or [score(candidate) for candidate in candidates]
    return [
        Observation(number, candidate, True, True, 8, accuracy, others=(cost(candidate),) * (objectives - 1))
        for number, (candidate, accuracy) in enumerate(zip(candidates, scores, strict=True))
    ]


def halved(candidates: list[C], objectives: int = 1) -> list[Observation[C]]:
    """Half of them wait at the rung of 2 epochs, a third at that of 4, and a sixth is trained to the end."""
    found = []
    for number, candidate in enumerate(candidates):
        reached = 1 + (number % 2) + (number % 6 == 5)
        rungs = tuple((epoch, score(candidate) * epoch / (epoch + 1)) for epoch in (2, 4, 8)[:reached])
        found.append(
            Observation(
                number=number,
                candidate=candidate,
                finished=reached == 3,
                complete=reached == 3,
                epoch=rungs[-1][0],
                score=rungs[-1][1],
                paused=reached < 3,
                rungs=rungs,
                others=(cost(candidate),) * (objectives - 1),
            )
        )
    return found


def growing(
    candidates: list[C], rng: random.Random, epochs: int = 8, rungs: tuple[int, ...] = (2, 4), objectives: int = 1
) -> Iterator[list[Observation[C]]]:
    """The history of a job with some trials at once, after each thing that happens in it.

    Trials start, get on by an epoch, are lost and start over or go back to their last rung, pause at rungs, are
    promoted, completed, stopped early, break a limit, or fail at once or later. Some wait at a rung for ever.
    """
    history: list[Observation[C]] = []
    while True:
        running = [one.number for one in history if not one.finished and not one.paused]
        paused = [one.number for one in history if one.paused]
        if len(history) == len(candidates) and not running:
            return
        if len(history) < len(candidates) and (len(running) < 3 or rng.random() < 0.1):
            others = (cost(candidates[len(history)]),) * (objectives - 1)
            history.append(Observation(len(history), candidates[len(history)], False, False, 0, None, others=others))
        elif paused and rng.random() < 0.15:
            number = rng.choice(paused)
            history[number] = replace(history[number], paused=False)
        elif running:
            number = rng.choice(running)
            history[number] = _next(history[number], rng, epochs, rungs)
        yield list(history)


def _next(observation: Observation[C], rng: random.Random, epochs: int, rungs: tuple[int, ...]) -> Observation[C]:
    dice = rng.random()
    if observation.epoch == 0 and dice < 0.03:
        return replace(observation, finished=True, score=None, infeasible=True)
    if dice < 0.07:
        return replace(observation, finished=True, score=None)
    if dice < 0.14:
        epoch, last = observation.rungs[-1] if observation.rungs else (0, None)
        return replace(observation, epoch=epoch, score=last)
    if observation.epoch == epochs:
        return replace(observation, finished=True, complete=True)
    if observation.epoch > 0 and dice < 0.25:
        return replace(observation, finished=True)
    epoch = observation.epoch + 1
    accuracy = round(score(observation.candidate) * rng.uniform(0.5, 1), 3)
    if epoch not in rungs:
        return replace(observation, epoch=epoch, score=accuracy)
    reached = (*observation.rungs, (epoch, accuracy))
    return replace(observation, epoch=epoch, score=accuracy, rungs=reached, paused=dice < 0.9)


def draw(space: Space[C], count: int, seed: int = 0) -> list[C]:
    """Random candidates of the space."""
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]
