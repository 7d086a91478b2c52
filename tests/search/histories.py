"""Jobs that are made up: what their strategies would be shown, trial after trial."""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nas.search.strategy import Observation
from nas.space import Candidate, Genotype, Space

OPTIMUM = "sep_conv_3x3"


def score(candidate: Candidate) -> float:
    """The share of edges that are separable 3×3 convolutions: an accuracy that a strategy can learn to raise."""
    genotype = candidate.architecture
    assert isinstance(genotype, Genotype)
    ops = [edge.op for cell in (genotype.normal, genotype.reduce) for edges in cell.nodes for edge in edges]
    return ops.count(OPTIMUM) / len(ops)


def completed(candidates: list[Candidate], scores: list[float] | None = None) -> list[Observation]:
    """All of them trained to the end."""
    scores = scores or [score(candidate) for candidate in candidates]
    return [
        Observation(number, candidate, True, True, 8, accuracy)
        for number, (candidate, accuracy) in enumerate(zip(candidates, scores, strict=True))
    ]


def growing(candidates: list[Candidate], rng: random.Random, epochs: int = 8) -> Iterator[list[Observation]]:
    """The history of a job with some trials at once, after each thing that happens in it.

    Trials start, get on by an epoch, are lost and start over, are completed, pruned, or fail at once or later.
    """
    history: list[Observation] = []
    while len(history) < len(candidates) or not all(observation.finished for observation in history):
        running = [observation.number for observation in history if not observation.finished]
        if len(history) < len(candidates) and (len(running) < 3 or rng.random() < 0.1):
            history.append(Observation(len(history), candidates[len(history)], False, False, 0, None))
        else:
            number = rng.choice(running)
            history[number] = _next(history[number], rng, epochs)
        yield list(history)


def _next(observation: Observation, rng: random.Random, epochs: int) -> Observation:
    dice = rng.random()
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


def draw(space: Space, count: int, seed: int = 0) -> list[Candidate]:
    """Random candidates of the space."""
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]
