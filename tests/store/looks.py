"""A look at a job's dashboard, and the steps that take the job to what is looked at."""

from nas.store import trials, workers
from nas.store.claims import Claim
from nas.store.dashboard import Dashboard, dashboard
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import Phase
from nas.train.epoch import EpochResult
from tests.support import (
    LEASE_S,
    candidate,
    digest,
    job_of,
    stored,
    take,
)

# What support.add_job asks for; the last is (1 finalist + 2 controls + 1 reference) × 2 seeds × 4 epochs.
TRIALS, EPOCHS, FINAL_EPOCHS = 10, 3, 32
PLANNED = dict.fromkeys(Phase, 0) | {"search": 10, "finalist": 2, "control": 4, "reference": 2, "report": 1}


def show(store: Store, job_id: str) -> Dashboard:
    with store.read() as session:
        return dashboard(session, job_id, LEASE_S)


def reason(shown: Dashboard) -> str:
    """What the job waits for; empty if something of it runs."""
    return shown.waiting.reason if shown.waiting else ""


def register(store: Store, *names: str) -> None:
    for name in names:
        with store.write() as session:
            workers.register(session, name, "cpu")


def finished(shown: Dashboard) -> dict[str, int]:
    return {phase: of["finished"] for phase, of in shown.rows.phases.items()}


def retraining(phase: Phase, index: int, seed_index: int = 0) -> NewTrial:
    return NewTrial(phase, 4, candidate(index), digest(index), seed_index, params=1, macs=1)


def train_supernet(store: Store, epochs: int) -> Claim:
    """Takes the supernet's trial and reports epochs of it, whose entropy falls."""
    taken = take(store)
    assert taken.phase == Phase.SUPERNET
    for number in range(1, epochs + 1):
        metrics = {"accuracy": 0.5, "alpha_entropy": 2 / number, "skip_share": 0.25}
        result = EpochResult(number, 1.0, 1.0, 0.5, 0.1, 2.0, metrics, {"normal": number})
        with store.write() as session:
            trials.report(session, taken, result, stored(f"supernet {number}"), LEASE_S)
    return taken


def left_epochs(store: Store, job_id: str) -> float:
    """The epochs to come that the fraction follows from."""
    job, shown = job_of(store, job_id), show(store, job_id).progress
    return (job.search_epochs + job.final_epochs) * (1 / shown.fraction - 1)
