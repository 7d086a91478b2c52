"""One-shot searches as a whole: resumed, reproduced, stopped, ended early, and what they hand over."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nas.data.tensors import Batchable
from nas.errors import Diverged, Stopped
from nas.oneshot.choosing import genotype_of
from nas.oneshot.training import halves
from nas.space import Candidate, CellSpace, Genotype, Shape
from nas.train.checkpoint import Checkpoint
from tests.oneshot.runs import CPU, OPTIONS, RECIPE, SPACE, digits, run, whole


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_search_is_the_uninterrupted_one(name: str) -> None:
    done = whole(name)
    assert len(done.results) == RECIPE.epochs
    resumed = run(name, resume=done.checkpoints[0])
    assert resumed.results == done.results[1:]
    assert resumed.checkpoints == done.checkpoints[1:]
    assert resumed.found == done.found


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_found_is_of_the_space_distinct_and_best_first(name: str) -> None:
    done = whole(name)
    found = done.found
    assert len(found.candidates) == OPTIONS[name][1].candidates
    assert found.reason is None
    assert all(SPACE.contains(candidate) for candidate, _ in found.candidates)
    assert len({SPACE.digest(candidate) for candidate, _ in found.candidates}) == len(found.candidates)
    scores = [score for _, score in found.candidates]
    assert scores == sorted(scores, reverse=True)
    if name != "random_ws" and name != "perturbation":
        final = Candidate(Genotype.from_json(done.results[-1].genotype), SPACE.shape)
        assert final in [candidate for candidate, _ in found.candidates]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_epoch_shows_its_genotype_and_how_sure_it_is(name: str) -> None:
    for number, result in enumerate(whole(name).results, 1):
        assert result.epoch == number
        genotype = Genotype.from_json(result.genotype)
        assert SPACE.contains(Candidate(genotype, SPACE.shape))
        ops = [edge.op for cell in (genotype.normal, genotype.reduce) for edges in cell.nodes for edge in edges]
        assert result.metrics["skip_share"] == ops.count("skip_connect") / 8
        assert 0 < result.metrics["alpha_entropy"] <= 1
        assert 0 < result.metrics["skip_mass"] < 1
        assert result.metrics["accuracy"] == pytest.approx(result.validation_accuracy)
        assert ("temperature" in result.metrics) == (name == "gdas")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_epoch_shows_the_shares_of_its_operations(name: str) -> None:
    edges = [f"{node}←{source}" for node in (2, 3) for source in range(node)]
    for result in whole(name).results:
        shares = result.shares
        assert shares is not None
        assert (shares["alpha_edges"], shares["alpha_ops"]) == (edges, list(SPACE.ops))
        assert (shares["alpha_edge_shares"] is None) == (name != "pc_darts")
        if name == "random_ws":  # which learns none
            assert shares["alpha"] is None
            continue
        for kind in ("normal", "reduce"):
            rows = np.array(shares["alpha"][kind])
            assert rows.shape == (5, 5)
            assert rows.sum(axis=1) == pytest.approx(1, abs=0.003)
            assert (rows == rows.round(3)).all()
        entropy_ = np.mean([-(np.array(rows) * np.log(rows)).sum(axis=1).mean() for rows in shares["alpha"].values()])
        assert entropy_ / np.log(5) == pytest.approx(result.metrics["alpha_entropy"], abs=0.01)
        if name == "pc_darts":
            for weights in shares["alpha_edge_shares"].values():
                assert (sum(weights[:2]), sum(weights[2:])) == pytest.approx((1, 1), abs=0.003)
        json.dumps(shares)
    assert whole(name).results[0].shares != whole(name).results[1].shares or name == "random_ws"


def test_the_halves_share_no_image_and_are_all_of_train() -> None:
    data = digits(81)
    train = Batchable.of(data, "train", CPU)
    numbered = Batchable(torch.arange(81, dtype=torch.uint8).view(-1, 1, 1, 1), train.labels)
    for method in ("darts", "pc_darts", "gdas"):
        first, second = (part.images.flatten().tolist() for part in halves(numbered, method, seed=0))
        assert sorted(first + second) == list(range(81))
        assert (len(first), len(second)) == (40, 41)
    first, second = (part.images.flatten().tolist() for part in halves(numbered, "random_ws", seed=0))
    assert (sorted(first), second) == (list(range(81)), [])


@pytest.mark.parametrize("name", ["darts", "random_ws"])
def test_nothing_is_learnt_from_validation_and_test_images(name: str) -> None:
    data = digits()
    rng = np.random.default_rng(0)
    images, labels = data.images.copy(), data.labels.copy()
    for part in (data.validation, data.test):
        images[part] = rng.integers(0, 17, images[part].shape)
        labels[part] = rng.permutation(labels[part])
    first, other = whole(name), run(name, data=replace(data, images=images, labels=labels))
    assert [one.train_loss for one in first.results] == [one.train_loss for one in other.results]
    assert [one.validation_loss for one in first.results] != [one.validation_loss for one in other.results]
    images[data.validation], labels[data.validation] = data.images[data.validation], data.labels[data.validation]
    third = run(name, data=replace(data, images=images, labels=labels))  # now only test differs
    assert (third.results, third.checkpoints, third.found) == (first.results, first.checkpoints, first.found)


def test_the_architecture_learns_from_its_half_and_the_weights_from_theirs() -> None:
    """Other labels of one half change what learns from it at once, and nothing else in the first step."""
    data = digits()
    train = Batchable.of(data, "train", CPU)
    numbered = Batchable(torch.arange(len(train), dtype=torch.uint8).view(-1, 1, 1, 1), train.labels)
    first, second = (part.images.flatten().numpy() for part in halves(numbered, "darts", seed=3))

    def after(changed: Any) -> dict[str, torch.Tensor]:
        labels = data.labels.copy()
        labels[data.train[changed]] = (labels[data.train[changed]] + 1) % 10
        recipe = RECIPE.model_copy(update={"epochs": 1, "batch_size": 40})
        done = run("darts", data=replace(data, labels=labels), recipe=recipe)
        return Checkpoint.from_bytes(done.checkpoints[0]).network

    plain, weights, alphas = after([]), after(first), after(second)
    learnt = {
        name: [not torch.equal(plain[name], changed[name]) for changed in (weights, alphas)]
        for name in ("supernet.classifier.weight", "architecture.alphas.normal", "architecture.alphas.reduce")
    }
    assert learnt["supernet.classifier.weight"][0]
    assert not learnt["architecture.alphas.normal"][0]
    assert learnt["architecture.alphas.normal"][1]
    assert learnt["architecture.alphas.reduce"][1]


@pytest.mark.parametrize("stop_at", [1, 4, 10])
def test_it_stops_when_it_is_asked_to(stop_at: int) -> None:
    with pytest.raises(Stopped):  # in the middle of an epoch, at its end, or between two scores
        run("random_ws", stop_at=stop_at)


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_epoch() -> None:
    wild = RECIPE.model_copy(update={"lr": 1e30, "warmup": 0.0, "clip_norm": None})
    with pytest.raises(Diverged) as caught:
        run("gdas", recipe=wild)
    assert caught.value.epoch in (1, 2)


def test_a_search_that_is_ended_early_hands_over_what_there_is() -> None:
    done = run("perturbation", epochs=1)
    assert len(done.results) == 1
    assert done.found.reason == "it was ended after epoch 1 of 2"
    final = Candidate(Genotype.from_json(done.results[0].genotype), SPACE.shape)
    assert final in [candidate for candidate, _ in done.found.candidates]
    assert run("random_ws", epochs=2).found.reason is None  # the last epoch is no early end


def test_after_a_collapse_the_genotype_of_the_epoch_before_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"max_skip": 0.01, "arch_lr": 1e-6, "discretise": "perturbation", "candidates": 4}
    space = CellSpace(("skip_connect", "conv_1x1"), 2, Shape(channels=4, cells=3))
    done = run("gdas", space=space, options=options)
    assert len(done.results) == 2
    assert done.found.reason is not None
    assert "collapsed in epoch 2" in done.found.reason
    before = Genotype.from_json(done.results[0].genotype)
    assert genotype_of(done.found.candidates[0][0]) == before
    others = [score for _, score in done.found.candidates[1:]]
    assert others == sorted(others, reverse=True)
    resumed = run("gdas", space=space, options=options, resume=done.checkpoints[-1])
    assert (resumed.results, resumed.found) == ([], done.found)


def test_a_genotype_that_stays_ends_the_search_with_the_reason() -> None:
    recipe = RECIPE.model_copy(update={"epochs": 8})
    done = run("gdas", recipe=recipe, options={"arch_lr": 1e-9, "patience": 2, "max_skip": 1.0})
    assert len(done.results) == 3
    assert done.found.reason == "it ended after epoch 3: the genotype has not changed for 2 epochs"


def test_only_what_is_allowed_is_handed_over() -> None:
    def without_pools(candidate: Candidate) -> bool:
        return "max_pool_3x3" not in str(candidate.architecture)

    for name in ("gdas", "random_ws"):
        found = run(name, allows=without_pools).found
        assert len(found.candidates) == OPTIONS[name][1].candidates
        assert all(without_pools(candidate) for candidate, _ in found.candidates)
    assert run("random_ws", allows=lambda candidate: False).found.candidates == ()


def test_a_space_of_few_candidates_gives_as_many_as_it_has() -> None:
    space = CellSpace(("conv_1x1",), 1, Shape(channels=4, cells=3))
    for name in ("perturbation", "pc_darts", "gdas", "random_ws"):
        assert len(run(name, space=space).found.candidates) == 1


def test_more_samples_find_no_worse_a_candidate() -> None:
    few, many = (run("random_ws", options={"samples": samples}).found for samples in (3, 12))
    assert few.candidates[0][1] <= many.candidates[0][1]
    assert set(few.candidates) & set(many.candidates) or many.candidates[-1][1] >= few.candidates[0][1]


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_other_tasks_are_searched_by_their_own_score(task: str) -> None:
    data = digits()
    if task == "multi_label":
        labels: Any = np.eye(10, dtype=np.uint8)[data.labels]
        data = replace(data, labels=labels, task=task)
    else:
        data = replace(data, labels=data.labels[:, None].astype(np.float32), task=task, classes=("value",))
    done = run("gdas", data=data)
    score = {"multi_label": "map", "regression": "r2"}[task]
    assert done.results[-1].metrics[score] == done.results[-1].validation_accuracy
    assert len(done.found.candidates) == 2
