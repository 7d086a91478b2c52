"""The state of a training after an epoch, as a safetensors file: tensors and JSON, nothing that could run."""

import json
from dataclasses import dataclass
from typing import Any, Self

import safetensors
from safetensors.torch import load, save
from torch import Tensor, nn, optim

_NETWORK, _OPTIMIZER = "network.", "optimizer."


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """Everything that training needs to go on after `epoch`.

    Random numbers need no state here: the loop derives its generator from the seed and the epoch.

    Attributes:
        epoch: how many epochs are done.
        network: the network's state_dict.
        optimizer: for each parameter, by its place, the optimizer's tensors by name.
    """

    epoch: int
    network: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]

    @classmethod
    def take(cls, epoch: int, network: nn.Module, optimizer: optim.Optimizer) -> Self:
        """A snapshot that later training steps do not change."""
        state = {
            index: {name: value.detach().cpu().clone() for name, value in values.items() if isinstance(value, Tensor)}
            for index, values in optimizer.state_dict()["state"].items()
        }
        return cls(
            epoch,
            {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()},
            state,
        )

    def restore(self, network: nn.Module, optimizer: optim.Optimizer) -> None:
        """Puts the state back into a network and an optimizer of the same shape."""
        network.load_state_dict(self.network)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": self.optimizer})

    def to_bytes(self, tag: str = "") -> bytes:
        """As a safetensors file; `tag` makes the files of two trainings differ that are in the same state."""
        tensors = {_NETWORK + name: tensor.contiguous() for name, tensor in self.network.items()}
        for index, values in self.optimizer.items():
            tensors |= {f"{_OPTIMIZER}{index}.{name}": tensor.contiguous() for name, tensor in values.items()}
        return save(tensors, metadata={"checkpoint": json.dumps({"epoch": self.epoch, "tag": tag})})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of to_bytes. Raises safetensors.SafetensorError for anything else."""
        tensors = load(content)  # checks the format, header included
        header: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        if "checkpoint" not in header.get("__metadata__", {}):
            raise safetensors.SafetensorError("this safetensors file is not a checkpoint")
        network: dict[str, Tensor] = {}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith(_NETWORK):
                network[key.removeprefix(_NETWORK)] = tensor
            else:
                index, name = key.removeprefix(_OPTIMIZER).split(".", 1)
                optimizer.setdefault(int(index), {})[name] = tensor
        return cls(json.loads(header["__metadata__"]["checkpoint"])["epoch"], network, optimizer)
