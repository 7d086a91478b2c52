"""Dashboards that were answered, so that the next poll of one costs a single question to the database."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request, Response

from api.dashboard_schemas import DashboardProgress, DashboardRows, DashboardWaiting
from api.deps import tagged
from nas.store.dashboard import Dashboard, dashboard
from nas.store.session import Store

BODY_BYTES: Final = 32_000
"""The largest answer, however much there is to show."""

CANDIDATE_BYTES: Final = 4_000
"""Of the best network. A search proposes far smaller ones; a start that someone made may have thousands of edges."""

KEPT: Final = 256

READERS: Final = 4
"""Polls that are answered at once; more threads would only take turns with each other in the middle of an answer."""


@dataclass(frozen=True, eq=False, slots=True)
class _Kept:
    """What was read of a job, and all that the answer says of its rows: JSON up to the closing brace."""

    shown: Dashboard
    text: str


class Dashboards:
    """Keeps the newest answers; whether one still holds, the database says at every poll.

    So any number of processes may answer for one job, and an answer is never older than the question.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = Lock()
        self._readers = CapacityLimiter(READERS)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    async def poll(self, store: Store, job_id: str, lease_s: float, known: str | None) -> Response:
        """As answer, in a thread of those that polls have."""
        return await to_thread.run_sync(self.answer, store, job_id, lease_s, known, limiter=self._readers)

    def answer(self, store: Store, job_id: str, lease_s: float, known: str | None) -> Response:
        """The dashboard of a job, or 304 to who has it. Raises NotFound.

        Args:
            store, job_id, lease_s: of the job.
            known: the request's If-None-Match.
        """
        with self._lock:
            kept = self._kept.get(job_id)
        with store.read() as session:
            shown = dashboard(session, job_id, lease_s, kept.shown if kept else None)
        holds = kept is not None and kept.shown.rows is shown.rows
        text = kept.text if kept and holds else _bounded(DashboardRows.of(shown.rows)).removesuffix("}")
        with self._lock:
            self._kept[job_id] = _Kept(shown, text)
            self._kept.move_to_end(job_id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return _response(text, shown, known)


async def _dashboards(request: Request) -> Dashboards:
    found = request.app.state.dashboards
    if not isinstance(found, Dashboards):
        raise TypeError(found)
    return found


KeptDashboards = Annotated[Dashboards, Depends(_dashboards)]


def _response(text: str, shown: Dashboard, known: str | None) -> Response:
    """The tag is made of all but what follows the clock; the counts in `progress` follow from the rows."""
    progress = DashboardProgress.model_validate(shown.progress, from_attributes=True).model_dump_json()
    waiting, timeless = "null", "null"
    if shown.waiting is not None:
        view = DashboardWaiting.of(shown.waiting)
        waiting, timeless = view.model_dump_json(), view.model_dump_json(exclude={"eta_s"})
    body = f'{text},"progress":{progress},"waiting":{waiting}}}'
    return tagged(body.encode(), "application/json", known, of=f"{text}{timeless}".encode())


def _bounded(view: DashboardRows) -> str:
    """The view as JSON with room for the rest of the answer: of its largest list half is left out, until it fits."""
    best = view.best
    if best is not None and best.candidate is not None and len(str(best.candidate)) > CANDIDATE_BYTES:
        view.best = best.model_copy(update={"genotype": None, "candidate": None})
    while len((text := view.model_dump_json()).encode()) > BODY_BYTES - 2_000:
        curve = view.supernet.curve if view.supernet else []
        # what ascends keeps its end, what has the best or the longest at work first its beginning
        ascending: list[list[Any]] = [view.incumbents, curve]
        others: list[list[Any]] = [view.running, view.pareto or []]
        largest = max([*ascending, *others], key=lambda entries: sum(len(entry.model_dump_json()) for entry in entries))
        if not largest:
            return text
        half = (len(largest) + 1) // 2
        del largest[slice(half) if any(largest is entries for entries in ascending) else slice(-half, None)]
    return text
