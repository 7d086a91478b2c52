"""Whether all rows and files agree: what a service that loses nothing never violates, whatever was killed.

Each rule is a sentence about one job or one file, checked in one snapshot of the database; nothing is changed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from nas.errors import NasError
from nas.store.artifacts import ArtifactStore
from nas.store.gc import all_referred, referred
from nas.store.lines import KEPT
from nas.store.moves import SETBACKS
from nas.store.retrains import FIRST_NUMBER
from nas.store.session import Store
from nas.store.states import ACTIVE_TRIAL, ENDED_JOB, SEARCHING, JobState, Phase, TrialState
from nas.store.tables import Artifact, Epoch, Job, Line, Setback, Tally, Trial

TOLERANCE_S: Final = 0.01
"""Sums of seconds, added in another order."""


def audit(store: Store, artifacts: ArtifactStore, *, settled: bool = False) -> list[str]:
    """The violations, one sentence each.

    Args:
        store, artifacts: of one service; it may run meanwhile.
        settled: whether nothing should be left to do: every job has ended or is paused, and no lease is held.
    """
    with store.read() as session:
        found = [sentence for rule in RULES for sentence in rule(session)]
        if settled:
            found += list(_unsettled(session))
        sha256s = sorted(all_referred(session))
    return found + [sentence for sha256 in sha256s for sentence in _file(store, artifacts, sha256)]


def _ended(session: Session) -> Iterator[str]:
    """An ended job has no trial that could still run, but for retrainings that were asked for later."""
    rows = session.execute(
        select(Trial.job_id, Trial.number, Trial.state, Job.state)
        .join(Job, Job.id == Trial.job_id)
        .where(Job.state.in_(ENDED_JOB), Trial.state.in_(ACTIVE_TRIAL), Trial.phase != Phase.RETRAIN)
    )
    for job_id, number, state, of_job in rows:
        yield f"job {job_id} has {of_job}, but its trial {number} is {state}"


def _numbers(session: Session) -> Iterator[str]:
    """A job's trials have the numbers from 0 on, without gaps: every planned one is there, once."""
    rows = session.execute(
        select(Job.id, Job.next_number, func.count(Trial.id), func.max(Trial.number))
        .outerjoin(Trial, (Trial.job_id == Job.id) & (Trial.number < FIRST_NUMBER))
        .group_by(Job.id, Job.next_number)
    )
    for job_id, following, count, last in rows:
        if not count == following == (-1 if last is None else last) + 1:
            yield f"job {job_id} has {count} trials up to number {last}, and gives {following} to the next"


def _searched(session: Session) -> Iterator[str]:
    """A job that succeeded has searched all the trials that it planned, and has a package."""
    packages = (
        select(func.count())
        .select_from(Artifact)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(Trial.job_id == Job.id, Trial.phase == Phase.REPORT, Artifact.kind == "package")
        .scalar_subquery()
    )
    rows = session.execute(
        select(Job.id, Job.next_number, Job.trials_planned, packages).where(Job.state == JobState.SUCCEEDED)
    )
    for job_id, following, planned, count in rows:
        if following < planned:
            yield f"job {job_id} has succeeded with {following} trials, but planned {planned} before the retraining"
        if not count:
            yield f"job {job_id} has succeeded without a package"


def _epochs(session: Session) -> Iterator[str]:
    """A trial's epochs are 1, 2, … up to the one that it says it has done, and no more than it should do."""
    rows = session.execute(
        select(Trial.job_id, Trial.number, Trial.epoch, Trial.epochs, func.count(Epoch.epoch), func.max(Epoch.epoch))
        .outerjoin(Epoch, Epoch.trial_id == Trial.id)
        .group_by(Trial.id, Trial.job_id, Trial.number, Trial.epoch, Trial.epochs)
        .having(
            or_(
                func.count(Epoch.epoch) != Trial.epoch,
                func.coalesce(func.max(Epoch.epoch), 0) != Trial.epoch,
                func.coalesce(func.min(Epoch.epoch), 1) != 1,
                Trial.epoch > Trial.epochs,
            )
        )
    )
    for job_id, number, done, asked, count, last in rows:
        yield f"trial {number} of job {job_id} did {done} of {asked} epochs, but has {count} rows up to epoch {last}"


def _tallies(session: Session) -> Iterator[str]:
    """The tallies are the counts of the trials."""
    columns = (Trial.job_id, Trial.phase, Trial.state)
    counted = {tuple(key): count for *key, count in session.execute(select(*columns, func.count()).group_by(*columns))}
    rows = session.execute(select(Tally.job_id, Tally.phase, Tally.state, Tally.count).where(Tally.count != 0))
    tallied = {tuple(key): count for *key, count in rows}
    for key in sorted(counted.keys() | tallied.keys()):
        if counted.get(key, 0) != tallied.get(key, 0):
            job_id, phase, state = key
            yield (
                f"job {job_id} has {counted.get(key, 0)} trials of {phase} that are {state}, "
                f"but its tally says {tallied.get(key, 0)}"
            )


def _sums(session: Session) -> Iterator[str]:
    """A job's counters are sums over its epochs."""
    rows = session.execute(
        select(Trial.job_id, Trial.phase, func.count(), func.sum(Epoch.seconds))
        .join(Epoch, Epoch.trial_id == Trial.id)
        .where(Trial.phase != Phase.RETRAIN)
        .group_by(Trial.job_id, Trial.phase)
    )
    searched, retrained, seconds_of = Counter[str](), Counter[str](), defaultdict[str, float](float)
    for job_id, phase, count, taken_s in rows:
        (searched if phase in SEARCHING else retrained)[job_id] += count
        seconds_of[job_id] += taken_s
    for job in session.execute(select(Job.id, Job.search_epochs, Job.final_epochs, Job.train_seconds)):
        for what, says, is_ in (
            ("epochs of its search", job.search_epochs, searched[job.id]),
            ("epochs of its retraining", job.final_epochs, retrained[job.id]),
            ("seconds of training", job.train_seconds, seconds_of[job.id]),
        ):
            if abs(says - is_) > TOLERANCE_S + 1e-9 * abs(is_):
                yield f"job {job.id} counts {says:g} {what}, but its epochs make {is_:g}"


def _reasons(session: Session) -> Iterator[str]:
    """What a job says of bad ends is what its trials say."""
    ended = Counter(
        (job_id, str(reason))
        for job_id, reason in session.execute(
            select(Trial.job_id, Trial.reason).where(Trial.reason.in_(SETBACKS), Trial.state.not_in(ACTIVE_TRIAL))
        )
    )
    again = Counter(
        (job_id, str(reason))
        for job_id, reason in session.execute(
            select(Trial.job_id, Setback.reason).join(Trial, Trial.id == Setback.trial_id).where(Setback.again)
        )
    )
    said = {
        (job_id, reason): list(counts)
        for job_id, reasons in session.execute(select(Job.id, Job.reasons))
        for reason, counts in (reasons or {}).items()
    }
    for key in sorted(said.keys() | ended.keys() | again.keys()):
        says, is_ = said.get(key, [0, 0]), [ended[key], again[key]]
        if says != is_:
            yield f"job {key[0]} says of {key[1]!r} {says} (ended, tried again), its trials say {is_}"


def _leases(session: Session) -> Iterator[str]:
    """Who runs has a lease, and nobody else."""
    rows = session.execute(
        select(Trial.job_id, Trial.number, Trial.state, Trial.owner, Trial.lease_until).where(
            or_(
                (Trial.state == TrialState.RUNNING) & (Trial.lease_until.is_(None) | Trial.owner.is_(None)),
                (Trial.state != TrialState.RUNNING) & Trial.lease_until.is_not(None),
            )
        )
    )
    for job_id, number, state, owner, until in rows:
        yield f"trial {number} of job {job_id} is {state} with the lease of {owner} until {until}"


def _versions(session: Session) -> Iterator[str]:
    """Nothing of a job has changed after the job itself, and a later epoch was reported later."""
    for job_id, version, changed in session.execute(
        select(Job.id, Job.version, Job.changed).where(Job.changed > Job.version)
    ):
        yield f"job {job_id} changed at version {changed}, but is at {version}"
    for job_id, number, changed, version in session.execute(
        select(Trial.job_id, Trial.number, Trial.changed, Job.version)
        .join(Job, Job.id == Trial.job_id)
        .where(Trial.changed > Job.version)
    ):
        yield f"trial {number} of job {job_id} changed at version {changed}, but the job is at {version}"
    before = func.lag(Epoch.version).over(partition_by=Epoch.trial_id, order_by=Epoch.epoch).label("before")
    inner = select(Epoch.trial_id, Epoch.epoch, Epoch.version, before).subquery()
    rows = session.execute(
        select(Trial.job_id, Trial.number, inner.c.epoch)
        .join(inner, inner.c.trial_id == Trial.id)
        .where(inner.c.version < inner.c.before)
    )
    for job_id, number, epoch in rows:
        yield f"epoch {epoch} of trial {number} of job {job_id} has an earlier version than the one before it"


def _logs(session: Session) -> Iterator[str]:
    """The log of a trial has so many lines and no more, of attempts that there were."""
    rows = session.execute(
        select(Trial.job_id, Trial.number, Trial.attempt, func.count(), func.min(Line.attempt), func.max(Line.attempt))
        .join(Line, Line.trial_id == Trial.id)
        .group_by(Trial.id, Trial.job_id, Trial.number, Trial.attempt)
    )
    for job_id, number, attempt, count, first, last in rows:
        if count > KEPT + 1:
            yield f"trial {number} of job {job_id} has {count} lines in its log, of which {KEPT} are kept"
        if not 1 <= first <= last <= attempt:
            yield f"trial {number} of job {job_id} has had {attempt} attempts, but lines of attempt {last} in its log"


RULES: Final[tuple[Callable[[Session], Iterator[str]], ...]] = (
    _ended,
    _numbers,
    _searched,
    _epochs,
    _tallies,
    _sums,
    _reasons,
    _leases,
    _versions,
    _logs,
)
"""Every rule that holds at any moment."""


def _unsettled(session: Session) -> Iterator[str]:
    for job_id, state in session.execute(select(Job.id, Job.state).where(Job.state.not_in(ENDED_JOB))):
        if state != JobState.PAUSED:
            yield f"job {job_id} is still {state}"
    for job_id, number, owner in session.execute(
        select(Trial.job_id, Trial.number, Trial.owner).where(Trial.state == TrialState.RUNNING)
    ):
        yield f"trial {number} of job {job_id} is still leased to {owner}"


def _file(store: Store, artifacts: ArtifactStore, sha256: str) -> Iterator[str]:
    """A file that a row refers to is there, and is what its name says."""
    try:
        artifacts.verify(sha256)
    except (OSError, NasError) as error:
        with store.read() as session:  # since the snapshot it may have been replaced
            needed = referred(session, [sha256])
        if needed:
            yield f"file {sha256} cannot be used: {error}"
