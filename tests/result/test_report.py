"""What the report says beside the verdict: the supernet's order, and of a network that was retrained alone."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.data.builtin import BUILTIN
from nas.errors import Stopped
from nas.result import package
from nas.result.agreement import agreement
from nas.result.card import model_card
from nas.result.report import About, Retrained, make_package, make_report
from nas.space import Candidate, CellSpace, ResidualNet, Shape
from nas.space.operations import DEFAULT_OPERATIONS
from nas.spec import JobSpec
from tests.result.test_html import STORY, check

SPACE = CellSpace(DEFAULT_OPERATIONS, nodes=2, shape=Shape(channels=4, cells=3))
SPEC = JobSpec.model_validate(
    {"dataset": "digits", "space": {"nodes": 2, "channels": 4, "cells": 3}, "final": {"epochs": 1}}
)
DIGITS = BUILTIN["digits"].load()
ABOUT = About("abc", None, "digits", "darts", 0, 1234)


def network(index: int) -> Candidate:
    return SPACE.sample(np.random.default_rng(index))


def retrained(candidate: Candidate, trial: int, accuracy: float = 0.5, seed_index: int = 0) -> Retrained:
    torch.manual_seed(trial)
    made = package.empty_classifier(candidate, task="single_label", in_channels=1, outputs=10)
    made.normalise.mean.fill_(5.0)
    made.normalise.std.fill_(6.0)
    weights = package.weights_to_bytes(made)
    return Retrained(trial, candidate, SPACE.digest(candidate), seed_index, 1000, accuracy, weights)


def light(digest: str, accuracy: float) -> Retrained:
    """A retraining of which nothing but its score is looked at."""
    return Retrained(0, network(0), digest, 0, 1, accuracy, b"")


def contents(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- the supernet's order


@pytest.mark.parametrize(
    ("supernet", "alone", "tau"),
    [
        ([3.0, 2.0, 1.0], [0.9, 0.8, 0.7], 1.0),
        ([3.0, 2.0, 1.0], [0.7, 0.8, 0.9], -1.0),
        ([3.0, 2.0, 1.0], [0.9, 0.7, 0.8], 1 / 3),  # two pairs of three stand alike
        ([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4], 4 / 6),
        ([2.0, 2.0, 1.0], [0.9, 0.8, 0.7], 2 / (2 * 3) ** 0.5),  # tau-b: a tie of the one side counts for the other
    ],
)
def test_kendalls_tau_is_what_the_pairs_say(supernet: list[float], alone: list[float], tau: float) -> None:
    names = "abcd"[: len(supernet)]
    found = agreement(list(zip(names, supernet, strict=True)), [light(n, a) for n, a in zip(names, alone, strict=True)])
    assert found["kendall_tau"] == pytest.approx(tau)
    assert found["n"] == len(names)
    assert found["networks"] == [
        {"digest": name, "supernet": score, "validation_accuracy": accuracy}
        for name, score, accuracy in zip(names, supernet, alone, strict=True)
    ]
    assert f"{len(names)} finalists" in found["text"]
    assert f"{tau:+.2f}" in found["text"]


def test_seeds_are_averaged_and_networks_that_are_no_finalists_left_out() -> None:
    runs = [light("a", 0.5), light("a", 0.9), light("b", 0.6), light("b", 0.6)]
    found = agreement([("x", 9.0), ("a", 2.0), ("b", 1.0)], runs)
    assert [(one["digest"], one["validation_accuracy"]) for one in found["networks"]] == [
        ("a", pytest.approx(0.7)),
        ("b", pytest.approx(0.6)),
    ]
    assert found["kendall_tau"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("supernet", "alone", "words"),
    [
        ([("a", 1.0)], [("a", 0.5)], "1 is among the finalists: with a larger final.finalists"),
        ([("x", 1.0)], [("a", 0.5), ("b", 0.6)], "0 are among the finalists"),
        ([("a", 1.0), ("b", 1.0)], [("a", 0.5), ("b", 0.6)], "do not tell them apart"),
    ],
)
def test_where_there_is_no_order_it_says_so(
    supernet: list[tuple[str, float]], alone: list[tuple[str, float]], words: str
) -> None:
    found = agreement(supernet, [light(digest, accuracy) for digest, accuracy in alone])
    assert found["kendall_tau"] is None
    assert words in found["text"]


def test_the_report_of_a_one_shot_job_says_how_far_the_supernets_order_held() -> None:
    first, second, control = (network(index) for index in range(3))
    made = make_report(
        [retrained(first, 1, 0.8), retrained(second, 2, 0.6)],
        [retrained(control, 3)],
        [retrained(Candidate(ResidualNet(4, 1)), 4)],
        DIGITS,
        spec=SPEC,
        about=ABOUT,
        should_stop=lambda: False,
        supernet=[(SPACE.digest(second), 0.5), (SPACE.digest(first), 0.4)],
        story=STORY,
    )
    found = made.verdict["supernet"]
    assert (found["kendall_tau"], found["n"]) == (pytest.approx(-1.0), 2)
    assert "text" not in found
    assert "Kendall's tau is -1.00" in made.verdict["text"]
    files = contents(made.package)
    metrics = json.loads(files["metrics.json"])
    assert metrics["verdict"]["supernet"] == found
    assert "retraining" not in metrics
    assert "Kendall's tau is -1.00" in files["model_card.md"].decode()
    assert "1,234 architectures" in files["model_card.md"].decode()
    page = check(files["report.html"].decode())
    for words in (metrics["verdict"]["text"], f"{metrics['accuracy'] * 100:.2f} %", metrics["data"]["digest"]):
        assert words in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 5
    right = sum(metrics["confusion"][index][index] for index in range(10))
    assert right / sum(map(sum, metrics["confusion"])) == metrics["accuracy"]


# --- a network alone


@pytest.fixture(scope="module")
def alone() -> bytes:
    run = retrained(network(5), 1_000_000, 0.61, seed_index=1)
    return make_package(run, DIGITS, searched=7, spec=SPEC, about=ABOUT, should_stop=lambda: False)


def test_a_network_that_was_retrained_alone_has_a_test_score_and_no_verdict(alone: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(alone)
    model = nas.load(path)
    with torch.no_grad():
        logits = model(torch.from_numpy(DIGITS.images[DIGITS.test]))
    accuracy = float((logits.argmax(dim=1).numpy() == DIGITS.labels[DIGITS.test]).mean())
    metrics: dict[str, Any] = model.metrics
    assert metrics["accuracy"] == accuracy
    assert metrics["verdict"] is None
    said = metrics["retraining"]
    assert {name: value for name, value in said.items() if name != "text"} == {
        "trial": 1_000_000,
        "search_trial": 7,
        "seed_index": 1,
        "validation_accuracy": 0.61,
    }
    assert "a single retraining of trial 7 of the search, with one seed and without controls" in said["text"]
    assert metrics["recipe"]["epochs"] == 1
    assert metrics["data"]["test_indices"] == DIGITS.test.tolist()


def test_its_card_says_so_and_claims_no_interval(alone: bytes) -> None:
    files = contents(alone)
    card, metrics = files["model_card.md"].decode(), json.loads(files["metrics.json"])
    assert f"**{metrics['accuracy'] * 100:.2f} %**" in card
    assert metrics["retraining"]["text"] in card
    assert "95 %" not in card
    assert "retrainings of the same architecture" not in card
    assert "chose the architecture and the seed" not in card
    named = metrics | {"job": metrics["job"] | {"name": "<img src=x> ![a](//b) a_b"}}
    first, _ = model_card(json.loads(files["genotype.json"]), named).split("\n", 1)
    assert first == r"# &lt;img src=x&gt; \!\[a\](//b) a\_b"
    assert set(files) == {
        "genotype.json",
        "weights.safetensors",
        "model.onnx",
        "metrics.json",
        "model_card.md",
        "cells.svg",
        "report.html",
    }


def test_its_page_says_so_too(alone: bytes) -> None:
    files = contents(alone)
    page, metrics = check(files["report.html"].decode()), json.loads(files["metrics.json"])
    assert metrics["retraining"]["text"] in page.text
    assert "interval" not in page.text.replace(metrics["retraining"]["text"], "")
    assert "retrained alone on digits" in page.text
    assert "Class by class" in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 1


def test_packaging_stops_when_the_worker_is_told_to() -> None:
    run = retrained(network(5), 1)
    with pytest.raises(Stopped):
        make_package(run, DIGITS, searched=7, spec=SPEC, about=ABOUT, should_stop=lambda: True)
