"""How many trials a cluster has room for, as far as Ray can tell, and what each of them takes."""

import logging
import time
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError

from nas.spec import JobSpec
from nas.store.claims import Claim
from worker.cluster.joining import bundle, room, widest
from worker.cluster.trainable import prepared
from worker.measuring import Measured, Wanted, measure
from worker.orders import TOGETHER

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the cluster is looked at."""

BEAT_S: Final = 1.0
"""How often a trial tells that it is alive; of many trials each does less often, so that one driver can hear them."""

HEARD_PER_S: Final = 100
"""Trials that a driver hears a second."""

MEASURE_S: Final = 60.0
"""How long a measurement waits for a place on the cluster; then it takes none of its own."""


class Slots:
    """What there is room for.

    Args:
        spec: of the job.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._bundle = bundle(spec.resources)
        wanted = {objective.metric for objective in spec.objectives}
        limits = spec.limits
        self._measures = bool(
            wanted & {"latency_ms", "memory_mb"}
            or limits.max_latency_ms is not None
            or limits.max_memory_mb is not None
        )
        self._all = self._free = 0
        self._looked_at = 0.0
        self._actor: Any = None
        self._said_at = 0.0

    @property
    def any(self) -> bool:
        """Whether some node could run a trial, were it empty."""
        return self._all > 0

    def used(self, actor: Any) -> None:
        """Notes the actor that took the last trial."""
        self._actor = actor

    def take_one(self, begun: int, running: int) -> bool:
        """Whether another trial may be taken.

        One is taken ahead, so that a node has its next trial at once; but where trials run one at a time nothing is:
        each proposal is to know the result of the last one. Nor where proposals are measured, on a free node.

        Args:
            begun: trials that were taken and have not ended.
            running: those of them that an actor has.
        """
        moment = time.monotonic()
        if moment - self._looked_at >= LOOK_S:
            self._all, self._free = room(self._bundle)
            self._looked_at = moment
        if not self._all and moment - self._said_at > MEASURE_S:
            self._said_at = moment
            log.warning("no node of the cluster has %s; add one, or ask for less in `resources`", self._bundle)
        if not begun:
            return self._all > 0
        idle = self._actor is not None and begun == running < self._all  # Tune keeps the actor that was free last
        slots = min(self._all, running + max(self._free, int(idle)))  # what was free may have been taken since
        # Ray's schedulers that let trials wait have others run meanwhile, on a single slot too.
        waits = self._spec.scheduler is not None and self._spec.scheduler.method != "asha"
        return begun < slots + ((slots > 1 or waits) and not self._measures)

    def need(self, claim: Claim) -> dict[str, float]:
        """What a trial takes of its node."""
        resources = self._spec.resources
        if claim.alone and 0 < resources.gpus < 1:  # it had no memory left beside others
            resources = resources.model_copy(update={"gpus": 1.0})
        return widest(resources, self._spec.final.devices if claim.phase in TOGETHER else 1)

    def beat_s(self, trials: int) -> float:
        """How often each of so many trials has to tell of itself."""
        return max(BEAT_S, trials / HEARD_PER_S)

    def measure(self, wanted: Wanted) -> Measured:
        """What a candidate takes where it would be trained: on the actor that is free, or in a place of its own."""
        if self._actor is not None:
            try:
                return _got(self._actor.measure.remote(wanted))
            except RayError as error:
                log.info("an actor that was to measure is gone (%s)", type(error).__name__)
                self._actor = None
        remote = ray.remote(_measured)
        cpus, gpus = self._bundle["CPU"], self._bundle.get("GPU", 0.0)
        custom = {name: amount for name, amount in self._bundle.items() if name not in ("CPU", "GPU")}
        found = remote.options(num_cpus=cpus, num_gpus=gpus, resources=custom).remote(wanted, self._bundle)
        try:
            return _got(found)
        except GetTimeoutError:
            ray.cancel(found, force=True)
            log.warning("no node was free to measure on for %.0f s; it is done beside what runs", MEASURE_S)
            return _got(remote.options(num_cpus=0).remote(wanted, self._bundle))


def _measured(wanted: Wanted, need: dict[str, float]) -> Measured:
    return measure(wanted, prepared(need))


def _got(reference: Any) -> Measured:
    found = ray.get(reference, timeout=MEASURE_S)
    assert isinstance(found, Measured)  # noqa: S101 - what was asked for
    return found
