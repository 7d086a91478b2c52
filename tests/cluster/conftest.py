"""One Ray cluster for all tests that leave it as it was."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]

NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 * 2**20}

# Ray's processes have a low priority by themselves: beside other tests hardly one of them would come to its turn.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


@contextmanager
def a_cluster(cpus: int) -> Iterator[Any]:
    """A cluster whose first node has so many CPUs."""
    from ray import cluster_utils

    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": cpus})
    try:
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a cluster of one node with two CPUs."""
    with a_cluster(2) as cluster:
        yield cluster.address
