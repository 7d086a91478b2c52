"""Whole searches on a cluster, each with one of Ray's own schedulers."""

from pathlib import Path
from typing import Any

import pytest

from nas.space import Candidate
from nas.store import lineage
from nas.store.audit import audit
from nas.store.states import Phase, Reason, TrialState
from nas.store.tables import Epoch, Trial
from tests.cluster.driving import a_driver, driven, epochs_of
from tests.processes import until
from tests.worker.running import add, trials_of
from worker.context import Context

RANGE = {"low": 0.001, "high": 0.3, "log": True}


def searched(context: Context, **job: Any) -> list[Trial]:
    """The search trials of a job on the cluster, once nothing of it is to be searched any more."""
    job_id = add(context, engine="ray", **job)

    def over() -> bool:
        found = [trial for trial in trials_of(context, job_id) if trial.phase != Phase.SEARCH]
        return bool(found)

    stopping: list[bool] = []
    context.stopping = lambda: bool(stopping)
    with driven(context, job_id):
        try:
            until(over, "the search to be over", 150)
        finally:
            stopping.append(True)
    found = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
    assert audit(context.store, context.artifacts) == []
    assert all(epochs_of(context, trial.id) == list(range(1, trial.epoch + 1)) for trial in found)
    assert all(trial.attempt == 1 for trial in found)
    return found


def how(trial: Trial) -> tuple[TrialState, str | None]:
    return trial.state, trial.reason


@pytest.mark.parametrize(("method", "trials"), [("asha", 6), ("hyperband", 7)])
def test_trials_that_are_worse_at_a_rung_are_stopped_there(
    method: str, trials: int, tmp_path: Path, address: str
) -> None:
    scheduler: dict[str, Any] = {"method": method, "eta": 2} | ({"first": 1} if method == "asha" else {})
    with a_driver(tmp_path / "home", address) as context:
        found = searched(
            context,
            scheduler=scheduler,
            recipe={"lr": RANGE},
            budget={"trials": trials, "epochs": 4},
            strategy="random",
        )
    assert len(found) == trials
    for trial in found:
        if trial.state == TrialState.COMPLETE:
            assert (trial.epoch, trial.reason) == (4, None)
        else:
            assert how(trial) == (TrialState.PRUNED, Reason.RUNG)
            assert trial.epoch in (1, 2)
    stopped = [trial for trial in found if trial.state == TrialState.PRUNED]
    # Hyperband compares those that wait together; on two CPUs it may be that none of them do, as time has it.
    assert (method == "asha") <= len(stopped) < trials


def test_a_population_goes_on_with_the_networks_of_its_best(tmp_path: Path, address: str) -> None:
    epochs = 12  # so many that on two CPUs trials meet, whenever each of them has begun
    with a_driver(tmp_path / "home", address) as context:
        found = searched(
            context,
            scheduler={"method": "pbt", "every": 1, "quantile": 0.5},
            recipe={"lr": RANGE},
            budget={"trials": 4, "epochs": epochs},
            strategy="random",
        )
        assert [how(trial) for trial in found] == [(TrialState.COMPLETE, None)] * 4
        assert len({trial.digest for trial in found}) == 4
        notes = []
        with context.store.read() as session:
            for trial in found:
                for epoch in range(1, epochs + 1):
                    metrics = session.get_one(Epoch, (trial.id, epoch)).metrics or {}
                    if lineage.TAKEN_OVER in metrics:
                        notes.append((trial.number, metrics[lineage.TAKEN_OVER]))
        assert notes
        candidates = {trial.number: Candidate.from_json(trial.candidate) for trial in found}
        assert all(RANGE["low"] <= dict(one.recipe)["lr"] <= RANGE["high"] for one in candidates.values())  # type: ignore[operator]
        assert len({str(one.architecture) for one in candidates.values()}) < 4
        assert all(number != other and other in candidates for number, other in notes)
