"""What one process that drives Ray Tune can take: results a second, by its own CPU time, with toys that train nothing.

python bench/engines_driver.py [--running 4 16 48] [--results 4000]

Each toy is an actor that answers at once. `CPU a result` is what the driver's process uses for it: Tune's loop, a
scheduler (ASHA) that is asked and stops nobody, and nothing of ours. The inverse is what a core can take, however many
machines stand behind it. `CPU a trial` is what starting and ending a trial costs there, with actors that are used
again. Then what our side of a result costs: writing epochs to the database, one by one and several in a transaction.
"""

import argparse
import contextlib
import io
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from service_data import FILE, LEASE_S, add_job, database, reporters

from nas.store.migrate import migrate
from nas.store.session import Store
from nas.store.trials import report
from nas.train.epoch import EpochResult

CPU: Final = 0.001
"""Of a core for a toy, so that many fit onto few."""

REUSED: Final = 8
"""Trials that each actor trains, one after the other, where trials are counted."""


def results(running: int, count: int) -> tuple[float, float]:
    """(CPU ms a result, results a second by the clock) with so many trials at once."""
    taken: dict[str, float] = {}
    _fit(running, running, max(1, count // running), taken)
    return 1e3 * taken["cpu_s"] / taken["results"], taken["results"] / taken["wall_s"]


def trials(running: int) -> float:
    """CPU ms of the driver for a trial of one result, on actors that are used again."""
    taken: dict[str, float] = {}
    _fit(running, REUSED * running, 1, taken)
    return 1e3 * taken["cpu_s"] / (REUSED * running)


def _fit(running: int, samples: int, iterations: int, taken: dict[str, float]) -> None:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    class Toy(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"score": 0.5}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    class Clock(tune.Callback):
        """Begins when all actors of the first round have answered once."""

        def __init__(self) -> None:
            self.seen: set[str] = set()
            self.count = 0

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            self.seen.add(trial.trial_id)
            if len(self.seen) >= running:
                if not self.count:
                    self.wall, self.cpu = time.monotonic(), time.process_time()
                self.count += 1
                taken["results"] = max(1, self.count - 1)
                taken["wall_s"] = time.monotonic() - self.wall
                taken["cpu_s"] = time.process_time() - self.cpu

    # Tune says where its results are, whatever its verbosity
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        tune.Tuner(
            tune.with_resources(Toy, {"cpu": CPU}),
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=samples,
                scheduler=ASHAScheduler(max_t=iterations + 1, grace_period=iterations + 1),
                reuse_actors=True,
                max_concurrent_trials=running,
            ),
            run_config=tune.RunConfig(
                storage_path=folder, verbose=0, stop={"training_iteration": iterations}, callbacks=[Clock()]
            ),
        ).fit()


def writes(backend: str, together: int, count: int = 600) -> tuple[float, float]:
    """(epochs a second by the clock, CPU ms of the writing process an epoch), so many in a transaction."""
    with tempfile.TemporaryDirectory() as folder, database(backend, Path(folder)) as url:
        store = Store(url)
        migrate(store)
        claims = reporters(store, [add_job(store, 100, seed=seed) for seed in range(2)])
        wall, cpu = time.monotonic(), time.process_time()
        for begin in range(0, count, together):
            with store.write() as session:
                for number in range(begin, begin + together):
                    epoch = EpochResult(number + 6, 1.0, 1.0, 0.5, 0.1, 1.0, {"top5": 1.0})
                    report(session, claims[number % 2], epoch, FILE, LEASE_S)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        store.close()
    return count / wall, 1e3 * cpu / count


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--running", nargs="*", type=int, default=[4, 16, 48])
    parser.add_argument("--results", type=int, default=4_000)
    parser.add_argument("--backends", nargs="*", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    if options.running:
        import ray

        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        print(
            "| trials at once | CPU a result, ms | a core can take, results/s | measured, results/s | CPU a trial, ms |"
        )
        print("|---|---|---|---|---|")
        for running in options.running:
            cpu_ms, rate = results(running, options.results)
            print(f"| {running} | {cpu_ms:.2f} | {1e3 / cpu_ms:.0f} | {rate:.0f} | {trials(running):.1f} |", flush=True)
        ray.shutdown()
    print("| database | epochs a transaction | epochs/s | CPU an epoch, ms |\n|---|---|---|---|")
    for backend in options.backends:
        for together in (1, 10, 100):
            rate, cpu_ms = writes(backend, together)
            print(f"| {backend} | {together} | {rate:.0f} | {cpu_ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
