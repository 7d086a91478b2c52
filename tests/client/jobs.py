"""Jobs for the clients' tests, made in the database as workers make them."""

from nas.store import phases, trials
from nas.store.artifacts import ArtifactStore
from nas.store.claims import Claim
from nas.store.phases import NewTrial
from nas.store.states import Phase, TrialState
from tests.client.conftest import Service
from tests.support import digest, finish, propose, report, run_trial, take

RANDOM = {"dataset": "squares", "strategy": "random", "pruning": "none", "budget": {"trials": 4, "epochs": 3}}


def work(service: Service) -> Claim:
    """Runs four trials of the job that is first in line: two complete, one pruned, one failed; the best one."""
    run_trial(service.store, accuracy=0.6)
    best = run_trial(service.store, accuracy=0.8)
    pruned = take(service.store)
    propose(service.store, pruned, pruned.trial_id)
    report(service.store, pruned, 1, 0.1)
    finish(service.store, pruned, TrialState.PRUNED)
    failed = take(service.store)
    propose(service.store, failed, failed.trial_id)
    finish(service.store, failed, TrialState.FAILED, reason="error", error="ValueError: <b>broken</b>")
    return best


def succeed(service: Service, package: bytes) -> None:
    """Works on the job, and ends it with that package."""
    best = work(service)
    with service.store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    with service.store.write() as session:
        phases.go_on(session, seen, [NewTrial(Phase.REPORT, 0)])
    final = take(service.store)
    verdict = {"shipped": {"accuracy": 0.75}, "text": "search beat random by 1.0 ± 0.5 points"}
    artifacts = ArtifactStore(service.settings.artifacts_url)
    with service.store.write() as session:
        phases.succeed(session, final, verdict, artifacts.put(package), digest(best.trial_id))


def attach(service: Service, content: bytes) -> None:
    """Gives the next trial logs for TensorBoard."""
    claim = take(service.store)
    with service.store.write() as session:
        trials.attach(session, claim, "tensorboard", ArtifactStore(service.settings.artifacts_url).put(content))
