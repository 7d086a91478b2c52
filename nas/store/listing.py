"""Pages of trials: sorted, filtered, by keyset, so that a deep page costs what the first one costs."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from nas.errors import InvalidInput, NotFound
from nas.store.jobs import get
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Trial

SORTS: Final = {
    "number": Trial.number,
    "accuracy": func.coalesce(Trial.accuracy, -1.0),  # trials without one stand below all others
    "params": func.coalesce(Trial.params, -1),
    "epoch": Trial.epoch,
}
"""What trials can be sorted by; a minus in front turns the order round."""

ALLOWED_SORTS: Final = tuple(sign + name for name in SORTS for sign in ("", "-"))


@dataclass(frozen=True, eq=False, slots=True)
class Page:
    """Some trials, and where the next ones begin."""

    trials: Sequence[Trial]
    next_cursor: str | None


def page(
    session: Session,
    job_id: str,
    *,
    states: Sequence[TrialState],
    phases: Sequence[Phase],
    sort: str,
    limit: int,
    cursor: str | None,
) -> Page:
    """The trials of a job in that order after the cursor; no states or phases means all.

    Raises:
        NotFound: there is no such job.
        InvalidInput: there is no such order, or the cursor is not one of ours for it.
    """
    if sort not in ALLOWED_SORTS:
        raise InvalidInput("sort", sort, f"allowed: {', '.join(ALLOWED_SORTS)}")
    get(session, job_id)
    key, descending = SORTS[sort.removeprefix("-")], sort.startswith("-")
    query = select(Trial, key).where(Trial.job_id == job_id).limit(limit + 1)
    if states:
        query = query.where(Trial.state.in_(states))
    if phases:
        query = query.where(Trial.phase.in_(phases))
    if cursor is not None:
        value, number = _decode(cursor, sort)
        beyond = key < value if descending else key > value
        query = query.where(or_(beyond, and_(key == value, Trial.number > number)))
    rows = session.execute(query.order_by(key.desc() if descending else key, Trial.number)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page([row[0] for row in rows[:limit]], _encode(sort, last[1], last[0].number) if last else None)


def row(session: Session, job_id: str, number: int) -> Trial:
    """A trial of a job. Raises NotFound."""
    get(session, job_id)
    found = session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == number)).first()
    if found is None:
        raise NotFound(f"job {job_id} has no trial {number}")
    return found


def trial(session: Session, job_id: str, number: int) -> tuple[Trial, Sequence[Epoch]]:
    """A trial of a job with its epochs. Raises NotFound."""
    found = row(session, job_id, number)
    return found, session.scalars(select(Epoch).where(Epoch.trial_id == found.id).order_by(Epoch.epoch)).all()


def _encode(sort: str, value: Any, number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, value, number]).encode()).decode()


def _decode(cursor: str, sort: str) -> tuple[float, int]:
    try:
        of, value, number = json.loads(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
        fits = of == sort and type(value) in (int, float) and type(number) is int
        if not fits or not -(2**31) <= value < 2**31 or not 0 <= number < 2**31:  # what an INTEGER holds
            raise ValueError(of)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise InvalidInput("cursor", cursor, "take next_cursor from the page before, with the same sort") from error
    return value, number
