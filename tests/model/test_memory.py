"""Networks that once destroyed their process: trained in a process of its own, under glibc's heap checks."""

import subprocess
import sys
from ctypes.util import find_library

import pytest

CODE = """
import torch
from torch import nn
from nas.model import build_network
from nas.space import Candidate, Edge, Cell, Genotype, ResidualNet

torch.set_num_threads(1)
skip = Cell(((Edge("skip_connect", 0), Edge("skip_connect", 1)),), (2,))
for candidate, channels in [(Candidate(ResidualNet(w, 1)), 0) for w in (3, 4, 5, 6)] + [
    (Candidate(Genotype(skip, skip)), channels) for channels in (1, 2, 3)
]:
    network = build_network(candidate, channels=channels, cells=4, in_channels=1, classes=10)
    network.to(memory_format=torch.channels_last)
    for _ in range(5):
        images = torch.randn(96, 1, 8, 8).contiguous(memory_format=torch.channels_last)
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
