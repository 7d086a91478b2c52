from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import nn

from nas.errors import GenotypeError
from nas.model.downsample import DOWNSAMPLES, FactorizedReduce, downsample
from nas.model.ops import OPS, build_op
from nas.model.style import ACTIVATIONS, NORMS, Style
from nas.space import Shape
from nas.space.operations import OPERATIONS
from tests.model.plain import Plain, shaken

SIZES = [(1, 1), (2, 3), (7, 7), (5, 9), (8, 8)]
SHAPES = [
    Shape(),
    *(Shape(activation=name) for name in ("leaky_relu", "elu", "gelu", "silu", "hardswish")),
    *(Shape(norm=name) for name in ("batch_fixed", "group", "none")),
    *(Shape(downsample=name) for name in ("max_pool", "avg_pool", "conv")),
]


def named(shape: Shape) -> str:
    return "-".join(str(value) for value in shape.model_dump(exclude_defaults=True).values()) or "darts"


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_operation_that_has_a_name_can_be_built() -> None:
    assert set(OPS) == set(OPERATIONS)


def test_everything_that_a_shape_can_say_can_be_built() -> None:
    fields = Shape.model_fields
    assert set(ACTIVATIONS) - {"identity"} == set(fields["activation"].annotation.__args__)  # type: ignore[union-attr]
    assert set(NORMS) == set(fields["norm"].annotation.__args__)  # type: ignore[union-attr]
    assert set(DOWNSAMPLES) == set(fields["downsample"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", SHAPES, ids=named)
@pytest.mark.parametrize("name", OPS)
def test_an_operation_is_its_formula(name: str, shape: Shape) -> None:
    for channels, stride in product((1, 4, 6), (1, 2)):
        operation = shaken(build_op(name, channels, stride, Style.of(shape))).double()
        for size in SIZES:
            x = torch.randn(2, channels, *size, dtype=torch.double)
            plain = Plain(shape, operation)
            with torch.no_grad():
                out, expected = operation(x), plain.operation(name, x, stride)
            torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
            plain.done()


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_halving_is_its_formula(shape: Shape) -> None:
    for c_in, c_out in [(4, 4), (6, 4), (3, 5), (4, 1)]:
        for activated in (False, True):
            style = Style.of(shape).without_activation() if activated else Style.of(shape)
            module = shaken(downsample(c_in, c_out, style)).double()
            for size in SIZES:
                x = torch.randn(2, c_in, *size, dtype=torch.double)
                plain = Plain(shape, module)
                with torch.no_grad():
                    out, expected = module(x), plain.halved(x, c_out, activated=activated)
                torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
                plain.done()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", [name for name in OPS if name != "none"])
def test_an_operation_trains_on_maps_of_any_size_in_either_precision(name: str, stride: int) -> None:
    for style, lowered in product((Style(), Style("gelu", "group", "conv"), Style("elu", "none", "avg_pool")), (0, 1)):
        operation = build_op(name, 4, stride, style).train()
        for height, width in [(1, 1), (1, 6), (7, 7), (5, 9)]:
            x = torch.randn(3, 4, height, width).contiguous(memory_format=torch.channels_last).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(lowered)):
                out = operation(x)
            assert out.shape == (3, 4, -(-height // stride), -(-width // stride))
            out.float().square().sum().backward()
            assert x.grad is not None
            assert bool(x.grad.isfinite().all())
            assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in operation.parameters())


SIZES_BY_HAND: dict[
    str, tuple[Callable[[int], int], int]
] = {  # of c channels, without what follows the last convolution: 2c of batch norm, or c of a bias
    "none": (lambda c: 0, 0),
    "max_pool_3x3": (lambda c: 0, 0),
    "avg_pool_3x3": (lambda c: 0, 0),
    "skip_connect": (lambda c: c * c, 1),
    "conv_1x1": (lambda c: c * c, 1),
    "conv_3x3": (lambda c: 9 * c * c, 1),
    "conv_5x5": (lambda c: 25 * c * c, 1),
    "sep_conv_3x3": (lambda c: 2 * (9 * c + c * c), 2),
    "sep_conv_5x5": (lambda c: 2 * (25 * c + c * c), 2),
    "sep_conv_7x7": (lambda c: 2 * (49 * c + c * c), 2),
    "dil_conv_3x3": (lambda c: 9 * c + c * c, 1),
    "dil_conv_5x5": (lambda c: 25 * c + c * c, 1),
    "group_conv_3x3": (lambda c: 9 * c * c // 4 + c * c, 1),
    "group_conv_5x5": (lambda c: 25 * c * c // 4 + c * c, 1),
    "conv_7x1_1x7": (lambda c: 14 * c * c, 1),
}


@pytest.mark.parametrize("name", OPS)
def test_an_operation_has_the_size_that_its_formula_says(name: str) -> None:
    weights, norms = SIZES_BY_HAND[name]
    for channels, (norm, each) in product((8, 12), {"batch": 2, "group": 2, "none": 1, "batch_fixed": 0}.items()):
        style = Style(norm=norm)  # type: ignore[arg-type]
        assert parameters(build_op(name, channels, 2, style)) == weights(channels) + norms * each * channels
    assert parameters(build_op("skip_connect", 8, 1, Style())) == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 8, 12])
def test_groups_are_four_or_the_most_that_divide_the_channels(channels: int) -> None:
    groups = {1: 1, 2: 2, 3: 3, 5: 1, 6: 3, 8: 4, 12: 4}[channels]
    convolution = list(build_op("group_conv_3x3", channels, 1, Style()).children())[1]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.groups == groups


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (2, 1), (4, 2), (6, 3), (7, 1), (8, 4), (16, 8), (48, 8)])
def test_group_norm_has_up_to_eight_groups_of_at_least_two_channels(channels: int, groups: int) -> None:
    module = Style(norm="group").normalise(channels)
    assert isinstance(module, nn.GroupNorm)
    assert module.num_groups == groups
    assert module.train()(torch.randn(1, channels, 1, 1)).shape == (1, channels, 1, 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_leaves_what_it_was_given_alone(name: str) -> None:
    x = torch.linspace(-4, 4, 9)
    Style(activation=name).activate()(x)  # type: ignore[arg-type]
    assert torch.equal(x, torch.linspace(-4, 4, 9))


@pytest.mark.parametrize("stride", [1, 2])
def test_none_gives_zeros_whatever_comes_in(stride: int) -> None:
    images = torch.full((2, 4, 5, 5), float("inf"))
    side = 5 // stride + 5 % stride
    assert torch.equal(build_op("none", 4, stride, Style())(images), torch.zeros(2, 4, side, side))


def test_a_skip_at_stride_1_changes_nothing() -> None:
    images = torch.randn(2, 4, 5, 5)
    assert torch.equal(build_op("skip_connect", 4, 1, Style())(images), images)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 8), (8, 5), (5, 7), (1, 1)])
def test_a_factorized_reduction_looks_at_all_pixels_of_one_diagonal(height: int, width: int) -> None:
    module = FactorizedReduce(1, 2, Style()).eval()
    nn.init.ones_(module.even.weight)
    nn.init.ones_(module.odd.weight)
    images = torch.rand(1, 1, height, width)
    even, odd = module(images)[0] * (1 + 1e-5) ** 0.5  # batch norm's epsilon
    for row, column in product(range(-(-height // 2)), range(-(-width // 2))):
        later = (2 * row + 1, 2 * column + 1)
        inside = later[0] < height and later[1] < width
        torch.testing.assert_close(even[row, column], images[0, 0, 2 * row, 2 * column])
        torch.testing.assert_close(odd[row, column], images[0, 0, later[0], later[1]] if inside else torch.tensor(0.0))


def test_an_operation_that_there_is_not_is_named_beside_those_there_are() -> None:
    with pytest.raises(GenotypeError, match=r"operation: 'conv_9x9' is not possible.*none, max_pool_3x3") as caught:
        build_op("conv_9x9", 4, 1, Style())
    assert (caught.value.field, caught.value.value) == ("operation", "conv_9x9")
