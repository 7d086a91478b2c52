"""A training step as one CUDA graph: small networks wait for the launch of their kernels more than for the kernels.

PyTorch manual, "CUDA semantics", section "Whole-network capture".
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor, nn, optim

from nas.model import CellNetwork
from nas.train.recipe import Recipe

log = logging.getLogger(__name__)

Run = Callable[[Tensor, Tensor], Tensor]
"""One whole step, gradients cleared first: (images, targets) → the loss. It reads nothing back from the device."""

WARM_UP_STEPS: Final = 3
"""Steps before the capture, in which libraries choose their kernels and optimizers create their buffers."""

CAPTURING: Final = threading.Lock()
"""Held while a step is recorded: one at a time in a process, and no memory is given back to the device meanwhile.

Other threads train on: what they ask for is neither recorded nor refused (capture_error_mode thread_local)."""

_UNCAPTURED: Final = (optim.Adagrad,)
"""Optimizers that read their count of steps back from the device."""


@runtime_checkable
class Capturer(Protocol):
    """Records what a function does on a device."""

    def aside(self) -> AbstractContextManager[None]:
        """Steps inside run where a capture may follow."""
        ...

    def capture(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """(play it again, what it returned: the same tensor after every play); recording computes nothing."""
        ...


def make_step(
    run: Run,
    *,
    device: torch.device,
    capture: bool,
    capturer: Capturer | None = None,
    generator: torch.Generator | None = None,
) -> "CapturedStep":
    """The step, which becomes a graph after a few calls where `capture` is true and the device is CUDA.

    Args:
        run: the step as plain torch code.
        device: where it runs.
        capture: what the caller wants; False where the step changes from one call to the next by more than its
            tensors (see why_not).
        capturer: for devices other than CUDA.
        generator: on the device, that the step draws from, if it draws at all; None: torch's own.
    """
    if capturer is None and device.type == "cuda":
        capturer = CudaCapturer(device, generator)
    return CapturedStep(run, capturer if capture else None)


def make_capturable(optimizer: optim.Optimizer, device: torch.device) -> None:
    """Keeps learning rates and counts of steps as tensors on the device, where a graph finds what they are by then.

    To be called before a checkpoint is restored. Learning rates have to be set by `fill_` from now on.
    """
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True
        elif isinstance(optimizer, optim.SGD):  # its other implementations read the learning rate back
            group["fused"], group["foreach"] = True, False


def prepare(
    network: nn.Module,
    optimizer: optim.Optimizer,
    recipe: Recipe,
    scaler: torch.amp.GradScaler,
    device: torch.device,
) -> bool:
    """Whether training steps can be captured; if so, the optimizer is made fit for it. The log says why not."""
    if device.type != "cuda":
        return False
    drop_path = network.drop_path if isinstance(network, CellNetwork) else 0.0
    reason = why_not(optimizer, scales=scaler.is_enabled(), accumulate=recipe.accumulate, drop_path=drop_path)
    if reason is not None:
        log.info("training steps are not captured: %s", reason)
        return False
    make_capturable(optimizer, device)
    return True


def why_not(optimizer: optim.Optimizer, *, scales: bool, accumulate: int, drop_path: float) -> str | None:
    """What keeps a training step from being captured, or None.

    Args:
        optimizer: of the training.
        scales: whether a GradScaler is at work.
        accumulate: batches a step.
        drop_path: its final probability.
    """
    reasons: dict[str, bool] = {
        f"{type(optimizer).__name__} reads its count of steps back": isinstance(optimizer, _UNCAPTURED),
        "the scaler of float16 gradients reads back whether they are finite": scales,
        "steps of several batches are not all alike": accumulate > 1,
        "the probability of drop-path changes": drop_path > 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class CapturedStep:
    """Calls (images, targets) → loss: plain while it warms up, then the same work as one graph on buffers of its own.

    The first WARM_UP_STEPS calls train like all others. Batches of another shape than the captured one are trained
    without the graph, and so are all batches after a capture that failed: the log says why.
    """

    def __init__(self, run: Run, capturer: Capturer | None) -> None:
        self._run = run
        self._capturer = capturer
        self._calls = 0
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._loss: Tensor | None = None
        self._play: Callable[[], None] | None = None

    @property
    def captured(self) -> bool:
        """Whether a graph is at work."""
        return self._play is not None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """One step. The loss is the caller's to keep."""
        if self._capturer is None:
            return self._run(images, targets).detach()
        if self._calls < WARM_UP_STEPS:
            self._calls += 1
            with self._capturer.aside():
                return self._run(images, targets).detach()
        if self._play is None:
            self._capture(self._capturer, images, targets)
        if self._play is None or self._inputs is None or self._loss is None or not self._fits(images, targets):
            return self._run(images, targets).detach()
        for buffer, given in zip(self._inputs, (images, targets), strict=True):
            buffer.copy_(given)
        self._play()
        return self._loss.clone()

    def renew(self) -> None:
        """Forgets the graph: the next call captures again. For when something that Python decides has changed."""
        self._inputs = self._loss = self._play = None

    def _capture(self, capturer: Capturer, images: Tensor, targets: Tensor) -> None:
        inputs = images.clone(), targets.clone()
        try:
            self._play, loss = capturer.capture(lambda: self._run(*inputs))
        except RuntimeError as error:  # torch's own word for whatever a stream does not allow while it is recorded
            log.warning("this training step cannot be captured, it runs without a graph: %s", error)
            self._capturer = None
            return
        self._inputs, self._loss = inputs, loss.detach()

    def _fits(self, images: Tensor, targets: Tensor) -> bool:
        """Whether the buffers can take them: a copy that converts or broadcasts would train on something else."""
        return self._inputs is not None and all(
            (buffer.shape, buffer.dtype) == (given.shape, given.dtype)
            for buffer, given in zip(self._inputs, (images, targets), strict=True)
        )


class CudaCapturer:
    """Records on a CUDA device, into memory that belongs to the graph.

    Args:
        device: to record on.
        generator: that every replay draws on from; None: torch's own.
    """

    def __init__(self, device: torch.device, generator: torch.Generator | None = None) -> None:
        self._device = device
        self._generator = generator
        # A stream of the caller's own serves, and has to: torch has 32, and one that two threads were given at once
        # would be recorded with what the other one does. The default stream cannot be recorded.
        current = torch.cuda.current_stream(device)
        own = current != torch.cuda.default_stream(device)
        self._stream = current if own else torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On the stream that will be recorded."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def capture(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """See Capturer. Other threads use the device meanwhile: neither they nor the device are waited for.

        torch.cuda.graph would wait for both, and gives cached memory back. That is done only where there is too little.
        """
        try:
            return self._record(function)
        except torch.OutOfMemoryError:
            with CAPTURING:
                torch.cuda.empty_cache()
            return self._record(function)

    def _record(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        if self._generator is not None:
            graph.register_generator_state(self._generator)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with CAPTURING, torch.cuda.stream(self._stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                loss = function()
            except BaseException:
                with suppress(RuntimeError):  # a recording that broke off cannot be ended well
                    graph.capture_end()
                raise
            graph.capture_end()
        return graph.replay, loss
