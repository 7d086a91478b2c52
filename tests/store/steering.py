"""What a user does to a job, and the steps that take one to its end."""

from typing import Any

from nas.store import control, extension, phases
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import Phase
from nas.store.tables import Job
from tests.support import (
    add_job,
    candidate,
    digest,
    finish,
    propose,
    report,
    stored,
    take,
)


def pause(store: Store, job_id: str) -> Job:
    with store.write() as session:
        return control.pause(session, job_id)


def resume(store: Store, job_id: str, most_open: int = 0) -> Job:
    with store.write() as session:
        return control.resume(session, job_id, most_open)


def cancel(store: Store, job_id: str) -> Job:
    with store.write() as session:
        return control.cancel(session, job_id)


def extend(store: Store, job_id: str, most_open: int = 0, **changes: Any) -> Job:
    with store.write() as session:
        return extension.extend(session, job_id, changes, most_open)


def delete(store: Store, job_id: str, *, force: bool = False) -> list[str]:
    with store.write() as session:
        return control.delete(session, job_id, force=force)


def go_on(store: Store, *rows: NewTrial) -> str:
    """Moves the job at a standstill on; its id."""
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    with store.write() as session:
        assert phases.go_on(session, seen, rows)
    return seen.job_id


def retraining(index: int, seed: int = 0, phase: Phase = Phase.FINALIST, epochs: int = 2) -> NewTrial:
    return NewTrial(phase, epochs, candidate(index), digest(index), seed)


def retrain(store: Store, word: str = "") -> int:
    """Runs the next retraining to its end; its number."""
    taken = take(store)
    for number in range(taken.epoch + 1, taken.epochs + 1):
        report(store, taken, number)
    finish(store, taken, weights=stored(f"weights {taken.number}{word}"))
    return taken.number


def succeed(store: Store, winner: int, word: str) -> list[str]:
    """Runs the report that comes next; the packages that its own replaces."""
    taken = take(store)
    assert taken.phase == Phase.REPORT
    with store.write() as session:
        return phases.succeed(session, taken, {"shipped": {"trial": 2}, "text": word}, stored(word), digest(winner))


def succeeded(store: Store, **more: Any) -> str:
    """A job of two trials, the second of which is better and was retrained as trials 2 and 3."""
    job_id = add_job(store, **{"trials": 2} | more)
    for index in range(2):
        taken = take(store)
        propose(store, taken, index)
        for number in range(1, 4):
            report(store, taken, number, accuracy=0.5 + index / 10)
        finish(store, taken)
    go_on(store, *(retraining(1, seed) for seed in range(2)))
    retrain(store)
    retrain(store)
    go_on(store, NewTrial(Phase.REPORT, 0))
    assert succeed(store, 1, "first package") == []
    return job_id
