"""What a worker writes after every epoch: the statements that the database gets most of, made once.

PostgreSQL takes all of it as one statement, since there each costs a way to the server and back; SQLite one by one.
Both lock the job's row before the trial's.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Interval, bindparam, insert, select, type_coerce, update
from sqlalchemy.dialects import postgresql

from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.files import recorded
from nas.store.session import CLOCK
from nas.store.states import SEARCHING, Phase, TrialState
from nas.store.tables import Artifact, Epoch, Job, Trial, UtcDateTime
from nas.train.epoch import EpochResult

CHECKPOINT: Final = "checkpoint"

HELD: Final = (Trial.id == bindparam("trial"), Trial.attempt == bindparam("held"), Trial.state == TrialState.RUNNING)
"""The trial of a claim, as long as the claim holds."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a trial was before an epoch was written to it.

    Attributes:
        stage: the epoch at which it is compared next.
        rungs: [epoch, accuracy] wherever it was compared.
        replaced: sha256 of the checkpoint that was replaced, if there was another one.
    """

    stage: int
    rungs: list[Any] | None
    replaced: str | None


def write_epoch(
    connection: Connection, claim: Claim, result: EpochResult, checkpoint: Stored | None, lease_s: float
) -> Reported | None:
    """Counts an epoch, renews the lease, and records the checkpoint; None if the claim no longer holds.

    Then the transaction has to be rolled back.
    """
    values = _values(claim, result, lease_s)
    if checkpoint is not None:
        values |= {"kind": CHECKPOINT, "sha256": checkpoint.sha256, "size_bytes": checkpoint.size_bytes}
    if connection.dialect.name == "postgresql":
        found = connection.execute(_AT_ONCE if checkpoint else _WITHOUT_FILE, values).first()
        if found is None:
            return None
        replaced = found.before if checkpoint and found.before != checkpoint.sha256 else None
        return Reported(found.stage, found.rungs, replaced)
    job = connection.execute(_COUNT, values).first()
    if job is None:
        return None
    values |= {"version": job.version, "until": job.moment + values["lease"]}
    trial = connection.execute(_REPORT, values).first()
    if trial is None:
        return None
    connection.execute(_EPOCH, values)
    replaced = recorded(connection, claim.trial_id, CHECKPOINT, checkpoint) if checkpoint else None
    return Reported(trial.stage, trial.rungs, replaced)


def _values(claim: Claim, result: EpochResult, lease_s: float) -> dict[str, Any]:
    counted = claim.phase != Phase.RETRAIN
    return {
        "trial": claim.trial_id,
        "held": claim.attempt,
        "job": claim.job_id,
        "search": int(counted and claim.phase in SEARCHING),
        "final": int(counted and claim.phase not in SEARCHING),
        "counted_s": result.seconds if counted else 0.0,
        "lease": timedelta(seconds=lease_s),
        "epoch": result.epoch,
        "train_loss": result.train_loss,
        "validation_loss": result.validation_loss,
        "validation_accuracy": result.validation_accuracy,
        "lr": result.lr,
        "seconds": result.seconds,
        "metrics": _metrics(result),
    }


def _metrics(result: EpochResult) -> dict[str, Any]:
    """What was measured, and of a supernet what it shows beside."""
    genotype = {"genotype": dict(result.genotype)} if result.genotype else {}
    return {**result.metrics, **genotype, **(result.shares or {})}


_RESULT = (
    Epoch.epoch,
    Epoch.train_loss,
    Epoch.validation_loss,
    Epoch.validation_accuracy,
    Epoch.lr,
    Epoch.seconds,
    Epoch.metrics,
)
_GIVEN = {column.key: bindparam(column.key, type_=column.type) for column in _RESULT}
_COUNT = (
    update(Job)
    .where(Job.id == bindparam("job"))
    .values(
        version=Job.version + 1,
        search_epochs=Job.search_epochs + bindparam("search"),
        final_epochs=Job.final_epochs + bindparam("final"),
        train_seconds=Job.train_seconds + bindparam("counted_s"),
    )
    .returning(Job.id, Job.version, CLOCK.label("moment"))
)


def _report(version: Any, until: Any) -> Any:
    changes = {"epoch": _GIVEN["epoch"], "accuracy": _GIVEN["validation_accuracy"], "losses": 0}
    return update(Trial).where(*HELD).values(changed=version, lease_until=until, **changes)


_REPORT = _report(bindparam("version"), bindparam("until")).returning(Trial.stage, Trial.rungs)
_EPOCH = insert(Epoch).values(
    trial_id=bindparam("trial"), job_id=bindparam("job"), version=bindparam("version"), **_GIVEN
)


def _at_once(with_file: bool) -> Any:
    job = _COUNT.cte("counted")
    until = type_coerce(job.c.moment + bindparam("lease", type_=Interval()), UtcDateTime())
    trial = (
        _report(job.c.version, until)
        .where(Trial.job_id == job.c.id)
        .returning(Trial.id, Trial.job_id, Trial.stage, Trial.rungs)
    ).cte("reported")
    both = trial.join(job, job.c.id == trial.c.job_id)
    epoch = insert(Epoch).from_select(
        ["trial_id", "job_id", "version", *_GIVEN],
        select(trial.c.id, job.c.id, job.c.version, *_GIVEN.values()).select_from(both),
    )
    whole = select(trial.c.stage, trial.c.rungs).add_cte(epoch.cte("written"))
    if not with_file:
        return whole
    named = (bindparam("kind", type_=Artifact.kind.type), bindparam("sha256", type_=Artifact.sha256.type))
    size_bytes = bindparam("size_bytes", type_=Artifact.size_bytes.type)
    file = postgresql.insert(Artifact).from_select(
        ["trial_id", "kind", "sha256", "size_bytes", "created_at"],
        select(trial.c.id, *named, size_bytes, job.c.moment).select_from(both),
    )
    changed = {name: file.excluded[name] for name in ("sha256", "size_bytes", "created_at")}
    file = file.on_conflict_do_update(index_elements=["trial_id", "kind"], set_=changed)
    # A statement sees nothing of what it writes itself: this is what stood there before.
    before = select(Artifact.sha256).where(Artifact.trial_id == bindparam("trial"), Artifact.kind == bindparam("kind"))
    return whole.add_columns(before.scalar_subquery().label("before")).add_cte(file.cte("filed"))


_AT_ONCE = _at_once(with_file=True)
_WITHOUT_FILE = _at_once(with_file=False)
