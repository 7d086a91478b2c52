"""Which of many values a figure shows: chosen by rules that give the same choice again, and nearly the same later."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy.orm import Session

from nas.store.tables import Trial

T = TypeVar("T")

_BITS: Final = 31  # of a number in an INTEGER column


def with_others(session: Session, wanted: Any, always: Iterable[Any], limit: int, total: int) -> list[Any]:
    """At most `limit` trials, by number: those that are always shown, and an even sample of the others.

    Only multiples of a power of two are read, as these are what `spread` takes first.

    Args:
        session: of the job.
        wanted: the question for all trials that may be shown; a column is their number.
        always: rows of it that are shown first.
        limit: trials at the most.
        total: how many `wanted` would find.
    """
    shown = {row.number: row for row in always}
    shown = dict(list(shown.items())[:limit])
    step = stride(total, limit)
    others: list[Any] = []
    while limit > len(shown):
        found = session.execute(wanted.where(Trial.number % step == 0)).all()
        others = [row for row in found if row.number not in shown]
        if step == 1 or len(others) >= limit - len(shown):
            break
        step //= 2  # numbers are missing, as those that are always shown are
    shown |= {row.number: row for row in spread(others, limit - len(shown), lambda row: int(row.number))}
    return [shown[number] for number in sorted(shown)]


def spread(items: Iterable[T], count: int, number: Callable[[T], int]) -> list[T]:
    """At most `count` of the items, evenly by number.

    Those whose numbers are smallest when their bits are read from the right (the sequence of van der Corput 1935): of
    0, 1, 2, … these are the multiples of a power of two, and of those between them an even part. Which ones are taken
    depends on nothing but the numbers, and one more item puts at most one other out.
    """
    return sorted(items, key=lambda item: turned(number(item)))[:count]


def turned(number: int) -> int:
    """The number with its bits in the opposite order."""
    return int(f"{number:0{_BITS}b}"[::-1], 2)


def stride(count: int, wanted: int) -> int:
    """The largest power of two of which 0, 1, … count - 1 has as many multiples as are wanted; 1 if there is none."""
    found = 1
    while 2 * found * wanted <= count:
        found *= 2
    return found


def ends_and_between(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items (2 or more), evenly by their places: the first and the last are always there."""
    if len(items) <= count:
        return list(items)
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]
