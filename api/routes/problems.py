"""What the `type` of a problem document leads to."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from api.parameters import PLAIN, PROBLEM
from api.problems import PROBLEMS
from nas.errors import NotFound

router = APIRouter(prefix="/problems", tags=["problems"])


class ProblemKind(BaseModel):
    """A kind of problem, with what it means and how to mend it."""

    type: str
    title: str
    status: int
    text: str


@router.get("/{name}", responses={404: PROBLEM, 422: PROBLEM})
def explain(name: Annotated[str, Path(max_length=64, pattern=PLAIN, description="of a problem")]) -> ProblemKind:
    """What a kind of problem means, and what to do about it."""
    kind = PROBLEMS.get(name)
    if kind is None:
        raise NotFound(f"there is no problem {name!r}; there are {', '.join(PROBLEMS)}")
    return ProblemKind(type=f"/problems/{name}", title=kind.title, status=kind.status, text=kind.text)
