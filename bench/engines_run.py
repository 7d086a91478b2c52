"""Runs a search on one system, in processes of its own, and reads what their stopwatches say."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import optuna
from engines_timing import TIMES, Timed, read
from engines_work import Work
from service_data import database
from sqlalchemy import func, select

from nas.data.images import ImageSet
from nas.settings import Settings
from nas.spec import JobSpec
from nas.store import datasets, jobs
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import migrate
from nas.store.session import Store
from nas.store.states import FINISHED_TRIAL, Phase
from nas.store.tables import Trial

POLL_S: Final = 0.2
LIMIT_S: Final = 600.0

OURS: Final = {"Optuna engine": "optuna", "Ray engine": "ray"}
"""A system's name → the engine of the job."""

PLAIN: Final = {"plain Optuna": "optuna", "plain Ray Tune": "ray"}
"""A system's name → the script, see engines_plain."""

SYSTEMS: Final = (*OURS, *PLAIN)


def run(system: str, work: Work, backend: str = "sqlite") -> tuple[float, list[Timed], Work]:
    """Runs the search.

    Returns:
        When the first process was started, the trials in the order in which they began, and the work with the
        candidates that were trained, for the next system to train the same.

    Raises:
        RuntimeError: it did not end in time, or a process failed; the message has the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="nas-") as name:
        folder = Path(name)
        times = folder / "times"
        environ = _environ(times)
        if system in PLAIN:
            launched = _plain(PLAIN[system], work, folder, environ)
        else:
            with database(backend, folder) as url:
                launched, work = _ours(OURS[system], work, folder, url, environ)
        found = read(times)[: work.trials]  # ours train finalists after that
        if len(found) < work.trials:
            raise RuntimeError(f"{system} trained {len(found)} of {work.trials} networks")
        return launched, found, work


def _environ(times: Path) -> dict[str, str]:
    """One thread a process, and a stopwatch in each."""
    here = str(Path(__file__).parent)
    paths = [here, str(Path(here).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    ray = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return dict(os.environ) | ray | threads | {"PYTHONPATH": os.pathsep.join(paths), TIMES: str(times)}


# --- ours


def _ours(engine: str, work: Work, folder: Path, url: str, environ: Mapping[str, str]) -> tuple[float, Work]:
    variables = {"NAS_HOME": str(folder), "NAS_DATABASE_URL": url, "NAS_LOG": "WARNING"}
    settings = Settings.read(variables | {"NAS_PLUGINS": "engines_timing"})
    store = Store(url)
    migrate(store)
    dataset = datasets.add(store, ArtifactStore(settings.artifacts_url), "bench", ImageSet.load(Path(work.data)))
    body = work.spec | {"engine": engine} | ({"resources": {"cpus": 1}} if engine == "ray" else {})
    with store.write() as session:
        job_id = jobs.create(session, JobSpec.model_validate(body), dataset).id
    count = work.processes if engine == "optuna" else 1  # Ray's own processes train
    command = [sys.executable, "-m", "worker.main", "--device", "cpu"]
    launched = time.time()
    with _processes([command] * count, dict(environ) | settings.to_environ(), folder) as started:
        _await(lambda: _ended(store, job_id) >= work.trials, started, folder)
    with store.read() as session:
        candidates = session.scalars(
            select(Trial.candidate).where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH).order_by(Trial.number)
        ).all()
    store.close()
    return launched, replace(work, candidates=tuple(candidates))


def _ended(store: Store, job_id: str) -> int:
    of_job = (Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Trial.state.in_(FINISHED_TRIAL))
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Trial).where(*of_job)) or 0


# --- the plain ones


def _plain(script: str, work: Work, folder: Path, environ: Mapping[str, str]) -> float:
    path = folder / "work.json"
    path.write_text(work.to_json())
    command = [sys.executable, str(Path(__file__).with_name("engines_plain.py")), script, str(path), str(folder)]
    count = work.processes if script == "optuna" else 1
    if script == "optuna":  # two processes that make its tables at once stumble over each other
        optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.db'}")
    launched = time.time()
    with _processes([command] * count, environ, folder) as started:
        _await(lambda: all(process.poll() == 0 for process in started), started, folder)
    return launched


# --- processes


@contextmanager
def _processes(
    commands: list[list[str]], environ: Mapping[str, str], folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Started together, and stopped at the end; what they say goes into files."""
    started = []
    try:
        for index, command in enumerate(commands):
            with (folder / f"said-{index}").open("wb") as file:
                started.append(subprocess.Popen(command, env=dict(environ), stdout=file, stderr=file))
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(done: Callable[[], bool], started: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not done():
        failed = [process.returncode for process in started if process.poll() not in (None, 0)]
        if failed or time.monotonic() > deadline:
            said = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("said-*")))
            why = f"it ended with status {failed[0]}" if failed else f"it did not end within {LIMIT_S:g} s"
            raise RuntimeError(f"{why}; it said:\n{said}")
        time.sleep(POLL_S)
