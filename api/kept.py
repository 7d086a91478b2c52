"""Answers that follow from a job's rows alone, kept as long as these stay as they are."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.deps import tagged
from nas.store.figures import stamp
from nas.store.session import Store

KEPT: Final = 64
"""Answers; the largest have 200 kB."""


@dataclass(frozen=True, eq=False, slots=True)
class _Kept:
    """An answer, and the stamp of the rows that it was made from."""

    stamp: tuple[Any, ...]
    body: bytes


class KeptAnswers:
    """Keeps the newest answers; whether one still holds, the database says each time.

    So any number of processes may answer for one job, and an answer is never older than the question.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def answer(
        self,
        store: Store,
        job_id: str,
        question: tuple[Hashable, ...],
        read: Callable[[Session], BaseModel],
        known: str | None,
    ) -> Response:
        """What `read` makes of the job's rows as JSON with its ETag, or 304 to who has it.

        Args:
            store, job_id: of the job.
            question: what is asked of the job: the same question about the same rows has the same answer.
            read: makes it.
            known: the request's If-None-Match.

        Raises:
            NotFound: there is no such job.
        """
        key = (job_id, *question)
        with self._lock:
            kept = self._kept.get(key)
        with store.read() as session:
            found = stamp(session, job_id)
            if kept is None or kept.stamp != found:
                kept = _Kept(found, read(session).model_dump_json().encode())
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return tagged(kept.body, "application/json", known)


async def _kept(request: Request) -> KeptAnswers:  # async: FastAPI would take a thread for it
    found = request.app.state.kept
    if not isinstance(found, KeptAnswers):
        raise TypeError(found)
    return found


Kept = Annotated[KeptAnswers, Depends(_kept)]
