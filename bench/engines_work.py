"""The work that all systems do alike: trials that train for about a given time, on a data set made for that."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import engines_timing  # noqa: F401 - a stopwatch in every process that trains
import numpy as np
import torch

from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.seeds import derive
from nas.space import Candidate
from nas.space.canonical import digest
from nas.spec import JobSpec
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from worker.evaluate import evaluate

FRAME: Final = {"nodes": 4, "channels": 4, "cells": 3}
"""Cells of the DARTS space, in networks that are small enough for short trials."""

BATCH: Final = 64
SAMPLES: Final = 6
"""Networks by which the length of a trial is calibrated."""


@dataclass(frozen=True, slots=True)
class Work:
    """A search to be run.

    Attributes:
        name: of a row's section.
        spec: of the job; a plain script takes its space, recipe, seed and epochs from it.
        data: file with the images.
        candidates: what a plain script trains, as JSON, in this order; our engines propose them.
        processes: that train at once, one thread each.
    """

    name: str
    spec: dict[str, Any]
    data: str
    candidates: tuple[dict[str, Any], ...]
    processes: int

    @property
    def trials(self) -> int:
        """How many."""
        return int(self.spec["budget"]["trials"])

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of to_json."""
        found = json.loads(text)
        return cls(**found | {"candidates": tuple(found["candidates"])})


def train(
    spec: JobSpec,
    data: ImageSet,
    candidate: Candidate,
    on_epoch: Callable[[EpochResult, Callable[[], Checkpoint]], bool],
) -> None:
    """Trains as a search trial of a worker does, and keeps nothing."""
    recipe = spec.recipe_for(candidate, data.shape, epochs=spec.budget.epochs, images=len(data.train))
    seed = derive(spec.seed, "train", digest(candidate))
    device = torch.device("cpu")
    evaluate(candidate, data, recipe, seed=seed, device=device, on_epoch=on_epoch, should_stop=lambda: False)


def job(trials: int, epochs: int) -> dict[str, Any]:
    """A search without pruning, so that every system trains the same."""
    return {
        "dataset": "bench",
        "space": FRAME,
        "strategy": "tpe",
        "pruning": "none",
        "recipe": {"batch_size": BATCH},
        "budget": {"trials": trials, "epochs": epochs},
        "final": {"finalists": 1, "controls": 1, "epochs": 1, "seeds": 1},
    }


def of_length(seconds: float, trials: int, epochs: int, processes: int, folder: Path) -> Work:
    """Trials that train for about so long on one core: as many images an epoch as that takes here and now."""
    spec = job(trials, epochs)
    parsed = JobSpec.model_validate(spec)
    step_s = _step_s(parsed)
    batches = max(1, round(seconds / epochs / step_s))
    path = folder / f"{seconds:g}.npz"
    digits(BATCH * batches).save(path)
    return Work(f"{seconds:g} s", spec, str(path), (), processes)


def on_digits(trials: int, epochs: int, processes: int, folder: Path) -> Work:
    """Trials on scikit-learn's digits as they are."""
    path = folder / "digits.npz"
    BUILTIN["digits"].load(None).save(path)
    return Work("digits", job(trials, epochs), str(path), (), processes)


def digits(count: int, validation: int = BATCH) -> ImageSet:
    """scikit-learn's digits, so many of them to train on, over and over if need be."""
    found = BUILTIN["digits"].load(None)
    train = np.resize(found.train, count)
    chosen = np.concatenate([train, found.validation[:validation], found.test])
    begin, end = count, count + validation
    return ImageSet(
        found.images[chosen],
        found.labels[chosen],
        found.classes,
        train=np.arange(begin),
        validation=np.arange(begin, end),
        test=np.arange(end, len(chosen)),
    )


def _step_s(spec: JobSpec) -> float:
    """What a batch takes, by random networks of the space: the mean of them, each by its best of three."""
    few, many = digits(2 * BATCH), digits(6 * BATCH)
    rng, space, found = np.random.default_rng(0), spec.space.base(), []
    for _ in range(SAMPLES):
        candidate = space.sample(rng)
        took = [min(_seconds(spec, data, candidate) for _ in range(3)) for data in (few, many)]
        found.append((took[1] - took[0]) / 4)
    return float(np.mean(found))


def _seconds(spec: JobSpec, data: ImageSet, candidate: Candidate) -> float:
    """Of the first epoch."""
    taken: list[float] = []

    def stop(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        taken.append(result.seconds)
        return False

    begin = time.perf_counter()
    train(spec, data, candidate, stop)
    return taken[0] if taken else time.perf_counter() - begin
