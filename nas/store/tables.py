"""The tables. The rows of `trials` are the only record of a search."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from nas.store.states import JobState, Phase, TrialState

LOCAL = "local"
"""The owner of everything where there are no keys."""

PUBLIC = "*"
"""The owner of the built-in data sets, which everyone may use."""

OPEN_TALLY = text("count > 0 AND state IN ('queued', 'running', 'paused')")
"""Of the tallies those that workers have to do with: a few of each active job, hardly any of the others."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times, also in SQLite, which stores none of the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database, as UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database, as UTC."""
        if value is None:
            return None
        assert isinstance(value, datetime)  # noqa: S101 - what the dialects return for a DateTime
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EnumText(TypeDecorator[Any]):
    """A StrEnum as plain text, so that a new member needs no migration."""

    impl = String(16)
    cache_ok = True

    def __init__(self, enum: type[JobState] | type[TrialState] | type[Phase]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else str(self.enum(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else self.enum(value)


class Base(DeclarativeBase):
    """The declarative base; constraints are named so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own convention
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        JobState: EnumText(JobState),
        TrialState: EnumText(TrialState),
        Phase: EnumText(Phase),
    }


class Dataset(Base):
    """A data set: its content is the artifact `sha256`. What is null was not recorded when the row was made."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(100), default=LOCAL, server_default=LOCAL)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    channels: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    train: Mapped[int]
    validation: Mapped[int]
    test: Mapped[int]
    classes: Mapped[list[str]]
    task: Mapped[str] = mapped_column(String(16), default="single_label", server_default="single_label")
    counts: Mapped[dict[str, Any] | None]  # images of each class
    warnings: Mapped[list[str] | None]  # what its reading passed over
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    seed: Mapped[int] = mapped_column(default=0, server_default="0")  # of its split
    unready: Mapped[str | None] = mapped_column(Text)  # why a worker could not read it
    unready_until: Mapped[datetime | None]  # until then no worker tries again
    created_at: Mapped[datetime]


class Job(Base):
    """A search job. Counters here and in `tallies` keep the dashboard's cost independent of the number of trials.

    `version` grows with everything that can be seen of the job; rows remember the version that they changed with.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "state", "created_at"),
        Index(None, "owner", "created_at"),
        Index(None, "owner", "served_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100), default=LOCAL, server_default=LOCAL)
    name: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[JobState]
    reason: Mapped[str | None] = mapped_column(Text)
    spec: Mapped[dict[str, Any]]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    parallel: Mapped[int | None]
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    device: Mapped[str] = mapped_column(String(16), default="any", server_default="any")  # any, cpu or gpu
    engine: Mapped[str] = mapped_column(String(16), default="optuna", server_default="optuna")
    driver: Mapped[str | None] = mapped_column(String(64))  # the worker that drives it on Ray
    driver_until: Mapped[datetime | None]  # the end of that worker's lease
    driver_term: Mapped[int] = mapped_column(default=0, server_default="0")  # how often a worker became its driver
    drivers_lost: Mapped[int] = mapped_column(default=0, server_default="0")  # in a row, without a trial that ended
    version: Mapped[int] = mapped_column(default=0, server_default="0")
    changed: Mapped[int] = mapped_column(default=0, server_default="0")  # version at which the job itself changed
    trials_planned: Mapped[int]  # of the search and before it
    prepared: Mapped[int] = mapped_column(default=0, server_default="0")  # trials before the search
    search_over: Mapped[bool] = mapped_column(default=False, server_default=false())  # nothing more is trained in it
    next_number: Mapped[int] = mapped_column(default=0)
    search_epochs: Mapped[int] = mapped_column(default=0)
    final_epochs: Mapped[int] = mapped_column(default=0)
    train_seconds: Mapped[float] = mapped_column(default=0.0)
    failures_in_row: Mapped[int] = mapped_column(default=0)
    best_trial: Mapped[int | None]  # number of the incumbent
    best_accuracy: Mapped[float | None]
    verdict: Mapped[dict[str, Any] | None]
    note: Mapped[str | None] = mapped_column(Text)  # what a reader should know that is no failure
    reasons: Mapped[dict[str, Any] | None]  # reason → [trials that ended with it, attempts that were tried again]
    cached: Mapped[int] = mapped_column(default=0, server_default="0")  # trials taken over instead of trained
    resumes: Mapped[JobState | None]  # where it goes on when it is no longer paused
    paused_at: Mapped[datetime | None]
    paused_s: Mapped[float] = mapped_column(
        default=0.0, server_default="0"
    )  # since its start, in which its clock stood
    searches: Mapped[list[Any] | None] = mapped_column(JSON)  # [number, index] where its search was taken up again
    served_at: Mapped[datetime | None]  # when a worker last took a trial of it
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Trial(Base):
    """One unit of work under a lease. A row without a candidate is a number reserved for one."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        UniqueConstraint("job_id", "phase", "digest", "seed_index"),
        Index(None, "state", "lease_until"),
        Index(None, "job_id", "state"),
        # pages: whatever the order and the filter, each phase and state has its trials in order
        Index(None, "job_id", "phase", "state", "number"),
        Index(None, "job_id", "phase", "state", "accuracy", "number"),
        Index(None, "job_id", "phase", "state", "params", "number"),
        Index(None, "job_id", "phase", "state", "epoch", "number"),
        Index(None, "job_id", "front", "id"),
        Index(None, "job_id", "changed"),
        Index(None, "cache_key"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    number: Mapped[int]
    phase: Mapped[Phase]
    state: Mapped[TrialState]
    reason: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    candidate: Mapped[dict[str, Any] | None]
    digest: Mapped[str | None] = mapped_column(String(64))
    seed_index: Mapped[int] = mapped_column(default=0)
    epochs: Mapped[int]
    epoch: Mapped[int] = mapped_column(default=0)
    round: Mapped[int] = mapped_column(default=0, server_default="0")  # after which search it is retrained, from 0
    stage: Mapped[int] = mapped_column(default=0, server_default="0")  # the epoch at which it is compared next
    rungs: Mapped[list[Any] | None] = mapped_column(JSON)  # [epoch, accuracy] wherever it was compared
    front: Mapped[bool] = mapped_column(default=False, server_default=false())  # no complete trial beats it in all
    accuracy: Mapped[float | None]
    params: Mapped[int | None]
    macs: Mapped[int | None] = mapped_column(BigInteger)
    latency_ms: Mapped[float | None]
    memory_mb: Mapped[float | None]
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)  # in a row, without a new epoch between them
    halvings: Mapped[int] = mapped_column(default=0, server_default="0")  # of its batch, for want of memory
    alone: Mapped[bool] = mapped_column(default=False, server_default=false())  # it has to have a device to itself
    peak_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of the device's memory that its training held
    device: Mapped[str | None] = mapped_column(String(100))  # of its last attempt
    changed: Mapped[int] = mapped_column(default=0, server_default="0")  # the job's version when it last did
    cache_key: Mapped[str | None] = mapped_column(String(64))  # of candidate, data, recipe and seed
    cached_from: Mapped[str | None] = mapped_column(String(64))  # JOB/NUMBER that it was taken over from
    spent: Mapped[dict[str, Any] | None]  # what its last attempt's time went into → seconds
    shifts: Mapped[list[Any] | None] = mapped_column(JSON)  # [worker, begin, end] of earlier attempts, in Unix seconds
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    began_at: Mapped[datetime | None]  # when its last attempt began
    finished_at: Mapped[datetime | None]


class Epoch(Base):
    """What one epoch of a trial showed; written once, in the transaction that stores its checkpoint."""

    __tablename__ = "epochs"
    __table_args__ = (Index(None, "job_id", "version", "trial_id", "epoch"),)  # nas.store.feed reads them in this order

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String(32))  # the trial's
    train_loss: Mapped[float]
    validation_loss: Mapped[float]
    validation_accuracy: Mapped[float]
    lr: Mapped[float]
    seconds: Mapped[float]
    metrics: Mapped[dict[str, Any] | None]
    version: Mapped[int] = mapped_column(default=0, server_default="0")  # of the job, when it was reported


class Incumbent(Base):
    """A trial that was the best so far when it ended."""

    __tablename__ = "incumbents"
    __table_args__ = (Index(None, "job_id", "at_s"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at_s: Mapped[float]
    accuracy: Mapped[float]


class Tally(Base):
    """How many trials of a job's phase are in a state; nas.store.moves keeps it in step with every move."""

    __tablename__ = "tallies"
    __table_args__ = (Index("ix_tallies_open", "job_id", postgresql_where=OPEN_TALLY, sqlite_where=OPEN_TALLY),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    phase: Mapped[Phase] = mapped_column(primary_key=True)
    state: Mapped[TrialState] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(default=0)


class Artifact(Base):
    """A file that a trial left in the artifact store: its checkpoint, its weights, or the job's package."""

    __tablename__ = "artifacts"

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class Worker(Base):
    """A worker process that is alive as of `seen_at`."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str] = mapped_column(String(100))
    ray: Mapped[bool] = mapped_column(default=False, server_default=false())  # whether it can drive Ray jobs
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class Setback(Base):
    """An attempt at a trial that came to a bad end, with its traceback; whether it was tried again is the trial's."""

    __tablename__ = "setbacks"
    __table_args__ = (Index(None, "trial_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    attempt: Mapped[int]
    reason: Mapped[str] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    worker: Mapped[str | None] = mapped_column(String(64))
    again: Mapped[bool]  # whether the trial went back to the queue
    at: Mapped[datetime]


class ApiKey(Base):
    """A key, of which only the hash is kept. `prefix` is its public part, by which people recognise it."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(100))
    scope: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class Login(Base):
    """A browser in which somebody has logged in with a key: the hash of what its cookie holds."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "expires_at"),)

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))  # null: the key of who started the service
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Line(Base):
    """One line of a trial's log; the newest ones of each trial are kept."""

    __tablename__ = "lines"
    __table_args__ = (Index("ix_lines_trial_id", "trial_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    attempt: Mapped[int]
    at: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(Text)


class Answer(Base):
    """The answer to a request with an Idempotency-Key, to be given again."""

    __tablename__ = "answers"
    __table_args__ = (Index(None, "created_at"),)

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request: Mapped[str] = mapped_column(String(64))  # sha256 of method, path and body
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Counter(Base):
    """What only grows, for /metrics: also when the jobs that it was counted in are deleted."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[float] = mapped_column(default=0.0)
