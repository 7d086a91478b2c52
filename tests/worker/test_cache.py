"""The same training is paid for once: taken over bit for bit, and done again where that cannot be."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

import worker.cache
import worker.evaluate
import worker.train
from nas import plugins
from nas.data.images import ImageSet
from nas.errors import Diverged
from nas.store import moves
from nas.store.cache import Found
from nas.store.states import FINISHED_TRIAL, Phase, TrialState
from nas.store.tables import Artifact, Epoch, Job, Trial
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from tests.support import open_store, random_images
from tests.worker.running import SEARCHING, a_worker, add, job_of, run_while, trials_of
from worker.context import Context
from worker.step import step

FINAL = {"finalists": 1, "controls": 1, "epochs": 1, "seeds": 1}
HALVING: dict[str, Any] = {"budget": {"trials": 4, "epochs": 4}, "pruning": {"method": "halving", "first": 2, "eta": 2}}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as opened:
        yield opened


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is really trained: a candidate for every call."""
    proper = worker.evaluate.evaluate
    calls: list[Any] = []

    def counting(candidate: Any, *args: Any, **how: Any) -> Any:
        calls.append(candidate)
        return proper(candidate, *args, **how)

    monkeypatch.setattr(worker.train, "evaluate", counting)
    return calls


def small() -> ImageSet:
    return random_images(8, count=60)


def search(context: Context, *, retrainings: int = 0, **changes: Any) -> str:
    """A job on a small data set, run to the end of its search and through some retrainings, and then given up."""
    job_id = add(context, small(), **changes)
    if retrainings:
        run_while(context, job_id, *SEARCHING)
    while sum(trial.state in FINISHED_TRIAL for trial in trials_of(context, job_id)) < planned(context, job_id):
        step(context)
    for _ in range(retrainings):
        step(context)
    with context.store.write() as session:
        moves.fail(session, moves.locked(session, job_id), "it has shown what it was to show")
    return job_id


def planned(context: Context, job_id: str) -> int:
    return job_of(context, job_id).trials_planned


def searched(context: Context, job_id: str) -> list[Trial]:
    return [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]


def shown(context: Context, trial: Trial) -> list[Any]:
    """What a trial came to, with every number of its epochs."""
    with context.store.read() as session:
        rows = session.scalars(select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch)).all()
        weights = session.scalar(
            select(Artifact.sha256).where(Artifact.trial_id == trial.id, Artifact.kind == "weights")
        )
    epochs = [
        (e.epoch, e.train_loss, e.validation_loss, e.validation_accuracy, e.lr, e.seconds, e.metrics) for e in rows
    ]
    return [trial.phase, trial.state, trial.reason, trial.digest, trial.accuracy, trial.rungs, weights, epochs]


def all_shown(context: Context, job_id: str, *phases: Phase) -> list[Any]:
    return [shown(context, trial) for trial in trials_of(context, job_id) if not phases or trial.phase in phases]


def _without_seconds(row: list[Any]) -> list[Any]:
    return [*row[:7], [(*epoch[:5], epoch[6]) for epoch in row[7]]]


def test_a_job_of_the_same_seed_takes_everything_over_bit_for_bit(context: Context, trained: list[Any]) -> None:
    found = []
    for _ in range(2):
        job_id = add(context, small(), final=FINAL, budget={"trials": 2, "epochs": 2})
        while not any(trial.phase == Phase.REPORT for trial in trials_of(context, job_id)):
            step(context)
        found.append(job_of(context, job_id))
        with context.store.write() as session:  # the report follows from the rows and the weights
            moves.fail(session, moves.locked(session, job_id), "it has shown what it was to show")
    first, second = found
    assert len(trained) == 2 + 3, "nothing is trained again"
    assert (first.cached, second.cached) == (0, 5)
    assert all_shown(context, first.id) == all_shown(context, second.id)
    counts = ("search_epochs", "final_epochs", "train_seconds", "best_trial", "best_accuracy")
    assert [getattr(first, name) for name in counts] == [getattr(second, name) for name in counts]
    names = [f"{first.id}/{number}" for number in range(5)]
    assert [trial.cached_from for trial in trials_of(context, second.id)] == [*names, None]
    assert [trial.cached_from for trial in trials_of(context, first.id)] == [None] * 6


def test_what_is_not_the_same_is_trained(context: Context, trained: list[Any]) -> None:
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 1}}
    first = search(context, **one)
    same = search(context, **one)
    assert len(trained) == 1
    assert searched(context, same)[0].cached_from == f"{first}/0"
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"recipe": {"lr": 0.05}},
        {"budget": {"trials": 1, "epochs": 2}},
        {"space": {"ops": ["sep_conv_3x3"], "nodes": 1, "channels": 4, "cells": 3}},
    ]
    for count, other in enumerate(others, start=2):
        job_id = search(context, **(one | other))
        assert (len(trained), job_of(context, job_id).cached) == (count, 0), other


def test_a_network_is_trained_alike_by_one_seed_whatever_its_number(context: Context, trained: list[Any]) -> None:
    first = search(context, budget={"trials": 2, "epochs": 1})
    [_, later] = searched(context, first)
    assert later.candidate is not None
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 1}, "start": [later.candidate["genotype"]]}
    [same] = searched(context, search(context, **one))
    assert (same.digest, same.cached_from, len(trained)) == (later.digest, f"{first}/1", 2)
    [other] = searched(context, search(context, seed=1, **one))
    assert (other.digest, other.cached_from, len(trained)) == (later.digest, None, 3)


def test_a_job_without_the_cache_trains_the_same_numbers_itself_and_serves_others(
    context: Context, trained: list[Any]
) -> None:
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 2}}
    first = search(context, cache=False, **one)
    again = search(context, cache=False, **one)
    assert len(trained) == 2
    third = search(context, **one)
    assert len(trained) == 2
    whole = [shown(context, searched(context, job_id)[0]) for job_id in (first, again, third)]
    assert [_without_seconds(row) for row in whole] == [_without_seconds(whole[0])] * 3
    assert whole[2][7] in (whole[0][7], whole[1][7]), "with the seconds that they took"


def test_what_another_owner_has_paid_for_is_trained_again(context: Context, trained: list[Any]) -> None:
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 1}}
    first = search(context, **one)
    with context.store.write() as session:
        session.execute(update(Job).where(Job.id == first).values(owner="ada"))
    job_id = search(context, **one)
    assert (len(trained), job_of(context, job_id).cached) == (2, 0)


def test_a_search_in_stages_takes_the_same_course_with_the_cache(context: Context, trained: list[Any]) -> None:
    first = search(context, **HALVING)
    paid = len(trained)
    assert {trial.state for trial in searched(context, first)} == {TrialState.COMPLETE, TrialState.PRUNED}
    second = search(context, **HALVING)
    assert len(trained) == paid
    assert all_shown(context, first, Phase.SEARCH) == all_shown(context, second, Phase.SEARCH)
    assert job_of(context, second).cached == 4
    assert job_of(context, second).search_epochs == job_of(context, first).search_epochs


def test_a_stage_that_nobody_has_paid_for_is_trained_from_the_start_and_no_epoch_stands_twice(
    context: Context, trained: list[Any]
) -> None:
    first = add(context, small(), **HALVING)
    step(context)
    assert searched(context, first)[0].state == TrialState.PAUSED
    with context.store.write() as session:
        moves.fail(session, moves.locked(session, first), "nobody takes it any further")
    second = search(context, **HALVING)
    alone = search(context, cache=False, **HALVING)
    one, other = searched(context, second), searched(context, alone)
    assert [_without_seconds(shown(context, trial)) for trial in one] == [
        _without_seconds(shown(context, trial)) for trial in other
    ]
    for trial in one:
        assert [epoch[0] for epoch in shown(context, trial)[7]] == list(range(1, trial.epoch + 1))
    assert job_of(context, second).search_epochs == sum(trial.epoch for trial in one)
    assert job_of(context, second).cached == sum(trial.cached_from is not None for trial in one) <= 1


def test_a_training_that_diverged_is_not_paid_for_twice(
    context: Context, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proper = worker.evaluate.evaluate

    def wild(*args: Any, **how: Any) -> Any:
        trained.append(args[0])
        told = how.pop("on_epoch")

        def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
            if result.epoch == 3:
                raise Diverged(3, float("nan"))
            return bool(told(result, take))

        return proper(*args, **how, on_epoch=on_epoch)

    monkeypatch.setattr(worker.train, "evaluate", wild)
    found = [searched(context, search(context, budget={"trials": 1, "epochs": 4}))[0] for _ in range(2)]
    assert len(trained) == 1
    assert [(t.state, t.reason, t.error, t.epoch) for t in found] == [
        (TrialState.FAILED, "diverged", "the loss became nan in epoch 3", 2)
    ] * 2


@pytest.mark.parametrize("damage", ["missing", "changed", "deleted meanwhile"])
def test_weights_that_cannot_be_taken_over_are_trained(
    context: Context, trained: list[Any], tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 1}, "final": FINAL}
    first = search(context, retrainings=1, **one)
    expected = shown(context, trials_of(context, first)[1])
    file = tmp_path / "artifacts" / expected[6][:2] / expected[6]
    second = add(context, small(), **one)
    run_while(context, second, *SEARCHING)
    assert len(trained) == 2

    def forget(claim: Any, found: Found) -> None:
        with context.store.write() as session:
            of_first = select(Trial.id).where(Trial.job_id == first)
            for table in (Epoch, Artifact):
                session.execute(delete(table).where(table.trial_id.in_(of_first)))
        file.unlink()

    if damage == "missing":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(b"other weights")
    else:  # between the look-up and the first epoch
        proper = worker.cache.replay

        def late(context: Context, claim: Any, source: Any, course: Any) -> Any:
            forget(claim, source.found)
            return proper(context, claim, source, course)

        monkeypatch.setattr(worker.train, "replay", late)
    step(context)
    finalist = trials_of(context, second)[1]
    assert shown(context, finalist)[:5] == expected[:5]
    assert shown(context, finalist)[6] == expected[6]
    assert context.artifacts.get(expected[6])
    assert len(trained) == (2 if damage == "deleted meanwhile" else 3)
    assert (finalist.cached_from is None) == (damage != "deleted meanwhile")


def test_a_worker_that_is_stopped_while_it_takes_over_goes_on_with_that(
    context: Context, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 3}}
    first = search(context, **one)
    second = add(context, small(), **one)
    asked = iter([False, False, True])
    with monkeypatch.context() as patch:
        patch.setattr(Context, "should_stop", lambda _: next(asked, True))
        step(context)
    [trial] = searched(context, second)
    assert (trial.state, 0 < trial.epoch < 3) == (TrialState.QUEUED, True)
    run_while(context, second, *SEARCHING)
    assert len(trained) == 1
    assert all_shown(context, first, Phase.SEARCH) == all_shown(context, second, Phase.SEARCH)
    assert job_of(context, second).cached == 1


def test_logs_are_taken_over_and_those_that_are_gone_are_written_anew(
    context: Context, trained: list[Any], tmp_path: Path
) -> None:
    one: dict[str, Any] = {"budget": {"trials": 1, "epochs": 2}, "tensorboard": True}

    def logs(job_id: str) -> list[tuple[str, str]]:
        with context.store.read() as session:
            rows = session.execute(
                select(Artifact.kind, Artifact.sha256).join(Trial).where(Trial.job_id == job_id).order_by(Artifact.kind)
            )
            return [(kind, sha256) for kind, sha256 in rows]

    first = logs(search(context, **one))
    assert [kind for kind, _ in first] == ["tensorboard-0001", "tensorboard-0002"]
    assert logs(search(context, **one)) == first
    assert len(trained) == 1
    (tmp_path / "artifacts" / first[1][1][:2] / first[1][1]).unlink()
    third = search(context, **one)
    assert len(trained) == 2
    assert [kind for kind, _ in logs(third)] == ["tensorboard-0001", "tensorboard-0002"]
    [trial] = searched(context, third)
    assert (trial.state, trial.cached_from, job_of(context, third).search_epochs) == (TrialState.COMPLETE, None, 2)


def test_a_plugin_whose_code_changes_is_another_training(
    context: Context, trained: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from torch import nn\nOPERATIONS = {'changing': lambda channels, stride: nn.AvgPool2d(stride, stride)}\n"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_used", {table: {} for table in plugins.GROUPS})
    module = tmp_path / "changing_operations.py"
    module.write_text(code)
    plugins.use("changing_operations")
    one: dict[str, Any] = {
        "budget": {"trials": 1, "epochs": 1},
        "space": {"ops": ["changing"], "nodes": 1, "channels": 4, "cells": 3},
    }
    search(context, **one)
    search(context, **one)
    assert len(trained) == 1
    module.write_text(code + "# changed\n")
    worker.cache._code.cache_clear()
    search(context, **one)
    assert len(trained) == 2
