"""What the server does by the clock, on real leases and files; and what it does when that goes wrong."""

import hashlib
import logging
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from api import upkeep
from api.deps import Parts
from api.upkeep import CHORES, Chore, Upkeep
from nas.store import answers, files, jobs, moves
from nas.store.session import now
from nas.store.states import Phase, TrialState
from nas.store.tables import Answer
from tests.api.client import ApiClient, succeed
from tests.processes import until
from tests.support import BACKENDS, expire, states_of, take, trial_of


@pytest.mark.parametrize("backend", BACKENDS)
def test_lost_trials_are_queued_again_without_any_worker(api: ApiClient) -> None:
    api.add_job()
    trial = take(api.store)
    with Upkeep(api.parts, [Chore("lost leases", 0.0, 0.01, upkeep.reap)]):
        time.sleep(0.1)
        assert trial_of(api.store, trial.trial_id).state == TrialState.RUNNING
        expire(api.store)
        until(lambda: trial_of(api.store, trial.trial_id).state == TrialState.QUEUED, "the end of the lease", 20)
    assert trial_of(api.store, trial.trial_id).owner is None


def test_the_server_itself_takes_lost_trials_back(api: ApiClient) -> None:
    api.add_job()
    trial = take(api.store)
    expire(api.store)
    until(lambda: trial_of(api.store, trial.trial_id).state == TrialState.QUEUED, "the end of the lease", 30)


def test_paused_trials_of_a_search_that_is_over_are_ended(api: ApiClient) -> None:
    job_id = succeed(api)
    content = b"checkpoint"
    with api.store.write() as session:
        job = jobs.lock(session, job_id)
        paused = moves.add(session, job, Phase.SEARCH, epochs=3, digest="d" * 64)
        moves.move(session, job, paused, TrialState.RUNNING)
        moves.move(session, job, paused, TrialState.PAUSED)
        files.record(session, paused.id, "checkpoint", api.artifacts.put(content))
    assert upkeep.end_paused(api.parts) == 1
    assert upkeep.end_paused(api.parts) == 0
    assert TrialState.PAUSED not in states_of(api.store, job_id)
    assert not api.artifacts.exists(hashlib.sha256(content).hexdigest())


def test_answers_are_forgotten_when_their_keys_are_free(api: ApiClient) -> None:
    with api.store.write() as session:
        for key in ("old", "new"):
            assert answers.reserve(session, "local", key, "0" * 64) is None
        session.get_one(Answer, ("local", "old")).created_at = now(session) - timedelta(hours=25)
    assert upkeep.expire_answers(api.parts) == 1
    with api.store.read() as session:
        assert session.get(Answer, ("local", "old")) is None
        assert session.get(Answer, ("local", "new")) is not None


def test_files_that_nobody_needs_are_deleted_and_missing_ones_told(
    api: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    succeed(api, b"the package")
    missing = hashlib.sha256(b"the package").hexdigest()
    api.artifacts.delete(missing)
    old, new = (api.artifacts.put(content).sha256 for content in (b"old", b"new"))
    os.utime(Path(api.artifacts.url) / old[:2] / old, (0, 0))
    assert upkeep.collect_files(api.parts) == 1
    assert (api.artifacts.exists(old), api.artifacts.exists(new)) == (False, True)
    told = [record.getMessage() for record in caplog.records if missing in record.getMessage()]
    assert len(told) == 1
    assert "package of trial 2 of job" in told[0]
    assert "restore it from a backup" in told[0]


def test_trouble_is_told_once_and_stops_nothing(api: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    done: list[int] = []
    troubles = {
        2: OperationalError("SELECT secret", {}, Exception("the server closed the connection")),
        3: OperationalError("SELECT secret", {}, Exception("the server closed the connection")),
        5: ValueError("a fault"),
        6: ValueError("a fault"),
    }
    through = threading.Event()

    def chore(parts: Parts) -> int:
        assert parts is api.parts
        done.append(len(done) + 1)
        if done[-1] in troubles:
            raise troubles[done[-1]]
        if done[-1] == 8:
            through.set()
        return done[-1] % 2

    with Upkeep(api.parts, [Chore("this", 0.0, 0.001, chore), Chore("that", 0.0, 0.001, lambda _: 0)]):
        assert through.wait(20)
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("this: ")]
    # 1 done, 2 and 3 away, 4 nothing to do, 5 and 6 failed, 7 done
    assert told[:4] == [
        "this: 1",
        "this: not now, and tried again: the server closed the connection",
        "this: failed, and tried again",
        "this: 1",
    ]


def test_a_long_chore_keeps_no_other_from_being_done(api: ApiClient) -> None:
    release, done = threading.Event(), threading.Event()

    def wait(_: Parts) -> int:
        return int(release.wait(20))

    def note(_: Parts) -> int:
        done.set()
        return 0

    with Upkeep(api.parts, [Chore("long", 0.0, 0.01, wait), Chore("short", 0.0, 0.01, note)]):
        assert done.wait(20)
        release.set()


def test_all_chores_have_their_times() -> None:
    assert [chore.do for chore in CHORES] == [
        upkeep.reap,
        upkeep.end_paused,
        upkeep.expire_answers,
        upkeep.expire_logins,
        upkeep.collect_files,
    ]
    assert all(0 < chore.first_s <= chore.every_s for chore in CHORES)
