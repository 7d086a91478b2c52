import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nas.model.layout import depthwise, every_second, halves, keep_format

LAST = torch.channels_last


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.double) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(dtype)
    return made.contiguous(memory_format=LAST).requires_grad_()


def gradients(out: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.double).view(out.shape).to(out.dtype)
    return torch.autograd.grad((out * weights).sum(), leaves)


@pytest.mark.parametrize("side", [(8, 8), (7, 6), (4, 5), (5, 9), (1, 4)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_depthwise_convolution_and_its_gradients_are_torchs(
    side: tuple[int, int], stride: int, dilation: int, kernel: int
) -> None:
    x, weight = images(2, 3, *side), images(3, 1, kernel, kernel, seed=1)
    expected = F.conv2d(x, weight, None, stride, dilation * (kernel // 2), dilation, groups=3)
    out = depthwise(x, weight, stride, dilation)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(out, x, weight), gradients(expected, x, weight))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 1, 2), (3, 2, 2), (5, 1, 2), (5, 2, 1)])
def test_under_autocast_a_depthwise_convolution_is_as_good_as_bfloat16_can_be(
    kernel: int, stride: int, dilation: int
) -> None:
    """Torch's own leaves weights' gradients of dilated kernels uncomputed, so that they are compared with float64's."""
    x, weight = images(8, 16, 16, 16, dtype=torch.bfloat16), images(16, 1, kernel, kernel, seed=1, dtype=torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in (x, weight)]
    expected = F.conv2d(exact[0], exact[1], None, stride, dilation * (kernel // 2), dilation, groups=16)
    with torch.autocast("cpu", torch.bfloat16):
        out = depthwise(x, weight, stride, dilation)
    for found, right in zip((out, *gradients(out, x, weight)), (expected, *gradients(expected, *exact)), strict=True):
        assert (found.double() - right).norm() < 0.01 * right.norm()


def test_autocast_leaves_float64_alone() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert depthwise(images(2, 3, 8, 8), images(3, 1, 5, 5), 1, 1).dtype == torch.double


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 1, 1), (5, 1, 2), (5, 2, 2)])
def test_kernels_that_bfloat16_is_slow_for_are_trained_in_float32(kernel: int, stride: int, dilation: int) -> None:
    """With images and gradients that bfloat16 has exactly, the weights' gradient is as exact as float32."""
    x, weight = images(8, 16, 16, 16, dtype=torch.bfloat16), images(16, 1, kernel, kernel, seed=1, dtype=torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in (x, weight)]
    expected = F.conv2d(exact[0], exact[1], None, stride, dilation * (kernel // 2), dilation, groups=16)
    with torch.autocast("cpu", torch.bfloat16):
        out = depthwise(x, weight, stride, dilation)
    assert out.dtype == torch.bfloat16
    signs = images(*out.shape, seed=2).detach().sign()
    [found] = torch.autograd.grad(out, weight, signs.bfloat16())
    [right] = torch.autograd.grad(expected, exact[1], signs)
    assert (found - right).norm() < 1e-5 * right.norm()


@pytest.mark.parametrize("side", [(6, 6), (5, 6), (3, 7)])
def test_halves_are_every_second_pixel_with_a_zero_behind_an_odd_side(side: tuple[int, int]) -> None:
    x = images(2, 3, *side)
    padded = torch.zeros(2, 3, side[0] + side[0] % 2, side[1] + side[1] % 2, dtype=torch.double)
    padded[:, :, : side[0], : side[1]] = x.detach()
    even, odd = halves(x)
    assert torch.equal(even, padded[:, :, ::2, ::2])
    assert torch.equal(odd, padded[:, :, 1::2, 1::2])
    with torch.no_grad():
        assert all(torch.equal(one, other) for one, other in zip(halves(x), (even, odd), strict=True))


@pytest.mark.parametrize("function", [keep_format, every_second, lambda x: torch.cat(halves(x), dim=1)])
@pytest.mark.parametrize("side", [(4, 6), (3, 5)])
def test_first_and_second_derivatives_are_right(function, side: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    x = images(1, 2, *side)
    assert torch.autograd.gradcheck(lambda x: function(x).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: function(x).square(), x)


@pytest.mark.parametrize("function", [keep_format, every_second, lambda x: sum(halves(x))])
@pytest.mark.parametrize("memory_format", [LAST, torch.contiguous_format])
def test_gradients_have_the_memory_format_of_their_images(function, memory_format: torch.memory_format) -> None:  # type: ignore[no-untyped-def]
    """Here they come from a concatenation, as slices of a larger map, and would stay that."""
    x = images(2, 3, 8, 8).detach().contiguous(memory_format=memory_format).requires_grad_()
    arrived: list[Tensor] = []
    through = x * 1
    through.register_hook(arrived.append)  # type: ignore[no-untyped-call]
    out = function(through)
    (torch.cat([out, torch.ones_like(out)], dim=1) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    assert arrived[0].is_contiguous(memory_format=memory_format)


def test_nothing_is_wrapped_where_no_gradient_will_come_back() -> None:
    x = images(2, 3, 8, 8)
    with torch.no_grad():
        assert keep_format(x) is x
        assert all(part.data_ptr() in range(x.data_ptr(), x.data_ptr() + 8 * x.numel()) for part in halves(x))
    assert keep_format(x.detach()).grad_fn is None
