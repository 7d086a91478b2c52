"""The log of a trial: the newest lines of all its attempts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.orm import Session

from nas.store.tables import Line, Trial, UtcDateTime

KEPT: Final = 500
"""Lines of a trial that are kept; one more shows that there were others."""

LONGEST: Final = 2000
"""Characters of a line."""


@dataclass(frozen=True, slots=True)
class Said:
    """What an attempt at a trial has logged.

    Attributes:
        job_id, number, attempt: name it.
        at: when.
        level: INFO, WARNING, ERROR.
        text: what.
    """

    job_id: str
    number: int
    attempt: int
    at: datetime
    level: str
    text: str


def add(session: Session, said: Sequence[Said]) -> None:
    """Writes lines, in order. An attempt that is not the trial's newest writes none, nor does one that was deleted."""
    if not said:
        return
    # By trial, the order of locks: each line locks the row that it refers to.
    in_order = sorted(said, key=lambda one: (one.job_id, one.number))
    session.connection().execute(_ADD, [asdict(one) | {"text": tidy(one.text)} for one in in_order])
    for job_id, number in sorted({(one.job_id, one.number) for one in said}):
        session.connection().execute(_TRIM, {"job_id": job_id, "number": number, "kept": KEPT})


def newest(session: Session, trial_id: int) -> tuple[Sequence[Line], bool]:
    """The last KEPT lines of a trial, the oldest first, and whether there were others before them."""
    found = session.scalars(select(Line).where(Line.trial_id == trial_id).order_by(Line.id.desc()).limit(KEPT + 1))
    lines = found.all()
    return lines[:KEPT][::-1], len(lines) > KEPT


def tidy(text: str) -> str:
    """A line as any database can hold it, of LONGEST characters; of a longer one the beginning and the end."""
    text = text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - len(_CUT)) // 2
    return f"{text[:half]}{_CUT}{text[-half:]}"


_CUT: Final = " […] "
_OWN = (Trial.job_id == bindparam("job_id"), Trial.number == bindparam("number"))
_ADD = insert(Line).from_select(
    ["trial_id", "attempt", "at", "level", "text"],
    select(
        Trial.id,
        Trial.attempt,
        bindparam("at", type_=UtcDateTime()),
        bindparam("level", type_=Line.level.type),
        bindparam("text", type_=Line.text.type),
    ).where(*_OWN, Trial.attempt == bindparam("attempt")),
)
_TRIM = delete(Line).where(
    Line.trial_id == select(Trial.id).where(*_OWN).scalar_subquery(),
    Line.id
    < select(Line.id)
    .join(Trial, Trial.id == Line.trial_id)
    .where(*_OWN)
    .order_by(Line.id.desc())
    .offset(bindparam("kept"))
    .limit(1)
    .scalar_subquery(),
)
