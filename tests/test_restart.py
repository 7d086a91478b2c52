"""A PostgreSQL that is restarted in the middle of everything: real server, real API, real worker."""

import re
import threading
import time
from pathlib import Path

import httpx
from sqlalchemy import select

from nas.store import jobs
from nas.store.artifacts import ArtifactStore
from nas.store.audit import audit
from nas.store.session import Store
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Job, Trial
from tests import postgres
from tests.processes import TINY, add_job, open_store, serve, settings_in, until, url_in

JOB = TINY | {"budget": {"trials": 3, "epochs": 8}, "final": TINY["final"] | {"epochs": 1, "seeds": 1}}


def poll(url: str, paths: list[str], stop: threading.Event, answers: list[httpx.Response], errors: list[str]) -> None:
    """Asks for the paths in turn, and keeps what is answered."""
    with httpx.Client(base_url=url, timeout=30) as client:
        while not stop.is_set():
            for path in paths:
                try:
                    answers.append(client.get(path))
                except httpx.HTTPError as error:
                    errors.append(f"{path}: {error!r}")
            time.sleep(0.1)


def test_a_restarted_database_costs_no_trial_and_no_answer_but_try_again(tmp_path: Path) -> None:
    with postgres.server() as server:
        settings = settings_in(tmp_path, lease_s=5, database_url=server.url())
        store = open_store(settings)
        job_id = add_job(settings, store, JOB)
        answers: list[httpx.Response] = []
        errors: list[str] = []
        stop = threading.Event()
        paths = [f"/v1/jobs/{job_id}/dashboard", f"/v1/jobs/{job_id}/trials", "/v1/jobs", "/readyz"]
        log = tmp_path / "log"
        with serve(settings, log, 1):
            polling = threading.Thread(target=poll, args=(url_in(log), paths, stop, answers, errors))
            polling.start()
            for epochs, end in ((1, server.crash), (4, server.stop), (7, server.kill)):
                until(lambda epochs=epochs: epochs_done(store, job_id) >= epochs, f"{epochs} epochs")  # type: ignore[misc]
                end()
                seen = len(answers)
                until(lambda seen=seen: len(answers) > seen + 4, "answers without a database")  # type: ignore[misc]
                server.start()
                store.close()  # our own connections, which were used a moment ago
            over = (JobState.FINALIZING, JobState.SUCCEEDED)
            until(lambda: job_of(store, job_id).state in over, "the search's end", seconds=200)
            stop.set()
            polling.join()
        assert errors == []
        assert {answer.status_code for answer in answers} == {200, 503}
        away = [answer for answer in answers if answer.status_code == 503]
        assert all("/readyz" in str(answer.url) or int(answer.headers["Retry-After"]) > 0 for answer in away)
        assert not re.search(r"Traceback|ERROR", log.read_text()), log.read_text()
        with store.read() as session:
            found = session.scalars(
                select(Trial.state).where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH)
            ).all()
        assert found == [TrialState.COMPLETE] * 3
        assert audit(store, ArtifactStore(settings.artifacts_url)) == []
        store.close()


def job_of(store: Store, job_id: str) -> Job:
    with store.read() as session:
        return jobs.get(session, job_id)


def epochs_done(store: Store, job_id: str) -> int:
    return job_of(store, job_id).search_epochs
