"""What jobs ask for, as values. A spec is parsed once in a process: that takes longer than reading the job."""

import json
from functools import lru_cache
from typing import Final

from pydantic import ValidationError
from sqlalchemy.orm import Session

from nas.errors import SpecUnreadable, shorten
from nas.spec import JobSpec
from nas.store.tables import Dataset, Job
from nas.train.tasks import SCORE

_KEPT: Final = 1_000


def spec_of(job: Job) -> JobSpec:
    """What was asked for, as it stands in the job's row. Raises SpecUnreadable."""
    try:
        return _parsed(json.dumps(job.spec))
    except ValidationError as error:  # it was valid when it was stored: a plugin is gone, or never was here
        first = error.errors(include_url=False)[0]
        named = ".".join(str(part) for part in first["loc"])
        raise SpecUnreadable(job.id, f"{named}: {shorten(first['input'])}") from error


def known_spec_of(job: Job) -> JobSpec | None:
    """The same for who looks at many jobs; None of one that cannot be read here."""
    try:
        return spec_of(job)
    except SpecUnreadable:
        return None


def metric_of(session: Session, job: Job) -> str:
    """What the accuracies of a job are: the score of its data set's task (nas.train.tasks.SCORE)."""
    return SCORE[session.get_one(Dataset, job.dataset_id).task]


@lru_cache(_KEPT)
def _parsed(text: str) -> JobSpec:
    """A value is its own key, so that a spec that was changed is another one."""
    return JobSpec.model_validate(json.loads(text))
