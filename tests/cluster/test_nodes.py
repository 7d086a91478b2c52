"""Nodes that come and go in the middle of a search."""

from pathlib import Path
from typing import Any

from nas.store import control
from nas.store.setbacks import newest
from nas.store.states import JobState, TrialState
from tests.cluster.conftest import NODE, a_cluster
from tests.cluster.driving import a_driver, driven, epochs_of, searched, trained
from tests.processes import until
from tests.worker.running import add, job_of, trials_of

EPOCHS = 150
"""Of a trial: enough for it to be under way while a node comes and another one goes."""

SEARCH: dict[str, Any] = {"budget": {"trials": 3, "epochs": EPOCHS}}


def test_nodes_come_and_go_in_the_middle_of_a_search_and_no_trial_is_lost(tmp_path: Path) -> None:
    with a_cluster(cpus=0) as cluster:
        first = cluster.add_node(num_cpus=1, **NODE)
        with a_driver(tmp_path, cluster.address) as context:
            job_id = add(context, engine="ray", **SEARCH)
            with driven(context, job_id):
                trained(context, job_id, epochs=2)
                assert [trial.number for trial in trials_of(context, job_id)] == [0], "nothing is taken ahead"
                cluster.add_node(num_cpus=1, **NODE)
                trained(context, job_id, count=2)
                cluster.remove_node(first, allow_graceful=False)
                until(lambda: job_of(context, job_id).reasons, "the setback")
                until(lambda: job_of(context, job_id).state == JobState.FINALIZING, "the end of the search", 200.0)
                with context.store.write() as session:
                    control.pause(session, job_id)
            found = searched(context, job_id)
            assert [(number, epochs, state) for number, _, epochs, state in found] == [
                (number, EPOCHS, TrialState.COMPLETE) for number in range(3)
            ]
            for trial in trials_of(context, job_id)[:3]:
                assert epochs_of(context, trial.id) == list(range(1, EPOCHS + 1))
                assert trial.losses == 0
            hit = [trial for trial in trials_of(context, job_id)[:3] if trial.attempt > 1]
            assert len(hit) == 1
            with context.store.read() as session:
                [setback] = newest(session, hit[0].id)
            assert (setback.error or "").startswith("its node was lost (after epoch ")
