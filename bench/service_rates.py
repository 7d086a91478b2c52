"""How many short trials the workers of one database get through, beside Optuna's RDB storage, in the same run.

python bench/service_rates.py [--backends sqlite postgresql] [--workers 1 8 32] [--seconds 8]

A trial is what a search does with one: its number is taken, its candidate written, five epochs are reported, it ends;
nothing is trained. For Optuna: ask, four categorical parameters of eight choices, five reports, tell, with the random
sampler and no pruner. Workers are processes that begin together and stop after the time given. The two take turns on
databases of their own; PostgreSQL runs with the settings that it comes with. State the machine with the figures.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import optuna
from service_data import database

from nas.spec import JobSpec
from nas.store import claims, jobs, queue, trials
from nas.store.artifacts import Stored
from nas.store.leases import Lease
from nas.store.migrate import migrate
from nas.store.session import Store, now
from nas.store.states import TrialState
from nas.store.tables import Dataset
from nas.store.trials import Costs
from nas.train.epoch import EpochResult

REPORTS: Final = 5
AIM: Final = 10
"""Times as many trials a second as Optuna's."""


@dataclass(frozen=True, slots=True)
class Row:
    """What so many workers of a system got through.

    Attributes:
        errors: of workers, each of which cost a trial.
    """

    system: str
    backend: str
    workers: int
    trials: int
    seconds: float
    errors: int

    @property
    def rate(self) -> float:
        """Trials a second."""
        return self.trials / self.seconds


def rates(backend: str, workers: int, seconds: float = 8.0) -> list[Row]:
    """Ours, then Optuna's, on a database each."""
    return [_row(system, backend, workers, seconds) for system in SYSTEMS]


def _row(system: str, backend: str, workers: int, seconds: float) -> Row:
    prepare = SYSTEMS[system][0]
    with tempfile.TemporaryDirectory() as folder, database(backend, Path(folder)) as url:
        prepare(url)
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
            barrier = manager.Barrier(workers)
            done = list(pool.map(_work, [(system, url, index, barrier, seconds) for index in range(workers)]))
    return Row(system, backend, workers, sum(count for count, _ in done), seconds, sum(errors for _, errors in done))


def _work(given: tuple[str, str, int, Any, float]) -> tuple[int, int]:
    """(trials, errors) of one worker."""
    system, url, index, barrier, seconds = given
    one = SYSTEMS[system][1](url, f"worker {index}")
    next(one)  # the first one warms up
    barrier.wait(300)
    count = errors = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            next(one)
            count += 1
        except Exception:  # what a user of it would meet
            errors += 1
            one = SYSTEMS[system][1](url, f"worker {index}")
    return count, errors


def _prepare_ours(url: str) -> None:
    store = Store(url)
    migrate(store)
    spec = JobSpec.model_validate({"dataset": "bench", "budget": {"trials": 100_000, "epochs": REPORTS}})
    spec = spec.model_copy(update={"strategy": "random"})
    with store.write() as session:
        images = {"channels": 1, "height": 8, "width": 8, "train": 64, "validation": 16, "test": 20}
        content = {"name": "bench", "digest": "d" * 64, "sha256": "c" * 64, "classes": ["a", "b"]}
        dataset = Dataset(**images, **content, created_at=now(session))
        session.add(dataset)
        session.flush()
        jobs.create(session, spec, dataset)
    store.close()


def _ours(url: str, worker: str) -> Iterator[None]:
    store = Store(url)
    lease = Lease(worker, "cpu", 60.0)
    candidate = JobSpec(dataset="bench").space.base().sample(np.random.default_rng(0))
    results = [EpochResult(epoch, 1.0, 1.0, 0.5, 0.1, 1.0) for epoch in range(1, REPORTS + 1)]
    while True:
        with store.read() as session:
            [offer] = queue.survey(session, lease.device).offers
        with store.write() as session:
            claim = claims.reserve(session, offer, lease)
        assert claim is not None
        with store.write() as session:
            trials.set_candidate(session, claim, candidate, uuid4().hex, Costs(1_000, 1_000))
        for result in results:
            with store.write() as session:
                trials.report(session, claim, result, Stored(uuid4().hex * 2, 1_000), lease.seconds)
        with store.write() as session:
            trials.finish(session, claim, TrialState.COMPLETE)
        yield


def _prepare_optuna(url: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="bench", storage=url)


def _optuna(url: str, worker: str) -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    study = optuna.load_study(study_name="bench", storage=url, sampler=sampler, pruner=pruner)
    while True:
        trial = study.ask()
        for edge in range(4):
            trial.suggest_categorical(f"edge {edge}", list(range(8)))
        for epoch in range(1, REPORTS + 1):
            trial.report(0.5, epoch)
        study.tell(trial, 0.5)
        yield


SYSTEMS: Final[dict[str, tuple[Callable[[str], None], Callable[[str, str], Iterator[None]]]]] = {
    "ours": (_prepare_ours, _ours),
    "optuna": (_prepare_optuna, _optuna),
}
"""Name → what prepares a database, and what a worker does with one: a trial at each step."""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Trials a second, ours and Optuna's.")
    parser.add_argument("--backends", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    print("| database | workers | trials/s | errors | Optuna, trials/s | errors | ratio |")
    print("|---|---|---|---|---|---|---|")
    for backend in options.backends:
        for workers in options.workers:
            ours, theirs = rates(backend, workers, options.seconds)
            ratio = ours.rate / theirs.rate if theirs.trials else float("inf")
            print(
                f"| {backend} | {workers} | {ours.rate:.0f} | {ours.errors} | {theirs.rate:.1f} | {theirs.errors} "
                f"| {ratio:.1f}{'' if ratio >= AIM else ' (!)'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
