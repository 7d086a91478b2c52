"""Jobs with many trials that look like a search's, made in an instant and known to the last value."""

from datetime import timedelta
from random import Random
from typing import Any

from sqlalchemy import insert, update

from nas.store import jobs
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Incumbent, Job, Trial
from tests.support import LONG_AGO, candidate

STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.INFEASIBLE, TrialState.CANCELLED)


def scatter(store: Store, job_id: str, count: int, *, seed: int = 0, epochs: int = 5, running: int = 3) -> None:
    """Adds trials to a job without any: numbers with gaps, values that are missing, and the last ones run."""
    rng = Random(seed)
    numbers = sorted(rng.sample(range(count + count // 5), count))
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for place, number in enumerate(numbers):
        state = TrialState.RUNNING if place >= count - running else rng.choices(STATES, (6, 3, 1, 1, 1))[0]
        done = epochs if state == TrialState.COMPLETE else rng.randrange(epochs)
        curve = [rng.random() for _ in range(done)]
        begin = LONG_AGO + timedelta(seconds=10 * place + rng.random())
        rows.append(
            {
                "job_id": job_id,
                "number": number,
                "phase": Phase.FINALIST if place % 11 == 0 else Phase.SEARCH,
                "state": state,
                "epochs": epochs,
                "epoch": done,
                "accuracy": curve[-1] if curve else None,
                "params": rng.randrange(10**6) if place % 7 else None,
                "macs": 2**40 + number,
                "latency_ms": rng.random() if place % 3 else None,
                "front": state == TrialState.COMPLETE and place % 11 != 0 and rng.random() < 0.06,
                "owner": f"worker {rng.randrange(4)}",
                "attempt": 1,
                "created_at": LONG_AGO,
                "started_at": begin if place % 13 else None,
                "finished_at": None if state == TrialState.RUNNING else begin + timedelta(seconds=30 * rng.random()),
            }
        )
        curves.append({"number": number, "curve": curve})
    with store.write() as session:
        found = session.execute(insert(Trial).returning(Trial.id, Trial.number), rows).all()
        ids = {number: trial_id for trial_id, number in found}
        session.execute(insert(Epoch), [row for made in curves for row in _epochs(job_id, ids, made)])
        job = jobs.get(session, job_id)
        job.best_trial = max(
            (row for row in rows if row["state"] == TrialState.COMPLETE and row["phase"] == Phase.SEARCH),
            key=lambda row: float(row["accuracy"]),
        )["number"]
        job.version += 1


def add_incumbents(store: Store, job_id: str, count: int) -> None:
    """Networks that were the best so far, one after the other: trials 0, 1, …"""
    row = {"job_id": job_id, "phase": Phase.SEARCH, "state": TrialState.COMPLETE, "epochs": 1, "created_at": LONG_AGO}
    with store.write() as session:
        session.execute(
            insert(Trial),
            [row | {"number": n, "params": 1000 + n, "candidate": candidate(n).to_json()} for n in range(count)],
        )
        session.execute(
            insert(Incumbent),
            [{"job_id": job_id, "number": n, "at_s": 7.0 * n, "accuracy": n / count} for n in range(count)],
        )
        session.execute(update(Job).where(Job.id == job_id).values(version=Job.version + 1))


def _epochs(job_id: str, ids: dict[int, int], made: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": ids[made["number"]],
            "epoch": epoch,
            "job_id": job_id,
            "train_loss": 1.0,
            "validation_loss": 1.0,
            "validation_accuracy": accuracy,
            "lr": 0.1,
            "seconds": 0.5,
        }
        for epoch, accuracy in enumerate(made["curve"], 1)
    ]
