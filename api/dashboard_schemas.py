"""What the API answers about a job as a whole, at every moment of it."""

from datetime import datetime
from typing import Any, Final, Self

from pydantic import BaseModel, Field

from api.schemas import links
from api.trial_schemas import Objective
from nas.store.dashboard import Rows, Supernet
from nas.store.states import TrialState
from nas.store.tables import Epoch, Trial
from nas.store.waiting import Waiting

TEXT_SHOWN: Final = 500
"""Characters of a text that somebody else wrote; GET /v1/jobs/{id} has all of them."""


class DashboardJob(BaseModel):
    """The job itself. `phase`: screening, supernet, search, finalist, control, reference, report, done."""

    id: str
    owner: str
    name: str | None
    priority: int
    state: str
    phase: str
    reason: str | None = Field(description=f"the first {TEXT_SHOWN} characters")
    note: str | None = Field(description=f"the first {TEXT_SHOWN} characters")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    engine: str
    strategy: str
    dataset: str


class DashboardProgress(BaseModel):
    """`fraction` of all epochs, retraining included, or of `budget.seconds`; `trials_…` are search trials."""

    fraction: float
    trials_finished: int
    trials_planned: int
    elapsed_s: float
    eta_s: float | None


class DashboardBest(BaseModel):
    """The best by the first objective, in the end the winner; `accuracy` is on validation, `verdict` has test."""

    trial: int
    accuracy: float | None
    params: int | None
    macs: int | None
    genotype: dict[str, Any] | None = Field(description="the two cells; null for other architectures")
    candidate: dict[str, Any] | None = Field(
        description="architecture, frame and what was chosen of the recipe; null, as the genotype then is, where it "
        "is too large for a poll: GET …/best has it"
    )

    @classmethod
    def of(cls, best: Trial | None) -> Self | None:
        """From a row."""
        if best is None or best.candidate is None:
            return None
        return cls(
            trial=best.number,
            accuracy=best.accuracy,
            params=best.params,
            macs=best.macs,
            genotype=best.candidate.get("genotype"),
            candidate=best.candidate,
        )


class DashboardIncumbent(BaseModel):
    """A trial that was the best when it ended, `at_s` seconds after the job's start."""

    trial: int
    at_s: float
    accuracy: float


class DashboardMember(BaseModel):
    """A member of the Pareto set."""

    trial: int
    values: dict[str, float | None] = Field(description="of each objective")


class SupernetEpoch(BaseModel):
    """One epoch of a supernet."""

    epoch: int
    accuracy: float = Field(description="of the supernet, on validation")
    alpha_entropy: float | None = Field(description="of the operations' shares, on average; falls as edges decide")
    skip_share: float | None = Field(description="skip connections among the chosen operations")
    genotype: dict[str, Any] | None = Field(
        description="what it would hand over after this epoch; of the newest one only, GET …/trials/N has all"
    )

    @classmethod
    def of(cls, epoch: Epoch, *, newest: bool) -> Self:
        """From a row."""
        metrics = epoch.metrics or {}
        found = {name: metrics.get(name) for name in ("alpha_entropy", "skip_share")}
        genotype = metrics.get("genotype") if newest else None
        return cls(epoch=epoch.epoch, accuracy=epoch.validation_accuracy, **found, genotype=genotype)


class DashboardSupernet(BaseModel):
    """The one network of a one-shot search."""

    trial: int
    state: str
    epoch: int
    epochs: int = Field(description="planned; it may stop earlier")
    stopped: str | None = Field(description="why it stopped before its last epoch, or failed")
    curve: list[SupernetEpoch] = Field(description="the newest epochs, 200 at most")

    @classmethod
    def of(cls, supernet: Supernet | None) -> Self | None:
        """From what the store read."""
        if supernet is None:
            return None
        trial = supernet.trial
        # Of a traceback the error itself; an attempt that failed and was tried again stopped nothing.
        ended = trial.state in (TrialState.COMPLETE, TrialState.FAILED)
        lines = (trial.error or "").strip().splitlines() if ended else []
        return cls(
            trial=trial.number,
            state=trial.state,
            epoch=trial.epoch,
            epochs=trial.epochs,
            stopped=clipped(lines[-1]) if lines else None,
            curve=[SupernetEpoch.of(epoch, newest=epoch is supernet.epochs[-1]) for epoch in supernet.epochs],
        )


class DashboardRunning(BaseModel):
    """A trial at work."""

    trial: int
    phase: str
    worker: str | None
    epoch: int
    epochs: int
    accuracy: float | None


class DashboardWaiting(BaseModel):
    """Why nothing of the job is running."""

    reason: str = Field(
        description="no_worker, no_gpu_worker, no_cpu_worker, no_ray_worker, driving, all_busy, paused, "
        "dataset_not_ready or starting"
    )
    text: str = Field(description="the same for a person, with what to do about it")
    position: int | None = Field(description="in the queue, from 1")
    eta_s: float | None = Field(description="when a worker is expected to take it; null if nobody knows")

    @classmethod
    def of(cls, waiting: Waiting) -> Self:
        """From what the store found."""
        text = clipped(waiting.text) or ""
        return cls(reason=waiting.reason, text=text, position=waiting.position, eta_s=waiting.eta_s)


class DashboardReason(BaseModel):
    """How often attempts at trials came to a bad end for one reason."""

    trials: int = Field(description="that ended with it")
    again: int = Field(description="attempts after which the trial went back to the queue")


class DashboardRows(BaseModel):
    """What follows from the rows alone."""

    job: DashboardJob
    metric: str = Field(description="what every `accuracy` here is: the task's score, accuracy, map or r2")
    objectives: list[Objective]
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    reasons: dict[str, DashboardReason] = Field(
        description="why trials ended badly: lost, preempted, out_of_memory, disk_full, diverged, infeasible, error, "
        "cancelled; those that occurred"
    )
    cached: int = Field(description="trainings that were taken over from earlier ones instead of being paid for again")
    best: DashboardBest | None
    incumbents: list[DashboardIncumbent] = Field(description="the newest 200 at most, ascending")
    pareto: list[DashboardMember] | None = Field(
        description="null with one objective; of the newest 100 members, the best by the first objective first; "
        "GET …/pareto has all"
    )
    supernet: DashboardSupernet | None = Field(description="null where the strategy trains none")
    running: list[DashboardRunning] = Field(description="100 at most; `counts` has how many there are")
    verdict: dict[str, Any] | None
    links: dict[str, str]

    @classmethod
    def of(cls, shown: Rows) -> Self:
        """From what the store read."""
        job = shown.job
        return cls(
            job=DashboardJob(
                **{name: getattr(job, name) for name in ("id", "owner", "name", "priority", "state")},
                **{name: getattr(job, name) for name in ("created_at", "started_at", "finished_at")},
                phase=shown.phase,
                reason=clipped(job.reason),
                note=clipped(job.note),
                engine=job.spec["engine"],
                strategy=job.spec["strategy"],
                dataset=shown.dataset,
            ),
            metric=shown.metric,
            objectives=[Objective.of(objective) for objective in shown.objectives],
            counts=shown.counts,
            phases=shown.phases,
            reasons={
                reason: DashboardReason(trials=ended, again=again)
                for reason, (ended, again) in (job.reasons or {}).items()
            },
            cached=job.cached,
            best=DashboardBest.of(shown.best),
            incumbents=[
                DashboardIncumbent(trial=found.number, at_s=found.at_s, accuracy=found.accuracy)
                for found in shown.incumbents
            ],
            pareto=None
            if shown.pareto is None
            else [DashboardMember(trial=member.trial.number, values=member.values) for member in shown.pareto],
            supernet=DashboardSupernet.of(shown.supernet),
            running=[
                DashboardRunning(
                    trial=trial.number,
                    phase=trial.phase,
                    worker=trial.owner,
                    epoch=trial.epoch,
                    epochs=trial.epochs,
                    accuracy=trial.accuracy,
                )
                for trial in shown.running
            ],
            verdict=job.verdict,
            links=links(job.id),
        )


class DashboardView(DashboardRows):
    """The one endpoint to poll. `counts` are of all trials by state, `phases` finished and planned by phase.

    It has 32 KB at most: where the lists are too long for that, fewer of their entries are shown.
    """

    progress: DashboardProgress
    waiting: DashboardWaiting | None


def clipped(text: str | None) -> str | None:
    """The beginning of a text."""
    return text if text is None or len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"
