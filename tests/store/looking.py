"""What a worker sees of the queue, and takes from it."""

from nas.store import claims, queue
from nas.store.claims import Claim
from nas.store.leases import Lease
from nas.store.queue import Survey
from nas.store.session import Store
from tests.support import LEASE_S


def survey(store: Store, device: str = "cpu") -> Survey:
    with store.read() as session:
        return queue.survey(session, device)


def offered(store: Store, device: str = "cpu") -> list[str]:
    """The jobs that have something for a worker, in their order."""
    return [seen.job_id for seen in survey(store, device).offers]


def serve(store: Store, worker: str = "worker", device: str = "cpu") -> Claim | None:
    """What a worker takes, as worker.step has it."""
    with store.write() as session:
        lease = Lease(worker, device, LEASE_S)
        for seen in queue.survey(session, device).offers:
            found = claims.claim(session, seen, lease) or (claims.reserve(session, seen, lease) if seen.adds else None)
            if found is not None:
                return found
    return None
