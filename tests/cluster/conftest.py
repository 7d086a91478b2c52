"""One Ray cluster for all tests that leave it as it was."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]

NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a cluster of one node with two CPUs."""
    from ray import cluster_utils

    before = dict(os.environ)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 2})
    yield cluster.address
    cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's
    os.environ.clear()
    os.environ.update(before)
