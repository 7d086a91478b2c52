"""The last step of a job: choose by validation, read test once, say what it means, package it, prove the package."""

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.data.images import ImageSet
from nas.errors import Stopped, VerificationFailed
from nas.model import cost_of
from nas.result import package
from nas.result.card import model_card
from nas.result.cells import cells_svg
from nas.result.verdict import Scored, verdict
from nas.result.verify import Verified, check
from nas.space import Candidate, CellSpace, Genotype, to_text
from nas.train.loop import predict
from nas.train.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class Retrained:
    """One retraining: which network, with which seed, and what became of it.

    Attributes:
        trial: number of the retraining.
        seed_index: which of the job's seeds.
        params: of the network.
        validation_accuracy: after the last epoch.
        weights: safetensors of the classifier.
    """

    trial: int
    candidate: Candidate
    digest: str
    seed_index: int
    params: int
    validation_accuracy: float
    weights: bytes


@dataclass(frozen=True, eq=False, slots=True)
class Report:
    """What a finished job hands over."""

    verdict: dict[str, Any]
    package: bytes
    winner_digest: str


@dataclass(frozen=True, slots=True)
class About:
    """What the package says of the job that it comes from."""

    job_id: str
    name: str | None
    dataset: str
    strategy: str
    seed: int
    trials: int


def choose_winner(finalists: Sequence[Retrained]) -> str:
    """The digest of the finalist with the best mean validation accuracy over its seeds; ties go to the smaller one."""

    def merit(digest: str) -> tuple[float, int]:
        runs = [run for run in finalists if run.digest == digest]
        return float(np.mean([run.validation_accuracy for run in runs])), -runs[0].params

    return max(sorted({run.digest for run in finalists}), key=merit)


def make_report(
    finalists: Sequence[Retrained],
    controls: Sequence[Retrained],
    references: Sequence[Retrained],
    data: ImageSet,
    *,
    space: CellSpace,
    recipe: Recipe,
    about: About,
    should_stop: Callable[[], bool],
) -> Report:
    """Chooses, scores, judges, packages and verifies.

    The winner and the seed whose weights are shipped are chosen by validation; the test split is read here, once,
    for the winner, the controls and the reference.

    Raises:
        VerificationFailed: the package does not reproduce its score; there is no report then.
        Stopped: `should_stop` said so.
    """
    winner = choose_winner(finalists)
    runs = [run for run in finalists if run.digest == winner]
    shipped = max(runs, key=lambda run: (run.validation_accuracy, -run.seed_index))
    scores = {run.trial: _score(run, data, space) for run in (*runs, *controls, *references)}
    if should_stop():
        raise Stopped
    found = verdict(
        _scored(runs, scores),
        [_scored([run for run in controls if run.digest == digest], scores) for digest in _digests(controls)],
        _scored(references, scores),
        seed=about.seed,
    )
    accuracy = float(scores[shipped.trial].mean())
    files = _files(shipped, found, accuracy, data, space, recipe, about)
    content = package.zip_bytes(files)
    found["shipped"] = {"trial": shipped.trial, "accuracy": accuracy} | asdict(
        _verify_afresh(content, data, accuracy, should_stop)
    )
    return Report(found, content, winner)


def _digests(runs: Sequence[Retrained]) -> list[str]:
    return list(dict.fromkeys(run.digest for run in runs))


def _score(run: Retrained, data: ImageSet, space: CellSpace) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which test images a retrained network classifies correctly: in float32 on the CPU, as the fresh process will."""
    classifier = _classifier(run, data, space)
    logits = predict(classifier, torch.from_numpy(data.images[data.test]))
    return np.asarray(logits.argmax(dim=1).numpy() == data.labels[data.test])


def _classifier(run: Retrained, data: ImageSet, space: CellSpace) -> package.Classifier:
    empty = package.empty_classifier(
        run.candidate,
        channels=space.channels,
        cells=space.cells,
        in_channels=data.shape[0],
        classes=len(data.classes),
    )
    return package.load_weights(empty, run.weights)


def _scored(runs: Sequence[Retrained], scores: dict[int, np.ndarray[Any, np.dtype[np.bool_]]]) -> Scored:
    return Scored(runs[0].trial, runs[0].params, np.stack([scores[run.trial] for run in runs]))


def _files(
    shipped: Retrained,
    found: dict[str, Any],
    accuracy: float,
    data: ImageSet,
    space: CellSpace,
    recipe: Recipe,
    about: About,
) -> dict[str, bytes]:
    genotype = shipped.candidate.architecture
    if not isinstance(genotype, Genotype):
        raise TypeError(f"a winner is a genotype, not {genotype}")
    classifier = _classifier(shipped, data, space)
    cost = cost_of(
        shipped.candidate, channels=space.channels, cells=space.cells, image=data.shape, classes=len(data.classes)
    )
    shape = {
        "genotype": genotype.to_json(),
        "darts": to_text(genotype),
        "channels": space.channels,
        "cells": space.cells,
    }
    metrics = {
        "accuracy": accuracy,
        "verdict": found,
        "params": cost.params,
        "macs": cost.macs,
        "recipe": recipe.to_json(),
        "data": {
            "name": about.dataset,
            "digest": data.digest,
            "image": list(data.shape),
            "value_range": [int(data.images.min()), int(data.images.max())],
            "classes": list(data.classes),
            "splits": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
            "test_indices": data.test.tolist(),
        },
        "job": asdict(about),
        "versions": {name: version(name) for name in ("torch", "onnx", "optuna", "numpy")},
    }
    return {
        package.GENOTYPE: _json(shape),
        package.WEIGHTS: shipped.weights,
        package.ONNX: package.onnx_bytes(classifier, data.shape),
        package.METRICS: _json(metrics),
        package.CARD: model_card(shape, metrics).encode(),
        package.CELLS: cells_svg(genotype, title=f"{about.name or about.job_id}: {about.dataset}").encode(),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _verify_afresh(content: bytes, data: ImageSet, accuracy: float, should_stop: Callable[[], bool]) -> Verified:
    with tempfile.TemporaryDirectory(prefix="nas-verify-") as folder:
        zipped, arrays = Path(folder) / "model.zip", Path(folder) / "data.npz"
        zipped.write_bytes(content)
        arrays.write_bytes(data.to_bytes())
        command = [sys.executable, "-m", "nas.result.verify", str(zipped), str(arrays)]
        # A session of its own: Ctrl-C is for the worker, which then stops this process itself.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            while True:
                try:
                    out, error = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if should_stop():
                        process.kill()
                        raise Stopped from None
    if process.returncode != 0:
        raise VerificationFailed(f"the package does not load in a fresh process:\n{error}")
    verified = Verified(**json.loads(out.strip().splitlines()[-1]))
    check(verified, accuracy)
    log.info("verified in a fresh process: %s", verified)
    return verified
