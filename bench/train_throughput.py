"""Training speed: our networks and precisions beside the plainest float32 loop of the same network, in one run.

python bench/train_throughput.py [--threads 2] [--rounds 7] [--quick] [--compile] [--accuracy SEEDS]

A row a way of training, images a second by the median round (best round in brackets); the rounds of all ways take
turns, so that a busy machine slows all of them. The first steps, with whatever is built in them, are counted apart.
--compile adds the operations compiled once by torch.compile, on a first and on a second network. --accuracy trains on
scikit-learn's digits instead, with so many seeds.
"""

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn, optim

from nas.model import blocks, build_network, downsample
from nas.space import Candidate, Cell, CellSpace, Genotype, Shape, is_reduction, known
from nas.space.operations import DEFAULT_OPERATIONS
from nas.train.graphs import make_capturable, make_step
from nas.train.precision import autocast

BATCH, SIDE, CLASSES = 64, 32, 10
Step = Callable[[Tensor, Tensor], Tensor]


class Plain(nn.Module):
    """A network of cells as one would write it down: contiguous images, torch's own layers and nothing else."""

    def __init__(self, genotype: Genotype, shape: Shape, c_in: int) -> None:
        super().__init__()
        older = old = 3 * shape.channels
        width, halved = shape.channels, False
        self.stem = nn.Sequential(nn.Conv2d(c_in, old, 3, 1, 1, bias=False), nn.BatchNorm2d(old))
        self.cells = nn.ModuleList()
        for reduction in is_reduction(shape):
            width = 2 * width if reduction else width
            cell = genotype.reduce if reduction else genotype.normal
            self.cells.append(PlainCell(cell, older, old, width, reduction, halved))
            older, old, halved = old, width * len(cell.concat), reduction
        self.classifier = nn.Linear(old, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, CLASSES]."""
        older = old = self.stem(x)
        for cell in self.cells:
            older, old = old, cell(older, old)
        out: Tensor = self.classifier(old.mean((2, 3)))
        return out


class PlainCell(nn.Module):
    """One cell."""

    def __init__(self, cell: Cell, older: int, old: int, channels: int, reduction: bool, halved: bool) -> None:
        super().__init__()
        self.cell = cell
        self.older = PlainReduce(older, channels) if halved else plain_conv(older, channels, 1)
        self.old = plain_conv(old, channels, 1)
        self.operations = nn.ModuleList(
            plain_op(edge.op, channels, 2 if reduction and edge.source < 2 else 1)
            for edges in cell.nodes
            for edge in edges
        )

    def forward(self, older: Tensor, old: Tensor) -> Tensor:
        """Two maps in, one out."""
        states, operations = [self.older(older), self.old(old)], iter(self.operations)
        for edges in self.cell.nodes:
            terms = [next(operations)(states[edge.source]) for edge in edges]
            states.append(sum(terms[1:], terms[0]))
        return torch.cat([states[index] for index in self.cell.concat], 1)


class PlainReduce(nn.Module):
    """Halves even sides."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(c_in, c_out - c_out // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """One map in, one out."""
        x = F.relu(x)
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))
        return out


def plain_conv(c_in: int, c_out: int, kernel: int) -> nn.Module:
    """ReLU, convolution, batch norm."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, kernel, 1, kernel // 2, bias=False), nn.BatchNorm2d(c_out))


def plain_op(name: str, channels: int, stride: int) -> nn.Module:
    """An operation of the default space by its name."""

    def round_of(kernel: int, stride: int, dilation: int) -> nn.Module:
        depthwise = nn.Conv2d(
            channels, channels, kernel, stride, dilation * (kernel // 2), dilation, groups=channels, bias=False
        )
        return nn.Sequential(nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), norm())

    def norm() -> nn.Module:
        return nn.BatchNorm2d(channels)

    kernel = int(name[-1]) if name[-1].isdigit() else 0
    match name.rsplit("_", 1)[0]:
        case "skip":
            return nn.Identity() if stride == 1 else PlainReduce(channels, channels)
        case "max_pool":
            return nn.MaxPool2d(kernel, stride, 1)
        case "avg_pool":
            return nn.AvgPool2d(kernel, stride, 1, count_include_pad=False)
        case "sep_conv":
            return nn.Sequential(round_of(kernel, stride, 1), round_of(kernel, 1, 1))
        case "dil_conv":
            return round_of(kernel, stride, 2)
    raise ValueError(f"{name} is not in the default space")


def training(network: nn.Module, device: torch.device, *, precision: str, graph: bool = False) -> Step:
    """A step of SGD with Nesterov momentum, weight decay and clipping."""
    parameters = list(network.to(device).train().parameters())
    optimizer = optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    if graph:
        make_capturable(optimizer, device)

    def step(images: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad()
        with autocast(precision, device):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        return loss

    return make_step(step, device=device, capture=graph)


def ours(candidate: Candidate, c_in: int) -> nn.Module:
    """The network of the project, in the memory format that it is trained in."""
    network = build_network(candidate, in_channels=c_in, outputs=CLASSES)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def candidates() -> dict[str, Candidate]:
    """The networks to measure."""
    space = CellSpace(DEFAULT_OPERATIONS, nodes=4, shape=Shape(channels=8, cells=5))
    return {
        "DARTS_V2, 16 channels, 8 cells": Candidate(known("DARTS_V2"), Shape(channels=16, cells=8)),
        "random, 8 channels, 5 cells": space.sample(np.random.default_rng(0)),
        "another random one": space.sample(np.random.default_rng(1)),
    }


def compiled_operations() -> None:
    """Compiles the classes of operations: one compilation for each shape, shared by all networks of the process."""
    torch._dynamo.config.recompile_limit = 512
    torch._dynamo.config.accumulated_recompile_limit = 4096

    def forward(self: nn.Sequential, input: Tensor) -> Tensor:
        for module in self:
            input = module(input)
        return input

    for sequence in (blocks.ReLUConvBN, blocks.DilConv):
        sequence.forward = torch.compile(forward, dynamic=False)  # type: ignore[method-assign]
    reduce = downsample.FactorizedReduce
    reduce.forward = torch.compile(reduce.forward, dynamic=False)  # type: ignore[method-assign]


def measure(ways: dict[str, tuple[Step, Tensor]], targets: Tensor, rounds: int) -> None:
    """Prints a row a way."""
    device = targets.device
    first: dict[str, float] = {}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 5):  # the first steps choose kernels and capture graphs
        for name, (step, images) in ways.items():
            began = time.perf_counter()
            step(images, targets)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - began
            if turn < 5:
                first[name] = first.get(name, 0.0) + seconds
            else:
                taken[name].append(seconds)
    base = statistics.median(next(iter(taken.values())))
    for name, seconds_each in taken.items():
        median, best = statistics.median(seconds_each), min(seconds_each)
        speed = f"{len(targets) / median:8.0f} ({len(targets) / best:6.0f})"
        print(f"  {name:46} {speed} {base / median:6.2f}× {first[name]:12.1f}")


def throughput(device: torch.device, options: argparse.Namespace) -> None:
    """The table."""
    found = dict(list(candidates().items())[: 1 if options.quick else None])
    contiguous, targets = torch.randn(BATCH, 3, SIDE, SIDE, device=device), torch.randint(CLASSES, (BATCH,)).to(device)
    last = contiguous.contiguous(memory_format=torch.channels_last)
    print(f"  {'':46} images/s (best)  ratio  first 5 steps, s")
    for name, candidate in found.items():
        assert isinstance(candidate.architecture, Genotype)
        print(name)
        ways: dict[str, tuple[Step, Tensor]] = {
            "plain: float32, contiguous": (
                training(Plain(candidate.architecture, candidate.shape, 3), device, precision="float32"),
                contiguous,
            ),
            "ours: float32, channels_last": (training(ours(candidate, 3), device, precision="float32"), last),
            "ours: bfloat16, channels_last": (training(ours(candidate, 3), device, precision="bfloat16"), last),
        }
        if device.type == "cuda":
            graph = training(ours(candidate, 3), device, precision="bfloat16", graph=True)
            ways["ours: bfloat16, one CUDA graph"] = (graph, last)
        measure(ways, targets, options.rounds)
    if device.type == "cuda":
        print(f"peak memory: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    if options.compile:
        name, candidate = next(iter(found.items()))
        print(f"{name}, operations compiled")
        compiled_operations()
        for which in ("a first network", "a second network"):
            measure(
                {which: (training(ours(candidate, 3), device, precision="bfloat16"), last)}, targets, options.rounds
            )


def accuracy(seeds: int, epochs: int = 16) -> None:
    """Held-out accuracy on digits of the plain float32 loop and of ours in bfloat16: mean ± standard error."""
    from sklearn.datasets import load_digits  # only this part needs it

    bunch = load_digits()
    images, labels = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(bunch.target)
    candidate = CellSpace(DEFAULT_OPERATIONS, nodes=4, shape=Shape(channels=8, cells=4)).sample(
        np.random.default_rng(2)
    )
    assert isinstance(candidate.architecture, Genotype)
    scores: dict[str, list[float]] = {"plain float32": [], "ours float32": [], "ours bfloat16": []}
    for seed in range(seeds):
        for name, reached in scores.items():
            torch.manual_seed(seed)
            plain = name.startswith("plain")
            network = Plain(candidate.architecture, candidate.shape, 1) if plain else ours(candidate, 1)
            step = training(network, torch.device("cpu"), precision=name.split()[1])
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            held_out, seen = order[:400], order[400:]
            for _ in range(epochs):
                for batch in torch.split(seen[torch.randperm(len(seen))], BATCH):
                    step(images[batch], labels[batch])  # one channel: both memory formats at once
            network.eval()
            with torch.no_grad():
                right = network(images[held_out]).argmax(1) == labels[held_out]
            reached.append(right.double().mean().item())
    print(f"digits, {epochs} epochs at a constant learning rate, {seeds} seeds")
    for name, reached in scores.items():
        error = statistics.stdev(reached) / math.sqrt(seeds) if seeds > 1 else math.nan
        print(f"  {name:16} {100 * statistics.mean(reached):6.2f} ± {100 * error:.2f} %")


def processor() -> str:
    """The processor's name."""
    source = Path("/proc/cpuinfo")
    lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the first network alone")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--accuracy", type=int, metavar="SEEDS")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"{processor()}, {options.threads} threads"
    print(f"{machine}, torch {torch.__version__}")
    if options.accuracy:
        accuracy(options.accuracy)
    else:
        throughput(device, options)


if __name__ == "__main__":
    main()
