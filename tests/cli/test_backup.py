"""A service that is copied while it works, destroyed, and restored elsewhere."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from cli.main import run
from nas.settings import Settings
from nas.store import jobs
from nas.store.artifacts import ArtifactStore
from nas.store.audit import audit
from nas.store.session import Store
from nas.store.states import JobState, TrialState
from nas.store.tables import Artifact, Epoch, Trial
from tests import postgres
from tests.processes import TINY, add_job, open_store, settings_in, until, worker
from tests.support import BACKENDS

JOB = TINY | {"budget": {"trials": 1, "epochs": 15}, "final": TINY["final"] | {"epochs": 1, "seeds": 1}}


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Ends what a test starts."""
    with ExitStack() as stack:
        yield stack


def installation(backend: str, home: Path, servers: ExitStack) -> tuple[Settings, postgres.Server | None]:
    if backend == "sqlite":
        return settings_in(home, lease_s=2), None
    server = servers.enter_context(postgres.server())
    return settings_in(home, lease_s=2, database_url=server.url()), server


def nas(
    settings: Settings, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """`nas ARGUMENTS` in this process; (status, what it prints)."""
    status = 0
    with monkeypatch.context() as patched:
        for name, value in settings.to_environ().items():
            patched.setenv(name, value)
        patched.setenv("PATH", f"{postgres.BIN}:{os.environ['PATH']}")
        patched.setattr(sys, "argv", ["nas", *arguments])
        try:
            run()
        except SystemExit as ended:
            status = int(ended.code or 0)
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def epochs_of(store: Store) -> list[tuple[int, float]]:
    with store.read() as session:
        first = session.scalars(select(Trial.id).order_by(Trial.number)).first()
        rows = session.execute(select(Epoch.epoch, Epoch.train_loss).where(Epoch.trial_id == first))
        return sorted((epoch, loss) for epoch, loss in rows)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_job_goes_on_from_a_backup_that_was_made_while_it_ran(
    tmp_path: Path,
    backend: str,
    servers: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, server = installation(backend, tmp_path / "old", servers)
    store = open_store(settings)
    job_id = add_job(settings, store, JOB)
    copy = str(tmp_path / "backup")
    with worker(settings, tmp_path / "log"):
        until(lambda: len(epochs_of(store)) >= 2, "two epochs")
        assert nas(settings, ["backup", copy], monkeypatch, capsys)[0] == 0
        seen = len(epochs_of(store))
        until(lambda: len(epochs_of(store)) > seen, "another epoch")
        status, printed = nas(settings, ["backup", copy], monkeypatch, capsys)
        assert (status, " 2 files, 1 of them new" in printed) == (0, True), printed  # the data set's is there already
        known = epochs_of(store)
    store.close()
    shutil.rmtree(settings.home)
    if server is not None:
        server.kill()

    settings, _ = installation(backend, tmp_path / "new", servers)
    status, printed = nas(settings, ["restore", copy], monkeypatch, capsys)
    assert (status, "2 files" in printed) == (0, True), printed
    store = Store(settings.database_url)
    artifacts = ArtifactStore(settings.artifacts_url)
    restored = epochs_of(store)
    assert 2 <= len(restored) <= len(known)
    assert restored == known[: len(restored)]
    with store.read() as session:
        assert (
            session.scalars(select(Trial.state)).one() == TrialState.RUNNING
        )  # under the lease of a worker that is gone
        assert all(artifacts.verify(sha256) for sha256 in session.scalars(select(Artifact.sha256)))
    with worker(settings, tmp_path / "log"):

        def ended() -> bool:
            with store.read() as session:
                job = jobs.get(session, job_id)
                assert job.state != JobState.FAILED, job.reason
                # the rest has nothing to do with the backup, and costs half a minute: once is enough
                return job.state in (JobState.SUCCEEDED, *((JobState.FINALIZING,) if backend == "sqlite" else ()))

        until(ended, "the job's success")
    assert epochs_of(store)[: len(restored)] == restored, "what the backup has is not trained again"
    assert audit(store, artifacts, settled=backend == "postgresql") == []
    store.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_restoration_refuses_what_would_harm(
    tmp_path: Path,
    backend: str,
    servers: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, _ = installation(backend, tmp_path / "home", servers)
    store = open_store(settings)
    add_job(settings, store, JOB)
    copy = tmp_path / "backup"
    status, printed = nas(settings, ["restore", str(copy)], monkeypatch, capsys)
    assert (status, "has no backup of this service" in printed) == (2, True)
    nas(settings, ["backup", str(copy)], monkeypatch, capsys)
    status, printed = nas(settings, ["restore", str(copy)], monkeypatch, capsys)
    assert (status, "has tables already; name an empty database" in printed) == (2, True)
    other, _ = installation(next(name for name in BACKENDS if name != backend), tmp_path / "other", servers)
    status, printed = nas(other, ["restore", str(copy)], monkeypatch, capsys)
    assert (status, f"is a backup of {backend}, but NAS_DATABASE_URL is" in printed) == (2, True)
    store.close()

    [kept] = [path for path in (copy / "files").glob("*/*") if path.is_file()]
    kept.write_bytes(kept.read_bytes()[:-1])
    elsewhere, _ = installation(backend, tmp_path / "elsewhere", servers)
    status, printed = nas(elsewhere, ["restore", str(copy)], monkeypatch, capsys)
    assert (status, kept.name in printed) == (1, True)


def test_a_backup_of_a_service_that_has_lost_a_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path / "home")
    store = open_store(settings)
    add_job(settings, store, JOB)
    store.close()
    shutil.rmtree(settings.artifacts_url)
    status, printed = nas(settings, ["backup", str(tmp_path / "copy")], monkeypatch, capsys)
    assert status == 1
    assert "is missing; `nas doctor --audit` tells more" in printed


def test_without_its_programs_a_backup_of_postgresql_names_them(
    tmp_path: Path, servers: ExitStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, _ = installation("postgresql", tmp_path / "home", servers)
    open_store(settings).close()
    monkeypatch.setattr(postgres, "BIN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, printed = nas(settings, ["backup", str(tmp_path / "copy")], monkeypatch, capsys)
    assert (status, "pg_dump is not on the PATH; install PostgreSQL's client programs" in printed) == (2, True)
