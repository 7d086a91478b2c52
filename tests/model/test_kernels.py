import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from nas.model.kernels import SMALL_MAP, Convolution, Depthwise, Pointwise, _PixelProduct, convolution

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
    assert torch.autograd.gradgradcheck(product, (x, matrices))


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


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_pointwise_convolution_trains_as_torch_does(stride: int, size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    ours = Pointwise(3, 5, stride, bias=bias).train()
    x = torch.randn(4, 3, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
    theirs = nn.Conv2d(3, 5, 1, stride, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    expected_x = x.detach().double().requires_grad_()
    expected = theirs(expected_x)
    upstream = torch.randn_like(expected)
    expected.backward(upstream)
    out = ours(x)
    out.backward(upstream.float())
    pairs = [(out, expected), (x.grad, expected_x.grad)]
    pairs += [(one.grad, other.grad) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True)]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 9)], ids=str)
def test_bfloat16_is_torchs_own(size: tuple[int, int], training: bool) -> None:
    """Under autocast: outputs of that type, gradients of the weights' type, both as near as its eight bits allow."""
    torch.manual_seed(0)
    x = torch.randn(4, 8, *size)
    for ours in (
        Depthwise(8, 5, 2),
        Depthwise(8, 3, 1, 2),
        Pointwise(8, 8, bias=True),
        convolution(8, 8, 1, 2, bias=True),
    ):
        ours.train(training)
        for given in (x.clone(), x.bfloat16()):
            ours.zero_grad()
            given.requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                out = ours(given)
            out.float().square().sum().backward()
            assert out.dtype == torch.bfloat16
            assert given.grad is not None
            assert given.grad.dtype == given.dtype

            exact_x = x.double().requires_grad_()
            exact_weight = ours.weight.detach().double().requires_grad_()
            bias = None if ours.bias is None else ours.bias.detach().double()
            stride = ours.stride
            exact = F.conv2d(exact_x, exact_weight, bias, stride, ours.padding, ours.dilation, ours.groups)
            exact.square().sum().backward()  # type: ignore[no-untyped-call]
            assert exact_x.grad is not None
            assert exact_weight.grad is not None
            assert ours.weight.grad is not None
            assert ours.weight.grad.dtype == torch.float32
            for mine, wanted in [
                (out, exact),
                (given.grad, exact_x.grad),
                (ours.weight.grad, exact_weight.grad),
            ]:
                assert (mine.double() - wanted).abs().max() <= 0.03 * wanted.abs().max()


def test_double_precision_stays_double_under_autocast() -> None:
    module = Depthwise(2, 3).double().train()
    with torch.autocast("cpu", torch.bfloat16):
        assert module(torch.randn(2, 2, 4, 4, dtype=torch.double)).dtype == torch.double


def test_what_autocast_left_behind_does_not_lower_the_precision() -> None:
    module = Depthwise(2, 3, 1, 2).train()
    x = torch.randn(2, 2, 2, 11)  # a size that no other test uses
    with torch.autocast("cpu", torch.bfloat16):
        module(x)
    torch.testing.assert_close(module(x), module.eval()(x), rtol=1e-5, atol=1e-5)


def test_a_network_on_the_meta_device_leaves_nothing_behind() -> None:
    """What the meta device shows has no numbers, and must not be kept for those that follow."""
    module = Depthwise(2, 3, 1, 2).train()
    x = torch.randn(2, 2, 2, 10)  # a size that no other test uses
    with torch.device("meta"):
        assert Depthwise(2, 3, 1, 2).train()(torch.empty(2, 2, 2, 10)).is_meta
        trained = module(x)
    torch.testing.assert_close(trained, module.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_torch_never_sees_a_strided_1x1_convolution(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backward pass destroys the heap on some processors, which no test can count on to show."""
    seen = []

    def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: object, *others: object) -> Tensor:
        seen.append(stride)
        return real(x, weight, bias, stride, *others)  # type: ignore[call-overload, no-any-return]

    real = F.conv2d
    monkeypatch.setattr(F, "conv2d", conv2d)
    x = torch.randn(1, 4, 20, 20)
    for module in (Pointwise(4, 2, 2), Depthwise(4, 1, 2), Convolution(4, 4, 1, 2, groups=2, bias=False)):
        assert module.train(training)(x).shape[2:] == (10, 10)
    assert seen == [(1, 1)] * 3


@pytest.mark.parametrize("size", [(1, 1), (5, 1), (1, 5), (2, 2)], ids=str)
def test_a_convolution_of_stride_two_learns_from_narrow_maps_in_bfloat16(size: tuple[int, int]) -> None:
    """torch 2.13's own gives its weights what was left in memory, where a map is one pixel wide."""
    torch.manual_seed(0)
    for kernel, stride in [((3, 3), (2, 2)), ((1, 7), (1, 2)), ((7, 1), (2, 1))]:
        ours = Convolution(16, 16, kernel, stride, bias=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.randn(4, 16, *size)
        exact = torch.nn.Conv2d(16, 16, kernel, stride, (kernel[0] // 2, kernel[1] // 2)).double()
        exact.load_state_dict(ours.state_dict())
        for _ in range(4):
            left = [torch.full_like(ours.weight, float("nan"), dtype=torch.bfloat16) for _ in range(8)]
            del left
            ours.zero_grad()
            exact.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                out = ours(x.contiguous(memory_format=torch.channels_last))
            out.float().sum().backward()
            exact(x.double()).sum().backward()
            assert ours.weight.grad is not None
            assert exact.weight.grad is not None
            error = (ours.weight.grad.double() - exact.weight.grad).abs().max()
            assert error < 0.03 * exact.weight.grad.abs().max()
