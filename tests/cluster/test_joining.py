"""A worker that is kept to one core gives a cluster of its own the whole machine, and is kept to it again."""

import os

import pytest
import ray

from worker.cluster.joining import joined


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_a_cluster_of_its_own_has_the_cores_that_its_worker_was_kept_from() -> None:
    allowed = os.sched_getaffinity(0)
    core = {min(allowed)}
    os.sched_setaffinity(0, core)
    try:
        with joined("", frozenset(allowed)):
            assert ray.cluster_resources()["CPU"] == len(allowed)  # type: ignore[no-untyped-call]  # Ray's
            seen = ray.get(ray.remote(lambda: os.sched_getaffinity(0)).remote())
        assert seen == allowed
        assert os.sched_getaffinity(0) == core
    finally:
        os.sched_setaffinity(0, allowed)
