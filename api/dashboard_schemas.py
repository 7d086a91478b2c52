"""What the API answers about a job as a whole, at every moment of it."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from api.schemas import links
from api.trial_schemas import Objective
from nas.store.dashboard import Dashboard, Supernet
from nas.store.states import TrialState
from nas.store.tables import Epoch, Trial


class DashboardJob(BaseModel):
    """The job itself. `phase`: screening, supernet, search, finalist, control, reference, report, done."""

    id: str
    name: str | None
    state: str
    phase: str
    reason: str | None
    note: str | None
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
    candidate: dict[str, Any] = Field(description="architecture, frame and what was chosen of the recipe")

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
    genotype: dict[str, Any] | None = Field(description="what it would hand over after this epoch")

    @classmethod
    def of(cls, epoch: Epoch) -> Self:
        """From a row."""
        metrics = epoch.metrics or {}
        found = {name: metrics.get(name) for name in ("alpha_entropy", "skip_share", "genotype")}
        return cls(epoch=epoch.epoch, accuracy=epoch.validation_accuracy, **found)


class DashboardSupernet(BaseModel):
    """The one network of a one-shot search."""

    trial: int
    state: str
    epoch: int
    epochs: int = Field(description="planned; it may stop earlier")
    stopped: str | None = Field(description="why it stopped before its last epoch, or failed")
    curve: list[SupernetEpoch] = Field(description="the newest 200 epochs")

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
            stopped=lines[-1] if lines else None,
            curve=[SupernetEpoch.of(epoch) for epoch in supernet.epochs],
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
        description="no_worker, no_gpu_worker, no_cpu_worker, all_busy, paused, dataset_not_ready or starting"
    )
    text: str = Field(description="the same for a person, with what to do about it")
    position: int | None = Field(description="in the queue, from 1")
    eta_s: float | None = Field(description="when a worker is expected to take it; null if nobody knows")


class DashboardReason(BaseModel):
    """How often attempts at trials came to a bad end for one reason."""

    trials: int = Field(description="that ended with it")
    again: int = Field(description="attempts after which the trial went back to the queue")


class DashboardView(BaseModel):
    """The one endpoint to poll. `counts` are of all trials by state, `phases` finished and planned by phase."""

    job: DashboardJob
    objectives: list[Objective]
    progress: DashboardProgress
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    reasons: dict[str, DashboardReason] = Field(
        description="why trials ended badly: lost, preempted, out_of_memory, disk_full, diverged, infeasible, error, "
        "cancelled; those that occurred"
    )
    best: DashboardBest | None
    incumbents: list[DashboardIncumbent]
    pareto: list[DashboardMember] | None = Field(
        description="null with one objective; the newest 100 members, the best by the first objective first"
    )
    supernet: DashboardSupernet | None = Field(description="null where the strategy trains none")
    running: list[DashboardRunning]
    verdict: dict[str, Any] | None
    waiting: DashboardWaiting | None
    links: dict[str, str]

    @classmethod
    def of(cls, shown: Dashboard) -> Self:
        """From what the store read."""
        job = shown.job
        return cls(
            job=DashboardJob(
                **{name: getattr(job, name) for name in ("id", "name", "state", "reason", "note")},
                **{name: getattr(job, name) for name in ("created_at", "started_at", "finished_at")},
                phase=shown.phase,
                engine=job.spec["engine"],
                strategy=job.spec["strategy"],
                dataset=shown.dataset,
            ),
            objectives=[Objective.of(objective) for objective in shown.objectives],
            progress=DashboardProgress.model_validate(shown.progress, from_attributes=True),
            counts=shown.counts,
            phases=shown.phases,
            reasons={
                reason: DashboardReason(trials=ended, again=again)
                for reason, (ended, again) in (job.reasons or {}).items()
            },
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
            waiting=None
            if shown.waiting is None
            else DashboardWaiting.model_validate(shown.waiting, from_attributes=True),
            links=links(job.id),
        )
