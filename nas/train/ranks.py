"""The part of one of several processes that train a network together, and what they have in common.

Goyal et al. 2017, section 2.3: each process learns from its rows of every batch, and gradients are added up. Here the
sums are those of one process, for every size of a batch: statistics of batch norms are of the whole batch, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Lost(RuntimeError):  # noqa: N818 - named by what has happened
    """The processes do not reach each other: another one has ended, or waits for something else."""


@runtime_checkable
class Work(Protocol):
    """What a group has begun."""

    def wait(self) -> object:
        """Returns when it is done; raises RuntimeError where it cannot be."""
        ...


@runtime_checkable
class Group(Protocol):
    """The processes, as torch.distributed.ProcessGroup has them."""

    def allreduce(self, tensors: list[Tensor], /) -> Work:
        """Adds up each tensor over all processes, in place."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Ranks:
    """One of `world` processes: the one with the number `rank`, from 0. Alone it has all there is, and nothing to do.

    Sums are the same in all processes, bit for bit, so that they stay alike. They raise Lost.
    """

    rank: int = 0
    world: int = 1
    group: Group | None = None

    def rows(self, count: int) -> slice:
        """This process's part of so many rows: in order, and of the same size as the others but for a row."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def share(self, count: int) -> float:
        """The size of that part."""
        return len(range(count)[self.rows(count)]) / count

    def unite(self, network: nn.Module) -> None:
        """Gives the network batch norms that see the whole batch; parameters and names stay as they are."""
        if self.group is None:
            return
        made: dict[nn.Module, nn.Module] = {}  # a layer may be in a network twice
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                    setattr(module, name, made.setdefault(child, UnitedBatchNorm(child, self)))

    def add_up(self, tensor: Tensor) -> None:
        """Adds up a tensor over all processes, in place."""
        if self.group is None:
            return
        try:
            self.group.allreduce([tensor]).wait()
        except RuntimeError as error:  # torch's own word for a closed connection, and for one that says nothing
            raise Lost(f"process {self.rank} of {self.world} does not reach the others: {error}") from error

    @torch.no_grad()
    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Adds up the gradients, in messages of about MESSAGE_BYTES; what has no gradient has none anywhere."""
        if self.group is None:
            return
        for together in _messages([each.grad for each in parameters if each.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in together])
            self.add_up(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in together])
            for gradient, part in zip(together, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def joined(self, mine: Float[Tensor, "m ..."], count: int) -> Float[Tensor, "n ..."]:
        """All `count` rows, of which each process has computed its own."""
        if self.group is None:
            return mine
        whole = mine.new_zeros(count, *mine.shape[1:])
        whole[self.rows(count)] = mine
        self.add_up(whole)
        return whole


ALONE: Final = Ranks()
"""A training in one process."""

MESSAGE_BYTES: Final = 32 * 2**20
"""Gradients are copied into messages of this size: few enough of them, and little memory."""


class UnitedBatchNorm(_BatchNorm):
    """A batch norm over the images of all processes: [N, C, ...] → the same shape.

    Ioffe and Szegedy 2015, algorithms 1 and 2, with means and variances of the parts combined as in Chan et al. 1979.
    On every device; torch's SyncBatchNorm has no kernels for a CPU.
    """

    def __init__(self, norm: _BatchNorm, ranks: Ranks) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)
        self._ranks = ranks

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c ..."]:
        """See the class. In evaluation mode a process is by itself."""
        if not self.training:
            return super().forward(input)
        mean, var, count = self._statistics(input.detach())
        self._track(mean, var, count)
        found: Tensor = _Normalised.apply(input, self.weight, self.bias, mean, var, count, self.eps, self._ranks)  # type: ignore[no-untyped-call]
        return found

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of each channel, and the number of values that they are of."""
        mean, var = torch.batch_norm_update_stats(x.float(), None, None, 0.0)
        count = mean.new_full((1,), x.numel() // x.shape[1])
        own = torch.cat([count, mean, var]).unsqueeze(0)
        counts, means, variances = torch.split(self._gathered(own), [1, len(mean), len(mean)], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        return mean, (counts * (variances + (means - mean).square())).sum(dim=0) / total, total

    def _gathered(self, own: Float[Tensor, "1 k"]) -> Float[Tensor, "world k"]:
        return self._ranks.joined(own, self._ranks.world)

    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        factor = 1 / self.num_batches_tracked.float() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(var * (count / (count - 1)), factor)


class _Normalised(torch.autograd.Function):
    """(x − mean) / √(var + eps) × weight + bias, where mean and variance depend on the x of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
        ranks: Ranks,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps, ctx.ranks = eps, ranks
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Equations of Ioffe and Szegedy 2015, section 3; first with mean and variance as constants."""
        x, weight, mean, var, count = ctx.saved_tensors
        constant, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            given, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([of_bias, of_weight]).float()
        ctx.ranks.add_up(sums)
        through_mean, through_var = (sums / count).chunk(2)
        inverse = (var + ctx.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight.float()
        slope = scale * inverse * through_var
        shape = (1, -1) + (1,) * (x.ndim - 2)
        of_x = constant - (x * slope.view(shape) + (scale * through_mean - slope * mean).view(shape))
        return of_x.to(x.dtype), *((of_weight, of_bias) if weight is not None else (None, None)), *(None,) * 5


def _messages(gradients: Iterable[Tensor]) -> list[list[Tensor]]:
    """Gradients in their order, packed into messages."""
    packed: list[list[Tensor]] = []
    size_bytes = 0
    for gradient in gradients:
        if not packed or size_bytes >= MESSAGE_BYTES:
            packed.append([])
            size_bytes = 0
        packed[-1].append(gradient)
        size_bytes += gradient.nbytes
    return packed
