"""Paused trials that may go on: which one, and from where."""

from nas.store import trials
from nas.store.trials import Claim, Rungs
from worker.context import Context


def promote(context: Context) -> Claim | None:
    """Takes a paused trial that its pruner lets go on, of the oldest job that has one; None if there is none.

    Which one is computed outside the transaction; if two workers choose the same, one of them gets it.
    """
    with context.store.read() as session:
        waiting = trials.paused(session)
    for rungs in waiting:
        number = next_to_go_on(context, rungs, closing=rungs.closing)
        if number is None:
            continue
        with context.store.write() as session:
            claim = trials.promote(session, rungs, number, context.worker, context.settings.lease_s)
        if claim is not None:
            return claim
    return None


def next_to_go_on(context: Context, rungs: Rungs, *, closing: bool) -> int | None:
    """What the pruner of a search says of its paused trials; see nas.search.pruner."""
    pruner = context.search(rungs.job_id, rungs.spec).pruner
    history = context.history(rungs.job_id, rungs.spec)
    return pruner.promote(history, rungs.spec.budget.epochs, closing=closing)
