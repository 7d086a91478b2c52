from itertools import product

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from nas.model.ops import OPS, SMALL_MAP, Depthwise, FactorizedReduce, _PixelProduct
from nas.space.operations import OPERATIONS


def test_every_operation_that_has_a_name_can_be_built() -> None:
    assert set(OPS) == set(OPERATIONS)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPS)
def test_an_operation_keeps_the_size_or_halves_it_rounded_up(name: str, stride: int, training: bool) -> None:
    operation = OPS[name](4, stride).train(training)
    for height, width in [(side, other) for side in range(1, 10) for other in (side, 10 - side)]:
        out = operation(torch.randn(2, 4, height, width))
        assert out.shape == (2, 4, -(-height // stride), -(-width // stride))
        assert bool(out.isfinite().all())


@pytest.mark.parametrize("stride", [1, 2])
def test_none_gives_zeros_whatever_comes_in(stride: int) -> None:
    images = torch.full((2, 4, 5, 5), float("inf"))
    assert torch.equal(
        OPS["none"](4, stride)(images), torch.zeros(2, 4, 5 // stride + 5 % stride, 5 // stride + 5 % stride)
    )


def test_a_skip_at_stride_1_changes_nothing() -> None:
    images = torch.randn(2, 4, 5, 5)
    assert torch.equal(OPS["skip_connect"](4, 1)(images), images)


@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_leaves_the_padding_out(stride: int) -> None:
    ones = torch.ones(1, 2, 5, 4)
    assert bool((OPS["avg_pool_3x3"](2, stride)(ones) == 1).all())
    assert bool((OPS["max_pool_3x3"](2, stride)(-ones) == -1).all())


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 8), (8, 5), (5, 7), (1, 1)])
def test_a_factorized_reduction_looks_at_all_pixels_of_one_diagonal(height: int, width: int) -> None:
    module = FactorizedReduce(1, 2).eval()
    nn.init.ones_(module.even.weight)
    nn.init.ones_(module.odd.weight)
    images = torch.rand(1, 1, height, width)
    even, odd = module(images)[0] * (1 + 1e-5) ** 0.5  # batch norm's epsilon
    for row, column in product(range(-(-height // 2)), range(-(-width // 2))):
        later = (2 * row + 1, 2 * column + 1)
        inside = later[0] < height and later[1] < width
        torch.testing.assert_close(even[row, column], images[0, 0, 2 * row, 2 * column])
        torch.testing.assert_close(odd[row, column], images[0, 0, later[0], later[1]] if inside else torch.tensor(0.0))


MAPS = [(1, 1), (1, 5), (2, 3), (4, 4), (7, 5), (8, 8), (3, 21), (9, 9)]


@pytest.mark.parametrize("size", MAPS, ids=str)
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_trains_as_torch_does(
    kernel: int, dilation: int, stride: int, size: tuple[int, int]
) -> None:
    """Maps on both sides of the size up to which it works by matrix products; torch computes in double precision."""
    generator = torch.Generator().manual_seed(kernel)
    ours = Depthwise(3, kernel, stride, dilation).train()
    x = torch.randn(4, 3, *size, generator=generator)
    weight = ours.weight.detach().double().requires_grad_()
    expected_x = x.double().requires_grad_()
    expected = F.conv2d(expected_x, weight, None, stride, dilation * (kernel // 2), dilation, groups=3)
    upstream = torch.randn(expected.shape, generator=generator)
    expected.backward(upstream.double())  # type: ignore[no-untyped-call]

    for memory in (torch.contiguous_format, torch.channels_last):
        ours.zero_grad()
        given = x.clone(memory_format=memory).requires_grad_()
        out = ours(given)
        out.backward(upstream)
        assert given.grad is not None
        assert ours.weight.grad is not None
        torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(given.grad, expected_x.grad, rtol=1e-5, atol=1e-5, check_dtype=False)
        torch.testing.assert_close(ours.weight.grad, weight.grad, rtol=1e-5, atol=1e-4, check_dtype=False)


def test_maps_on_both_sides_of_the_limit_are_tried() -> None:
    pixels = [height * width for height, width in MAPS]
    assert SMALL_MAP in pixels
    assert max(pixels) > SMALL_MAP > min(pixels)


@pytest.mark.parametrize("size", [(8, 8), (9, 9)], ids=str)
def test_a_depthwise_convolution_gives_the_same_in_training_and_in_evaluation(size: tuple[int, int]) -> None:
    module = Depthwise(3, 5, 2, 1)
    x = torch.randn(4, 3, *size)
    torch.testing.assert_close(module.train()(x), module.eval()(x), rtol=1e-5, atol=1e-5)


def test_a_sum_of_its_output_has_the_gradient_that_torch_gives() -> None:
    """The gradient of a sum is one number shown at every place, which no matrix product takes as it is."""
    module = Depthwise(2, 3, 1, 1).train()
    module(torch.ones(3, 2, 4, 4)).sum().backward()
    # Each of the 3 images adds, for each place of the kernel, the pixels that it covers: 4 or, at the border, 3 a side.
    covered = torch.tensor([3.0, 4.0, 3.0])
    assert module.weight.grad is not None
    torch.testing.assert_close(module.weight.grad, (3 * torch.outer(covered, covered)).expand(2, 1, 3, 3))


def test_a_frozen_depthwise_convolution_passes_gradients_on() -> None:
    module = Depthwise(2, 3, 1, 1).train().requires_grad_(False)
    x = torch.randn(3, 2, 4, 4, requires_grad=True)
    module(x).square().sum().backward()
    assert module.weight.grad is None
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize("stride", [1, 2])
def test_the_matrix_product_has_the_gradients_that_finite_differences_show(stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 3, 4, dtype=torch.double, generator=generator, requires_grad=True)
    outputs = -(-3 // stride) * -(-4 // stride)
    matrices = torch.randn(3, 12, outputs, dtype=torch.double, generator=generator, requires_grad=True)

    def product(a: Tensor, b: Tensor) -> Tensor:
        result: Tensor = _PixelProduct.apply(a, b, stride)  # type: ignore[no-untyped-call]
        return result

    assert torch.autograd.gradcheck(product, (x, matrices))


def test_a_depthwise_convolution_trains_in_double_precision_too() -> None:
    module = Depthwise(2, 3, 1, 1).double().train()
    x = torch.randn(3, 2, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))


def test_a_depthwise_convolution_trains_after_it_was_looked_at_in_inference_mode() -> None:
    module = Depthwise(2, 3, 1, 1).train()
    images = torch.randn(3, 2, 2, 13)  # a size that no other test uses
    with torch.inference_mode():
        module(images)
    module(images).sum().backward()
    assert module.weight.grad is not None
