"""What a driver writes when nodes tell it something: Tune and the nodes are played by the test."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.errors import Diverged
from nas.spec import JobSpec
from nas.store import drivers, jobs, lines
from nas.store.artifacts import Stored
from nas.store.setbacks import newest
from nas.store.specs import spec_of
from nas.store.states import JobState, Reason, TrialState
from nas.store.tables import Trial
from nas.train.checkpoint import Checkpoint
from tests.cluster.driving import a_driver, epochs_of
from tests.processes import until
from tests.support import epoch, stored
from tests.worker.running import add, trials_of
from worker.cluster import slots
from worker.cluster.holding import Holding
from worker.cluster.ride import News, Told
from worker.cluster.slots import Slots
from worker.cluster.trainable import ORDER, portable
from worker.cluster.under_way import UnderWay
from worker.context import Context
from worker.journal import Journal
from worker.orders import Order, Outcome

ROOMY: dict[str, Any] = {"budget": {"trials": 9, "epochs": 4}}


class Played:
    """A driver, with the hands of Tune and of a node."""

    def __init__(self, context: Context, holding: Holding, job_id: str, spec: JobSpec) -> None:
        self.context, self.job_id = context, job_id
        self.under_way = UnderWay(context, holding, Slots(spec), f"{job_id}/1")

    def send(self, name: str) -> Order:
        config = self.under_way.next_config(name)
        assert config is not None, self.under_way.failure
        order = config[ORDER]
        assert isinstance(order, Order)
        return order

    def tell(self, name: str, *epochs: int, file: Stored | None = None, **more: Any) -> bool:
        told = (Told(tuple(epoch(number) for number in epochs), file, {}),) if epochs else ()
        news = {"waits": False, "outcome": None, "failure": None, "node": "n", "place": "cpu@here"}
        return self.under_way.told(name, News(told, **(news | more)))

    def trial(self, number: int = 0) -> Trial:
        return trials_of(self.context, self.job_id)[number]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    monkeypatch.setattr(slots, "room", lambda need: (9, 9))
    with a_driver(tmp_path, "") as context:
        job_id = add(context, engine="ray", **ROOMY)
        with context.store.write() as session:
            assert drivers.take(session, job_id, context.worker, 30.0) == 1
        mine = replace(context, driving=job_id, grip=context.grip.beside())
        with Holding(context.store, job_id, context.worker, 1, 30.0) as holding, mine.grip:
            with context.store.read() as session:
                spec = spec_of(jobs.get(session, job_id))
            yield Played(mine, holding, job_id, spec)


def test_each_trial_has_a_log_and_a_time_of_its_own(played: Played) -> None:
    store = played.context.store
    with Journal(store) as journal:
        for name in ("a", "b"):
            played.send(name)
        played.tell("b", 1)
        played.tell("a", 1, 2)
        played.tell("b", outcome=Outcome())
        journal.write()
        with store.read() as session:
            said = [[line.text for line in lines.newest(session, played.trial(n).id)[0]] for n in (0, 1)]
    found = [[text for text in texts if text.startswith(("epoch", "is complete"))] for texts in said]
    assert [[text.split(":")[0] for text in texts] for texts in found] == [
        ["epoch 1 of 4", "epoch 2 of 4"],
        ["epoch 1 of 4", "is complete"],
    ]
    spent = played.trial(1).spent
    assert spent is not None
    assert spent["train"] == 2.0
    assert spent["prepare"] > 0


def checkpoint(context: Context, number: int) -> Stored:
    return context.artifacts.put(Checkpoint(number, {"weight": torch.zeros(1)}, {}, {}, {}).to_bytes())


def test_epochs_of_several_trials_are_written_together_and_those_of_a_lost_one_are_not(played: Played) -> None:
    for name in ("a", "b"):
        played.send(name)
        assert not played.tell(name, 1, 2, file=checkpoint(played.context, 2))
    assert [trial.epoch for trial in trials_of(played.context, played.job_id)] == [0, 0], "nobody waits for them"
    with played.context.store.write() as session:
        session.get_one(Trial, played.trial(0).id).attempt += 1
    assert played.tell("b", 3, 4, outcome=Outcome())
    first, second = trials_of(played.context, played.job_id)
    assert (first.epoch, epochs_of(played.context, first.id)) == (0, [])
    assert (second.state, second.epoch, second.device) == (TrialState.COMPLETE, 4, "cpu@here")
    assert epochs_of(played.context, second.id) == [1, 2, 3, 4]


def test_a_file_that_only_the_node_can_see_is_an_error_that_says_so(played: Played) -> None:
    played.send("a")
    assert played.tell("a", 1, file=stored("elsewhere"))
    trial = played.trial()
    assert (trial.state, trial.reason) == (TrialState.FAILED, Reason.ERROR)
    assert "do not share NAS_ARTIFACTS_URL" in (trial.error or "")


def test_what_a_node_failed_with_is_recorded_by_its_reason(played: Played) -> None:
    played.send("a")
    assert played.tell("a", 1, failure=portable(Diverged(2, float("inf"))))
    assert (played.trial(0).state, played.trial(0).reason, played.trial(0).epoch) == ("failed", Reason.DIVERGED, 1)
    played.send("b")
    assert played.tell("b", failure=portable(ValueError("of a user's own")))
    assert played.trial(1).reason == Reason.ERROR
    assert (played.trial(1).error or "").endswith("ValueError: of a user's own\n")
    played.send("c")
    assert played.tell("c", failure=portable(MemoryError()))
    assert (played.trial(2).state, played.trial(2).alone or played.trial(2).halvings > 0) == (TrialState.QUEUED, True)


def test_a_trial_whose_node_died_is_tried_again_from_what_was_written(played: Played) -> None:
    played.send("a")
    played.tell("a", 1, 2, file=checkpoint(played.context, 2))
    played.under_way.died("a", "The actor is dead because its node has died.")
    trial = played.trial()
    assert (trial.state, trial.losses, trial.epoch) == (TrialState.QUEUED, 0, 2)
    with played.context.store.read() as session:
        assert newest(session, trial.id)[0].error == "its node was lost (after epoch 2)"
    again = played.send("b")
    assert (again.claim.trial_id, again.claim.attempt, again.claim.epoch) == (trial.id, 2, 2)
    assert again.resume is not None


def test_a_trial_that_its_scheduler_stops_is_pruned_at_its_rung(played: Played) -> None:
    played.send("a")
    played.tell("a", 1, file=checkpoint(played.context, 1), waits=True)
    played.under_way.ended("a")
    assert (played.trial().state, played.trial().reason, played.trial().epoch) == ("pruned", Reason.RUNG, 1)


class Noted(frozenset[tuple[int, int]]):
    """Running trials; whoever looks for one of them meets the next look being noted in that very moment."""

    holding: Holding
    looked: threading.Event

    def __contains__(self, trial: object) -> bool:
        self.looked.set()
        until(lambda: self.holding.seen is not None and self.holding.seen.running is not self, "the next look")
        return super().__contains__(trial)


def test_a_trial_that_is_claimed_between_two_looks_at_its_job_is_not_taken_for_a_lost_one(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = played.send("a").claim
    before, looked = Noted(), threading.Event()
    looks: Iterator[frozenset[tuple[int, int]]] = iter([before])

    def look(*lease: Any) -> drivers.Drive:
        running = next(looks, None)
        if running is None:
            looked.wait(2)
            running = frozenset({(claim.trial_id, claim.attempt)})
        return drivers.Drive(JobState.RUNNING, False, 0, running)

    monkeypatch.setattr(drivers, "look", look)
    monkeypatch.setattr("worker.cluster.holding.LOOK_S", 0.01)
    with Holding(played.context.store, played.job_id, played.context.worker, 1, 30.0) as holding:
        before.holding, before.looked = holding, looked
        until(lambda: holding.seen is not None, "the first look")
        missed = holding.misses(claim, since=time.monotonic())
        looked.set()
    assert not missed
