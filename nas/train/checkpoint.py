"""The state of a training after an epoch, as a safetensors file: tensors and JSON, nothing that could run."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor, nn, optim

_NETWORK, _OPTIMIZER, _NETWORKS = "network.", "optimizer.", "networks."


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """Everything that training needs to go on after `epoch`.

    Random numbers need no state here: the loop derives its generators from the seed and the epoch.

    Attributes:
        epoch: how many epochs are done.
        network: the network's state_dict, as it is trained.
        optimizer: for each parameter, by its place, the optimizer's tensors by name.
        networks: further state_dicts: averages of the weights, and the best epoch's network.
        facts: what is no tensor, as JSON has it: counts of the averages, the watch over the scores, the loss scale.
    """

    epoch: int
    network: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    networks: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def take(
        cls,
        epoch: int,
        network: nn.Module,
        optimizer: optim.Optimizer,
        networks: dict[str, dict[str, Tensor]] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Self:
        """A snapshot that later training steps do not change."""
        state = {
            index: {name: _copy(value) for name, value in values.items() if isinstance(value, Tensor)}
            for index, values in optimizer.state_dict()["state"].items()
        }
        return cls(
            epoch,
            _copies(network.state_dict()),
            state,
            {name: _copies(tensors) for name, tensors in (networks or {}).items()},
            facts or {},
        )

    def restore(self, network: nn.Module, optimizer: optim.Optimizer) -> None:
        """Puts the state back into a network and an optimizer of the same shape; what is trained then is a copy."""
        network.load_state_dict(self.network)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state = {
            index: {
                name: tensor.clone() if name == "step" else put_like(tensor, parameters[index])
                for name, tensor in values.items()
            }
            for index, values in self.optimizer.items()
        }
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})

    def to_bytes(self, tag: str = "") -> bytes:
        """As a safetensors file; `tag` makes the files of two trainings differ that are in the same state."""
        tensors = {_NETWORK + name: tensor for name, tensor in self.network.items()}
        for index, values in self.optimizer.items():
            tensors |= {f"{_OPTIMIZER}{index}.{name}": tensor for name, tensor in values.items()}
        for which, state in self.networks.items():
            tensors |= {f"{_NETWORKS}{which}.{name}": tensor for name, tensor in state.items()}
        header = json.dumps({"epoch": self.epoch, "tag": tag, "facts": self.facts})
        return save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata={"checkpoint": header})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of to_bytes. Raises safetensors.SafetensorError for anything else."""
        tensors = load(content)  # checks the format, header included
        outer: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        if "checkpoint" not in outer.get("__metadata__", {}):
            raise safetensors.SafetensorError("this safetensors file is not a checkpoint")
        header = json.loads(outer["__metadata__"]["checkpoint"])
        found = cls(header["epoch"], {}, {}, {}, header.get("facts", {}))
        for key, tensor in tensors.items():
            if key.startswith(_NETWORK):
                found.network[key.removeprefix(_NETWORK)] = tensor
            elif key.startswith(_OPTIMIZER):
                index, name = key.removeprefix(_OPTIMIZER).split(".", 1)
                found.optimizer.setdefault(int(index), {})[name] = tensor
            else:
                which, name = key.removeprefix(_NETWORKS).split(".", 1)
                found.networks.setdefault(which, {})[name] = tensor
        return found


def put_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A copy where `other` is and laid out like it: sums in another order could differ in the last bit."""
    return torch.empty_like(other, dtype=tensor.dtype).copy_(tensor)


def _copies(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: _copy(tensor) for name, tensor in state.items()}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone()
