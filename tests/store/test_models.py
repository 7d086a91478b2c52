"""What other jobs and the API take from a job that has ended: its model, its files, and rows of an older version."""

from typing import Any

import pytest
from sqlalchemy import update

from nas.errors import NotFound, NotReady
from nas.space import Candidate, Genotype, Shape
from nas.spec import JobSpec
from nas.store import control, files, jobs, phases, trials
from nas.store.claims import Claim
from nas.store.history import Replay
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from nas.store.tables import Artifact, Job, Trial
from tests.support import (
    add_job,
    candidate,
    claim,
    digest,
    finish,
    hand_back,
    job_of,
    run_trial,
    stored,
    take,
    trial_of,
)

FRAME = Shape(channels=5, cells=7)


def succeed(store: Store, *, weights: bool = True) -> tuple[str, Claim]:
    """A job that shipped its second finalist, and that trial."""
    job_id = add_job(store, trials=1)
    searched = run_trial(store)
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    rows = [NewTrial(Phase.FINALIST, 1, candidate(index), digest(index), seed) for index in (60, 61) for seed in (0, 1)]
    with store.write() as session:
        phases.go_on(session, seen, [*rows, NewTrial(Phase.REPORT, 0)])
    finalists = [take(store) for _ in rows]
    for index, finalist in enumerate(finalists):
        finish(store, finalist, weights=stored(f"weights {index}") if weights else None)
    shipped = finalists[2]
    report = take(store)
    with store.write() as session:
        verdict = {"shipped": {"trial": shipped.number}}
        phases.succeed(session, report, verdict, stored("package"), digest(searched.trial_id))
    return job_id, shipped


def model_of(store: Store, job_id: str) -> jobs.Model:
    with store.read() as session:
        return jobs.model(session, job_id)


# --- the model


def test_the_model_of_a_job_is_the_network_that_it_shipped(store: Store) -> None:
    succeed(store)
    job_id, _ = succeed(store)
    assert model_of(store, job_id) == jobs.Model(candidate(61), stored("weights 2").sha256)


def test_a_job_that_has_not_succeeded_has_no_model(store: Store) -> None:
    job_id = add_job(store)
    with pytest.raises(NotReady, match=f"job {job_id} is queued; only the model of a job that has succeeded"):
        model_of(store, job_id)
    run_trial(store)
    with pytest.raises(NotReady, match=f"job {job_id} is running"):
        model_of(store, job_id)
    with store.write() as session:
        control.cancel(session, job_id)
    with pytest.raises(NotReady, match=f"job {job_id} is cancelled"):
        model_of(store, job_id)
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        model_of(store, "nope")


def test_a_model_without_weights_is_none(store: Store) -> None:
    job_id, _ = succeed(store, weights=False)
    with pytest.raises(NotReady, match=f"the weights of job {job_id} are gone"):
        model_of(store, job_id)


# --- files of a kind


def test_the_files_of_a_kind_stand_in_the_order_of_their_trials(store: Store) -> None:
    job_id = add_job(store)
    taken = [take(store) for _ in range(3)]
    other = add_job(store)
    with store.write() as session:
        for index in (2, 0):
            trials.attach(session, taken[index], "tensorboard", stored(f"log {index}"))
        trials.attach(session, taken[1], "weights", stored("weights"))
        assert trials.attach(session, taken[0], "tensorboard", stored("longer")) == stored("log 0").sha256
        assert trials.attach(session, taken[0], "tensorboard", stored("longer")) is None
    with store.read() as session:
        found = files.of_kind(session, job_id, "tensorboard")
        assert files.of_kind(session, other, "tensorboard") == []
        assert files.of_kind(session, job_id, "package") == []
    assert [(trial.number, sha256) for trial, sha256 in found] == [
        (0, stored("longer").sha256),
        (2, stored("log 2").sha256),
    ]


def test_a_file_that_is_forgotten_is_of_no_kind(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    with store.write() as session:
        trials.attach(session, taken, "tensorboard", stored("log"))
    with store.write() as session:
        assert files.forget(session, taken.trial_id, "tensorboard") == stored("log").sha256
        assert files.forget(session, taken.trial_id, "tensorboard") is None
    with store.read() as session:
        assert files.of_kind(session, job_id, "tensorboard") == []
        assert session.get(Artifact, (taken.trial_id, "tensorboard")) is None


# --- rows of an older version, which left the frame to the job


def make_old(store: Store, job_id: str) -> None:
    """Takes the frame out of all candidates of a job, and gives the job another one than the default."""
    spec: dict[str, Any] = job_of(store, job_id).spec
    frame = {name: value for name, value in FRAME.model_dump().items() if name in ("channels", "cells")}
    space = {"ops": spec["space"]["ops"], "nodes": 4} | frame  # as it was stored then
    with store.write() as session:
        old = {name: spec[name] for name in ("dataset", "name", "strategy", "engine", "budget", "final", "seed")}
        session.execute(update(Job).where(Job.id == job_id).values(spec=old | {"space": space}))
        for trial in session.query(Trial).where(Trial.job_id == job_id):
            if trial.candidate:
                trial.candidate = {"genotype": trial.candidate["genotype"]}


def in_frame(index: int) -> Candidate:
    architecture = candidate(index).architecture
    assert isinstance(architecture, Genotype)
    return Candidate(architecture, FRAME)


def test_an_old_trial_has_the_frame_of_its_job(store: Store) -> None:
    job_id, shipped = succeed(store)
    searched = trial_of(store, shipped.trial_id - 1)
    assert searched.job_id == job_id
    make_old(store, job_id)
    assert model_of(store, job_id).candidate == in_frame(61)
    with store.read() as session:
        finals = phases.finals(session, job_id)
        [observed] = Replay(JobSpec.model_validate(jobs.get(session, job_id).spec)).read(session, job_id)
    assert [found.candidate for found in finals if found.candidate] == [in_frame(index) for index in (60, 60, 61, 61)]
    assert observed.candidate.shape == FRAME


def test_an_old_trial_is_claimed_with_the_frame_of_its_job(store: Store) -> None:
    job_id = add_job(store, trials=2)
    taken = take(store)
    with store.write() as session:
        trials.set_candidate(session, taken, candidate(3), digest(3), trials.Costs(1, 1))
    hand_back(store, taken)
    make_old(store, job_id)
    again = claim(store)
    assert again is not None
    assert again.candidate == in_frame(3)
    assert again.spec.space.shape() == FRAME
    finish(store, again)
    with store.read() as session:
        assert phases.best_searched(session, job_id, 1) == []
    assert trial_of(store, again.trial_id).state == TrialState.COMPLETE
