"""A trial that goes on as another one: its row, its file and its training say the same, also after a crash."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("ray")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from worker.cluster.population import Donor, take_over

from nas.space import Candidate
from nas.space.canonical import digest
from nas.store import drivers, files, lineage
from nas.store.states import TrialState
from nas.store.tables import Epoch, Job, Trial
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from tests.cluster.driving import open_store_in
from tests.support import LONG_AGO
from tests.worker.running import a_worker, add, trials_of
from worker.context import Context
from worker.orders import Machine, Order
from worker.step import look, take
from worker.train import carry_out, prepare, write_epochs
from worker.writer import Done

RANGE = {"low": 0.01, "high": 0.3, "log": True}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with open_store_in(tmp_path / "home") as store, a_worker(store, tmp_path / "home") as context:
        yield context


def driver(context: Context, **recipe: Any) -> Context:
    """At work on a new job with a population."""
    job_id = add(
        context,
        engine="ray",
        scheduler={"method": "pbt", "every": 1, "resample": 0.0},
        recipe=recipe or {"lr": RANGE},
        budget={"trials": 4, "epochs": 3},
    )
    with context.store.write() as session:
        assert drivers.take(session, job_id, context.worker, 60.0) == 1
    return replace(context, driving=job_id)


def begin(context: Context) -> Order:
    claim = take(context, look(context))
    assert claim is not None
    order = prepare(context, claim)
    assert order is not None
    return order


def go_on(context: Context, order: Order, epochs: int) -> bytes:
    """Trains so many epochs more, as a node and its driver do; the checkpoint after the last of them."""
    contents: list[bytes] = []

    def on_epoch(result: EpochResult, take: Any, events: bytes | None) -> bool:
        write_epochs(context, order.claim, [Done(result, take(), events)])
        contents.append(take().to_bytes())
        return len(contents) < epochs

    data = context.data(order.claim.dataset_id)
    machine = Machine(data, context.artifacts, torch.device("cpu"), context.source, on_epoch, lambda: False)
    carry_out(order, machine)
    return contents[-1]


def row_of(context: Context, order: Order) -> Trial:
    assert context.driving is not None
    return next(trial for trial in trials_of(context, context.driving) if trial.id == order.claim.trial_id)


def checkpoint_of(context: Context, order: Order) -> Checkpoint:
    with context.store.read() as session:
        sha256 = files.artifact(session, order.claim.trial_id, "checkpoint")
    assert sha256 is not None
    return Checkpoint.from_bytes(context.artifacts.get(sha256))


def replaced(context: Context, worker: str) -> None:
    """Another driver follows one that was not heard of."""
    with context.store.write() as session:
        session.get_one(Job, str(context.driving)).driver_until = LONG_AGO
    with context.store.write() as session:
        assert drivers.take(session, str(context.driving), worker, 60.0) == 2


def test_it_has_the_others_network_and_weights_and_a_recipe_of_its_own(context: Context) -> None:
    context = driver(context)
    better, worse = begin(context), begin(context)
    content = go_on(context, better, 1)
    go_on(context, worse, 2)
    assert better.claim.candidate is not None
    assert worse.claim.candidate is not None
    assert better.claim.candidate.architecture != worse.claim.candidate.architecture
    with context.store.read() as session:
        before = files.artifact(session, worse.claim.trial_id, "checkpoint")
    changed = take_over(context, worse, 2, Donor(better, content))
    assert before is not None
    assert not context.artifacts.exists(before)
    candidate = changed.claim.candidate
    assert candidate is not None
    assert candidate == replace(better.claim.candidate, recipe=candidate.recipe)
    lr, own = (dict(found.recipe)["lr"] for found in (better.claim.candidate, candidate))
    assert isinstance(lr, float)
    assert own in (min(0.3, 1.2 * lr), max(0.01, 0.8 * lr))
    row = row_of(context, worse)
    assert Candidate.from_json(row.candidate) == candidate
    assert (row.digest, row.epoch, row.state) == (digest(candidate), 2, TrialState.RUNNING)
    kept, given = checkpoint_of(context, worse), Checkpoint.from_bytes(content)
    assert (kept.epoch, given.epoch) == (2, 1)
    assert all(torch.equal(kept.network[name], tensor) for name, tensor in given.network.items())
    assert changed.resume is not None
    go_on(context, changed, 1)  # the weights fit, and the learning rate is its own, of its own age
    with context.store.read() as session:
        last = session.get_one(Epoch, (worse.claim.trial_id, 3))
        noted = session.get_one(Epoch, (worse.claim.trial_id, 2)).metrics or {}
    assert noted[lineage.TAKEN_OVER] == better.claim.number
    assert 0 < last.lr < own
    assert row_of(context, worse).epoch == 3


def test_what_was_taken_over_is_gone_on_from_after_a_crash(context: Context) -> None:
    context = driver(context)
    better, worse = begin(context), begin(context)
    content = go_on(context, better, 2)
    go_on(context, worse, 2)
    changed = take_over(context, worse, 2, Donor(better, content))
    replaced(context, context.worker)
    orders = [begin(context), begin(context)]
    again = next(order for order in orders if order.claim.trial_id == worse.claim.trial_id)
    assert again.claim.candidate == changed.claim.candidate
    assert (again.claim.epoch, again.resume) == (2, changed.resume)
    go_on(context, again, 1)
    assert row_of(context, again).epoch == 3


def test_two_that_take_over_from_one_are_two(context: Context) -> None:
    context = driver(context, lr={"choices": [0.05, 0.1]}, label_smoothing={"choices": [0.0, 0.1]})
    better, *others = (begin(context) for _ in range(4))
    content = go_on(context, better, 1)
    for order in others:
        go_on(context, order, 1)
    changed = [take_over(context, order, 1, Donor(better, content)) for order in others]
    rows = [row_of(context, order) for order in (better, *others)]
    assert len({row.digest for row in rows}) == 4
    assert better.claim.candidate is not None
    assert all(
        order.claim.candidate and order.claim.candidate.architecture == better.claim.candidate.architecture
        for order in changed
    )
    shared = [checkpoint_of(context, order) for order in others]
    assert all(torch.equal(one.network[name], shared[0].network[name]) for one in shared for name in one.network)


def test_where_all_has_been_tried_or_a_file_is_gone_the_trial_goes_on_as_it_was(context: Context) -> None:
    context = driver(context, lr={"choices": [0.05]})
    better, worse = begin(context), begin(context)
    content = go_on(context, better, 1)
    go_on(context, worse, 1)
    before = row_of(context, worse)
    for donor in (Donor(better, content), Donor(better, b"no checkpoint"), None):
        kept = take_over(context, worse, 1, donor)
        assert kept.claim == replace(worse.claim, epoch=1)
        row = row_of(context, worse)
        assert (row.candidate, row.digest, row.epoch) == (before.candidate, before.digest, 1)
        assert kept.resume is not None
        assert Checkpoint.from_bytes(context.artifacts.get(kept.resume)).epoch == 1
    go_on(context, kept, 1)


def test_a_trial_that_is_somebody_elses_by_now_is_left_alone(context: Context) -> None:
    context = driver(context)
    better, worse = begin(context), begin(context)
    content = go_on(context, better, 1)
    go_on(context, worse, 1)
    replaced(context, "another")
    before = row_of(context, worse)
    assert take_over(context, worse, 1, Donor(better, content)) is worse
    row = row_of(context, worse)
    assert (row.candidate, row.changed) == (before.candidate, before.changed)
