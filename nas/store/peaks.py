"""How much memory of their devices the newest trainings were found to hold, for whoever packs trials together."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.spec import JobSpec
from nas.store.specs import known_spec_of
from nas.store.tables import Dataset, Job, Trial


@dataclass(frozen=True, slots=True)
class Measured:
    """What a training was found to hold, with what it followed from.

    Attributes:
        peak_bytes: of its device's memory, without the data set.
        candidate: as JSON.
        spec: of its job.
        epochs, halvings: of the trial.
        image: (channels, height, width).
        images: of the training split.
        outputs: of the network.
    """

    peak_bytes: int
    candidate: dict[str, Any]
    spec: JobSpec
    epochs: int
    halvings: int
    image: tuple[int, int, int]
    images: int
    outputs: int


def measured(session: Session, kind: str, limit: int = 200) -> list[Measured]:
    """What was measured of the newest trials, newest first, of those on devices of a kind, `cpu` or `cuda`."""
    newest = select(Trial.id).order_by(Trial.id.desc()).limit(limit)  # most have not been measured: no longer search
    rows = session.execute(
        select(Trial, Job, Dataset)
        .join(Job, Job.id == Trial.job_id)
        .join(Dataset, Dataset.id == Job.dataset_id)
        .where(Trial.id.in_(newest.scalar_subquery()), Trial.peak_bytes.is_not(None), Trial.device.startswith(kind))
        .order_by(Trial.id.desc())
    )
    return [
        Measured(
            peak_bytes=trial.peak_bytes,
            candidate=trial.candidate,
            spec=spec,
            epochs=trial.epochs,
            halvings=trial.halvings,
            image=(data.channels, data.height, data.width),
            images=data.train,
            outputs=len(data.classes),
        )
        for trial, job, data in rows
        if trial.peak_bytes is not None and trial.candidate is not None and (spec := known_spec_of(job)) is not None
    ]
