"""What a network takes when it runs, measured: time and memory. Its size and work are in nas.space.cost."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WARMUP_S: Final = 0.1
"""Warm-up runs end after so long, and those that count after MEASURE_S; there is one of each, however long it takes."""

MEASURE_S: Final = 0.4

MB: Final = 10**6
"""Bytes of a megabyte, here and in every name that ends in `_mb`."""


def latency_ms(
    network: nn.Module,
    *,
    image: tuple[int, int, int],
    batch_size: int,
    device: torch.device,
    warmup: int = 3,
    runs: int = 30,
) -> float:
    """Median wall clock, in milliseconds, of a forward pass on one batch, in eval mode and without gradients.

    Every run begins on an idle device and ends when its output is there, so that it includes the time to launch the
    kernels. The measurement takes half a second, or two runs of a network of which one takes longer than that.

    Args:
        network: is moved to the device; its modules are back in their modes afterwards.
        image: (channels, height, width).
        batch_size: images at once.
        device: where to run.
        warmup: runs that do not count, at most; the first ones choose kernels and fill caches.
        runs: runs that count, at most.
    """
    with _inference(network, image, batch_size, device) as (x, forward):

        def run_s() -> float:
            _synchronise(device)
            start = perf_counter()
            forward(x)
            _synchronise(device)
            return perf_counter() - start

        _repeat(run_s, warmup, WARMUP_S)
        return median(_repeat(run_s, runs, MEASURE_S)) * 1000


def peak_memory_mb(network: nn.Module, *, image: tuple[int, int, int], batch_size: int, device: torch.device) -> float:
    """The most memory, in 10^6 bytes, that is alive at one moment of a forward pass in eval mode without gradients.

    That is the weights and buffers, the input, and what has been computed and is still in use. On a CUDA device torch's
    allocator says how much was computed: with the scratch space of the kernels, in blocks of 512 bytes, after a first
    pass that sets the libraries up. On other devices it is the sum of the tensors' storages, the same number every
    time; what a kernel takes for itself does not show there. The meta device gives that number without computing, for a
    network that was built on it.

    Args:
        network: is moved to the device; its modules are back in their modes afterwards.
        image: (channels, height, width).
        batch_size: images at once.
        device: where to run.
    """
    with _inference(network, image, batch_size, device) as (x, forward):
        given = [*network.parameters(), *network.buffers(), x]
        storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in given}
        if device.type == "cuda":
            forward(x)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            forward(x)
            computed = torch.cuda.max_memory_allocated(device) - before
        else:
            with _Computed(storages) as tracked:
                forward(x)
            computed = tracked.peak_bytes
        return (sum(storages.values()) + computed) / MB


class _Computed(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own has no types
    """Follows the storages that operations make, from the first tensor in one to the death of the last."""

    def __init__(self, given: Mapping[int, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._given = given
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # the same for a tensor and its views
        if key in self._given or key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        weakref.finalize(storage, self._alive.pop, key).atexit = False
        self.peak_bytes = max(self.peak_bytes, sum(self._alive.values()))


@contextmanager
def _inference(
    network: nn.Module, image: tuple[int, int, int], batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """A batch to run the network on, and the network as it runs on its users' machines."""
    modes = [(module, module.training) for module in network.modules()]
    network.to(device).eval()
    # Not zeros, which some kernels skip and all compute with less power; and no random numbers, which others count on.
    x = torch.linspace(-1, 1, batch_size * image[0] * image[1] * image[2], device=device).view(batch_size, *image)
    try:
        with torch.no_grad():
            yield x, network
    finally:
        for module, training in modes:
            module.training = training


def _repeat(run_s: Callable[[], float], runs: int, limit_s: float) -> list[float]:
    """The times of so many runs, or of as many as begin within the limit; one at least."""
    times = [run_s()]
    while len(times) < runs and sum(times) < limit_s:
        times.append(run_s())
    return times


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
