"""Several objectives: the Pareto set that is kept as trials complete, incumbents, finalists."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from nas.store import phases, trials
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from nas.store.tables import Trial
from nas.store.trials import Costs
from tests.support import add_job, candidate, digest, finish, job_of, report, take


def complete(store: Store, index: int, accuracy: float, costs: Costs, state: TrialState = TrialState.COMPLETE) -> int:
    """Runs a trial to its end; its number."""
    taken = take(store)
    with store.write() as session:
        trials.set_candidate(session, taken, candidate(index), digest(index), costs)
    report(store, taken, 1, accuracy)
    finish(store, taken, state)
    return taken.number


def front(store: Store, job_id: str) -> set[int]:
    with store.read() as session:
        return set(session.scalars(select(Trial.number).where(Trial.job_id == job_id, Trial.front)))


def not_beaten(values: list[tuple[float, ...]]) -> set[int]:
    """In the plainest way: those that no other one is at least as good as in everything, and better in something.

    Of two that are equal the first one counts.
    """

    def beats(i: int, j: int) -> bool:
        at_least = all(a >= b for a, b in zip(values[i], values[j], strict=True))
        return at_least and (values[i] != values[j] or i < j)

    return {j for j in range(len(values)) if not any(beats(i, j) for i in range(len(values)) if i != j)}


OBJECTIVES: dict[str, list[Any]] = {
    "accuracy and params": ["accuracy", "params"],
    "three": ["accuracy", "macs", "latency_ms"],
    "accuracy last, params maximised": [{"metric": "params", "direction": "maximize"}, "memory_mb", "accuracy"],
    "no accuracy": ["params", "macs"],
}
SIGNS: dict[str, Callable[[float, Any], tuple[float, ...]]] = {
    "accuracy and params": lambda a, c: (a, -c.params),
    "three": lambda a, c: (a, -c.macs, -c.latency_ms),
    "accuracy last, params maximised": lambda a, c: (a, c.params, -c.memory_mb),
    "no accuracy": lambda a, c: (-c.params, -c.macs),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_front_is_what_no_trial_beats(store: Store, name: str) -> None:
    job_id = add_job(store, trials=30, objectives=OBJECTIVES[name])
    rng, values = random.Random(3), []
    for index in range(25):
        accuracy, numbers = rng.randrange(6) / 6, [rng.randrange(1, 6) for _ in range(4)]
        costs = Costs(numbers[0], numbers[1], float(numbers[2]), float(numbers[3]))
        values.append(SIGNS[name](accuracy, costs))
        complete(store, index, accuracy, costs)
        assert front(store, job_id) == not_beaten(values)
    assert len(front(store, job_id)) > 1 or name == "no accuracy"


def test_only_whole_trainings_are_on_the_front(store: Store) -> None:
    job_id = add_job(store, objectives=["accuracy", "params"])
    complete(store, 0, 0.9, Costs(10, 10), TrialState.PRUNED)
    number = complete(store, 1, 0.5, Costs(20, 20))
    assert front(store, job_id) == {number}


def test_a_job_of_one_objective_keeps_no_front(store: Store) -> None:
    job_id = add_job(store)
    complete(store, 0, 0.9, Costs(10, 10))
    assert front(store, job_id) == set()


def test_the_incumbent_is_the_best_by_the_score(store: Store) -> None:
    job_id = add_job(store, objectives=["params", "accuracy"])
    complete(store, 0, 0.7, Costs(10, 10))
    complete(store, 1, 0.9, Costs(20, 20))
    complete(store, 2, 0.8, Costs(5, 5))
    job = job_of(store, job_id)
    assert (job.best_trial, job.best_accuracy) == (1, 0.9)


def test_without_accuracy_the_incumbent_is_the_best_by_the_first_objective(store: Store) -> None:
    job_id = add_job(store, objectives=["macs"])
    for index, macs in enumerate((30, 10, 20)):
        complete(store, index, index / 10, Costs(1, macs))
    assert job_of(store, job_id).best_trial == 1
    with store.read() as session:
        assert [found.number for found in phases.best_searched(session, job_id, 3)] == [1, 2, 0]


def test_finalists_come_from_the_front_first(store: Store) -> None:
    job_id = add_job(store, objectives=["accuracy", "params"])
    for index, (accuracy, params) in enumerate([(0.9, 100), (0.89, 110), (0.5, 10), (0.7, 50)]):
        complete(store, index, accuracy, Costs(params, 1))
    assert front(store, job_id) == {0, 2, 3}
    with store.read() as session:
        assert [found.number for found in phases.best_searched(session, job_id, 4)] == [0, 3, 2, 1]
        assert {found.phase for found in phases.best_searched(session, job_id, 4)} == {Phase.SEARCH}


def test_of_trials_that_were_stopped_early_those_that_came_furthest_count(store: Store) -> None:
    job_id = add_job(store, epochs=3)
    for index, (accuracy, epochs) in enumerate([(0.9, 1), (0.6, 2), (0.7, 2)]):
        taken = take(store)
        with store.write() as session:
            trials.set_candidate(session, taken, candidate(index), digest(index), Costs(1, 1))
        for number in range(1, epochs + 1):
            report(store, taken, number, accuracy)
        finish(store, taken, TrialState.PRUNED)
    with store.read() as session:
        assert [found.number for found in phases.best_searched(session, job_id, 3)] == [2, 1, 0]
