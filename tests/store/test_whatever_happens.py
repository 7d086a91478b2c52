"""What holds after any sequence of what workers, users and accidents can do, drawn at random."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select

from nas.errors import IllegalTransition, LeaseLost
from nas.store import control, jobs, moves, phases, trials
from nas.store.claims import Claim
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import ACTIVE_JOB, BUSY_TRIAL, FINISHED_TRIAL, JobState, Phase, Reason, TrialState
from nas.store.tables import Artifact, Epoch, Incumbent, Job, Trial
from nas.store.trials import Twin
from tests.support import (
    add_job,
    claim,
    counted,
    expire,
    finish,
    hand_back,
    promote_in,
    propose,
    report,
    reserve,
    rungs_in,
    stored,
    together,
    trial_of,
)

STEPS = 260
CHECK_EVERY = 8


@dataclass
class World:
    """Workers that keep every claim they ever had, and use it whether it still holds or not."""

    store: Store
    rng: random.Random
    job_ids: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def step(self) -> str:
        """Does something; its name, for the message of a check that fails."""
        actions: dict[Callable[[], None], float] = {
            self.add_job: 6,
            self.claim: 12,
            self.reserve: 16,
            self.propose: 6,
            self.report: 50,
            self.finish: 12,
            self.fail: 3,
            self.pause: 5,
            self.promote: 6,
            self.end_paused: 3,
            self.hand_back: 3,
            self.retry: 2,
            self.renew: 2,
            self.lose: 4,
            self.cancel: 1,
            self.close_search: 0.5,
            self.go_on: 12,
        }
        action = self.rng.choices(list(actions), list(actions.values()))[0]
        try:
            action()
        except (LeaseLost, Twin, IllegalTransition) as refused:
            return f"{action.__name__}: {refused}"
        return action.__name__

    def add_job(self) -> None:
        with self.store.read() as session:
            active = session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(ACTIVE_JOB))) or 0
        if active < 3:
            trials = self.rng.choice([2, 4, 8])
            self.job_ids.append(add_job(self.store, trials=trials, parallel=self.rng.choice([None, 2, 3])))

    def claim(self) -> None:
        self._keep(claim(self.store, self.rng.choice("abc")))

    def reserve(self) -> None:
        self._keep(reserve(self.store, self.rng.choice("abc")))
        if self.rng.random() < 0.7:
            self.propose()

    def _keep(self, found: Claim | None) -> None:
        if found is not None:
            self.claims.append(found)

    def _claim(self) -> Claim:
        """Mostly one that holds, sometimes any."""
        with self.store.read() as session:
            rows = session.execute(select(Trial.id, Trial.attempt).where(Trial.state == TrialState.RUNNING))
            held = {(trial_id, attempt) for trial_id, attempt in rows}
        hold = [taken for taken in self.claims if (taken.trial_id, taken.attempt) in held]
        choice = hold if hold and self.rng.random() < 0.8 else self.claims
        if not choice:
            raise LeaseLost("there is no claim yet")
        return self.rng.choice(choice)

    def propose(self) -> None:
        propose(self.store, self._claim(), self.rng.randrange(20))

    def report(self) -> None:
        taken = self._claim()
        report(self.store, taken, trial_of(self.store, taken.trial_id).epoch + 1, self.rng.choice([0.1, 0.5, 0.7, 0.9]))

    def finish(self) -> None:
        taken = self._claim()
        if taken.phase == Phase.REPORT:
            with self.store.write() as session:
                winner = phases.best_searched(session, taken.job_id, 1)[0].digest
                phases.succeed(session, taken, {"won": True}, stored("package"), winner or "")
            return
        state = self.rng.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE])
        finish(self.store, taken, state, weights=self.rng.choice([None, stored("weights")]))

    def fail(self) -> None:
        reason = self.rng.choice([Reason.ERROR, Reason.DIVERGED])
        finish(self.store, self._claim(), TrialState.FAILED, reason=reason, error="broken")

    def hand_back(self) -> None:
        hand_back(self.store, self._claim())

    def retry(self) -> None:
        taken = self._claim()
        with self.store.write() as session:  # as worker.step does it: no more tries, no more trial
            if not trials.retry(session, taken, Reason.ERROR, "broken"):
                trials.finish(session, taken, TrialState.FAILED, reason=Reason.ERROR, error="broken")

    def pause(self) -> None:
        taken = self._claim()
        if taken.phase == Phase.SEARCH:
            with self.store.write() as session:
                trials.pause(session, taken)

    def promote(self) -> None:
        with self.store.read() as session:
            waiting = rungs_in(session)
            if not waiting:
                return
            seen = self.rng.choice(waiting)
            numbers = session.scalars(select(Trial.number).where(Trial.job_id == seen.job_id))
            number = self.rng.choice(list(numbers))
        with self.store.write() as session:
            self._keep(promote_in(session, seen, number, self.rng.choice("abc")))

    def end_paused(self) -> None:
        with self.store.read() as session:
            job_id = phases.leftover(session)
        if job_id is not None:
            with self.store.write() as session:
                phases.end_paused(session, job_id)

    def renew(self) -> None:
        with self.store.write() as session:
            trials.renew_all(session, self.claims, 30.0)

    def lose(self) -> None:
        expire(self.store, *(taken.trial_id for taken in self.rng.sample(self.claims, len(self.claims) // 2)), 0)
        trials.reap(self.store)

    def cancel(self) -> None:
        if self.job_ids:
            with self.store.write() as session:
                control.cancel(session, self.rng.choice(self.job_ids))

    def close_search(self) -> None:
        if self.job_ids:
            with self.store.write() as session:
                moves.close_search(moves.locked(session, self.rng.choice(self.job_ids)), "exhausted", over=False)

    def go_on(self) -> None:
        with self.store.read() as session:
            seen = phases.standstill(session)
            if seen is None:
                return
            best = phases.best_searched(session, seen.job_id, 1)
        there = {final.phase for final in seen.finals}
        rows = []
        if Phase.FINALIST not in there:
            rows = [
                NewTrial(Phase.FINALIST, 2, found.candidate, found.digest, seed) for found in best for seed in (0, 1)
            ]
        elif Phase.REPORT not in there:
            rows = [NewTrial(Phase.REPORT, 0)]
        with self.store.write() as session:
            if rows:
                phases.go_on(session, seen, rows)
            else:
                phases.fail(session, seen, "there is nothing to go on with")


def check(store: Store, job_ids: list[str]) -> None:
    """All that has to hold at any time."""
    tallies, found = counted(store)
    assert tallies == found
    for job_id in job_ids:
        with store.read() as session:
            job = jobs.get(session, job_id)
            rows = session.scalars(select(Trial).where(Trial.job_id == job_id).order_by(Trial.number)).all()
            epochs = {
                trial_id: (count, highest)
                for trial_id, count, highest in session.execute(
                    select(Epoch.trial_id, func.count(), func.max(Epoch.epoch)).group_by(Epoch.trial_id)
                )
            }
            incumbents = session.scalars(select(Incumbent).where(Incumbent.job_id == job_id).order_by(Incumbent.at_s))
            best = [(row.number, row.accuracy) for row in incumbents]
            checkpoints = set(session.scalars(select(Artifact.trial_id).where(Artifact.kind == "checkpoint")))
        _check_trials(job, list(rows), epochs, checkpoints)
        _check_best(job, list(rows), best)


def _check_trials(job: Job, rows: list[Trial], epochs: dict[int, tuple[int, int]], checkpoints: set[int]) -> None:
    assert [trial.number for trial in rows] == list(range(job.next_number))
    assert sum(trial.phase == Phase.SEARCH for trial in rows) <= job.trials_planned
    running = [trial for trial in rows if trial.state == TrialState.RUNNING]
    assert job.parallel is None or len(running) <= job.parallel
    for trial in rows:
        assert epochs.get(trial.id, (0, 0)) == (trial.epoch, trial.epoch)  # 1, 2, 3, … without a gap
        assert (trial.lease_until is not None) == (trial.state == TrialState.RUNNING)
        assert (trial.finished_at is not None) == (trial.state in FINISHED_TRIAL)
        assert trial.losses <= trials.MAX_LOSSES
        if trial.id in checkpoints:
            assert trial.epoch > 0
    if job.state not in ACTIVE_JOB:
        assert not [trial for trial in rows if trial.state in BUSY_TRIAL]
        # Those that wait at a rung of a job that succeeded are ended by whoever comes by.
        paused = [trial for trial in rows if trial.state == TrialState.PAUSED]
        assert not paused or job.state == JobState.SUCCEEDED
        assert job.finished_at is not None
        assert job.verdict if job.state == JobState.SUCCEEDED else job.reason
    searched = sum(trial.epoch for trial in rows if trial.phase == Phase.SEARCH)
    assert (job.search_epochs, job.final_epochs) == (searched, sum(trial.epoch for trial in rows) - searched)
    assert job.train_seconds == pytest.approx(2.0 * (job.search_epochs + job.final_epochs))


def _check_best(job: Job, rows: list[Trial], incumbents: list[tuple[int, float]]) -> None:
    complete = [trial for trial in rows if trial.phase == Phase.SEARCH and trial.state == TrialState.COMPLETE]
    accuracies = [trial.accuracy for trial in complete if trial.accuracy is not None]
    assert job.best_accuracy == max(accuracies, default=None)
    if job.state != JobState.SUCCEEDED:  # then it is the winner among the finalists
        assert ([(job.best_trial, job.best_accuracy)] if incumbents else []) == incumbents[-1:]
    assert [accuracy for _, accuracy in incumbents] == sorted({accuracy for _, accuracy in incumbents})


@pytest.mark.parametrize("seed", range(2))
def test_the_counters_always_agree_with_the_trials(store: Store, seed: int) -> None:
    world = World(store, random.Random(seed))
    done: list[str] = []
    for index in range(STEPS):
        done.append(world.step())
        if index % CHECK_EVERY == 0 or index == STEPS - 1:
            try:
                check(store, world.job_ids)
            except AssertionError as error:
                error.add_note(f"after {done[-CHECK_EVERY:]}")
                raise
    with store.read() as session:  # a world in which little happens would prove little
        assert len(set(session.scalars(select(Trial.state).distinct())) & set(FINISHED_TRIAL)) >= 3
        assert len(session.scalars(select(Epoch.epoch)).all()) >= 20


def test_workers_that_do_all_this_at_once_never_lock_each_other_out(store: Store) -> None:
    job_ids = [add_job(store, trials=6)]

    def work(index: int) -> None:
        world = World(store, random.Random(index), job_ids)
        for _ in range(40):
            world.step()

    together(6, work)  # a deadlock would be an exception
    check(store, job_ids)
