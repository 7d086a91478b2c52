"""What happens in a job, told as it happens."""

import math
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from api.access import CurrentCaller
from api.feeds import Feeds
from api.parameters import PROBLEM, JobId

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses={404: PROBLEM, 422: PROBLEM})

LONGEST_S: Final = 900.0
"""How long a stream that was asked for with a key is kept, and with it what the key allowed when it was asked for."""

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter is for nginx
_STREAM: Final = {"description": "the events", "content": {"text/event-stream": {}}}


@router.get("/{job_id}/events", response_class=StreamingResponse, responses={200: _STREAM})
async def events(
    request: Request,
    caller: CurrentCaller,
    job_id: JobId,
    after: Annotated[str | None, Query(description="id of the last event you have; `now` leaves out the past")] = None,
    last_event_id: Annotated[str | None, Header(description="the same, from a client that comes back")] = None,
) -> StreamingResponse:
    """Server-sent events (text/event-stream): all that has happened in the job, and then what happens, until it ends.

    `epoch`: an epoch of a trial. `trial`: a trial has another state, or another epoch. `job`: the job's state, phase,
    best trial, note or reason. Each has an `id`; whoever comes back with it as Last-Event-ID misses nothing and gets
    nothing twice. Every epoch is told; a trial or a job that has changed more than once meanwhile is told as it is now.
    A trial that has to begin anew tells its epochs anew.

    `end` follows when the job has ended and all is told: do not come back. `reset`: the job has not come as far as the
    event that you named, since it was restored from an older copy; everything follows again. A comment every 15 seconds
    keeps the connection. With a key a stream ends after 15 minutes without `end`: come back.
    """
    feeds = request.app.state.feeds
    if not isinstance(feeds, Feeds):
        raise TypeError(feeds)
    place = await feeds.begin(job_id, last_event_id or after, "Last-Event-ID" if last_event_id else "after")
    longest_s = math.inf if caller.key is None else LONGEST_S
    return StreamingResponse(feeds.stream(job_id, place, longest_s), media_type="text/event-stream", headers=_HEADERS)
