"""What reading the history of a job costs before a proposal, in CPU time of the worker, by the number of its trials.

python bench/engines_history.py [--backends sqlite postgresql] [--trials 100 1000 10000] [--asks 7]

`first` is what a worker pays that has just started, `then` the median of later readings, with 16 trials running.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from service_data import EPOCHS, SPEC, add_job, database

from nas.spec import JobSpec
from nas.store.history import Replay
from nas.store.migrate import migrate
from nas.store.session import Store


def measure(store: Store, trials: int, asks: int) -> tuple[float, float]:
    """(first, then) in ms."""
    job_id, taken = add_job(store, trials, seed=trials), []
    replay = Replay(JobSpec.model_validate(SPEC | {"budget": {"trials": trials, "epochs": EPOCHS}}))
    for _ in range(asks + 1):
        began = time.process_time()
        with store.read() as session:
            replay.read(session, job_id)
        taken.append(1e3 * (time.process_time() - began))
    return taken[0], statistics.median(taken[1:])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 1_000, 10_000])
    parser.add_argument("--asks", type=int, default=7)
    options = parser.parse_args()
    print("| database | trials | first, ms | then, ms |\n|---|---|---|---|")
    for backend in options.backends:
        with tempfile.TemporaryDirectory() as folder, database(backend, Path(folder)) as url:
            store = Store(url)
            migrate(store)
            for trials in options.trials:
                first, then = measure(store, trials, options.asks)
                print(f"| {backend} | {trials:,} | {first:.0f} | {then:.1f} |", flush=True)
            store.close()


if __name__ == "__main__":
    main()
