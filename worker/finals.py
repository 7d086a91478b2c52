"""After the search: finalists, then controls and reference of the winner's size, then the report."""

import logging
from collections.abc import Sequence

from sqlalchemy.exc import InterfaceError, OperationalError

from nas.model import cost_of
from nas.result.controls import find_controls, find_reference
from nas.result.report import About, Retrained, choose_winner, make_report
from nas.seeds import derive
from nas.store import files, jobs
from nas.store.jobs import FinalTrial, NewTrial, Standstill
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Dataset
from nas.store.trials import Claim
from worker.context import Context

log = logging.getLogger(__name__)


def move_on(context: Context) -> bool:
    """Moves a job with nothing left to run to its next phase, or fails it with the reason; False if there is none.

    What the next phase holds is computed outside the transaction; if two workers do it at once, one of them writes.
    """
    with context.store.read() as session:
        seen = jobs.standstill(session)
    if seen is None:
        return False
    try:
        rows, nothing = _next_phase(context, seen)
    except (OperationalError, InterfaceError):
        raise  # the database is away; whoever looks next tries again
    except Exception as error:  # or the job would stand still for ever, and nobody would know why
        log.exception("job %s cannot go on", seen.job_id)
        rows, nothing = [], f"the next phase could not be planned: {type(error).__name__}: {error}"
    with context.store.write() as session:
        if rows:
            jobs.go_on(session, seen, rows)
        else:
            jobs.fail(session, seen, nothing)
    log.info("job %s: %d trials added", seen.job_id, len(rows))
    return True


def _next_phase(context: Context, seen: Standstill) -> tuple[list[NewTrial], str]:
    """The trials of the phase that comes next, and what to say if there can be none."""
    if seen.state == JobState.RUNNING:
        with context.store.read() as session:
            refused = jobs.refused(session, seen.job_id)
        nothing = "no trial of the search came to an end that could be used"
        return _finalists(
            context, seen
        ), f"{nothing}; the last network that broke a limit: {refused}" if refused else nothing
    done = _complete(seen.finals)
    if not _of(seen.finals, Phase.CONTROL):
        return _opponents(context, seen, _of(done, Phase.FINALIST)), "no retraining of a finalist came to its end"
    for phase in (Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE):
        if not _of(done, phase):
            return [], f"no retraining of a {phase} came to its end; its trials say why"
    if not _of(seen.finals, Phase.REPORT):
        return [NewTrial(Phase.REPORT, epochs=0)], ""
    [last] = _of(seen.finals, Phase.REPORT)
    words = (last.error or last.state).strip().splitlines()[-1]  # of a traceback, the error itself
    return [], f"the report failed: {words}"


def report(context: Context, claim: Claim) -> None:
    """Runs the report trial and ends the job with it. Raises VerificationFailed, LeaseLost, Stopped."""
    data = context.data(claim.dataset_id)
    with context.store.read() as session:
        runs = _complete(jobs.finals(session, claim.job_id))
        weights = {run.trial_id: files.artifact(session, run.trial_id, "weights") for run in runs}
        dataset = session.get_one(Dataset, claim.dataset_id).name
        job = jobs.get(session, claim.job_id)
    retrained = {
        phase: [_retrained(run, context.artifacts.get(weights[run.trial_id] or "")) for run in _of(runs, phase)]
        for phase in (Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE)
    }
    spec = claim.spec
    made = make_report(
        retrained[Phase.FINALIST],
        retrained[Phase.CONTROL],
        retrained[Phase.REFERENCE],
        data,
        spec=spec,
        about=About(job.id, job.name, dataset, spec.strategy, spec.seed, job.trials_planned, context.settings.plugins),
        should_stop=context.should_stop,
    )
    package = context.artifacts.put(made.package)
    with context.store.write() as session:
        jobs.succeed(session, claim, made.verdict, package, made.winner_digest)


def _finalists(context: Context, seen: Standstill) -> list[NewTrial]:
    """The best trials of the search; with a single one the winner is known, and its opponents need not wait."""
    with context.store.read() as session:
        best = jobs.best_searched(session, seen.job_id, seen.spec.final.finalists)
    rows = [row for found in best for row in _retrainings(seen, Phase.FINALIST, found)]
    return rows + _opponents(context, seen, best) if len(best) == 1 else rows


def _opponents(context: Context, seen: Standstill, finalists: Sequence[FinalTrial]) -> list[NewTrial]:
    """Controls and reference of the winner's size; nothing without a winner."""
    runs = [_retrained(run, b"") for run in finalists]
    if not runs:
        return []
    data = context.data(seen.dataset_id)
    winner = next(run for run in runs if run.digest == choose_winner(runs))
    space = seen.spec.search_space()
    shape = {"in_channels": data.shape[0], "outputs": data.outputs}
    controls = find_controls(
        space,
        winner=winner.candidate,
        params=winner.params,
        count=seen.spec.final.controls,
        exclude={winner.digest},
        seed=derive(seen.spec.seed, "controls"),
        **shape,
    )
    opponents = [(Phase.CONTROL, control) for control in controls]
    opponents.append((Phase.REFERENCE, find_reference(winner=winner.candidate, params=winner.params, **shape)))
    rows = []
    for phase, sized in opponents:
        macs = cost_of(sized.candidate, image=data.shape, outputs=data.outputs).macs
        rows += [
            NewTrial(
                phase,
                seen.spec.final.epochs,
                sized.candidate,
                space.digest(sized.candidate),
                seed_index,
                sized.params,
                macs,
            )
            for seed_index in range(seen.spec.final.seeds)
        ]
    return rows


def _retrainings(seen: Standstill, phase: Phase, found: FinalTrial) -> list[NewTrial]:
    return [
        NewTrial(phase, seen.spec.final.epochs, found.candidate, found.digest, seed_index, found.params, found.macs)
        for seed_index in range(seen.spec.final.seeds)
    ]


def _of(runs: Sequence[FinalTrial], phase: Phase) -> list[FinalTrial]:
    return [run for run in runs if run.phase == phase]


def _complete(runs: Sequence[FinalTrial]) -> list[FinalTrial]:
    return [run for run in runs if run.state == TrialState.COMPLETE]


def _retrained(run: FinalTrial, weights: bytes) -> Retrained:
    if run.candidate is None or run.digest is None or run.params is None or run.accuracy is None:
        raise ValueError(f"trial {run.number} ended without a result")
    return Retrained(run.number, run.candidate, run.digest, run.seed_index, run.params, run.accuracy, weights)
