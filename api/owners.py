"""Whose jobs are, and other things that a process remembers so many of."""

from collections import OrderedDict
from typing import Final, TypeVar

from anyio import to_thread

from nas.store import owners
from nas.store.session import Store

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED: Final = 10_000
"""Keys, and jobs' owners, that one process remembers."""


class JobOwners:
    """Whose jobs are: asked for once each, since that never changes.

    Args:
        store: with the jobs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, str] = OrderedDict()

    async def owner(self, job_id: str) -> str | None:
        """The owner of a job; None if there is, or was, no such job."""
        owner = self._known.get(job_id)
        if owner is None:
            owner = await to_thread.run_sync(self._ask, job_id)
            if owner is not None:
                remember(self._known, job_id, owner)
        return owner

    def _ask(self, job_id: str) -> str | None:
        with self._store.read() as session:
            return owners.owner_of(session, job_id)


def remember(known: OrderedDict[K, V], name: K, value: V) -> None:
    """Keeps something, and forgets what was used least of late."""
    known[name] = value
    known.move_to_end(name)
    while len(known) > REMEMBERED:
        known.popitem(last=False)
