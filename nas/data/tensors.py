"""A data set on the training device, and its augmentation as batched tensor operations there."""

import threading
from dataclasses import dataclass
from typing import Self
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from nas.data.images import ImageSet

_HELD: WeakKeyDictionary[ImageSet, WeakValueDictionary[tuple[str, torch.device], "Batchable"]] = WeakKeyDictionary()
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Batchable:
    """Part of a data set as two tensors on one device.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: by the task, classes int64 [N], several labels uint8 [N, K] of 0 and 1, or targets float32 [N, T].
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"] | UInt8[Tensor, "n k"] | Float32[Tensor, "n k"]

    @classmethod
    def of(cls, data: ImageSet, split: str, device: torch.device) -> Self:
        """The split `train`, `validation` or `test` of a data set: the same tensors for all who have it at the time.

        Nobody may change them.
        """
        with _LOCK:
            held = _HELD.setdefault(data, WeakValueDictionary())
            found = held.get((split, device))
            if found is None:
                indices = getattr(data, split)
                found = held[split, device] = cls(
                    torch.from_numpy(data.images[indices]).to(device),
                    torch.from_numpy(data.labels[indices]).to(device),
                )
        if device.type == "cuda":  # their memory is not to be used again before this stream has read them, too
            for tensor in (found.images, found.labels):
                tensor.record_stream(torch.cuda.current_stream(device))
        return found  # type: ignore[return-value]  # there is one class

    def __len__(self) -> int:
        return len(self.labels)


class Normalise(nn.Module):
    """uint8 [N, C, H, W] → float32 with mean 0 and deviation 1 a channel, by statistics of the training split."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, " c"], std: Float[Tensor, " c"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    @classmethod
    def of(cls, images: UInt8[Tensor, "n c h w"]) -> Self:
        """Measures the statistics, by counting values: exact on every device. A constant channel is divided by 1."""
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(dim=1)])
        shares = counts.cpu().double() / counts.sum(dim=1, keepdim=True).cpu()
        values = torch.arange(256, dtype=torch.float64)
        mean = shares @ values
        std = (shares * (values - mean.unsqueeze(1)) ** 2).sum(dim=1).sqrt()
        return cls(mean.float(), torch.where(std > 0, std, 1.0).float())

    def forward(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """See the class."""
        return (images.float() - self.mean) / self.std


class Denormalise(nn.Module):
    """Outputs of a regression network → targets in their own units, float32 [N, T].

    The network learns each target with mean 0 and deviation 1 over the training split.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, " t"], std: Float[Tensor, " t"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def of(cls, targets: Float32[Tensor, "n t"]) -> Self:
        """Measures the statistics of the training split's targets. A constant target has deviation 1."""
        exact = targets.cpu().double()
        std = torch.where((exact != exact[0]).any(dim=0), exact.std(dim=0, correction=0), 1.0)
        return cls(exact.mean(dim=0).float(), std.float())

    def standardise(self, targets: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
        """Targets → what the network has to put out."""
        return (targets - self.mean) / self.std

    def forward(self, outputs: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
        """The inverse of standardise."""
        return outputs * self.std + self.mean


def random_shift(images: Float[Tensor, "n c h w"], pixels: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Pads by zeros and crops back at a random place, another one for each image (He et al. 2016, section 4.2).

    Args:
        images: normalised images, so that the padding is the mean of the data.
        pixels: the furthest shift in each direction.
        generator: on the CPU, so that one seed gives one sequence on every device.
    """
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * pixels + 1, (2, count), generator=generator).to(images.device)
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)
    columns = offsets[1, :, None] + torch.arange(width, device=images.device)
    padded = F.pad(images, (pixels, pixels, pixels, pixels)).permute(0, 2, 3, 1)
    image = torch.arange(count, device=images.device)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
