"""A worker's stay in a Ray cluster: the one that the settings name, or one of its own; nothing is left of it there."""

import ctypes
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled

from nas.resources import ResourcesSpec

log = logging.getLogger(__name__)

KNOBS: Final[Mapping[str, str]] = {
    # The rows are the only record of a search: Tune keeps none, on no disk.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e12",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Results have no metric before the first epoch.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The worker has signal handlers of its own.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # An actor that does not stop within this time is killed; before the tenth second Tune would wait for it, and idle.
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    # The searcher hands out no more than there is room for; Tune may start all of that at once.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A node's actor stays in the folder that it was started in: plugins and artifacts may be named relative to it.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Without a GPU asked for, none is taken away from what runs anyway.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variables that Ray and Tune read, as they stand while a job is driven."""

REACH_S: Final = 5.0
"""Within this time the head of a cluster has to answer."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class ClusterAway(Exception):  # noqa: N818 - the cluster cannot be joined now: try again later
    """The Ray cluster does not answer, or this machine is not one of it."""


@contextmanager
def joined(address: str, cores: frozenset[int] = frozenset()) -> Iterator[None]:
    """Joins the cluster of that address, or starts one of this machine's CPUs and GPUs for the time being.

    Args:
        address: of the cluster's head; empty: one of its own.
        cores: that this may use; none: those that this thread may use anyway.

    Raises:
        ClusterAway: that is not possible now.
    """
    with (
        _variables(dict(KNOBS) if address else {**KNOBS, **_own()}),
        _own_signals(),
        _on(frozenset() if address else cores),
    ):
        begun = time.monotonic()
        try:
            with _own_signals():
                _join(address)
            log.info("joined %s in %.1f s", address or "a local Ray cluster", time.monotonic() - begun)
            yield
        finally:
            ray.shutdown()


def bundle(resources: ResourcesSpec, devices: int = 1) -> dict[str, float]:
    """What a trial takes of a node, in Ray's names."""
    found = {"CPU": resources.cpus * devices, "GPU": resources.gpus * devices}
    found |= {name: amount * devices for name, amount in resources.custom.items()}
    return {name: amount for name, amount in found.items() if amount}


def widest(resources: ResourcesSpec, devices: int) -> dict[str, float]:
    """What a trial takes that several devices train; of so many as one node of the cluster has."""
    nodes = _nodes().values() if devices > 1 else ()
    for count in range(devices, 1, -1):
        if any(fitting(node, bundle(resources, count)) for node in nodes):
            return bundle(resources, count)
    return bundle(resources)


def room(need: Mapping[str, float]) -> tuple[int, int]:
    """(trials that could run on the cluster were it empty, trials that there is room for now)."""
    alive = _nodes()
    free = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
    return (
        sum(fitting(total, need) for total in alive.values()),
        sum(fitting(free.get(node, {}), need) for node in alive),
    )


def fitting(has: Mapping[str, float], need: Mapping[str, float]) -> int:
    """How many trials of that need a node with these resources can take."""
    return min(int((has.get(name, 0.0) + 1e-6) / amount) for name, amount in need.items())


def _nodes() -> dict[str, dict[str, float]]:
    """Id of a node that is alive → what it has in all."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


def _own() -> dict[str, str]:
    """Variables for a cluster of one's own: nobody else gets in, and its trials are as urgent as any worker's.

    Ray would write a token into the user's home. And it would run what it starts at the lowest priority but four, so
    that on a machine where other workers train as well a trial would hardly come to its turn.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(24), "RAY_worker_niceness": "0"}


def _join(address: str) -> None:
    quiet: dict[str, Any] = {"namespace": "nas", "logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if not address:
            ray.init("local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, **quiet)
            return
        if address != "auto":
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=REACH_S).close()
        ray.init(address, **quiet)
    except OSError as error:  # Ray's ConnectionError too
        raise ClusterAway(f"the Ray cluster {address or 'of this machine'} does not answer ({error})") from error
    except (RuntimeError, ValueError) as error:
        mend = f"this worker has Ray {ray.__version__}, and has to run on a machine of the cluster"
        mend += ": `ray start --address=HOST:PORT --num-cpus=0` makes it one that trains nothing"
        raise ClusterAway(
            f"the Ray cluster {address or 'of this machine'} cannot be joined ({error}); {mend}"
        ) from error


@contextmanager
def _on(cores: frozenset[int]) -> Iterator[None]:
    """Lets this thread, and what is started from it, use those cores; with none, the ones that it may use anyway.

    A worker is kept to a core of its own, but a cluster of its own is to have the machine.
    """
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    _look_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _look_again()


def _look_again() -> None:
    """Has Ray read the variables anew: it keeps how one proves who one is, and clusters differ in that.

    A driver that asks for a token in a cluster that has none loses every actor at its start, "without references".
    """
    # First: where a token is asked for and none is there, a thread of Ray's that is about to end ends the process.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps the process's signal handlers: Ray sets some of its own, in Python and below it, and takes none back."""
    main = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in _SIGNALS}
    libc = ctypes.CDLL(None)
    below = {number: ctypes.create_string_buffer(512) for number in _SIGNALS}
    for number, action in below.items():
        libc.sigaction(number, None, action)
    try:
        yield
    finally:
        for number in _SIGNALS:
            if main and kept[number] is not None:
                signal.signal(number, kept[number])
            libc.sigaction(number, below[number], None)
