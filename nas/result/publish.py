"""A package of one retraining: its test score, its files, zipped, and proven in a fresh process."""

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

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
from nas.result.classes import by_class
from nas.result.html import Made, package_page
from nas.result.picture import architecture_svg
from nas.result.scores import scores
from nas.result.story import Story
from nas.result.verify import Verified, check
from nas.space import Candidate, Genotype, is_reduction, to_text
from nas.spec import JobSpec
from nas.train.loop import predict
from nas.train.metrics import measure

CPU: Final = torch.device("cpu")

ALONE: Final = (
    "This is a single retraining of trial {searched} of the search, with one seed and without controls: there is no "
    "verdict, and no interval says how much of its score is luck. The test split was read for this score alone; who "
    "compares several retrainings by it chooses by test images, and the best of them will look better than it is."
)

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


@dataclass(frozen=True, eq=False, slots=True)
class Published:
    """A package that was verified, and what it scores on the test split."""

    content: bytes
    accuracy: float
    metrics: dict[str, float]
    verified: Verified


def make_package(
    run: Retrained,
    data: ImageSet,
    *,
    searched: int,
    spec: JobSpec,
    about: About,
    should_stop: Callable[[], bool],
) -> bytes:
    """The package of a network that was retrained alone, whose card and metrics.json say that there is no verdict.

    Args:
        run: the retraining.
        data: its test split is read here, once.
        searched: number of the search trial that was retrained.
        spec: of the job, with the retraining's epochs.
        about: the job.
        should_stop: asked again and again.

    Raises:
        VerificationFailed: the package does not reproduce its score.
        Stopped: `should_stop` said so.
    """
    outputs = outputs_on_test(run, data)
    if should_stop():
        raise Stopped
    alone = {
        "trial": run.trial,
        "search_trial": searched,
        "seed_index": run.seed_index,
        "validation_accuracy": run.validation_accuracy,
        "text": ALONE.format(searched=searched),
    }
    says = {"verdict": None, "retraining": alone}
    return publish(run, outputs, says, data, spec=spec, about=about, should_stop=should_stop).content


def publish(
    run: Retrained,
    outputs: Float32[npt.NDArray[np.float32], "images outputs"],
    says: dict[str, Any],
    data: ImageSet,
    *,
    spec: JobSpec,
    about: About,
    should_stop: Callable[[], bool],
    story: Story | None = None,
) -> Published:
    """Packages a retraining, loads the package in a fresh process, and scores it there again.

    Args:
        run: the retraining.
        outputs: what its network says of the test images.
        says: what metrics.json says of the score: `verdict`, and `retraining` where there is none.
        data, spec, about, should_stop: see make_package.
        story: of the job, for its report.html; without one that tells of the network alone.

    Raises:
        VerificationFailed, Stopped: see make_package.
    """
    labels = data.labels[data.test]
    accuracy = float(scores(data.task, outputs[np.newaxis], labels).plain[0])
    measured = measure(data.task, torch.from_numpy(outputs), torch.from_numpy(labels))
    measured_here = {"accuracy": accuracy, "metrics": measured} | by_class(data.task, outputs, labels, data.classes)
    content = package.zip_bytes(_files(run, measured_here | says, data, spec, about, story))
    return Published(content, accuracy, measured, _verify_afresh(content, data, accuracy, about.plugins, should_stop))


def outputs_on_test(run: Retrained, data: ImageSet) -> Float32[npt.NDArray[np.float32], "images outputs"]:
    """What a retrained network says of the test images: in float32 on the CPU, as the fresh process will."""
    return np.asarray(predict(_classifier(run, data), torch.from_numpy(data.images[data.test])).numpy())


def _classifier(run: Retrained, data: ImageSet) -> package.Classifier:
    empty = package.empty_classifier(run.candidate, task=data.task, in_channels=data.shape[0], outputs=data.outputs)
    return package.load_weights(empty, run.weights)


def _files(
    run: Retrained, found: dict[str, Any], data: ImageSet, spec: JobSpec, about: About, story: Story | None
) -> dict[str, bytes]:
    candidate = run.candidate
    classifier = _classifier(run, data)
    cost = cost_of(candidate, image=data.shape, outputs=data.outputs)
    recipe = spec.recipe_for(candidate, data.shape, epochs=spec.final.epochs, images=len(data.train))
    shape: dict[str, Any] = {"candidate": candidate.to_json()}
    if isinstance(candidate.architecture, Genotype):
        shape |= {"genotype": candidate.architecture.to_json()} | _darts(candidate.architecture)
        shape |= {"channels": candidate.shape.channels, "cells": len(is_reduction(candidate.shape))}
    metrics = found | {
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
        package.WEIGHTS: run.weights,
        package.ONNX: package.onnx_bytes(classifier, data.shape),
        package.METRICS: _json(metrics),
        package.CARD: model_card(shape, metrics).encode(),
        package.CELLS: architecture_svg(candidate, title=f"{about.name or about.job_id}: {about.dataset}").encode(),
        package.REPORT: package_page(Made(shape, metrics), story).encode(),
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
