"""The architecture's gradient against plain autograd."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from nas.oneshot import gradients
from nas.oneshot.gradients import first_order, momentum_and_decay, second_order
from nas.oneshot.methods import Architecture, Draw, mixture
from nas.oneshot.supernet import Supernet
from nas.space import CellSpace, Shape
from tests.oneshot.runs import CPU

# Smooth, or the differences of eq. 8 would step across the kinks of so few activations.
SHAPE = Shape(channels=2, cells=3, norm="batch_fixed", activation="silu")
SPACE = CellSpace(("skip_connect", "conv_1x1", "avg_pool_3x3"), 1, SHAPE)
LR = 0.05


class Tiny:
    """A supernet in doubles, with one batch for its weights and another one for its architecture."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.supernet = Supernet(SPACE.ops, SPACE.nodes, SPACE.shape, in_channels=1, outputs=3).double()
        generator = torch.Generator().manual_seed(1)
        self.architecture = Architecture(len(SPACE.ops), SPACE.nodes, generator).double()
        for parameter in self.architecture.parameters():
            nn.init.normal_(parameter)
        self.parameters = list(self.architecture.parameters())
        self.weights = list(self.supernet.parameters())
        self.batches = [(torch.randn(8, 1, 8, 8).double(), torch.randint(3, (8,))) for _ in range(2)]
        self.draw = Draw(self.architecture, SPACE, 1.0, generator, CPU)

    def loss(self, which: int) -> Callable[[], Tensor]:
        images, labels = self.batches[which]
        return lambda: F.cross_entropy(self.supernet(images, mixture(self.draw)), labels)

    def unrolled(self, pull: Callable[[nn.Parameter], Tensor | float]) -> list[Tensor]:
        """The exact gradient of the loss after a step, by differentiating through the step (eq. 7)."""
        names = [name for name, _ in self.supernet.named_parameters()]
        images, labels = self.batches[1]
        slopes = torch.autograd.grad(self.loss(0)(), self.weights, create_graph=True, allow_unused=True)
        stepped = {
            name: weight - LR * ((0 if slope is None else slope) + pull(weight))
            for name, weight, slope in zip(names, self.weights, slopes, strict=True)
        }
        outputs = functional_call(self.supernet, stepped, (images, mixture(self.draw)))
        return list(torch.autograd.grad(F.cross_entropy(outputs, labels), self.parameters))


@pytest.mark.parametrize(("step", "tolerance"), [(gradients.STEP, 0.1), (1e-4, 1e-4)])
def test_the_second_order_is_the_gradient_through_a_step_of_the_weights(
    step: float, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "STEP", step)
    tiny = Tiny()
    before = [weight.detach().clone() for weight in tiny.weights]
    pulls = {weight: 0.1 * torch.randn_like(weight) for weight in tiny.weights}
    exact = tiny.unrolled(lambda weight: pulls[weight])
    found = second_order(
        tiny.parameters, tiny.weights, tiny.loss(1), tiny.loss(0), lr=LR, pull=lambda weight: pulls[weight]
    )
    first = first_order(tiny.parameters, tiny.loss(1))
    for ours, theirs, plain in zip(found, exact, first, strict=True):
        assert (ours - theirs).abs().max() < tolerance * (plain - theirs).abs().max()  # by which the first order is off
    assert all(torch.equal(weight, start) for weight, start in zip(tiny.weights, before, strict=True))


def test_the_first_order_is_the_gradient_for_the_weights_as_they_are() -> None:
    tiny = Tiny()
    found = first_order(tiny.parameters, tiny.loss(1))
    expected = torch.autograd.grad(tiny.loss(1)(), tiny.parameters)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert all(weight.grad is None for weight in tiny.weights)


def test_what_a_loss_does_not_depend_on_has_the_gradient_zero() -> None:
    used, unused = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = first_order([used, unused], lambda: (used * used).sum())
    assert found[0].tolist() == [2, 2]
    assert found[1].tolist() == [0, 0, 0]


def test_momentum_and_decay_are_what_the_optimizer_adds_to_a_gradient() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    weight.grad = torch.tensor([0.5, 0.5])
    optimizer.step()
    pull = momentum_and_decay(optimizer, 0.9)(weight)
    expected = weight.detach() - 0.1 * (torch.tensor([0.3, -0.1]) + pull)
    weight.grad = torch.tensor([0.3, -0.1])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), expected)
    assert momentum_and_decay(torch.optim.SGD([weight], lr=0.1), 0.9)(weight) == 0.0
