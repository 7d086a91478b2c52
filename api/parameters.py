"""What stands in the paths and queries of several routes."""

from typing import Annotated, Any, Final

from fastapi import Path, Query

from api.errors import Problem

PROBLEM: Final[dict[str, Any]] = {"model": Problem}
"""How an error is described."""

PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"
"""PostgreSQL takes no NUL, not even to compare with."""

JobId = Annotated[str, Path(max_length=64, pattern=PLAIN, description="id of a job")]
Number = Annotated[int, Path(ge=0, le=2**31 - 1, description="number of a trial")]
Limit = Annotated[int, Query(ge=1, le=500, description="how many at the most")]
Cursor = Annotated[str | None, Query(max_length=500, pattern=PLAIN, description="next_cursor of the page before")]
