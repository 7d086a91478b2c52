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


def completed(candidates: list[C], scores: list[float] | None = None) -> list[Observation[C]]:
    """All of them trained to the end."""
    scores = scores or [score(candidate) for candidate in candidates]
    return [
        Observation(number, candidate, True, True, 8, accuracy)
        for number, (candidate, accuracy) in enumerate(zip(candidates, scores, strict=True))
    ]


def growing(candidates: list[C], rng: random.Random, epochs: int = 8) -> Iterator[list[Observation[C]]]:
    """The history of a job with some trials at once, after each thing that happens in it.

    Trials start, get on by an epoch, are lost and start over, are completed, pruned, break a limit, or fail at once or
    later.
    """
    history: list[Observation[C]] = []
    while len(history) < len(candidates) or not all(observation.finished for observation in history):
        running = [observation.number for observation in history if not observation.finished]
        if len(history) < len(candidates) and (len(running) < 3 or rng.random() < 0.1):
            history.append(Observation(len(history), candidates[len(history)], False, False, 0, None))
        else:
            number = rng.choice(running)
            history[number] = _next(history[number], rng, epochs)
        yield list(history)


def _next(observation: Observation[C], rng: random.Random, epochs: int) -> Observation[C]:
    dice = rng.random()
    if observation.epoch == 0 and dice < 0.03:
        return replace(observation, finished=True, accuracy=None, infeasible=True)
    if dice < 0.07:
        return replace(observation, finished=True, accuracy=None)
    if dice < 0.14:
        return replace(observation, epoch=0, accuracy=None)
    if observation.epoch == epochs:
        return replace(observation, finished=True, complete=True)
    if observation.epoch > 0 and dice < 0.45:
        return replace(observation, finished=True)
    accuracy = round(score(observation.candidate) * rng.uniform(0.5, 1), 3)
    return replace(observation, epoch=observation.epoch + 1, accuracy=accuracy)


def draw(space: Space[C], count: int, seed: int = 0) -> list[C]:
    """Random candidates of the space."""
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]
