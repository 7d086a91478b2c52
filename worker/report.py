"""The last trial of a job: everything that was retrained is scored, judged, packaged, and the package verified."""

from dataclasses import replace

from nas.result.report import About, Retrained, make_report
from nas.search.catalog import strategies
from nas.space import Candidate
from nas.store import files, gc, jobs, moves, phases, stories, trials
from nas.store.claims import Claim
from nas.store.numbering import searches_planned
from nas.store.phases import FinalTrial
from nas.store.states import Phase, TrialState
from nas.store.tables import Dataset
from worker.context import Context
from worker.course import Course
from worker.orders import Machine, Order, Outcome, Reporting


def prepare(context: Context, claim: Claim) -> Order | None:
    """What the report is made of. Raises DatasetUnready, DiskFull."""
    context.data(claim.dataset_id)  # one that cannot be read is told of before anything is sent anywhere
    with context.store.read() as session:
        runs = [run for run in phases.finals(session, claim.job_id) if run.state == TrialState.COMPLETE]
        weights = {run.number: files.artifact(session, run.trial_id, "weights") or "" for run in runs}
        dataset = session.get_one(Dataset, claim.dataset_id).name
        job = jobs.get(session, claim.job_id)
        story = stories.read(session, claim.job_id)
    found = {
        phase: tuple(retrained(run) for run in runs if run.phase == phase)
        for phase in (Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE)
    }
    # What was planned may be less than what the job asks for, so that it ends in time.
    epochs = next(run.epochs for run in runs)
    spec, searched = claim.spec, searches_planned(job)
    about = About(job.id, job.name, dataset, spec.strategy, spec.seed, searched, context.settings.plugins)
    return Order(claim, reporting=Reporting(found, weights, epochs, about, _supernet(context, claim), story))


def carry_out(order: Order, machine: Machine) -> Outcome:
    """Chooses, scores, judges, packages and verifies. Raises VerificationFailed, Stopped."""
    reporting, claim = order.reporting, order.claim
    if reporting is None:
        raise ValueError(f"trial {claim.number} was sent without what its report is made of")
    runs = {
        phase: [replace(run, weights=machine.artifacts.get(reporting.weights[run.trial])) for run in found]
        for phase, found in reporting.runs.items()
    }
    final = claim.spec.final.model_copy(update={"epochs": reporting.epochs})
    made = make_report(
        runs[Phase.FINALIST],
        runs[Phase.CONTROL],
        runs[Phase.REFERENCE],
        machine.data,
        spec=claim.spec.model_copy(update={"final": final}),
        about=reporting.about,
        should_stop=machine.should_stop,
        supernet=reporting.supernet,
        story=reporting.story,
    )
    return Outcome(package=machine.artifacts.put(made.package), verdict=made.verdict, winner=made.winner_digest)


def conclude(context: Context, claim: Claim, outcome: Outcome, course: Course) -> None:
    """Ends the job with its report. Raises LeaseLost."""
    if outcome.verdict is None or outcome.package is None or outcome.winner is None:
        raise ValueError(f"trial {claim.number} ended without a report")
    with context.store.write() as session:
        moves.locked(session, claim.job_id)  # before the trial: the order of locks
        trials.note_spent(session, claim, context.spent.so_far())
        replaced = phases.succeed(session, claim, outcome.verdict, outcome.package, outcome.winner)
    gc.forget(context.store, context.artifacts, replaced)


def retrained(run: FinalTrial) -> Retrained:
    """A retraining without its weights."""
    if run.candidate is None or run.digest is None or run.params is None or run.accuracy is None:
        raise ValueError(f"trial {run.number} ended without a result")
    return Retrained(run.number, run.candidate, run.digest, run.seed_index, run.params, run.accuracy, b"")


def _supernet(context: Context, claim: Claim) -> tuple[tuple[str, float], ...] | None:
    """(digest, score) of what a supernet handed over; None of a search without one."""
    if strategies()[claim.spec.strategy].prepares != "supernet":
        return None
    space = claim.spec.search_space()
    return tuple(
        (space.digest(Candidate.from_json(entry["candidate"])), entry["score"])
        for entry in context.prepared(claim.job_id)
        if entry["score"] is not None
    )
