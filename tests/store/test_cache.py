"""Trainings that are found by what they follow from."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from nas.store import cache, files, setbacks, trials
from nas.store.cache import Found
from nas.store.claims import Claim
from nas.store.session import Store
from nas.store.states import Phase, Reason, TrialState
from nas.store.tables import Job
from tests.support import (
    add_job,
    add_queued,
    candidate,
    digest,
    finish,
    job_of,
    propose,
    report,
    stored,
    take,
    trial_of,
)

KEY = "k" * 64
HALVING: dict[str, Any] = {"pruning": {"method": "halving", "first": 1, "eta": 3}, "epochs": 9}


def begin(store: Store, key: str = KEY, index: int = 0) -> Claim:
    """A search trial of the job whose turn it is, with that key."""
    taken = take(store)
    if taken.candidate is None:
        propose(store, taken, index)
    with store.write() as session:
        cache.note_key(session, taken, key)
    return taken


def close(store: Store, job_id: str) -> None:
    """Lets the job add no more trials, so that the next one is another job's."""
    with store.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(trials_planned=Job.next_number))


def done(store: Store, trained: int = 3, state: TrialState = TrialState.COMPLETE, **more: Any) -> Claim:
    """A trial with the key that has ended, in a job of its own."""
    why = {name: more.pop(name) for name in ("reason", "error") if name in more}
    job_id = add_job(store, **more)
    taken = begin(store)
    for number in range(1, trained + 1):
        report(store, taken, number, accuracy=number / 10)
    finish(store, taken, state, **why)
    close(store, job_id)
    return taken


def found(store: Store, claim: Claim, key: str = KEY) -> Found | None:
    with store.read() as session:
        return cache.find(session, claim, key)


def test_a_training_is_found_by_its_key_with_all_its_epochs(store: Store) -> None:
    first = done(store)
    add_job(store)
    second = begin(store)
    training = found(store, second)
    assert training is not None
    assert (training.name, training.whole, training.diverged) == (f"{first.job_id}/0", True, None)
    assert [(epoch.epoch, epoch.validation_accuracy, epoch.seconds) for epoch in training.epochs] == [
        (1, 0.1, 2.0),
        (2, 0.2, 2.0),
        (3, 0.3, 2.0),
    ]
    assert found(store, second, "x" * 64) is None
    assert found(store, first) is None, "only the other one has come to its end"


def test_what_another_owner_has_trained_is_not_found(store: Store) -> None:
    done(store)
    job_id = add_job(store)
    with store.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(owner="ada"))
    assert found(store, begin(store)) is None


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED])
def test_what_came_to_no_end_is_not_found_by_a_job_that_trains_in_one_go(store: Store, state: TrialState) -> None:
    done(store, state=state, reason=Reason.ERROR)
    add_job(store)
    assert found(store, begin(store)) is None


def test_a_stage_is_taken_from_any_training_that_has_come_as_far(store: Store) -> None:
    done(store, 3, TrialState.PRUNED, **HALVING)
    add_job(store, **HALVING)
    second = begin(store)
    assert second.stage == 1
    training = found(store, second)
    assert training is not None
    assert (training.whole, len(training.epochs)) == (False, 3)
    report(store, second, 1)
    further = replace(second, epoch=1, stage=9)
    assert found(store, further) is None, "the other one has three epochs, and nine are wanted"


def test_a_whole_training_comes_before_one_that_has_come_far(store: Store) -> None:
    done(store, 8, TrialState.PRUNED, **HALVING)
    whole = done(store, 9, **HALVING)
    add_job(store, **HALVING)
    training = found(store, begin(store))
    assert training is not None
    assert (training.name, training.whole) == (f"{whole.job_id}/0", True)


def test_a_training_that_diverged_is_one_that_came_to_its_end(store: Store) -> None:
    done(store, 2, TrialState.FAILED, reason=Reason.DIVERGED, error="the loss became nan in epoch 3")
    add_job(store)
    training = found(store, begin(store))
    assert training is not None
    assert (training.whole, training.diverged, len(training.epochs)) == (True, "the loss became nan in epoch 3", 2)


def test_a_retraining_is_found_with_its_weights_and_not_without(store: Store) -> None:
    job_id = add_job(store, trials=1)
    add_queued(store, job_id, 2)
    first = begin(store)
    assert first.phase == Phase.FINALIST
    report(store, first, 1)
    finish(store, first, weights=stored("weights"))
    second = begin(store)
    training = found(store, second)
    assert training is not None
    assert training.weights == stored("weights")
    with store.write() as session:
        files.forget(session, first.trial_id, "weights")
    assert found(store, second) is None


def test_logs_that_a_job_wants_have_to_be_there(store: Store) -> None:
    job_id = add_job(store, epochs=2)
    source = begin(store)
    for number in (1, 2):
        report(store, source, number)
        with store.write() as session:
            trials.attach(session, source, f"tensorboard-{number:04d}", stored(f"log {number}"))
    finish(store, source)
    close(store, job_id)
    other = add_job(store, epochs=2, tensorboard=True)
    training = found(store, begin(store))
    assert training is not None
    assert training.logs == {1: stored("log 1"), 2: stored("log 2")}
    close(store, other)
    with store.write() as session:
        files.forget(session, source.trial_id, "tensorboard-0002")
    add_job(store, epochs=2, tensorboard=True)
    assert found(store, begin(store)) is None


def test_a_trial_that_goes_on_in_another_way_than_it_began_serves_nobody(store: Store) -> None:
    add_job(store)
    taken = begin(store)
    for key, epoch, expected in (
        ("a" * 64, 0, "a" * 64),
        ("b" * 64, 0, "b" * 64),
        ("b" * 64, 1, "b" * 64),
        (KEY, 1, None),
    ):
        with store.write() as session:
            cache.note_key(session, replace(taken, epoch=epoch), key)
        assert trial_of(store, taken.trial_id).cache_key == expected


def test_what_is_taken_over_is_counted_once_and_no_more_when_it_begins_anew(store: Store) -> None:
    done(store)
    job_id = add_job(store)
    second = begin(store)
    training = found(store, second)
    assert training is not None
    version = job_of(store, job_id).version
    for _ in range(2):
        with store.write() as session:
            cache.mark(session, second, training)
    assert (trial_of(store, second.trial_id).cached_from, job_of(store, job_id).cached) == (training.name, 1)
    assert job_of(store, job_id).version > version
    with store.write() as session:
        setbacks.restart(session, second)
    assert (trial_of(store, second.trial_id).cached_from, job_of(store, job_id).cached) == (None, 0)


def test_a_key_is_of_all_facts_in_whatever_order(store: Store) -> None:
    facts = {"candidate": candidate(0).to_json(), "seed": 1}
    assert cache.key(facts) == cache.key(dict(reversed(facts.items())))
    assert cache.key(facts) != cache.key(facts | {"seed": 2})
    assert digest(0) != cache.key(facts)
