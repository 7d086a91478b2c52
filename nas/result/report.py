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
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32

from nas.data.images import ImageSet
from nas.errors import GenotypeError, Stopped, VerificationFailed
from nas.model import cost_of, merge_weights
from nas.model.measure import latency_ms, peak_memory_mb
from nas.result import package
from nas.result.card import model_card
from nas.result.picture import architecture_svg
from nas.result.scores import NAMES, scores
from nas.result.verdict import Scored, verdict
from nas.result.verify import Verified, check
from nas.space import Candidate, Genotype, is_reduction, to_text
from nas.spec import JobSpec
from nas.train.loop import predict
from nas.train.metrics import measure

Outputs: TypeAlias = dict[int, Float32[npt.NDArray[np.float32], "images outputs"]]
"""Number of a retraining → what its network says of the test images."""

CPU: Final = torch.device("cpu")

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
    plugins: tuple[str, ...] = ()


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
    spec: JobSpec,
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
    outputs = {run.trial: _outputs(run, data) for run in (*runs, *controls, *references)}
    if should_stop():
        raise Stopped
    found = verdict(
        _scored(runs, outputs, data),
        [_scored([run for run in controls if run.digest == digest], outputs, data) for digest in _digests(controls)],
        _scored(references, outputs, data),
        seed=about.seed,
        score=NAMES[data.task],
        transfer=spec.transfer is not None,
    )
    accuracy = float(_scored([shipped], outputs, data).scores.plain[0])
    measured = measure(data.task, torch.from_numpy(outputs[shipped.trial]), torch.from_numpy(data.labels[data.test]))
    files = _files(shipped, found, accuracy, measured, data, spec, about)
    content = package.zip_bytes(files)
    found["shipped"] = {"trial": shipped.trial, "accuracy": accuracy, "metrics": measured} | asdict(
        _verify_afresh(content, data, accuracy, about.plugins, should_stop)
    )
    return Report(found, content, winner)


def _digests(runs: Sequence[Retrained]) -> list[str]:
    return list(dict.fromkeys(run.digest for run in runs))


def _outputs(run: Retrained, data: ImageSet) -> Float32[npt.NDArray[np.float32], "images outputs"]:
    """What a retrained network says of the test images: in float32 on the CPU, as the fresh process will."""
    return np.asarray(predict(_classifier(run, data), torch.from_numpy(data.images[data.test])).numpy())


def _classifier(run: Retrained, data: ImageSet) -> package.Classifier:
    empty = package.empty_classifier(run.candidate, task=data.task, in_channels=data.shape[0], outputs=data.outputs)
    return package.load_weights(empty, run.weights)


def _scored(runs: Sequence[Retrained], outputs: Outputs, data: ImageSet) -> Scored:
    stacked = np.stack([outputs[run.trial] for run in runs])
    return Scored(runs[0].trial, runs[0].params, scores(data.task, stacked, data.labels[data.test]), len(data.test))


def _files(
    shipped: Retrained,
    found: dict[str, Any],
    accuracy: float,
    measured: dict[str, float],
    data: ImageSet,
    spec: JobSpec,
    about: About,
) -> dict[str, bytes]:
    candidate = shipped.candidate
    classifier = _classifier(shipped, data)
    cost = cost_of(candidate, image=data.shape, outputs=data.outputs)
    recipe = spec.recipe_for(candidate, data.shape, epochs=spec.final.epochs, images=len(data.train))
    shape: dict[str, Any] = {"candidate": candidate.to_json()}
    if isinstance(candidate.architecture, Genotype):
        shape |= {"genotype": candidate.architecture.to_json()} | _darts(candidate.architecture)
        shape |= {"channels": candidate.shape.channels, "cells": len(is_reduction(candidate.shape))}
    metrics = {
        "accuracy": accuracy,
        "metrics": measured,
        "verdict": found,
        "params": cost.params,
        "macs": cost.macs,
        "measured": {
            "device": "cpu",
            "batch_size": 1,
            "latency_ms": latency_ms(classifier.network, image=data.shape, batch_size=1, device=CPU),
            "memory_mb": peak_memory_mb(classifier.network, image=data.shape, batch_size=1, device=CPU),
        },
        "recipe": recipe.to_json(),
        "merge_weights": merge_weights(classifier.network),
        "data": {
            "name": about.dataset,
            "digest": data.digest,
            "task": data.task,
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
        package.CELLS: architecture_svg(candidate, title=f"{about.name or about.job_id}: {about.dataset}").encode(),
    }


def _darts(genotype: Genotype) -> dict[str, str]:
    """The DARTS text, which only has words for nodes of two inputs."""
    try:
        return {"darts": to_text(genotype)}
    except GenotypeError:
        return {}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _verify_afresh(
    content: bytes, data: ImageSet, accuracy: float, plugins: Sequence[str], should_stop: Callable[[], bool]
) -> Verified:
    with tempfile.TemporaryDirectory(prefix="nas-verify-") as folder:
        zipped, arrays = Path(folder) / "model.zip", Path(folder) / "data.npz"
        zipped.write_bytes(content)
        data.save(arrays)
        command = [sys.executable, "-m", "nas.result.verify", str(zipped), str(arrays), *plugins]
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
