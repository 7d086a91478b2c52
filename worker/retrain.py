"""A network of the search that a user asked for: retrained alone, packaged, and proven like a job's winner."""

from collections.abc import Callable
from dataclasses import replace

from nas.result.publish import About, Retrained, make_package
from nas.store import jobs, listing, retrains
from nas.store.claims import Claim
from nas.store.numbering import searches_planned
from nas.store.tables import Dataset
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from worker import train
from worker.context import Context
from worker.orders import Machine, Order, Outcome, Packing


def prepare(context: Context, claim: Claim) -> Order | None:
    """The training of a retraining, with what its package says of it; see worker.train.prepare."""
    order = train.prepare(context, claim)
    return None if order is None else replace(order, packing=_packing(context, order.claim))


def carry_out(order: Order, machine: Machine) -> Outcome:
    """Trains and packages; a complete retraining always has a package.

    Raises:
        VerificationFailed: the package does not reproduce its score.
        Diverged, Stopped: see worker.train.
    """
    packing = order.packing
    if packing is None:
        raise ValueError(f"trial {order.claim.number} was sent without what its package says")
    accuracies = list(packing.accuracies)

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint], events: bytes | None) -> bool:
        accuracies.append(result.validation_accuracy)
        return machine.on_epoch(result, take, events)

    outcome = train.carry_out(order, replace(machine, on_epoch=on_epoch))
    if outcome.weights is None:
        return outcome
    accuracy = max(accuracies) if outcome.best_epoch else accuracies[-1]
    weights = machine.artifacts.get(outcome.weights.sha256)
    package = make_package(
        replace(packing.run, validation_accuracy=accuracy, weights=weights),
        machine.data,
        searched=packing.searched,
        spec=order.claim.spec,
        about=packing.about,
        should_stop=machine.should_stop,
    )
    return replace(outcome, package=machine.artifacts.put(package))


def _packing(context: Context, claim: Claim) -> Packing:
    spec = claim.spec
    with context.store.read() as session:
        job = jobs.get(session, claim.job_id)
        trial, epochs = listing.trial(session, claim.job_id, claim.number)
        searched = retrains.origin(session, trial)
        dataset = session.get_one(Dataset, claim.dataset_id).name
    if claim.candidate is None or trial.digest is None or trial.params is None:
        raise ValueError(f"trial {claim.number} was asked for without a candidate")
    accuracies = tuple(epoch.validation_accuracy for epoch in epochs)
    run = Retrained(
        trial=claim.number,
        candidate=claim.candidate,
        digest=trial.digest,
        seed_index=claim.seed_index,
        params=trial.params,
        validation_accuracy=0.0,
        weights=b"",
    )
    searched_trials = searches_planned(job)
    about = About(job.id, job.name, dataset, spec.strategy, spec.seed, searched_trials, context.settings.plugins)
    return Packing(run, accuracies, searched, about)
