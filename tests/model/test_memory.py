"""Networks that once destroyed their process: trained in a process of its own, under glibc's heap checks."""

import subprocess
import sys
from ctypes.util import find_library

import pytest

CODE = """
import torch
from torch import nn
from nas.model import build_network
from nas.model.ops import OPS
from nas.space import Candidate, Cell, Edge, Genotype, Layer, LayerNet, ResidualNet, Shape

torch.set_num_threads(1)
skip = Cell(((Edge("skip_connect", 0), Edge("skip_connect", 1)),), (2,))
every = Cell((tuple(Edge(op, index % 2) for index, op in enumerate(OPS)),), (2,))
layers = [Layer(kind, width, kernel) for width in (3, 6) for kind, kernel in
          [("conv_down", 1), ("grouped", 1), ("conv_down", 3), ("separable", 1), ("max_pool", 1), ("avg_pool", 3)]]
layers[3:3] = [Layer(kind, 2, 1, parallel=True) for kind in ("separable", "grouped", "conv")]
candidates = [Candidate(ResidualNet(width, 1)) for width in (3, 4, 5, 6)]
candidates += [Candidate(Genotype(skip, skip), Shape(channels=channels)) for channels in (1, 2, 3)]
for downsample in ("factorized", "conv"):
    frame = {"cells": 3, "skeleton": "residual", "merge": "concat", "downsample": downsample}
    candidates.append(Candidate(Genotype(every, every), Shape(channels=3, stem="imagenet", **frame)))
    candidates.append(Candidate(Genotype(every, every), Shape(channels=2, **frame)))
    candidates.append(Candidate(LayerNet(tuple(layers)), Shape(**frame)))
for candidate in candidates:
    network = build_network(candidate, in_channels=1, outputs=10)
    network.to(memory_format=torch.channels_last)
    for side in (8, 8, 12, 12):  # with strided 1×1 convolutions as matrix products and as convolutions
        images = torch.randn(64, 1, side, side).contiguous(memory_format=torch.channels_last)
        network(images).sum().backward()
print("done")
"""


@pytest.mark.parametrize("checked", [False, True])
def test_few_channels_at_stride_two_leave_the_heap_alone(checked: bool) -> None:
    library = find_library("c_malloc_debug") if checked else None
    environment = {"OMP_NUM_THREADS": "1"}
    if library:  # glibc's own; elsewhere the plain run has to do
        environment |= {"LD_PRELOAD": library, "MALLOC_CHECK_": "3"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
