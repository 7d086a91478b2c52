"""What Ray's own schedulers read of a job's rows, and write to them: past scores, and what was taken over from whom."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import and_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.space import Candidate
from nas.store import files, moves, trials
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.reports import CHECKPOINT
from nas.store.states import FINISHED_TRIAL, Phase
from nas.store.tables import Epoch, Trial
from nas.store.trials import Twin

TAKEN_OVER: Final = "exploited"
"""Metric of an epoch after which a trial went on as another one: the number of that one."""


@dataclass(frozen=True, slots=True)
class Past:
    """What was measured of a search trial at some epochs.

    Attributes:
        trial_id: its row's.
        epoch: epochs done.
        finished: whether nothing more will become known.
        scores: (epoch, score) as an epoch's row has it, ascending.
    """

    trial_id: int
    epoch: int
    finished: bool
    scores: tuple[tuple[int, float], ...]


def pasts(session: Session, job_id: str, epochs: Collection[int]) -> list[Past]:
    """What the search trials of a job scored at some epochs, by number; those that have come to none are left out."""
    rows = session.execute(
        select(Trial.id, Trial.epoch, Trial.state, Epoch.epoch, Epoch.validation_accuracy)
        .join(Epoch, and_(Epoch.trial_id == Trial.id, Epoch.epoch.in_(epochs)))
        .where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH)
        .order_by(Trial.number, Epoch.epoch)
    )
    found: dict[int, Past] = {}
    for trial_id, done, state, epoch, score in rows:
        past = found.get(trial_id) or Past(trial_id, done, state in FINISHED_TRIAL, ())
        found[trial_id] = replace(past, scores=(*past.scores, (epoch, score)))
    return list(found.values())


def take_over(
    session: Session, claim: Claim, donor: Claim, candidate: Candidate, digest: str, checkpoint: Stored
) -> tuple[Claim, str | None]:
    """Lets a running trial go on as another one: with its architecture, its costs, its weights, and a changed recipe.

    The epochs that the trial has done stay what they are, and the last of them says from whom it took over. What it
    trains from now on follows from no candidate alone, so that no other job can take its result over.

    Args:
        session: to write in.
        claim: of the trial.
        donor: of the trial that it takes over from.
        candidate, digest: the donor's candidate with a recipe that is the trial's own.
        checkpoint: a file of its own, with the donor's weights after as many epochs as the trial has done.

    Returns:
        (the claim as it stands now, the sha256 of the checkpoint that is replaced, to be deleted once the transaction
        is through).

    Raises:
        Twin: the job has a trial of that candidate already.
        LeaseLost: see nas.errors.
    """
    job, trial = trials.held(session, claim)
    costs = select(Trial.params, Trial.macs, Trial.latency_ms, Trial.memory_mb, Trial.peak_bytes)
    known = session.execute(costs.where(Trial.id == donor.trial_id)).one()
    trial.candidate, trial.digest, trial.cache_key = candidate.to_json(), digest, None
    trial.params, trial.macs, trial.latency_ms, trial.memory_mb, trial.peak_bytes = known
    try:
        session.flush()
    except IntegrityError as error:
        raise Twin(digest) from error
    last = session.get(Epoch, (trial.id, trial.epoch), populate_existing=True)
    if last is not None:  # epochs are numbered from 1: a trial that has done none has nothing to note it at
        last.metrics = (last.metrics or {}) | {TAKEN_OVER: donor.number}
    moves.touch(job)
    trial.changed = job.version
    replaced = files.record(session, trial.id, CHECKPOINT, checkpoint)
    return replace(claim, candidate=candidate, epoch=trial.epoch), replaced
