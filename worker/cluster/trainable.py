"""What runs on the nodes of a cluster: an actor of Ray Tune that carries one order out after the other."""

import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import ray
import torch
from ray.tune import Trainable
from safetensors.torch import load
from torch import Tensor

import nas.log
from nas import plugins
from nas.data.images import ImageSet
from nas.errors import ArtifactsAway, DiskFull, Diverged, Stopped
from nas.result.package import network_of
from nas.store.artifacts import ArtifactStore
from nas.train.checkpoint import Checkpoint
from worker.cluster.groups import Place
from worker.cluster.population import CHECKPOINT_FILE, EPOCH, SCORE
from worker.cluster.ride import Ride
from worker.context import is_full
from worker.ending import free_memory, is_out_of_memory
from worker.measuring import Measured, Wanted, measure
from worker.orders import Machine, Order, Outcome
from worker.phases import PARTS

NEWS, ORDER, NEED, DRIVE, BEAT_S = "news", "order", "need", "drive", "beat_s"
"""What results and configurations of Tune's trials hold, beside Ray's own entries."""

STOP_S: Final = 3.0
"""How long an actor that has to go waits for its training; then its process ends with it."""

RESET_S: Final = 60.0
"""How long an actor waits for its last training before the next one; it ends at its next batch."""


class FailedOnNode(Exception):  # noqa: N818 - it says where, not what
    """What a trial raised on a node, with its traceback as text: the class itself may not be known elsewhere."""


class DivergedOnNode(Diverged):
    """Diverged, as it comes from a node."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)


@dataclass(frozen=True, slots=True)
class Kit:
    """What all nodes have to know.

    Attributes:
        artifacts_url: of the artifact store that they share with the driver.
        plugins: modules to import.
        log, log_format: of their own logs.
    """

    artifacts_url: str
    plugins: tuple[str, ...]
    log: str
    log_format: str


class Node(Trainable):
    """Carries orders out, of which its configurations hold one each; see worker.cluster.ride."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Place:
        """What the trial of a configuration takes, on one node."""
        return Place(dict(config[NEED]), config[DRIVE])

    def setup(self, config: dict[str, Any], kit: Kit, data: ImageSet) -> None:  # type: ignore[override]  # by Tune
        """See Trainable; the images are the node's one copy, which nothing can write to."""
        nas.log.setup(kit.log, kit.log_format)
        # torch says so once of every tensor that is made of them; nothing here writes to images
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        plugins.use(*kit.plugins)
        here = prepared(config[NEED])
        self._data, self._device = data, here
        self._artifacts = ArtifactStore(kit.artifacts_url)
        self._sources: dict[str, Mapping[str, Tensor]] = {}
        self._node = ray.get_runtime_context().get_node_id()
        self._place = f"{here}@{ray.util.get_node_ip_address()}"  # type: ignore[no-untyped-call]  # Ray's
        self._ride = self._begin(config[ORDER])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """See Trainable: ends what there was and takes the next order; False if that does not end."""
        if not self._ride.stop(RESET_S):
            return False
        self._ride = self._begin(new_config[ORDER])
        return True

    def step(self) -> dict[str, Any]:
        """See Trainable: what there is to tell, after `beat_s` seconds at the latest."""
        self._ride.start(self._carry_out, self._failed)
        news = self._ride.news(self.config[BEAT_S])
        result: dict[str, Any] = {NEWS: news, "done": news.ended}
        if news.last is not None:
            result |= {EPOCH: news.last.epoch, SCORE: news.last.validation_accuracy}
        return result

    def get_auto_filled_metrics(self, *args: Any, **more: Any) -> dict[str, Any]:
        """See Trainable. Without the configuration, which is large and known to the driver.

        A result has to be small: Ray keeps a large one on the node, and Tune fails where that dies before it was read.
        """
        found: dict[str, Any] = super().get_auto_filled_metrics(*args, **more)
        return {name: value for name, value in found.items() if name != "config"}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """See Trainable. For Ray's schedulers, which save a trial while it waits for them."""
        if self._ride.content:
            (Path(checkpoint_dir) / CHECKPOINT_FILE).write_bytes(self._ride.content)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See Trainable. The trial goes on from there."""
        path = Path(checkpoint) / CHECKPOINT_FILE
        if path.exists():
            content, order = path.read_bytes(), self._ride.order
            claim = replace(order.claim, epoch=Checkpoint.from_bytes(content).epoch)
            self._ride = self._begin(replace(order, claim=claim, resume=self._artifacts.put(content).sha256))

    def cleanup(self) -> None:
        """See Trainable. The process ends soon after, and the training with it."""
        self._ride.stop(STOP_S)

    def measure(self, wanted: Wanted) -> Measured:
        """Measures a candidate, between two trials."""
        return measure(wanted, self._device)

    def _begin(self, order: Order) -> Ride:
        return Ride(order, self._artifacts, node=self._node, place=self._place)

    def _carry_out(self, ride: Ride) -> Outcome:
        machine = Machine(
            data=self._data,
            artifacts=self._artifacts,
            device=self._device,
            source=self._source,
            on_epoch=ride.on_epoch,
            should_stop=ride.should_stop,
        )
        return PARTS[ride.order.claim.phase].carry_out(ride.order, machine)

    def _failed(self, error: Exception) -> Exception:
        """What can travel of what a trial raised, and means the same to worker.ending; its memory is given back."""
        made = portable(error)
        free_memory(self._device, error)
        return made

    def _source(self, sha256: str) -> Mapping[str, Tensor]:
        if sha256 not in self._sources:
            self._sources = {sha256: network_of(load(self._artifacts.get(sha256)))}
        return self._sources[sha256]


def prepared(need: Mapping[str, float]) -> torch.device:
    """The device of a process that was given so much of a node, which is made ready for it."""
    torch.set_num_threads(max(1, int(need["CPU"])))
    return torch.device("cuda" if need.get("GPU") and torch.cuda.is_available() else "cpu")


def portable(error: Exception) -> Exception:
    """An error that can be sent anywhere, of the kind by which worker.ending knows what to do."""
    text = str(error)
    match error:
        case Stopped() | ArtifactsAway() | DiskFull():
            return type(error)(text)
        case Diverged():
            return DivergedOnNode(text)
        case _ if is_out_of_memory(error):
            return MemoryError(text or "there is not enough memory")
        case _ if is_full(error):
            return DiskFull(text)
        case _:
            return FailedOnNode("".join(traceback.format_exception(error)).strip())
