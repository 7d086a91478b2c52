"""After the search: which finalists, then controls and reference of the winner's size, then the report."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import InterfaceError, OperationalError

from nas.errors import DatasetUnready, DiskFull, LeaseLost, NotFound
from nas.model import cost_of
from nas.result.controls import find_controls, find_reference
from nas.result.report import choose_winner
from nas.seeds import derive
from nas.spec import FinalSpec
from nas.store import budget, claims, gc, jobs, phases
from nas.store.phases import FinalTrial, NewTrial, Standstill
from nas.store.states import JobState, Phase, TrialState
from worker.context import Context
from worker.promote import next_to_go_on
from worker.report import retrained

log = logging.getLogger(__name__)


def move_on(context: Context, job_id: str | None = None) -> bool:
    """Moves a job, or that one, with nothing left to run on to its next phase, or fails it; False if there is none.

    What the next phase holds is computed outside the transaction; if two workers do it at once, one of them writes.

    Raises:
        SpecUnreadable: what the job asks for is not known here.
    """
    with context.store.read() as session:
        leftover = phases.leftover(session)
        seen = phases.standstill(session, job_id) if leftover is None else None
    if leftover is not None:
        _end_paused(context, leftover)
        return True
    if seen is None:
        return False
    try:
        if _may_go_on(context, seen):
            return True  # the next step promotes it
        following = _next_phase(context, seen)
    except (OperationalError, InterfaceError):
        raise  # the database is away; whoever looks next tries again
    except (LeaseLost, NotFound):
        return True  # it has just been deleted
    except (DatasetUnready, DiskFull) as error:
        log.warning("job %s waits: %s", seen.job_id, error)
        return False
    except Exception as error:  # or the job would stand still for ever, and nobody would know why
        log.exception("job %s cannot go on", seen.job_id)
        following = Following(failure=f"the next phase could not be planned: {type(error).__name__}: {error}")
    with context.store.write() as session:
        if following.rows:
            phases.go_on(session, seen, following.rows, following.note)
        else:
            phases.fail(session, seen, following.failure)
    log.info("job %s: %d trials added", seen.job_id, len(following.rows))
    _end_paused(context, seen.job_id)
    return True


@dataclass(frozen=True, slots=True)
class Following:
    """What comes next in a job.

    Attributes:
        rows: the trials of the next phase.
        failure: why the job fails, if there are none.
        note: what a reader of the job should know.
    """

    rows: Sequence[NewTrial] = ()
    failure: str = ""
    note: str = ""


def _next_phase(context: Context, seen: Standstill) -> Following:
    if seen.state == JobState.RUNNING:
        return _finalists(context, seen)
    done = _complete(seen.finals)
    if not _of(seen.finals, Phase.CONTROL):
        return _after_finalists(context, seen, _of(done, Phase.FINALIST))
    for phase in (Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE):
        if not _of(done, phase):
            return Following(failure=f"no retraining of a {phase} came to its end; its trials say why")
    if not _of(seen.finals, Phase.REPORT):
        return Following([NewTrial(Phase.REPORT, epochs=0)])
    [last] = _of(seen.finals, Phase.REPORT)
    words = (last.error or last.state).strip().splitlines()[-1]  # of a traceback, the error itself
    return Following(failure=f"the report failed: {words}")


def _may_go_on(context: Context, seen: Standstill) -> bool:
    """Whether a paused trial is to be promoted first: since this worker looked for one, the last may have ended."""
    with context.store.read() as session:
        rungs = claims.paused(session, seen.job_id)
    return rungs is not None and next_to_go_on(context, rungs, closing=True) is not None


def _end_paused(context: Context, job_id: str) -> None:
    with context.store.write() as session:
        left = phases.end_paused(session, job_id)
    gc.forget(context.store, context.artifacts, left)


def _finalists(context: Context, seen: Standstill) -> Following:
    """The best trials of the search; with a single one the winner is known, and its opponents need not wait."""
    with context.store.read() as session:
        best = phases.best_searched(session, seen.job_id, seen.spec.final.finalists)
        refused = phases.refused(session, seen.job_id)
        slowest = best[0].trial_id if best else None
        plan = budget.plan_finals(session, jobs.get(session, seen.job_id), seen.spec, slowest, context.settings.lease_s)
    if not best:
        nothing = "no trial of the search came to an end that could be used"
        return Following(failure=f"{nothing}; the last network that broke a limit: {refused}" if refused else nothing)
    rows = [row for found in best for row in _retrainings(plan.final, Phase.FINALIST, found)]
    if len(best) == 1:
        rows += _opponents(context, seen, best[0], plan.final)
    return Following(rows, note=plan.note)


def _after_finalists(context: Context, seen: Standstill, finalists: Sequence[FinalTrial]) -> Following:
    """The opponents of the best of several finalists, retrained as these were."""
    runs = [retrained(run) for run in finalists]
    if not runs:
        return Following(failure="no retraining of a finalist came to its end")
    digest = choose_winner(runs)
    winner = next(run for run in finalists if run.digest == digest)
    seeds = sum(run.digest == digest for run in _of(seen.finals, Phase.FINALIST))
    asked = seen.spec.final.model_copy(update={"epochs": winner.epochs, "seeds": seeds})
    with context.store.read() as session:
        job = jobs.get(session, seen.job_id)
        plan = budget.fit_controls(session, job, seen.spec, asked, winner.trial_id, context.settings.lease_s)
    return Following(_opponents(context, seen, winner, plan.final), note=plan.note)


def _opponents(context: Context, seen: Standstill, winner: FinalTrial, final: FinalSpec) -> list[NewTrial]:
    """Controls and reference of the winner's size."""
    if winner.candidate is None or winner.params is None:
        raise ValueError(f"trial {winner.number} was searched without a candidate")
    data = context.data(seen.dataset_id)
    space = seen.spec.search_space()
    shape = {"in_channels": data.shape[0], "outputs": data.outputs}
    controls = find_controls(
        space,
        winner=winner.candidate,
        params=winner.params,
        count=final.controls,
        exclude={winner.digest or ""},
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
                phase, final.epochs, sized.candidate, space.digest(sized.candidate), seed_index, sized.params, macs
            )
            for seed_index in range(final.seeds)
        ]
    return rows


def _retrainings(final: FinalSpec, phase: Phase, found: FinalTrial) -> list[NewTrial]:
    return [
        NewTrial(phase, final.epochs, found.candidate, found.digest, seed_index, found.params, found.macs)
        for seed_index in range(final.seeds)
    ]


def _of(runs: Sequence[FinalTrial], phase: Phase) -> list[FinalTrial]:
    return [run for run in runs if run.phase == phase]


def _complete(runs: Sequence[FinalTrial]) -> list[FinalTrial]:
    return [run for run in runs if run.state == TrialState.COMPLETE]
