"""Paused trials that may go on: which one, and from where."""

from nas.errors import LeaseLost
from nas.store import claims
from nas.store.claims import Claim, Rungs
from nas.store.leases import Lease
from worker.context import Context


def promote(context: Context, job_id: str, lease: Lease) -> Claim | None:
    """Takes a paused trial of a job that its pruner lets go on; None if there is none.

    Which one is computed outside the transaction; if two workers choose the same, one of them gets it.
    """
    with context.store.read() as session:
        rungs = claims.paused(session, job_id)
    try:
        number = None if rungs is None else next_to_go_on(context, rungs, closing=rungs.closing)
        if rungs is None or number is None:
            return None
        with context.store.write() as session:
            return claims.promote(session, rungs, number, lease)
    except LeaseLost:  # the job has just been deleted
        return None


def next_to_go_on(context: Context, rungs: Rungs, *, closing: bool) -> int | None:
    """What the pruner of a search says of its paused trials; see nas.search.pruner."""
    pruner = context.search(rungs.job_id, rungs.spec).pruner
    history = context.history(rungs.job_id, rungs.spec)
    return pruner.promote(history, rungs.spec.budget.epochs, closing=closing)
