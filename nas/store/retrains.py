"""Networks of the search that a user wants to take home: retrained alone, whatever becomes of the job."""

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.errors import IllegalTransition, NotReady
from nas.space import Candidate
from nas.store import files, listing, moves
from nas.store.jobs import get, lock
from nas.store.specs import spec_of
from nas.store.states import BUSY_TRIAL, JobState, Phase, TrialState
from nas.store.tables import Artifact, Job, Tally, Trial

FIRST_NUMBER: Final = 1_000_000
"""Retrainings count from here: the search's own numbers have no gaps, whenever one is asked for."""

VOID: Final = (TrialState.FAILED, TrialState.CANCELLED)
"""States of a retraining that can be asked for again."""


def ask(session: Session, job_id: str, number: int) -> Trial:
    """The retraining of a search trial, which is queued if there is none yet, or if the last one came to nothing.

    Another attempt has another seed: with the same one the training would go the same way.

    Raises:
        NotFound: there is no such trial.
        NotReady: the trial has no candidate yet.
        IllegalTransition: it is none of the search, or one that broke a limit of the job.
    """
    job = lock(session, job_id)
    searched = listing.row(session, job_id, number)
    if words := _refused(searched):
        raise IllegalTransition(f"trial {number} of job {job_id}", words, "retrained")
    if searched.candidate is None:
        raise NotReady(f"trial {number} of job {job_id} has no candidate yet; ask again in a moment")
    last = _last(session, searched)
    if last is not None and last.state not in VOID:
        return last
    spec = spec_of(job)
    asked = select(func.sum(Tally.count)).where(Tally.job_id == job_id, Tally.phase == Phase.RETRAIN)
    return moves.add(
        session,
        job,
        Phase.RETRAIN,
        epochs=spec.final.epochs,
        candidate=Candidate.from_json(searched.candidate, spec.space.shape()),
        digest=searched.digest,
        seed_index=0 if last is None else last.seed_index + 1,
        params=searched.params,
        macs=searched.macs,
        number=FIRST_NUMBER + (session.scalar(asked) or 0),
    )


def package(session: Session, job_id: str, number: int) -> str:
    """The sha256 of the package of a trial's network: its retraining's, or that of the job if the trial is its winner.

    Args:
        session, job_id: of the job.
        number: of a search trial, or of a retraining.

    Raises:
        NotFound: there is no such trial.
        NotReady: there is no package; the message says why, and how to get one.
    """
    job = get(session, job_id)
    trial = listing.row(session, job_id, number)
    retraining = trial if trial.phase == Phase.RETRAIN else _last(session, trial)
    found = files.artifact(session, retraining.id, "package") if retraining is not None else None
    if found is None and number == job.best_trial and job.state == JobState.SUCCEEDED:
        found = files.package(session, job_id)
    if found is None:
        raise NotReady(f"trial {number} of job {job_id} has no model yet: {_missing(trial, retraining)}")
    return found


def packaged(session: Session, job: Job) -> frozenset[str]:
    """The digests of the job's networks that a package can be downloaded of."""
    rows = (
        select(Trial.digest)
        .join(Artifact, Artifact.trial_id == Trial.id)
        .where(Trial.job_id == job.id, Trial.phase == Phase.RETRAIN, Artifact.kind == "package")
    )
    found = {digest for digest in session.scalars(rows) if digest is not None}
    if job.state == JobState.SUCCEEDED and job.best_trial is not None:
        found.add(listing.row(session, job.id, job.best_trial).digest or "")
    return frozenset(found)


def origin(session: Session, retraining: Trial) -> int:
    """The number of the search trial that is retrained."""
    return session.scalars(
        select(Trial.number).where(
            Trial.job_id == retraining.job_id, Trial.phase == Phase.SEARCH, Trial.digest == retraining.digest
        )
    ).one()


def _last(session: Session, searched: Trial) -> Trial | None:
    """The newest retraining of a search trial's network."""
    if searched.digest is None or searched.phase != Phase.SEARCH:
        return None
    return session.scalars(
        select(Trial)
        .where(Trial.job_id == searched.job_id, Trial.phase == Phase.RETRAIN, Trial.digest == searched.digest)
        .order_by(Trial.seed_index.desc())
        .limit(1)
    ).first()


def _refused(trial: Trial) -> str:
    """Why a trial's network cannot be retrained, as what the trial is; empty if it can, or if it has none yet."""
    if trial.phase != Phase.SEARCH:
        return f"of the phase {trial.phase}"
    ended = trial.candidate is None and trial.state not in BUSY_TRIAL
    return trial.state if trial.state == TrialState.INFEASIBLE or ended else ""


def _missing(trial: Trial, retraining: Trial | None) -> str:
    if retraining is None:
        if words := _refused(trial):
            return f"it is {words}, and will have none"
        return f"POST /v1/jobs/{trial.job_id}/trials/{trial.number}/retrain trains it"
    named = f"its retraining, trial {retraining.number}," if retraining is not trial else "it"
    if retraining.state in VOID:
        why = ((retraining.error or "").strip().splitlines() or [str(retraining.state)])[-1]
        return f"{named} is {retraining.state} ({why}); POST …/retrain of the trial of the search for another attempt"
    return f"{named} is {retraining.state} after {retraining.epoch} of {retraining.epochs} epochs; ask again later"
