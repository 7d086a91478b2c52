"""Networks once more, as functions: every layer is a formula, written in the plainest way, on weights taken in order.

Nothing of nas.model is called. A `Plain` walks through the convolutions, norms and linear layers of one of its modules
in the order in which they were made, checks that each has the shape that the formula asks for, and uses its numbers.
"""

import math
from collections.abc import Iterable
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from nas.space import Cell, Genotype, Layer, LayerNet, Shape

LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.Linear)


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in evaluation mode with random numbers in all its layers: 0 and 1 would hide mistakes.

    They let what they see come through to the end; after torch's own initialisation all images look alike there.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith((".weight", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.ndim == 1:
            tensor.normal_(0, 0.3, generator=generator)
    return network.eval()


def ceil_half(side: int, stride: int) -> int:
    return -(-side // stride)


class Plain:
    def __init__(self, shape: Shape, *modules: nn.Module | Iterable[nn.Module]) -> None:
        self.shape = shape
        whole = nn.ModuleList(modules)  # type: ignore[arg-type]
        self.layers = iter([module for module in whole.modules() if isinstance(module, LAYERS)])

    def done(self) -> None:
        assert next(self.layers, None) is None

    def conv(
        self,
        x: Tensor,
        c_out: int,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        before_norm: bool = True,
        padded: bool = True,
    ) -> Tensor:
        layer = next(self.layers)
        assert isinstance(layer, nn.Conv2d)
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        assert layer.weight.shape == (c_out, x.shape[1] // groups, kh, kw)
        assert (layer.bias is not None) == (before_norm and self.shape.norm == "none")
        padding = (dilation * (kh // 2), dilation * (kw // 2)) if padded else 0
        return F.conv2d(x, layer.weight, layer.bias, stride, padding, dilation, groups)

    def norm(self, x: Tensor) -> Tensor:
        if self.shape.norm == "none":
            return x
        layer = next(self.layers)
        channels = x.shape[1]

        def of_channel(values: Tensor | None, default: float) -> Tensor:
            given = torch.full((channels,), default, dtype=x.dtype) if values is None else values
            return given.view(1, channels, 1, 1)

        if self.shape.norm == "group":
            assert isinstance(layer, nn.GroupNorm)
            fitting = [g for g in range(1, 9) if channels % g == 0 and channels // g >= 2]
            groups = x.reshape(x.shape[0], max(fitting, default=1), -1)
            centred = groups - groups.mean(dim=2, keepdim=True)
            scaled = centred / (centred.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()
            return scaled.view_as(x) * of_channel(layer.weight, 1) + of_channel(layer.bias, 0)
        assert isinstance(layer, nn.BatchNorm2d)
        assert (layer.weight is None) == (self.shape.norm == "batch_fixed")
        assert layer.weight is None or len(layer.weight) == channels
        scaled = (x - of_channel(layer.running_mean, 0)) / (of_channel(layer.running_var, 1) + 1e-5).sqrt()
        return scaled * of_channel(layer.weight, 1) + of_channel(layer.bias, 0)

    def act(self, x: Tensor) -> Tensor:
        match self.shape.activation:
            case "relu":
                return x.clamp(min=0)
            case "leaky_relu":
                return torch.where(x > 0, x, 0.01 * x)
            case "elu":
                return torch.where(x > 0, x, x.clamp(max=0).exp() - 1)
            case "gelu":
                return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
            case "silu":
                return x / (1 + (-x).exp())
            case "hardswish":
                return x * (x + 3).clamp(0, 6) / 6

    def pool(self, kind: str, x: Tensor, stride: int, kernel: int = 3) -> Tensor:
        """Window after window, over the pixels that there are."""
        height, width = x.shape[2:]
        reach = kernel // 2
        out = x.new_empty(*x.shape[:2], ceil_half(height, stride), ceil_half(width, stride))
        for i, j in product(range(out.shape[2]), range(out.shape[3])):
            rows = slice(max(0, i * stride - reach), i * stride + reach + 1)
            columns = slice(max(0, j * stride - reach), j * stride + reach + 1)
            window = x[:, :, rows, columns].flatten(2)
            out[:, :, i, j] = window.amax(2) if kind == "max" else window.mean(2)
        return out

    def separable(self, x: Tensor, kernel: int, stride: int, dilation: int = 1) -> Tensor:
        channels = x.shape[1]
        x = self.conv(self.act(x), channels, kernel, stride, dilation=dilation, groups=channels, before_norm=False)
        return self.norm(self.conv(x, channels, 1))

    def halved(self, x: Tensor, c_out: int, *, activated: bool = False) -> Tensor:
        def act(value: Tensor) -> Tensor:
            return value if activated else self.act(value)

        match self.shape.downsample:
            case "factorized":
                x = act(x)
                n, c, h, w = x.shape
                even = x.new_zeros(n, c, h + h % 2, w + w % 2)
                even[:, :, :h, :w] = x
                parts = [self.conv(even, c_out // 2, 1, 2)] if c_out > 1 else []
                parts.append(self.conv(even[:, :, 1:, 1:], c_out - c_out // 2, 1, 2))
                return self.norm(torch.cat(parts, dim=1))
            case "conv":
                return self.norm(self.conv(act(x), c_out, 3, 2))
            case "max_pool" | "avg_pool":
                pooled = self.pool(self.shape.downsample[:3], x, 2)
                return pooled if c_out == x.shape[1] else self.norm(self.conv(act(pooled), c_out, 1))

    def operation(self, name: str, x: Tensor, stride: int) -> Tensor:
        channels = x.shape[1]
        match name.split("_"):
            case ["none"]:
                return torch.zeros_like(x[:, :, ::stride, ::stride])
            case ["skip", "connect"]:
                return x if stride == 1 else self.halved(x, channels)
            case [("max" | "avg") as kind, "pool", "3x3"]:
                return self.pool(kind, x, stride)
            case ["sep", "conv", kernel]:
                return self.separable(self.separable(x, int(kernel[0]), stride), int(kernel[0]), 1)
            case ["dil", "conv", kernel]:
                return self.separable(x, int(kernel[0]), stride, dilation=2)
            case ["group", "conv", kernel]:
                return self.norm(self.conv(self.grouped(self.act(x), int(kernel[0]), stride), channels, 1))
            case ["conv", "7x1", "1x7"]:
                x = self.conv(self.act(x), channels, (1, 7), (1, stride), before_norm=False)
                return self.norm(self.conv(x, channels, (7, 1), (stride, 1)))
            case ["conv", kernel]:
                return self.norm(self.conv(self.act(x), channels, int(kernel[0]), stride))
        raise AssertionError(name)

    def grouped(self, x: Tensor, kernel: int, stride: int) -> Tensor:
        channels = x.shape[1]
        groups = 4 if channels % 4 == 0 else 3 if channels % 3 == 0 else 2 if channels % 2 == 0 else 1
        return self.conv(x, channels, kernel, stride, groups=groups, before_norm=False)

    def linear(self, x: Tensor) -> Tensor:
        layer = next(self.layers)
        assert isinstance(layer, nn.Linear)
        return x @ layer.weight.T + layer.bias


def layout(shape: Shape) -> list[bool]:
    """By hand: which cells of the network reduce."""
    kinds = [index in (shape.cells // 3, 2 * shape.cells // 3) for index in range(shape.cells)]
    return kinds + [False] * shape.tail if shape.tail >= 0 else kinds[: shape.tail] or kinds[:1]


def cell(module: nn.Module, graph: Cell, shape: Shape, s0: Tensor, s1: Tensor, width: int, kind: str) -> Tensor:
    """`kind` has an r in it for a reduction, and an a after one."""
    parts = dict(module.named_children())
    inputs = Plain(shape, parts["pre0"], parts["pre1"])
    first = inputs.halved(s0, width) if "a" in kind else inputs.norm(inputs.conv(inputs.act(s0), width, 1))
    states = [first, inputs.norm(inputs.conv(inputs.act(s1), width, 1))]
    inputs.done()
    operations, merges = Plain(shape, parts["nodes"]), Plain(shape, parts["merges"])
    weights = [p for name, p in parts["merges"].named_parameters() if shape.merge == "weighted"]
    for node, edges in enumerate(graph.nodes):
        terms = [
            operations.operation(edge.op, states[edge.source], 2 if "r" in kind and edge.source < 2 else 1)
            for edge in edges
        ]
        match shape.merge:
            case "weighted":
                terms = [weights[node][index] * term for index, term in enumerate(terms)]
            case "concat" if len(terms) > 1:
                terms = [merges.norm(merges.conv(torch.cat(terms, dim=1), width, 1))]
        states.append(torch.stack(terms).sum(dim=0))
    operations.done()
    merges.done()
    out = torch.cat([states[index] for index in graph.concat], dim=1)
    if shape.skeleton == "residual":
        around = Plain(shape, parts["shortcut"])
        if "r" in kind:
            out = out + around.halved(s1, out.shape[1])
        else:
            out = out + (s1 if s1.shape == out.shape else around.norm(around.conv(around.act(s1), out.shape[1], 1)))
        around.done()
    return out


def cell_network(network: nn.Module, genotype: Genotype, shape: Shape, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits, and those of the auxiliary head, in evaluation mode."""
    parts = dict(network.named_children())
    stem = Plain(shape, parts["stem"])
    width = shape.channels
    if shape.stem == "cifar":
        s0 = s1 = stem.norm(stem.conv(x, 3 * width, 3))
    else:
        x = stem.act(stem.norm(stem.conv(x, max(1, width // 2), 3, 2)))
        s0 = stem.norm(stem.conv(x, width, 3, 2))
        s1 = stem.norm(stem.conv(stem.act(s0), width, 3, 2))
    stem.done()
    after, seen = shape.stem == "imagenet", None
    modules = list(parts["cells"].children())
    assert len(modules) == len(layout(shape))
    for index, (module, reduction) in enumerate(zip(modules, layout(shape), strict=True)):
        width = 2 * width if reduction else width
        graph = genotype.reduce if reduction else genotype.normal
        s0, s1 = s1, cell(module, graph, shape, s0, s1, width, "r" * reduction + "a" * after)
        after = reduction
        if index == min(2 * shape.cells // 3, len(modules) - 1):
            seen = s1
    classifier = Plain(shape, parts["classifier"])
    head = auxiliary(Plain(shape, parts["auxiliary_head"]), seen) if shape.auxiliary and seen is not None else None
    return classifier.linear(s1.mean(dim=(2, 3))), head


def auxiliary(plain: Plain, x: Tensor) -> Tensor:
    x = plain.act(x)
    for dim in (2, 3):
        side = x.shape[dim]
        window = max(1, int(side * 5 / 8 + 0.625))
        first, last = (x.narrow(dim, start, window).mean(dim, keepdim=True) for start in (0, side - window))
        x = torch.cat([first, last], dim)
    x = plain.act(plain.norm(plain.conv(x, 128, 1)))
    x = plain.conv(x, 768, 2, padded=False)
    x = plain.act(plain.norm(x) if plain.shape.stem == "cifar" else x)
    x = plain.linear(x.flatten(1))
    plain.done()
    return x


def layer_network(network: nn.Module, layers: LayerNet, shape: Shape, x: Tensor) -> Tensor:
    parts = dict(network.named_children())
    for module, group in zip(parts["groups"].children(), layers.groups(), strict=True):
        stride = 2 if group[0].kind in ("conv_down", "max_pool", "avg_pool") else 1
        inner = dict(module.named_children())
        plain = Plain(shape, inner["layers"])
        out = torch.cat([layer_output(plain, layer, x, stride) for layer in group], dim=1)
        plain.done()
        if shape.skeleton == "residual":
            around, c_out = Plain(shape, inner["shortcut"]), out.shape[1]
            if stride == 2:
                out = out + around.halved(x, c_out, activated=True)
            else:
                out = out + (x if x.shape == out.shape else around.norm(around.conv(x, c_out, 1)))
            around.done()
        x = plain.act(out)
    return Plain(shape, parts["classifier"]).linear(x.mean(dim=(2, 3)))


def layer_output(plain: Plain, layer: Layer, x: Tensor, stride: int) -> Tensor:
    channels = x.shape[1]
    match layer.kind:
        case "conv" | "conv_down":
            x = plain.conv(x, layer.width, layer.kernel, stride)
        case "dilated":
            x = plain.conv(x, layer.width, layer.kernel, stride, dilation=2)
        case "separable":
            x = plain.conv(x, channels, layer.kernel, stride, groups=channels, before_norm=False)
            x = plain.conv(x, layer.width, 1)
        case "grouped":
            x = plain.conv(plain.grouped(x, layer.kernel, stride), layer.width, 1)
        case "max_pool" | "avg_pool":
            x = plain.pool(layer.kind[:3], plain.conv(x, layer.width, 1), stride, layer.kernel)
    return plain.norm(x)
