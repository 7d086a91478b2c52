"""A cell of a supernet: all operations on all edges."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.blocks import ReLUConvBN
from nas.model.downsample import downsample
from nas.model.layout import keep_format
from nas.model.ops import build_op
from nas.model.style import Style
from nas.oneshot.mixing import CellMix, edge_places
from nas.space.genotype import INPUTS

POOLS: Final = ("max_pool_3x3", "avg_pool_3x3")
"""Operations without a norm of their own, which get one here, as in the published DARTS."""


class MixedCell(nn.Module):
    """Two feature maps in, the concatenation of all nodes out; a node adds up what its edges give.

    What has no weights of its own is computed once for all edges from a node: the activation in front of the
    convolutions, poolings with their norms, identities.

    Args:
        ops: names of operations; `none` is computed by leaving it out.
        nodes: computed nodes.
        c_prev_prev, c_prev: channels of the two inputs.
        channels: channels of every node.
        reduction: whether operations on the inputs have stride 2.
        after_reduction: whether the first input has twice the resolution of the second.
        style: with a norm that has no scale and offset, or an operation could hide its weight in them.
        share: see Supernet.
        residual: whether the second input is added to the output, as in nas.model.cell.CellModule.
    """

    def __init__(
        self,
        ops: Sequence[str],
        nodes: int,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        *,
        reduction: bool,
        after_reduction: bool,
        style: Style,
        share: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.pre0 = (downsample if after_reduction else ReLUConvBN)(c_prev_prev, channels, style)
        self.pre1 = ReLUConvBN(c_prev, channels, style)
        self.activation = style.activate()
        self.share = max(number for number in range(1, share + 1) if channels % number == 0)
        self.reduction = reduction
        self.nodes = nodes
        self.out_channels = channels * nodes
        self.shortcut = _shortcut(c_prev, self.out_channels, style, reduction=reduction) if residual else None
        self.ops = nn.ModuleDict()
        self.activated: set[str] = set()
        # For each edge and operation its name in `ops`; None of `none`.
        self.names: list[list[str | None]] = []
        for node, source in edge_places(nodes):
            stride = 2 if reduction and source < INPUTS else 1
            self.names.append([self._add(name, node, source, channels // self.share, stride, style) for name in ops])

    def forward(
        self, s0: Float[Tensor, "n c0 h0 w0"], s1: Float[Tensor, "n c1 h1 w1"], mix: CellMix
    ) -> Float[Tensor, "n c_out h w"]:
        """See the class.

        Args:
            s0, s1: outputs of the last cell but one and of the last.
            mix: how to mix.
        """
        sources = [_Source(self, self.pre0(s0), self.reduction), _Source(self, self.pre1(s1), self.reduction)]
        first = 0
        for node in range(INPUTS, INPUTS + self.nodes):
            sources.append(_Source(self, self._node(sources, range(first, first + node), mix), halved=False))
            first += node
        out = torch.cat([keep_format(source.x) for source in sources[INPUTS:]], dim=1)
        return out if self.shortcut is None else out + self.shortcut(s1)

    def used(self, mix: CellMix) -> list[nn.Module]:
        """The modules that a mixing computes."""
        names = {self.names[edge][op] for edge, ops in enumerate(mix.active) for op in ops}
        found: list[nn.Module] = [self.pre0, self.pre1, *([] if self.shortcut is None else [self.shortcut])]
        return found + [self.ops[name] for name in sorted(name for name in names if name is not None)]

    def _node(self, sources: "Sequence[_Source]", edges: range, mix: CellMix) -> Float[Tensor, "n c h w"]:
        terms, places, there = [], [], []
        for source, edge in zip(sources, edges, strict=True):
            names = self.names[edge]
            if mix.active[edge]:
                there.append((source, edge))
            for op in mix.active[edge]:
                name = names[op]
                if name is not None:
                    terms.append(source.through(name))
                    places.append(edge * len(names) + op)
        zeros = sources[0].zeros
        mixed = weighted_sum(terms, _pick(mix.weights.flatten(), places)) if terms else zeros()
        if self.share == 1:
            return mixed
        around = [source.around() for source, _ in there]
        past = weighted_sum(around, _pick(mix.bypass, [edge for _, edge in there])) if there else zeros(self.share - 1)
        return shuffle(torch.cat([keep_format(mixed), keep_format(past)], dim=1), self.share)

    def _add(self, op: str, node: int, source: int, channels: int, stride: int, style: Style) -> str | None:
        """Builds an operation, unless it is there already for another node; its name."""
        if op == "none":
            return None
        pure = op in POOLS or (op == "skip_connect" and stride == 1)
        name = f"{op}_from_{source}" if pure else f"{op}_from_{source}_to_{node}"
        if name in self.ops:
            return name
        operation = build_op(op, channels, stride, style)
        if op in POOLS:
            operation = nn.Sequential(operation, style.normalise(channels))
        if _without_activation(operation, type(self.activation)):
            self.activated.add(name)
        self.ops[name] = operation
        return name


class _Source:
    """A node of a cell as its edges see it: what several of them need is computed once."""

    def __init__(self, cell: MixedCell, x: Float[Tensor, "n c h w"], halved: bool) -> None:
        self.cell, self.x, self.halved = cell, x, halved
        self._known: dict[str, Tensor] = {}

    def through(self, name: str) -> Float[Tensor, "n d h2 w2"]:
        """What goes through the operation of that name."""
        return self._once(
            name, lambda: self.cell.ops[name](self._active() if name in self.cell.activated else self._part())
        )

    def around(self) -> Float[Tensor, "n e h2 w2"]:
        """The channels that go round the operations, pooled where those have stride 2."""

        def rest() -> Tensor:
            kept = keep_format(self.x)[:, self.x.shape[1] // self.cell.share :]
            return nn.functional.max_pool2d(kept, 2, 2, ceil_mode=True) if self.halved else kept

        return self._once("around", rest)

    def zeros(self, shares: int = 1) -> Float[Tensor, "n d h2 w2"]:
        """Zeros for `shares` times as many channels as an operation has."""
        n, c, h, w = self.x.shape
        step = 2 if self.halved else 1
        return self.x.new_zeros(n, shares * c // self.cell.share, -(-h // step), -(-w // step))

    def _part(self) -> Tensor:
        if self.cell.share == 1:
            return self.x
        channels = self.x.shape[1] // self.cell.share
        last = torch.channels_last
        return self._once("part", lambda: keep_format(self.x)[:, :channels].contiguous(memory_format=last))

    def _active(self) -> Tensor:
        return self._once("active", lambda: self.cell.activation(self._part()))

    def _once(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        if name not in self._known:
            self._known[name] = compute()
        return self._known[name]


def weighted_sum(
    terms: Sequence[Float[Tensor, "n c h w"]], weights: Float[Tensor, " terms"]
) -> Float[Tensor, "n c h w"]:
    """Adds the terms, each times its weight."""
    if terms[0].device.type == "cpu":
        mixed: Tensor = _WeightedSum.apply(weights, *terms)  # type: ignore[no-untyped-call]
        return mixed
    # One product of matrices, and no number has to come back from the device before the next step can begin.
    stacked = torch.stack([term.permute(0, 2, 3, 1) for term in terms])
    product: Tensor = weights.to(stacked.dtype) @ stacked.flatten(1)
    return product.view(stacked.shape[1:]).permute(0, 3, 1, 2)


class _WeightedSum(torch.autograd.Function):
    """Adds term after term to one map that stays in the cache, which takes a third of the stacked product's time."""

    @staticmethod
    def forward(ctx: Any, weights: Float[Tensor, " terms"], *terms: Float[Tensor, "n c h w"]) -> Tensor:
        ctx.save_for_backward(weights, *terms)
        first, *others = weights.tolist()
        mixed: Tensor = terms[0] * first
        for weight, term in zip(others, terms[1:], strict=True):
            mixed.add_(term, alpha=weight)
        return mixed

    @staticmethod
    def backward(ctx: Any, grad: Float[Tensor, "n c h w"]) -> tuple[Tensor | None, ...]:
        weights, *terms = ctx.saved_tensors
        of_weights, *of_terms = ctx.needs_input_grad
        found = torch.stack([(grad * term).sum() for term in terms]).to(weights.dtype) if of_weights else None
        factors = weights.unbind()
        return found, *((grad * factors[i] if wanted else None) for i, wanted in enumerate(of_terms))


def shuffle(x: Float[Tensor, "n c h w"], groups: int) -> Float[Tensor, "n c h w"]:
    """The first channel of each group, then the second of each, …: so all go through the operations by and by.

    Zhang et al. 2018 (ShuffleNet), section 3.1.
    """
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h, w, groups, c // groups)
    return pixels.transpose(3, 4).reshape(n, h, w, c).permute(0, 3, 1, 2)


def _pick(values: Float[Tensor, " k"], places: list[int]) -> Float[Tensor, " j"]:
    return values if places == list(range(len(values))) else values[torch.tensor(places, device=values.device)]


def _without_activation(operation: nn.Module, activation: type[nn.Module]) -> bool:
    """Takes the activation off that an operation begins with; whether there was one."""
    while isinstance(operation, nn.Sequential) and len(operation):
        if type(operation[0]) is activation:
            operation[0] = nn.Identity()
            return True
        operation = operation[0]
    return False


def _shortcut(c_in: int, c_out: int, style: Style, *, reduction: bool) -> nn.Module:
    if reduction:
        return downsample(c_in, c_out, style)
    return nn.Identity() if c_in == c_out else ReLUConvBN(c_in, c_out, style)
