"""A cluster of a worker's own: it has the whole machine, is urgent as others are, and leaves nothing behind."""

import collections
import os
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._raylet import AuthenticationMode, get_authentication_mode  # type: ignore[attr-defined]  # compiled

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


def test_a_cluster_of_its_own_is_closed_to_others_and_the_next_cluster_is_joined_as_if_it_had_not_been(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    with joined(""):
        assert get_authentication_mode() == AuthenticationMode.TOKEN
        assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == [], "no token is left in the user's home"
    ray.init(address, log_to_driver=False)  # which asks for no token
    try:
        counted: Any = ray.remote(collections.Counter).remote("aab")  # an actor, since tasks start in either case
        assert ray.get(counted.most_common.remote()) == [("a", 2), ("b", 1)]
    finally:
        ray.shutdown()
