"""What has happened in a job, as a sequence that can be read on from any place in it.

There is no table of events: rows remember the job's version at which they last changed (nas.store.moves.touch), and one
change has one version, so that the rows in the order of their versions are the sequence. What changed twice between two
readings is read once, as it is then; epochs never change, so that each of them is read.
"""

import re
from dataclasses import astuple, dataclass
from heapq import merge
from itertools import islice
from typing import Any, Final, Self

from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.orm import Session

from nas.errors import InvalidInput
from nas.store.jobs import get
from nas.store.progress import phase
from nas.store.states import ACTIVE_TRIAL, ENDED_JOB, JobState
from nas.store.tables import Epoch, Job, Tally, Trial

EPOCH, TRIAL, JOB = range(3)
"""The order of what has one version: an epoch before the trial that has come so far, and the job last."""

_ID: Final = re.compile(r"([0-9]{1,10})\.([0-2])\.([0-9]{1,10})\.([0-9]{1,10})")
_LARGEST: Final = 2**31 - 1  # of a column


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """A place in the sequence: that of one event, or of the beginning.

    The event's row is a part of it, and not only its version, since rows that are older than versions share version 0.
    """

    version: int = 0
    kind: int = EPOCH
    trial_id: int = 0
    epoch: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, astuple(self)))

    @classmethod
    def read(cls, field: str, text: str) -> Self:
        """What str() wrote. Raises InvalidInput, which names the field, if that did not write it."""
        found = _ID.fullmatch(text)
        parts = [int(part) for part in found.groups()] if found else []
        if not parts or max(parts) > _LARGEST:
            raise InvalidInput(field, text, "it has to be the id of an event of this job, or `now`, or left out")
        return cls(*parts)


BEGINNING: Final = Place()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that has happened: `epoch`, `trial` or `job`, and what there is to say of it."""

    place: Place
    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the sequence.

    Attributes:
        events: in order.
        more: whether there are more already.
        ended: how the job has ended, if it has and all is read.
    """

    events: tuple[Event, ...]
    more: bool
    ended: JobState | None


def since(session: Session, job_id: str, after: Place, limit: int) -> Page | None:
    """What has happened in a job since a place of its sequence, at the most `limit` events of it; reads twice as many.

    Returns:
        None if the place has not been reached: it is that of a job that was since restored from an older copy.

    Raises:
        NotFound: there is no job of that id.
    """
    job = get(session, job_id)
    if after.version > job.version:
        return None
    found = merge(
        _epochs(session, job_id, after, limit + 1),
        _trials(session, job_id, after, limit + 1),
        _job(session, job, after),
        key=lambda event: event.place,
    )
    events = tuple(islice(found, limit + 1))
    more = len(events) > limit
    over = not more and job.state in ENDED_JOB and not _active(session, job_id)
    return Page(events[:limit], more, job.state if over else None)


def present(session: Session, job_id: str) -> Place:
    """The place behind all that has happened. Raises NotFound."""
    return Place(get(session, job_id).version, JOB)


def versions(session: Session, job_ids: list[str]) -> dict[str, int]:
    """The versions of those of the jobs that there are."""
    rows = session.execute(select(Job.id, Job.version).where(Job.id.in_(job_ids)))
    return {row.id: row.version for row in rows}


def _epochs(session: Session, job_id: str, after: Place, limit: int) -> list[Event]:
    key = (Epoch.version, Epoch.trial_id, Epoch.epoch)
    if after.kind == EPOCH:
        later = tuple_(*key) > tuple_(*map(literal, (after.version, after.trial_id, after.epoch)))
    else:
        later = Epoch.version > after.version
    shown = (Epoch.epoch, Epoch.validation_accuracy, Epoch.train_loss, Epoch.validation_loss, Epoch.lr, Epoch.seconds)
    rows = session.execute(
        select(*key[:2], Trial.number, Trial.phase, *shown)
        .join(Trial, Trial.id == Epoch.trial_id)
        .where(Epoch.job_id == job_id, later)
        .order_by(*key)
        .limit(limit)
    )
    return [
        Event(
            Place(version, EPOCH, trial_id, epoch),
            "epoch",
            {
                "trial": number,
                "phase": of,
                "epoch": epoch,
                "accuracy": accuracy,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "lr": lr,
                "seconds": seconds,
            },
        )
        for version, trial_id, number, of, epoch, accuracy, train_loss, validation_loss, lr, seconds in rows
    ]


_TRIAL: Final = ("phase", "state", "reason", "epoch", "epochs", "accuracy", "params", "macs", "attempt", "cached_from")


def _trials(session: Session, job_id: str, after: Place, limit: int) -> list[Event]:
    if after.kind == EPOCH:
        later = Trial.changed >= after.version
    elif after.kind == TRIAL:
        later = tuple_(Trial.changed, Trial.id) > tuple_(literal(after.version), literal(after.trial_id))
    else:
        later = Trial.changed > after.version
    rows = session.execute(
        select(Trial.changed, Trial.id, Trial.number, *(getattr(Trial, name) for name in _TRIAL))
        .where(Trial.job_id == job_id, later)
        .order_by(Trial.changed, Trial.id)
        .limit(limit)
    )
    return [
        Event(
            Place(changed, TRIAL, trial_id),
            "trial",
            {"trial": number} | dict(zip(_TRIAL, values, strict=True)),
        )
        for changed, trial_id, number, *values in rows
    ]


def _job(session: Session, job: Job, after: Place) -> list[Event]:
    place = Place(job.changed, JOB, 0)
    if after >= place:
        return []
    tallies = {
        (of, state): count
        for of, state, count in session.execute(
            select(Tally.phase, Tally.state, Tally.count).where(Tally.job_id == job.id, Tally.count > 0)
        )
    }
    best = None if job.best_trial is None else {"trial": job.best_trial, "accuracy": job.best_accuracy}
    data = {
        "state": job.state,
        "phase": phase(job, tallies),
        "reason": job.reason,
        "note": job.note,
        "best": best,
        "trials_planned": job.trials_planned,
    }
    return [Event(place, "job", data)]


def _active(session: Session, job_id: str) -> bool:
    """Whether a trial is to change: one that is retrained on request, or that waits for its search to be cleared."""
    active = select(func.sum(Tally.count)).where(Tally.job_id == job_id, Tally.state.in_(ACTIVE_TRIAL))
    return bool(session.scalar(active))
