"""The package: what goes in comes out, and what is not one is refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import nas
from nas.data.builtin import BUILTIN
from nas.errors import InvalidInput, Stopped, VerificationFailed
from nas.result import package
from nas.result.report import About, Report, Retrained, choose_winner, make_report
from nas.result.verify import Verified, check
from nas.space import Candidate, CellSpace, Genotype, ResidualNet, Shape
from nas.space.operations import DEFAULT_OPERATIONS
from nas.spec import FinalSpec, JobSpec, SpaceSpec

SPACE = CellSpace(DEFAULT_OPERATIONS, nodes=2, shape=Shape(channels=4, cells=3))
SPEC = JobSpec(
    dataset="digits", space=SpaceSpec.model_validate({"nodes": 2, "channels": 4, "cells": 3}), final=FinalSpec(epochs=1)
)
DIGITS = BUILTIN["digits"].load()
ABOUT = About("abc", None, "digits", "random", 0, 5)


def retrained(candidate: Candidate, trial: int, seed_index: int = 0, accuracy: float = 0.5) -> Retrained:
    torch.manual_seed(trial)
    made = package.empty_classifier(candidate, task="single_label", in_channels=1, outputs=10)
    made.normalise.mean.fill_(5.0)
    made.normalise.std.fill_(6.0)
    digest = SPACE.digest(candidate)
    return Retrained(trial, candidate, digest, seed_index, 1000, accuracy, package.weights_to_bytes(made))


@pytest.fixture(scope="module")
def made() -> Report:
    rng = np.random.default_rng(0)
    winner, control = SPACE.sample(rng), SPACE.sample(rng)
    return make_report(
        [retrained(winner, 1, 0, 0.6), retrained(winner, 2, 1, 0.8), retrained(control, 3, 0, 0.1)],
        [retrained(control, 4)],
        [retrained(Candidate(ResidualNet(4, 1)), 5)],
        DIGITS,
        spec=SPEC,
        about=ABOUT,
        should_stop=lambda: False,
    )


def test_the_seed_that_validation_likes_best_is_shipped_with_its_own_score(made: Report, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(made.package)
    network = nas.load(path)
    with torch.no_grad():
        logits = network(torch.from_numpy(DIGITS.images[DIGITS.test]))
    accuracy = float((logits.argmax(dim=1).numpy() == DIGITS.labels[DIGITS.test]).mean())
    assert made.verdict["shipped"]["trial"] == 2
    took = network.metrics["measured"]
    assert (took["device"], took["batch_size"]) == ("cpu", 1)
    assert 0 < took["latency_ms"] < 10_000
    # The weights and one float32 image at the least.
    assert took["memory_mb"] * 1e6 >= 4 * (network.metrics["params"] + 64)
    assert made.verdict["shipped"]["accuracy"] == accuracy == network.metrics["accuracy"]
    assert made.verdict["shipped"]["onnx_difference"] <= 1e-4
    assert made.verdict["winner"]["accuracies"][1] == accuracy
    assert network.metrics["data"]["test_indices"] == DIGITS.test.tolist()


def test_what_differs_in_the_fresh_process_is_not_published() -> None:
    check(Verified(0.5, 0.5, 1e-6), 0.5)
    with pytest.raises(VerificationFailed, match=r"scores 0\.500000 .* but 0\.510000"):
        check(Verified(0.5, 0.5, 1e-6), 0.51)
    with pytest.raises(VerificationFailed, match="ONNX"):
        check(Verified(0.5, 0.5, 2e-4), 0.5)
    with pytest.raises(VerificationFailed, match="ONNX"):
        check(Verified(0.5, 0.5, float("nan")), 0.5)


def test_a_report_stops_when_its_worker_is_told_to() -> None:
    candidate = SPACE.sample(np.random.default_rng(0))
    with pytest.raises(Stopped):
        make_report(
            [retrained(candidate, 1)],
            [retrained(candidate, 2)],
            [retrained(Candidate(ResidualNet(4, 1)), 3)],
            DIGITS,
            spec=SPEC,
            about=ABOUT,
            should_stop=lambda: True,
        )


def test_the_winner_is_chosen_by_mean_validation_accuracy_and_then_by_size() -> None:
    a, b = (SPACE.sample(np.random.default_rng(seed)) for seed in (1, 2))
    runs = [retrained(a, 1, 0, 0.9), retrained(a, 2, 1, 0.5), retrained(b, 3, 0, 0.75), retrained(b, 4, 1, 0.75)]
    assert choose_winner(runs) == SPACE.digest(b)
    assert choose_winner(runs[:1] + runs[2:]) == SPACE.digest(a)


def rewritten(made: Report, path: Path, **changes: bytes | None) -> Path:
    path.write_bytes(made.package)
    with zipfile.ZipFile(path) as archive:
        files: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    files |= {name.replace("__", "."): content for name, content in changes.items()}
    path.write_bytes(package.zip_bytes({name: content for name, content in files.items() if content is not None}))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"weights__safetensors": None},
        {"weights__safetensors": b"\x80\x04K\x01."},
        {"weights__safetensors": save({"x": torch.zeros(1)})},
        {"genotype__json": b"{"},
        {"genotype__json": b'{"genotype": {}, "channels": 4, "cells": 3}'},
        {"metrics__json": b"[]"},
    ],
)
def test_a_file_that_is_no_package_is_refused_with_its_name(
    made: Report, tmp_path: Path, changes: dict[str, bytes | None]
) -> None:
    path = rewritten(made, tmp_path / "changed.zip", **changes)
    with pytest.raises(InvalidInput, match=r"changed\.zip.*model\.zip of this service"):
        nas.load(path)


def test_missing_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        nas.load(tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(InvalidInput):
        nas.load(tmp_path / "text.zip")


def test_the_same_files_give_the_same_zip() -> None:
    assert package.zip_bytes({"a": b"1"}) == package.zip_bytes({"a": b"1"})


def test_weights_hold_tensors_and_nothing_else(made: Report, tmp_path: Path) -> None:
    path = rewritten(made, tmp_path / "model.zip")
    with zipfile.ZipFile(path) as archive:
        tensors = load(archive.read(package.WEIGHTS))
        shape = json.loads(archive.read(package.GENOTYPE))
    assert set(tensors) == set(nas.load(path).state_dict())
    assert Genotype.from_json(shape["genotype"]) == nas.load(path).genotype


def test_build_gives_the_published_network() -> None:
    network = nas.build("DARTS_V2", channels=36, cells=20, in_channels=3, classes=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_349_342
