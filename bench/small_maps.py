"""Training steps of convolutions on small maps: ours (matrix products) beside torch's, in one run.

python bench/small_maps.py [--threads 1] [--batch 96]

Prints a row a shape and one for whole networks. State the machine with the figures.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from nas.model import build_network, kernels
from nas.space import CellSpace, Shape
from nas.space.operations import DEFAULT_OPERATIONS

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=96)
options = parser.parse_args()
torch.set_num_threads(options.threads)


def step_ms(module: nn.Module, images: Tensor, repeats: int) -> float:
    """Median milliseconds of a forward and a backward pass."""
    taken = []
    for _ in range(repeats + 3):
        began = time.perf_counter()
        module(images).sum().backward()
        taken.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken[3:])


def with_torchs(measure: Callable[[], float]) -> float:
    """The measurement with torch's own convolution on maps of every size."""
    ours = kernels._trains_on_cpu
    kernels._trains_on_cpu = lambda *_: False
    try:
        return measure()
    finally:
        kernels._trains_on_cpu = ours


print(f"torch {torch.__version__}, {options.threads} thread, batch {options.batch}, forward + backward, median ms")
print(f"{'layer':34} {'torch':>8} {'ours':>8} {'ratio':>6}")
for channels, side in ((8, 8), (16, 4), (32, 2)):
    for kernel, dilation, stride in ((3, 1, 1), (5, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2)):
        layer = kernels.Depthwise(channels, kernel, stride, dilation).to(memory_format=torch.channels_last)
        images = torch.randn(options.batch, channels, side, side).contiguous(memory_format=torch.channels_last)
        images.requires_grad_()
        theirs, ours = with_torchs(lambda: step_ms(layer, images, 60)), step_ms(layer, images, 60)  # noqa: B023
        name = f"{channels} channels {side}×{side}, {kernel}×{kernel} d{dilation} s{stride}"
        print(f"{name:34} {theirs:8.2f} {ours:8.2f} {theirs / ours:6.1f}")

for c_in, channels, side in ((64, 16, 4), (16, 16, 4), (32, 32, 2)):
    layer = kernels.Pointwise(c_in, channels).to(memory_format=torch.channels_last)
    images = torch.randn(options.batch, c_in, side, side).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    theirs, ours = with_torchs(lambda: step_ms(layer, images, 60)), step_ms(layer, images, 60)  # noqa: B023
    print(f"{f'1×1, {c_in} → {channels} channels {side}×{side}':34} {theirs:8.2f} {ours:8.2f} {theirs / ours:6.1f}")

space = CellSpace(DEFAULT_OPERATIONS, nodes=4, shape=Shape(channels=8, cells=4))
rng = np.random.default_rng(0)
images = torch.randn(options.batch, 1, 8, 8).contiguous(memory_format=torch.channels_last)
all_theirs, all_ours = [], []
for _ in range(8):
    network = build_network(space.sample(rng), in_channels=1, outputs=10)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    all_theirs.append(with_torchs(lambda: step_ms(network, images, 10)))  # noqa: B023
    all_ours.append(step_ms(network, images, 10))
a, b = statistics.mean(all_theirs), statistics.mean(all_ours)
print(f"{'8 random networks on 8×8 images':34} {a:8.1f} {b:8.1f} {a / b:6.2f}")
print(f"images a second: torch {1e3 * options.batch / a:.0f}, ours {1e3 * options.batch / b:.0f}")
