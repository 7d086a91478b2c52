"""Images a second of one process and of several that train a big network together, in one run.

python bench/ddp.py [--processes 2] [--rounds 4] [--channels 32] [--cells 14] [--batch 128] [--precision auto]

Each way is trained as finalists are, by worker.evaluate: a process for each CUDA device, where there are several, else
for each core of the CPU, with one thread each. A round is an epoch with its validation; the first one, in which kernels
are chosen, does not count, and the best of the others stands in brackets. The losses of the first epoch show that all
ways train the same, up to the rounding of the precision. Below, what batch norms cost that see the whole batch.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from nas.data.images import ImageSet
from nas.space import Candidate, Shape, known
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.parallel import devices_for
from nas.train.ranks import Ranks, UnitedBatchNorm
from nas.train.recipe import Recipe
from worker.evaluate import evaluate


def images(count: int, side: int) -> ImageSet:
    """Random images: speed does not depend on what is in them."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    order = np.arange(count)
    rest = count // 8
    return ImageSet(
        pixels,
        draw.integers(0, 10, count),
        tuple(str(label) for label in range(10)),
        train=order[rest:],
        validation=order[:rest],
        test=order[:1],
    )


def rates(options: argparse.Namespace, device: torch.device, processes: int) -> list[EpochResult]:
    """The epochs of a training by so many processes."""
    found: list[EpochResult] = []

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        found.append(result)
        return True

    data = images(options.images, options.side)
    chosen = {"batch_size": options.batch, "precision": options.precision}
    recipe = Recipe.for_images(data.shape, epochs=options.rounds + 1, images=options.images, **chosen)
    evaluate(
        Candidate(known("DARTS_V2"), Shape(channels=options.channels, cells=options.cells)),
        data,
        recipe,
        seed=0,
        device=device,
        devices=devices_for(device, processes),
        on_epoch=on_epoch,
        should_stop=lambda: False,
    )
    return found


class OneOfOne:
    """A group of a single process: nothing is sent."""

    def allreduce(self, tensors: list[torch.Tensor], /) -> "OneOfOne":
        """Does nothing."""
        return self

    def wait(self) -> None:
        """Does not wait."""


def batch_norms(device: torch.device, batch: int, channels: int, side: int) -> None:
    """Milliseconds of forward and backward, beside torch's own."""
    x = torch.randn(batch, channels, side, side, device=device).to(memory_format=torch.channels_last)
    given = torch.randn_like(x)
    ways = {
        "torch's own": nn.BatchNorm2d(channels).to(device),
        "of all ranks": UnitedBatchNorm(nn.BatchNorm2d(channels).to(device), Ranks(group=OneOfOne())),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(30):
        for name, norm in ways.items():
            leaf = x.clone().requires_grad_()
            began = time.perf_counter()
            norm(leaf).backward(given)
            if device.type == "cuda":
                torch.cuda.synchronize()
            took[name].append(time.perf_counter() - began)
    print(f"batch norm of {batch}×{channels}×{side}×{side}, forward and backward")
    for name, seconds in took.items():
        print(f"  {name:14} {1000 * statistics.median(seconds[5:]):8.3f} ms")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--cells", type=int, default=14)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    cores = len(os.sched_getaffinity(0))
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else f'{cores} cores'}, torch {torch.__version__}")
    trained = options.images - options.images // 8
    base = 0.0
    ways = [(1, 1), (1, options.processes), (options.processes, options.processes)]
    for processes, threads in ways if device.type == "cpu" else ways[1:]:
        torch.set_num_threads(threads)
        found = rates(options, device, processes)
        took = [result.seconds for result in found[1:]]
        rate = trained / statistics.median(took)
        base = base or rate
        print(
            f"  processes {processes}, threads {threads}: {rate:8.1f} ({trained / min(took):.1f}) images/s, "
            f"{rate / base:.2f}×; the first epoch {found[0].seconds:.1f} s, its loss {found[0].train_loss:.6f}"
        )
    torch.set_num_threads(1)
    batch_norms(device, options.batch, options.channels, options.side)


if __name__ == "__main__":
    main()
