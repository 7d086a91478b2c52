"""Candidates an hour with 1, 2, 4, 8 and 16 trained at once on one device, in one process.

python bench/packing.py [--device cuda|cpu] [--at-once 1 2 4 8 16] [--seconds 60] [--channels 16] [--cells 8]

A candidate is a random network of DARTS operations on synthetic 32×32 images, trained for an epoch of --images of them
and validated on a tenth as many. Each row trains for so many seconds, after each lane has had a candidate that does not
count (captures, kernels and libraries are warm then), and counts what it did by images rather than whole candidates, so
that none is cut off. Beside each row: how many times one at a time.
"""

import argparse
import os
import platform
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from nas.data.images import ImageSet, split_images
from nas.errors import Stopped
from nas.space import CellSpace, Shape
from nas.space.operations import DEFAULT_OPERATIONS
from nas.train.recipe import Recipe
from worker.evaluate import choose_device, evaluate

CLASSES: Final = 10


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained: random candidates of a space, an epoch each."""

    space: CellSpace
    data: ImageSet
    recipe: Recipe
    device: torch.device

    def train(self, seed: int, until_s: float) -> float:
        """Trains a candidate until it is done, or the time is over; the share of it that was done."""
        steps = max(1, len(self.data.train) // self.recipe.batch_size)
        asked = [0]

        def should_stop() -> bool:
            asked[0] += 1
            return time.perf_counter() >= until_s

        candidate = self.space.sample(np.random.default_rng(seed))
        try:
            evaluate(
                candidate,
                self.data,
                self.recipe,
                seed=seed,
                device=self.device,
                on_epoch=lambda result, take: True,
                should_stop=should_stop,
            )
        except Stopped:
            return (asked[0] - 1) / steps
        return 1.0


def an_hour(work: Work, lanes: int, seconds: float) -> float:
    """Candidates an hour of so many lanes."""
    ready, counts, failures = threading.Barrier(lanes + 1), [0.0] * lanes, []
    end = [float("inf")]

    def lane(index: int) -> None:
        torch.set_num_threads(1)
        cuda = work.device.type == "cuda" and lanes > 1
        try:
            with torch.cuda.stream(torch.cuda.Stream(work.device)) if cuda else nullcontext():  # type: ignore[no-untyped-call]
                work.train(index, float("inf"))
                ready.wait()
                ready.wait()
                turn = 1
                while time.perf_counter() < end[0]:
                    counts[index] += work.train(index + lanes * turn, end[0])
                    turn += 1
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=lane, args=(index,)) for index in range(lanes)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        began = time.perf_counter()
        end[0] = began + seconds
        ready.wait()
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - began) * 3600


def synthetic(images: int) -> ImageSet:
    """Noise, with labels that nobody can learn: how long a step takes does not depend on either."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images + images // 10 + 10 * CLASSES, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(len(pixels)) % CLASSES
    names = tuple(str(index) for index in range(CLASSES))
    found = split_images(pixels, labels, names, seed=0)
    rest = np.concatenate([found.train, found.validation, found.test])
    return ImageSet(
        pixels, labels, names, rest[:images], rest[images : images + images // 10], rest[images:][-CLASSES:]
    )


def machine(device: torch.device) -> str:
    """Where the figures are from."""
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{what}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=96)
    options = parser.parse_args()
    device = choose_device(options.device)
    shape = Shape(channels=options.channels, cells=options.cells)
    recipe = Recipe(epochs=1, batch_size=options.batch, flip=True, shift=4)
    work = Work(CellSpace(tuple(DEFAULT_OPERATIONS), nodes=4, shape=shape), synthetic(options.images), recipe, device)
    print(machine(device))
    print(f"{options.channels} channels, {options.cells} cells, {options.images} images, batches of {options.batch}")
    print("at once  candidates an hour  times one")
    first: float | None = None
    for lanes in sorted({1, *options.at_once}):
        found = an_hour(work, lanes, options.seconds)
        first = first or found
        held = f"  ({torch.cuda.max_memory_reserved(device) / 1e9:.1f} GB)" if device.type == "cuda" else ""
        print(f"{lanes:7d}  {found:18.0f}  {found / first:9.2f}{held}", flush=True)


if __name__ == "__main__":
    main()
