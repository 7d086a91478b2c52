"""Pages of trials: sorted, filtered, by keyset, so that a deep page costs what the first one costs."""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, select, text
from sqlalchemy.orm import Session, defer

from nas.errors import InvalidInput, NotFound
from nas.store.jobs import get
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Tally, Trial

SORTS: Final = ("number", "accuracy", "params", "epoch")
"""What trials can be sorted by, then by number; those without a value stand first. A minus turns the order round."""

ALLOWED_SORTS: Final = tuple(sign + name for name in SORTS for sign in ("", "-"))


@dataclass(frozen=True, eq=False, slots=True)
class Page:
    """Some trials, and where the next ones begin."""

    trials: Sequence[Trial]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a trial in the order: what it is sorted by, and its number."""

    value: float | None
    number: int


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

    The trials of each phase and state stand in order in an index. As many as a page has are read of each, and put into
    one order: that costs the same for the first page of a job and for one deep in it, whatever the filter leaves out.

    Raises:
        NotFound: there is no such job.
        InvalidInput: there is no such order, or the cursor is not one of ours for it.
    """
    if sort not in ALLOWED_SORTS:
        raise InvalidInput("sort", sort, f"allowed: {', '.join(ALLOWED_SORTS)}")
    get(session, job_id)
    order = _Order(sort.removeprefix("-"), sort.startswith("-"))
    after = None if cursor is None else _decode(cursor, sort)
    counted = select(Tally.phase, Tally.state).where(Tally.job_id == job_id, Tally.count > 0)
    if states:
        counted = counted.where(Tally.state.in_(states))
    if phases:
        counted = counted.where(Tally.phase.in_(phases))
    kinds = [(str(phase), str(state)) for phase, state in session.execute(counted)]
    if not kinds:
        return Page([], None)
    question = _question(
        order, after and after.value is not None, len(kinds), indexed=session.get_bind().dialect.name == "sqlite"
    )
    given: dict[str, Any] = {"job": job_id, "limit": limit + 1} | (asdict(after) if after else {})
    for index, (phase, state) in enumerate(kinds):
        given |= {f"phase{index}": phase, f"state{index}": state}
    rows = session.execute(text(question), given).all()
    found = select(Trial).where(Trial.id.in_([row.id for row in rows[:limit]])).options(*_LEFT_OUT)
    by_id = {trial.id: trial for trial in session.scalars(found)}
    last = rows[limit - 1] if len(rows) > limit else None
    return Page([by_id[row.id] for row in rows[:limit]], _encode(sort, last.value, last.number) if last else None)


_LEFT_OUT: Final = (defer(Trial.candidate), defer(Trial.error))
"""Large, and not shown in a list."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What trials are sorted by, before their number, and whether it is turned round."""

    column: str
    descending: bool

    @property
    def nullable(self) -> bool:
        """Whether a trial may have no value."""
        return bool(Trial.__table__.c[self.column].nullable)


@cache
def _question(order: _Order, valued: bool | None, kinds: int, *, indexed: bool) -> str:
    """SQL for the heads of all runs, in one order.

    As text: it has up to a hundred parts, and making those of expressions would take longer than running them. Values
    are parameters in it; what stands in it itself are names from SORTS.

    Args:
        order: of the page.
        valued: whether the place after which it begins has a value; None if it begins with the first trial.
        kinds: of trials, by phase and state; each one is a run, or two.
        indexed: whether the index is named. SQLite knows nothing of how values are spread, and may take another one.
    """
    turned = " DESC" if order.descending else ""
    index = "ix_trials_job_id_phase_state_" + ("" if order.column == "number" else f"{order.column}_") + "number"
    hint = f" INDEXED BY {index}" if indexed else ""
    heads = [
        f"SELECT {int(known)} AS known, {order.column} AS value, number, id FROM trials{hint} WHERE job_id = :job"  # noqa: S608
        f" AND phase = :phase{kind} AND state = :state{kind}{condition}"
        f" ORDER BY {order.column}{turned}, number{turned} LIMIT :limit"
        for kind in range(kinds)
        for known, condition in _runs(order, valued)
    ]
    each = " UNION ALL ".join(f"SELECT * FROM ({head}) AS run{place}" for place, head in enumerate(heads))  # noqa: S608
    return f"{each} ORDER BY known{turned}, value{turned}, number{turned} LIMIT :limit"


def _runs(order: _Order, valued: bool | None) -> Iterator[tuple[bool, str]]:
    """Whether the trials of a run have a value, and the condition that makes it begin after the place.

    Those without a value are a run of their own: databases differ in where they stand among the others.
    """
    beyond = "<" if order.descending else ">"
    for known in (False, True) if order.nullable else (True,):
        condition = f" AND {order.column} IS {'NOT ' if known else ''}NULL" if order.nullable else ""
        if known == valued:  # the place is in this run
            pair = known and order.column != "number"
            here, there = (f"({order.column}, number)", "(:value, :number)") if pair else ("number", ":number")
            yield known, f"{condition} AND {here} {beyond} {there}"
        elif valued is None or known != order.descending:  # the whole run comes after it
            yield known, condition


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


def _decode(cursor: str, sort: str) -> _Place:
    try:
        of, value, number = json.loads(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
        if of != sort or not _whole(number) or not _possible(sort, value):
            raise ValueError(of)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise InvalidInput("cursor", cursor, "take next_cursor from the page before, with the same sort") from error
    return _Place(value, number)


def _possible(sort: str, value: Any) -> bool:
    """Whether a trial can have that value."""
    order = _Order(sort.removeprefix("-"), sort.startswith("-"))
    if value is None:
        return order.nullable
    if isinstance(Trial.__table__.c[order.column].type, Integer):
        return _whole(value)
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


_LARGEST: Final = 1e300


def _whole(value: Any) -> bool:
    """Whether it is a number that an INTEGER holds, and none below zero."""
    return type(value) is int and 0 <= value < 2**31
