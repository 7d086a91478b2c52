import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from nas.train.graphs import WARM_UP_STEPS, CapturedStep, make_capturable, make_step, why_not

CPU = torch.device("cpu")
CAPTURED = WARM_UP_STEPS + 4


class FakeCapturer:
    """Plays by running the function again, which reads the buffers that it was captured with, as a graph does."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.warm_ups = self.captures = self.plays = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        self.warm_ups += 1
        yield

    def capture(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.captures += 1
        if self.failure:
            raise self.failure
        out = torch.full((), float("nan"))  # recording computes nothing

        def replay() -> None:
            self.plays += 1
            out.copy_(function().detach())

        return replay, out


class Training:
    """A small network, its optimizer, and batches."""

    def __init__(self, optimizer: Callable[[list[nn.Parameter]], optim.Optimizer], batches: int) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
        self.optimizer = optimizer(list(self.network.parameters()))
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(batches, 6, 3, 2, 2, generator=generator)
        self.targets = torch.randint(3, (batches, 6), generator=generator)

    def run(self, images: Tensor, targets: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
        self.optimizer.step()
        return loss

    def through(self, step: Callable[[Tensor, Tensor], Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Losses, and what the network is at the end; the learning rate falls from step to step."""
        losses = []
        for index, (images, targets) in enumerate(zip(self.images, self.targets, strict=True)):
            for group in self.optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(0.1 / (1 + index))
                else:
                    group["lr"] = 0.1 / (1 + index)
            losses.append(step(images.clone(), targets.clone()))
        return losses, self.network.state_dict()


def nesterov(parameters: list[nn.Parameter]) -> optim.Optimizer:
    return optim.SGD(parameters, 0.1, 0.9, nesterov=True, weight_decay=0.01)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_captured_training_equals_the_plain_one() -> None:
    plain, captured, capturer = Training(nesterov, CAPTURED), Training(nesterov, CAPTURED), FakeCapturer()
    losses, end = plain.through(lambda images, targets: plain.run(images, targets).detach())
    found, reached = captured.through(make_step(captured.run, device=CPU, capture=True, capturer=capturer))
    assert torch.equal(torch.stack(found), torch.stack(losses))
    assert same(end, reached)
    assert (capturer.warm_ups, capturer.captures, capturer.plays) == (WARM_UP_STEPS, 1, CAPTURED - WARM_UP_STEPS)


def test_losses_are_the_callers_to_keep_and_hold_no_graph_of_gradients() -> None:
    training = Training(nesterov, CAPTURED)
    losses, _ = training.through(make_step(training.run, device=CPU, capture=True, capturer=FakeCapturer()))
    assert len({loss.item() for loss in losses}) == CAPTURED
    assert not any(loss.requires_grad for loss in losses)


@pytest.mark.parametrize("wanted", [True, False])
def test_without_a_device_for_graphs_or_a_wish_for_them_every_step_is_plain(wanted: bool) -> None:
    plain, other = Training(nesterov, CAPTURED), Training(nesterov, CAPTURED)
    step = make_step(other.run, device=CPU, capture=wanted, capturer=None if wanted else FakeCapturer())
    losses, end = plain.through(lambda images, targets: plain.run(images, targets).detach())
    found, reached = other.through(step)
    assert torch.equal(torch.stack(found), torch.stack(losses))
    assert same(end, reached)
    assert not step.captured


def test_a_capture_that_fails_is_said_once_and_no_batch_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    plain, failing = Training(nesterov, CAPTURED), Training(nesterov, CAPTURED)
    capturer = FakeCapturer(RuntimeError("not permitted when stream is capturing"))
    step = make_step(failing.run, device=CPU, capture=True, capturer=capturer)
    _, end = plain.through(plain.run)
    with caplog.at_level(logging.WARNING):
        _, reached = failing.through(step)
    assert same(end, reached)
    assert not step.captured
    assert capturer.captures == 1
    assert [record.getMessage() for record in caplog.records] == [
        "this training step cannot be captured, it runs without a graph: not permitted when stream is capturing"
    ]


def test_a_mistake_in_the_step_itself_is_raised() -> None:
    training = Training(nesterov, CAPTURED)
    step = make_step(training.run, device=CPU, capture=True, capturer=FakeCapturer(KeyError("mistake")))
    with pytest.raises(KeyError, match="mistake"):
        training.through(step)


def test_the_batches_stay_the_callers() -> None:
    training = Training(nesterov, CAPTURED)
    images, targets = training.images.clone(), training.targets.clone()
    step = make_step(training.run, device=CPU, capture=True, capturer=FakeCapturer())
    for batch in zip(training.images, training.targets, strict=True):
        step(*batch)
    assert torch.equal(training.images, images)
    assert torch.equal(training.targets, targets)


def warm(step: CapturedStep, training: Training) -> None:
    for _ in range(WARM_UP_STEPS + 1):
        step(training.images[0], training.targets[0])
    assert step.captured


@pytest.mark.parametrize("change", ["count", "size", "dtype"])
def test_a_batch_that_does_not_fit_the_buffers_is_trained_as_it_is(change: str) -> None:
    """A buffer would take one image for a whole batch, by broadcasting, and any type, by conversion."""
    seen: list[tuple[torch.Size, torch.dtype]] = []

    def run(images: Tensor, targets: Tensor) -> Tensor:
        seen.append((images.shape, targets.dtype))
        return images.sum() + targets.sum()

    capturer = FakeCapturer()
    step = make_step(run, device=CPU, capture=True, capturer=capturer)
    images, targets = torch.ones(4, 1, 2, 2), torch.ones(4)
    for _ in range(WARM_UP_STEPS + 1):
        step(images, targets)
    plays = capturer.plays
    other = {
        "count": (images[:1], targets[:1]),
        "size": (images[..., :1, :1], targets),
        "dtype": (images, targets.double()),
    }
    loss = step(*other[change])
    assert seen[-1] == (other[change][0].shape, other[change][1].dtype)
    assert loss == other[change][0].sum() + other[change][1].sum()
    assert capturer.plays == plays
    step(images, targets)
    assert capturer.plays == plays + 1


def test_after_renewal_the_step_is_captured_again_without_another_warm_up() -> None:
    training, capturer = Training(nesterov, 1), FakeCapturer()
    step = make_step(training.run, device=CPU, capture=True, capturer=capturer)
    warm(step, training)
    step.renew()
    assert not step.captured
    step(training.images[0], training.targets[0])
    assert (capturer.warm_ups, capturer.captures, step.captured) == (WARM_UP_STEPS, 2, True)


@pytest.mark.parametrize("optimizer", [nesterov, lambda parameters: optim.SGD(parameters, 0.1)])
def test_a_capturable_sgd_takes_the_same_steps(optimizer: Callable[[list[nn.Parameter]], optim.Optimizer]) -> None:
    plain, other = Training(optimizer, CAPTURED), Training(optimizer, CAPTURED)
    make_capturable(other.optimizer, CPU)
    # On CUDA every other implementation reads the learning rate back.
    assert [(group["fused"], group["foreach"]) for group in other.optimizer.param_groups] == [(True, False)]
    losses, end = plain.through(plain.run)
    found, reached = other.through(make_step(other.run, device=CPU, capture=True, capturer=FakeCapturer()))
    torch.testing.assert_close(torch.stack(found), torch.stack(losses).detach())
    torch.testing.assert_close(reached, end)


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW, optim.RMSprop])
def test_the_other_optimizers_are_told_to_keep_their_counts_on_the_device(kind: type[optim.Optimizer]) -> None:
    optimizer = kind([nn.Parameter(torch.ones(2))], lr=0.25)  # type: ignore[call-arg]
    make_capturable(optimizer, CPU)
    [group] = optimizer.param_groups
    assert group["capturable"] is True
    assert torch.equal(group["lr"], torch.tensor(0.25))


def test_what_cannot_be_captured_is_named() -> None:
    parameters = [nn.Parameter(torch.ones(2))]
    fine = nesterov(parameters)
    assert why_not(fine, scales=False, accumulate=1, drop_path=0.0) is None
    assert "Adagrad" in str(why_not(optim.Adagrad(parameters), scales=False, accumulate=1, drop_path=0.0))
    assert "float16" in str(why_not(fine, scales=True, accumulate=1, drop_path=0.0))
    assert "several batches" in str(why_not(fine, scales=False, accumulate=2, drop_path=0.0))
    assert "drop-path" in str(why_not(fine, scales=False, accumulate=1, drop_path=0.2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("optimizer", [nesterov, lambda parameters: optim.Adam(parameters, 0.1)])
def test_a_cuda_graph_trains_as_plain_steps_do(optimizer: Callable[[list[nn.Parameter]], optim.Optimizer]) -> None:
    device = torch.device("cuda")
    trainings = [Training(optimizer, CAPTURED) for _ in range(2)]
    for training in trainings:
        training.network.to(device)
        training.images, training.targets = training.images.to(device), training.targets.to(device)
        make_capturable(training.optimizer, device)
    steps = [make_step(training.run, device=device, capture=index == 1) for index, training in enumerate(trainings)]
    (losses, end), (found, reached) = (training.through(step) for training, step in zip(trainings, steps, strict=True))
    assert steps[1].captured
    torch.testing.assert_close(torch.stack(found), torch.stack(losses))
    torch.testing.assert_close(reached, end)
