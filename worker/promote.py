"""Paused trials that may go on: which one, and from where."""

from nas.store import trials
from nas.store.trials import Claim
from worker.context import Context


def promote(context: Context) -> Claim | None:
    """Takes a paused trial that its pruner lets go on, of the oldest job that has one; None if there is none.

    Which one is computed outside the transaction; if two workers choose the same, one of them gets it.
    """
    with context.store.read() as session:
        waiting = trials.paused(session)
    for rungs in waiting:
        pruner = context.search(rungs.job_id, rungs.spec).pruner
        history = context.history(rungs.job_id, rungs.spec)
        number = pruner.promote(history, rungs.spec.budget.epochs, closing=rungs.closing)
        if number is None:
            continue
        with context.store.write() as session:
            claim = trials.promote(session, rungs, number, context.worker, context.settings.lease_s)
        if claim is not None:
            return claim
    return None
