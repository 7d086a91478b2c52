"""A real disk that is full: the trial fails with that reason, nothing is half written, and with room all goes on."""

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from nas.store.audit import audit
from nas.store.session import Store
from nas.store.states import Reason, TrialState
from tests.disks import fill, small_disk
from tests.support import database, expire, open_store
from tests.worker.running import SEARCHING, a_worker, add, job_of, run_while, trials_of
from worker import ending
from worker.context import Context
from worker.step import step


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "REST_S", 0.0)


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_fails_the_trial_and_corrupts_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with (
        open_store("sqlite", tmp_path) as store,
        small_disk(tmp_path / "home" / "artifacts", size_bytes=8 << 20) as disk,
        a_worker(store, tmp_path / "home") as context,
    ):
        job_id = add(context)
        step(context)
        with fill(disk):
            before = files(disk)
            step(context)
            assert files(disk) == before
        states = [(trial.state, trial.reason) for trial in trials_of(context, job_id)]
        assert states == [(TrialState.COMPLETE, None), (TrialState.FAILED, Reason.DISK_FULL)]
        error = trials_of(context, job_id)[1].error or ""
        assert f"no space is left in {disk} for " in error
        assert "make room there" in error
        step(context)
        assert [trial.state for trial in trials_of(context, job_id)][2:] == [TrialState.COMPLETE]
        assert job_of(context, job_id).reasons == {"disk_full": [1, 0]}
        assert audit(store, context.artifacts) == []


def test_a_database_on_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    hurry = [False]
    with small_disk(tmp_path / "disk", size_bytes=8 << 20) as disk:
        store = Store(database("sqlite", disk))
        with a_worker(store, disk, lambda: hurry[0]) as context:
            job_id = add(context)
            step(context)
            hurry[0] = True  # to stop: it would wait as long as a lease for the database
            with fill(disk), pytest.raises(OperationalError, match="full"):
                until_it_raises(context)
            hurry[0] = False
            expire(store)
            run_while(context, job_id, *SEARCHING)
            assert {trial.state for trial in trials_of(context, job_id)} <= {TrialState.COMPLETE, TrialState.QUEUED}
            assert audit(store, context.artifacts) == []
        store.close()


def until_it_raises(context: Context) -> None:
    for _ in range(20):  # the database's log has some room of its own
        step(context)
