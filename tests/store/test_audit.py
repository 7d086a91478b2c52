"""The audit: silent on a healthy service, and every rule broken once."""

from pathlib import Path

import pytest
from sqlalchemy import text, update

from nas.store import control, retrains
from nas.store.artifacts import ArtifactStore
from nas.store.audit import audit
from nas.store.session import Store
from nas.store.states import Reason, TrialState
from nas.store.tables import Dataset
from tests.support import add_job, expire, finish, propose, report, run_trial, take


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "files"))


@pytest.fixture
def job(store: Store, artifacts: ArtifactStore) -> str:
    """A job with a trial that is complete, one that has failed, one that runs, and one that was lost."""
    job_id = add_job(store, trials=4, epochs=3)
    run_trial(store)
    failed = take(store)
    finish(store, failed, TrialState.FAILED, reason=Reason.ERROR, error="a traceback")
    running = take(store)
    propose(store, running, 7)
    report(store, running, 1)
    take(store)
    for word in (b"images", f"{running.trial_id}.1".encode()):
        stored = artifacts.put(word)
        if word == b"images":
            with store.write() as session:
                session.execute(update(Dataset).values(sha256=stored.sha256))
    return job_id


def test_a_healthy_service_has_no_violations(store: Store, artifacts: ArtifactStore, job: str) -> None:
    assert audit(store, artifacts) == []
    expire(store)
    assert audit(store, artifacts) == []


def test_what_is_still_to_do_is_a_violation_only_once_all_should_be_done(
    store: Store, artifacts: ArtifactStore, job: str
) -> None:
    assert audit(store, artifacts, settled=True) == [
        f"job {job} is still running",
        f"trial 2 of job {job} is still leased to worker",
        f"trial 3 of job {job} is still leased to worker",
    ]


BREAKS: dict[str, tuple[str, str]] = {
    "an ended job whose trial runs": (
        "UPDATE jobs SET state = 'failed'",
        "has failed, but its trial 2 is running",
    ),
    "a trial that vanished": (
        "DELETE FROM trials WHERE number = 3",
        "has 3 trials up to number 2, and gives 4 to the next",
    ),
    "a trial too many": (
        "UPDATE jobs SET next_number = 3",
        "has 4 trials up to number 3, and gives 3 to the next",
    ),
    "a job that succeeded too early": (
        "UPDATE jobs SET state = 'succeeded', trials_planned = 9",
        "has succeeded with 4 trials, but planned 9 before the retraining",
    ),
    "a job that succeeded without a model": (
        "UPDATE jobs SET state = 'succeeded'",
        "has succeeded without a package",
    ),
    "a gap in the epochs": (
        "UPDATE epochs SET epoch = 7 WHERE epoch = 2",
        "did 3 of 3 epochs, but has 3 rows up to epoch 7",
    ),
    "epochs that begin late": (
        "UPDATE epochs SET epoch = 0 WHERE epoch = 2",
        "did 3 of 3 epochs, but has 3 rows up to epoch 3",
    ),
    "an epoch that is not counted": (
        "UPDATE trials SET epoch = 2 WHERE number = 0",
        "did 2 of 3 epochs, but has 3 rows up to epoch 3",
    ),
    "an epoch beyond the last": (
        "UPDATE trials SET epochs = 2 WHERE number = 0",
        "did 3 of 2 epochs, but has 3 rows up to epoch 3",
    ),
    "a tally that is off": (
        "UPDATE tallies SET count = count + 1 WHERE phase = 'search' AND state = 'complete'",
        "has 1 trials of search that are complete, but its tally says 2",
    ),
    "a counter of epochs that is off": (
        "UPDATE jobs SET search_epochs = search_epochs + 1",
        "counts 5 epochs of its search, but its epochs make 4",
    ),
    "a sum of seconds that is off": (
        "UPDATE jobs SET train_seconds = train_seconds - 1",
        "counts 7 seconds of training, but its epochs make 8",
    ),
    "a failure that is not counted": (
        "UPDATE jobs SET reasons = NULL",
        "says of 'error' [0, 0] (ended, tried again), its trials say [1, 0]",
    ),
    "a lease of nobody": (
        "UPDATE trials SET owner = NULL WHERE number = 2",
        "trial 2 of job JOB is running with the lease of None until",
    ),
    "a lease of what has ended": (
        "UPDATE trials SET lease_until = created_at WHERE number = 0",
        "trial 0 of job JOB is complete with the lease of worker until",
    ),
    "a job that changed in its future": (
        "UPDATE jobs SET changed = version + 1",
        "changed at version",
    ),
    "a trial that changed in its job's future": (
        "UPDATE trials SET changed = 999 WHERE number = 1",
        "trial 1 of job JOB changed at version 999, but the job is at",
    ),
    "epochs in the wrong order": (
        "UPDATE epochs SET version = 0 WHERE epoch = 3",
        "epoch 3 of trial 0 of job JOB has an earlier version than the one before it",
    ),
    "a line of an attempt to come": (
        "INSERT INTO lines (trial_id, attempt, at, level, text) SELECT id, 2, created_at, 'INFO', 'x' FROM trials",
        "trial 0 of job JOB has had 1 attempts, but lines of attempt 2 in its log",
    ),
    "a log that grows for ever": (
        "INSERT INTO lines (trial_id, attempt, at, level, text) SELECT a.id, 1, a.created_at, 'INFO', 'x' "
        "FROM trials a, trials b, trials c, trials d, trials e, trials f WHERE a.number = 0",
        "trial 0 of job JOB has 1024 lines in its log, of which 500 are kept",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_one_sentence(store: Store, artifacts: ArtifactStore, job: str, name: str) -> None:
    change, sentence = BREAKS[name]
    with store.write() as session:
        session.execute(text(change))
    found = audit(store, artifacts)
    assert any(sentence.replace("JOB", job) in said for said in found), found


def test_files_that_are_missing_or_damaged_are_named(
    store: Store, artifacts: ArtifactStore, job: str, tmp_path: Path
) -> None:
    missing, damaged = sorted(path for path in (tmp_path / "files").glob("*/*") if path.is_file())
    missing.unlink()
    damaged.write_bytes(b"something else")
    for path in (missing, damaged):
        assert any(f"file {path.name} cannot be used: " in said for said in audit(store, ArtifactStore(artifacts.url)))


def test_retrainings_may_run_in_a_job_that_has_ended(store: Store, artifacts: ArtifactStore, job: str) -> None:
    with store.write() as session:
        retrains.ask(session, job, 0)
        control.cancel(session, job)
    assert audit(store, artifacts) == []
