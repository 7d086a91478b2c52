"""Trainings that an owner has paid for already: found by what they follow from, and taken over."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, case, or_, select
from sqlalchemy.orm import Session

from nas.search.pruning import make_pruner
from nas.store import moves, trials
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.states import Phase, Reason, TrialState
from nas.store.tables import Artifact, Epoch, Job, Trial
from nas.train.epoch import EpochResult

LOGS: Final = "tensorboard-"
"""What the kinds of a training's logs begin with; the number of the epoch follows."""


@dataclass(frozen=True, slots=True)
class Found:
    """A training with the same key.

    Attributes:
        name: JOB/NUMBER of its trial.
        whole: whether it came to its end; otherwise it has the epochs that the present stage needs, or more.
        diverged: why its loss was not finite after these epochs; None if it was.
        epochs: from 1, without gaps.
        weights: that a retraining left.
        logs: epoch → its TensorBoard log.
    """

    name: str
    whole: bool
    diverged: str | None
    epochs: tuple[EpochResult, ...]
    weights: Stored | None
    logs: Mapping[int, Stored]


def key(facts: Mapping[str, Any]) -> str:
    """The sha256 of all that a training follows from."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find(session: Session, claim: Claim, wanted: str) -> Found | None:
    """The best training of the same owner with that key, from which the trial can be taken over, as it is now.

    A whole one comes first. A search trial whose job trains in stages can also be taken over from one that has come as
    far as the present stage. A training that is still running is not waited for.
    """
    diverged = and_(Trial.state == TrialState.FAILED, Trial.reason == Reason.DIVERGED)
    usable = or_(and_(Trial.state == TrialState.COMPLETE, Trial.epoch >= claim.epoch), diverged)
    if claim.phase == Phase.SEARCH and claim.stage > claim.epoch and make_pruner(claim.spec.pruning).annealed:
        usable = or_(usable, Trial.epoch >= claim.stage)
    owner = select(Job.owner).where(Job.id == claim.job_id).scalar_subquery()
    trial = session.scalars(
        select(Trial)
        .join(Job, Job.id == Trial.job_id)
        .where(Trial.cache_key == wanted, Job.owner == owner, Trial.id != claim.trial_id, usable)
        .order_by(case((Trial.state == TrialState.COMPLETE, 0), (diverged, 1), else_=2), Trial.epoch.desc(), Trial.id)
        .limit(1)
    ).first()
    return _found(session, claim, trial) if trial is not None else None


def note_key(session: Session, claim: Claim, key: str) -> None:
    """Writes what a trial's training follows from as it begins. Raises LeaseLost.

    A trial that goes on in another way than it began (with half the batch, or in another version) is no longer what
    its key says, and serves nobody.
    """
    trials.note_key(session, claim, key, begins=claim.epoch == 0)


def mark(session: Session, claim: Claim, found: Found) -> None:
    """Writes where a trial is taken over from, and counts it in its job. Raises LeaseLost."""
    job, trial = trials.held(session, claim)
    if trial.cached_from is None:
        job.cached += 1
    trial.cached_from = found.name
    moves.touch(job)
    trial.changed = job.version


def _found(session: Session, claim: Claim, trial: Trial) -> Found | None:
    rows = session.scalars(select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch)).all()
    files = {
        kind: Stored(sha256, size_bytes)
        for kind, sha256, size_bytes in session.execute(
            select(Artifact.kind, Artifact.sha256, Artifact.size_bytes).where(Artifact.trial_id == trial.id)
        )
    }
    logs = {int(kind.removeprefix(LOGS)): stored for kind, stored in files.items() if kind.startswith(LOGS)}
    diverged = trial.error or "" if trial.state == TrialState.FAILED and trial.reason == Reason.DIVERGED else None
    complete = trial.state == TrialState.COMPLETE
    if [row.epoch for row in rows] != list(range(1, trial.epoch + 1)) or len(rows) < claim.epoch:
        return None
    if complete and claim.phase != Phase.SEARCH and "weights" not in files:
        return None
    if claim.spec.tensorboard and not logs.keys() >= {row.epoch for row in rows}:
        return None
    return Found(
        name=f"{trial.job_id}/{trial.number}",
        whole=complete or diverged is not None,
        diverged=diverged,
        epochs=tuple(map(_result, rows)),
        weights=files.get("weights"),
        logs=logs,
    )


def _result(row: Epoch) -> EpochResult:
    return EpochResult(
        row.epoch,
        row.train_loss,
        row.validation_loss,
        row.validation_accuracy,
        row.lr,
        row.seconds,
        row.metrics or {},
    )
