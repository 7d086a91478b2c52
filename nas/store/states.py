"""The states of jobs and trials, and the only way from one to another."""

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from nas.errors import IllegalTransition

if TYPE_CHECKING:
    from nas.store.tables import Job


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """What a trial is for. All phases are claimed, leased and lost in the same way."""

    SCREENING = "screening"
    SUPERNET = "supernet"
    SEARCH = "search"
    FINALIST = "finalist"
    CONTROL = "control"
    REFERENCE = "reference"
    REPORT = "report"
    RETRAIN = "retrain"


class Reason(StrEnum):
    """Why a trial ended without a full result; each has its own policy in nas.store.trials and worker.step."""

    LOST = "lost"
    PREEMPTED = "preempted"
    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    ERROR = "error"
    CANCELLED = "cancelled"
    RUNG = "rung"
    BUDGET = "budget"


JOB_NEXT: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.FINALIZING, JobState.PAUSED, JobState.FAILED, JobState.CANCELLED}),
    # back to where it was paused
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.RUNNING, JobState.FINALIZING, JobState.CANCELLED}),
    # only when its budget is extended, a job searches again: from here, and when it has ended
    JobState.FINALIZING: frozenset(
        {JobState.SUCCEEDED, JobState.PAUSED, JobState.FAILED, JobState.CANCELLED, JobState.RUNNING}
    ),
    JobState.SUCCEEDED: frozenset({JobState.RUNNING}),
    JobState.FAILED: frozenset({JobState.RUNNING}),
    JobState.CANCELLED: frozenset({JobState.RUNNING}),
}

TRIAL_NEXT: Final[dict[TrialState, frozenset[TrialState]]] = {
    TrialState.QUEUED: frozenset({TrialState.RUNNING, TrialState.CANCELLED}),
    TrialState.RUNNING: frozenset(
        {
            TrialState.QUEUED,  # handed back, or its worker was lost
            TrialState.PAUSED,  # at a rung, until it is promoted or the search ends
            TrialState.COMPLETE,
            TrialState.PRUNED,
            TrialState.INFEASIBLE,
            TrialState.FAILED,
            TrialState.CANCELLED,
        }
    ),
    TrialState.PAUSED: frozenset({TrialState.RUNNING, TrialState.PRUNED, TrialState.CANCELLED}),
    TrialState.COMPLETE: frozenset(),
    TrialState.PRUNED: frozenset(),
    TrialState.INFEASIBLE: frozenset(),
    TrialState.FAILED: frozenset(),
    TrialState.CANCELLED: frozenset(),
}

ENDED_JOB: Final = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
ACTIVE_JOB: Final = tuple(state for state in JobState if state not in ENDED_JOB)
ACTIVE_TRIAL: Final = tuple(state for state, following in TRIAL_NEXT.items() if following)
FINISHED_TRIAL: Final = tuple(state for state, following in TRIAL_NEXT.items() if not following)
BUSY_TRIAL: Final = (TrialState.QUEUED, TrialState.RUNNING)
"""States of a trial that somebody works on, or that waits for nothing but a worker."""

PREPARATION: Final = (Phase.SCREENING, Phase.SUPERNET)
"""Phases before the search; what they find is what its first trials train."""

SEARCHING: Final = (*PREPARATION, Phase.SEARCH)
FINALS: Final = (Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE, Phase.REPORT)
"""Phases that make the verdict and the model. Phase.RETRAIN is asked for by a user and moves no job."""


def standing(job: "Job") -> JobState:
    """The state of a job; of a paused one, the state that it goes on in."""
    return job.resumes if job.state == JobState.PAUSED and job.resumes is not None else job.state


def advance(job: "Job", to: JobState) -> None:
    """Moves a job along JOB_NEXT; the only place that assigns job.state. Raises IllegalTransition."""
    if to not in JOB_NEXT[job.state]:
        raise IllegalTransition(f"job {job.id}", job.state, to)
    job.state = to
