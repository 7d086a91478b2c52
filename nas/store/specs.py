"""The specs of jobs as values. One is parsed once in a process: that takes longer than reading the job."""

import json
from functools import lru_cache
from typing import Final

from nas.spec import JobSpec
from nas.store.tables import Job

_KEPT: Final = 1_000


def spec_of(job: Job) -> JobSpec:
    """What was asked for, as it stands in the job's row."""
    return _parsed(json.dumps(job.spec))


@lru_cache(_KEPT)
def _parsed(text: str) -> JobSpec:
    """A value is its own key, so that a spec that was changed is another one."""
    return JobSpec.model_validate(json.loads(text))
