"""What figures of a job are compared with: all of its rows, read in the plainest way."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from nas.store.session import Store
from nas.store.states import Phase
from nas.store.tables import Epoch, Trial

SEARCH = (Phase.SEARCH,)


def read(store: Store, what: Callable[..., Any], *given: Any) -> Any:
    with store.read() as session:
        return what(session, *given)


def trials_of(store: Store, job_id: str) -> list[Trial]:
    with store.read() as session:
        return list(session.scalars(select(Trial).where(Trial.job_id == job_id).order_by(Trial.number)))


def epochs_of(store: Store, job_id: str) -> dict[int, list[tuple[int, float]]]:
    """Trial → its whole curve."""
    found: dict[int, list[tuple[int, float]]] = {}
    with store.read() as session:
        rows = session.execute(
            select(Trial.number, Epoch.epoch, Epoch.validation_accuracy)
            .join(Epoch, Epoch.trial_id == Trial.id)
            .where(Trial.job_id == job_id)
            .order_by(Epoch.epoch)
        )
        for number, epoch, accuracy in rows:
            found.setdefault(number, []).append((epoch, accuracy))
    return found


def in_reverse(number: int) -> list[int]:
    """The bits of a number, the lowest first."""
    return [number >> bit & 1 for bit in range(31)]
