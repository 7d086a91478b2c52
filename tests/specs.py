"""Specs of jobs, and what is wrong with them."""

from typing import Any

import pytest
from pydantic import ValidationError

from nas.space import (
    Candidate,
    known,
)
from nas.spec import JobSpec

CANDIDATE = Candidate(known("DARTS_V2"))


def job(**body: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": "squares"} | body)


def errors(**body: Any) -> list[tuple[str, str]]:
    """Where each error is, as the API tells it: without the tags of the forms; and what it says."""
    with pytest.raises(ValidationError) as caught:
        job(**body)
    return [
        (".".join(str(part) for part in error["loc"] if not str(part).endswith(":")), error["msg"])
        for error in caught.value.errors()
    ]
