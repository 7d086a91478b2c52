"""A network of the search that a user asked for: retrained alone, packaged, and proven like a job's winner."""

from nas.data.images import ImageSet
from nas.result.publish import About, Retrained, make_package
from nas.store import jobs, listing, retrains
from nas.store.claims import Claim
from nas.store.numbering import searches_planned
from nas.store.tables import Dataset
from worker.context import Context
from worker.train import recipe_of, train


def retrain(context: Context, claim: Claim) -> None:
    """Runs a retraining; its package is stored with its end, so that a complete one always has one.

    Raises:
        VerificationFailed: the package does not reproduce its score.
        Diverged, LeaseLost, Stopped: see worker.train.
    """
    data = context.data(claim.dataset_id)
    train(context, claim, lambda weights: _package(context, claim, data, weights))


def _package(context: Context, claim: Claim, data: ImageSet, weights: bytes) -> bytes:
    """The package of the trial's network with these weights."""
    spec = claim.spec
    with context.store.read() as session:
        job = jobs.get(session, claim.job_id)
        trial, epochs = listing.trial(session, claim.job_id, claim.number)
        searched = retrains.origin(session, trial)
        dataset = session.get_one(Dataset, claim.dataset_id).name
    if claim.candidate is None or trial.digest is None or trial.params is None:
        raise ValueError(f"trial {claim.number} was asked for without a candidate")
    accuracies = [epoch.validation_accuracy for epoch in epochs]
    # With early stopping the network has the weights of its best epoch.
    early = recipe_of(claim, claim.candidate, data).early_stop is not None
    run = Retrained(
        trial=claim.number,
        candidate=claim.candidate,
        digest=trial.digest,
        seed_index=claim.seed_index,
        params=trial.params,
        validation_accuracy=max(accuracies) if early else accuracies[-1],
        weights=weights,
    )
    searched_trials = searches_planned(job)
    about = About(job.id, job.name, dataset, spec.strategy, spec.seed, searched_trials, context.settings.plugins)
    return make_package(run, data, searched=searched, spec=spec, about=about, should_stop=context.should_stop)
