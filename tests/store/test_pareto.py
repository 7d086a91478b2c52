"""The Pareto set as it is read: all of it, in order, with what can be downloaded."""

from typing import Any

import numpy as np
import pytest

from nas.errors import NotFound
from nas.store import pareto, phases, retrains, trials
from nas.store.pareto import Front
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import Phase
from tests.support import add_job, candidate, digest, finish, report, run_trial, stored, take


def complete(store: Store, accuracy: float, costs: trials.Costs) -> None:
    """A search trial that ends."""
    taken = take(store)
    with store.write() as session:
        trials.set_candidate(session, taken, candidate(taken.number), digest(taken.number), costs)
    report(store, taken, 1, accuracy)
    finish(store, taken)


def whole(store: Store, job_id: str) -> Front:
    with store.read() as session:
        return pareto.whole(session, job_id)


def members(store: Store, job_id: str) -> list[tuple[int, dict[str, Any]]]:
    return [(member.trial.number, member.values) for member in whole(store, job_id).members]


def test_it_holds_what_no_other_network_dominates_whatever_the_order_of_their_ends(store: Store) -> None:
    """Three objectives with few values, so that there are ties; the set is found again by comparing all pairs."""
    job_id = add_job(store, trials=40, epochs=1, objectives=["accuracy", "params", "memory_mb"])
    rng = np.random.default_rng(0)
    found = [(float(a) / 4, int(p), float(m)) for a, p, m in rng.integers(0, 5, size=(40, 3))]
    for accuracy, params, memory_mb in found:
        complete(store, accuracy, trials.Costs(params, 1, memory_mb=memory_mb))
    merits = [(accuracy, -params, -memory_mb) for accuracy, params, memory_mb in found]
    kept = {m for m in merits if not any(o != m and all(a >= b for a, b in zip(o, m, strict=True)) for o in merits)}
    shown = members(store, job_id)
    assert [tuple(values) for _, values in shown] == [("accuracy", "params", "memory_mb")] * len(shown)
    assert [(values["accuracy"], -values["params"], -values["memory_mb"]) for _, values in shown] == sorted(
        kept, reverse=True
    )
    assert [found[number] for number, _ in shown] == [tuple(values.values()) for _, values in shown]


def test_an_objective_may_be_turned_round_and_accuracy_may_be_none_of_them(store: Store) -> None:
    job_id = add_job(store, epochs=1, objectives=[{"metric": "params", "direction": "maximize"}, "macs"])
    for params, macs in ((1, 5), (3, 6), (2, 9), (3, 7)):
        complete(store, 0.5, trials.Costs(params, macs))
    assert members(store, job_id) == [(1, {"params": 3, "macs": 6}), (0, {"params": 1, "macs": 5})]
    assert [objective.direction for objective in whole(store, job_id).objectives] == ["maximize", "minimize"]


def test_what_is_minimised_begins_with_the_least(store: Store) -> None:
    job_id = add_job(store, epochs=1, objectives=["params", "macs"])
    for params, macs in ((3, 5), (1, 9), (2, 7)):
        complete(store, 0.5, trials.Costs(params, macs))
    assert [number for number, _ in members(store, job_id)] == [1, 2, 0]


def test_with_one_objective_it_is_the_best_network(store: Store) -> None:
    job_id = add_job(store)
    assert members(store, job_id) == []
    for accuracy in (0.5, 0.8, 0.6):
        run_trial(store, accuracy)
    assert members(store, job_id) == [(1, {"accuracy": 0.8})]


def test_it_says_which_networks_can_be_downloaded(store: Store) -> None:
    job_id = add_job(store, trials=3, epochs=1, objectives=["accuracy", "params"])
    for number in range(3):
        complete(store, 0.9 - number / 10, trials.Costs(100 - number, 1))

    def ready() -> dict[int, bool]:
        return {member.trial.number: member.packaged for member in whole(store, job_id).members}

    with store.write() as session:
        retrains.ask(session, job_id, 1)
    taken = take(store)
    assert ready() == {0: False, 1: False, 2: False}
    with store.write() as session:
        trials.attach(session, taken, "package", stored("package of 1"))
    finish(store, taken)
    assert ready() == {0: False, 1: True, 2: False}
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    with store.write() as session:
        phases.go_on(session, seen, [NewTrial(Phase.REPORT, 0)])
    final = take(store)
    with store.write() as session:
        phases.succeed(session, final, {}, stored("package of the job"), digest(2))
    assert ready() == {0: False, 1: True, 2: True}


def test_a_job_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        whole(store, "nope")
