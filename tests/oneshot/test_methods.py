"""What each method draws."""

import numpy as np
import pytest
import torch

from nas.oneshot.methods import METHODS, Architecture, Draw, likeliest, mixture, random_path, sampled, temperature
from nas.oneshot.mixing import edge_places
from nas.oneshot.supernet import Supernet
from nas.space import CellSpace, Shape
from tests.oneshot.runs import CPU
from tests.shapes import unchecked

SPACE = CellSpace(("none", "skip_connect", "conv_1x1"), 3, Shape(channels=4, cells=3, norm="batch_fixed"))
EDGES = len(edge_places(3))


def draw(seed: int = 0, *, tau: float = 1.0, normalises: bool = False, spread: float = 1.0) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    architecture = Architecture(len(SPACE.ops), SPACE.nodes, generator, normalises=normalises)
    for parameter in architecture.parameters():
        torch.nn.init.normal_(parameter, std=spread, generator=generator)
    return Draw(architecture, SPACE, tau, generator, CPU)


def test_a_mixture_has_all_operations_by_the_softmax_of_their_parameters() -> None:
    given = draw()
    for kind in ("normal", "reduce"):
        mix = mixture(given).of(kind)
        alphas = given.architecture.alphas[kind].detach().numpy()
        expected = np.exp(alphas) / np.exp(alphas).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(mix.weights.detach().numpy(), expected, rtol=1e-5)
        assert mix.active == ((0, 1, 2),) * EDGES
        assert mix.bypass.tolist() == [1.0] * EDGES


def test_normalised_edges_share_one_among_those_into_a_node() -> None:
    given = draw(normalises=True)
    mix = mixture(given).of("normal")
    betas = given.architecture.betas["normal"].detach().numpy()
    for node in range(2, 5):
        into = [index for index, place in enumerate(edge_places(3)) if place[0] == node]
        expected = np.exp(betas[into]) / np.exp(betas[into]).sum()
        np.testing.assert_allclose(mix.bypass.detach().numpy()[into], expected, rtol=1e-5)
        np.testing.assert_allclose(mix.weights.sum(dim=1).detach().numpy()[into], expected, rtol=1e-5)


def test_gdas_computes_one_operation_an_edge_with_the_weight_one() -> None:
    mixing = sampled(draw())
    supernet = Supernet(SPACE.ops, SPACE.nodes, SPACE.shape, in_channels=1, outputs=2)
    called: list[str] = []
    for name, module in supernet.cells[0].named_modules():  # a normal cell
        if name.startswith("ops.") and name.count(".") == 1:
            module.register_forward_hook(lambda *_, name=name: called.append(name[4:]))
    supernet(torch.randn(4, 1, 8, 8), mixing)
    wanted = set()
    for edge, ops in enumerate(mixing.normal.active):
        assert len(ops) == 1
        assert mixing.normal.weights[edge, ops[0]].item() == pytest.approx(1.0)
        node, source = edge_places(3)[edge]
        name = SPACE.ops[ops[0]]
        if name != "none":
            wanted.add(f"skip_connect_from_{source}" if name == "skip_connect" else f"{name}_from_{source}_to_{node}")
    assert sorted(called) == sorted(wanted)  # and a shared identity only once


def test_the_gradient_of_gdas_is_that_of_the_noisy_softmax() -> None:
    given, again = draw(tau=2.0), draw(tau=2.0)
    weights = sampled(given).normal.weights
    probe = torch.rand(weights.shape)
    [found] = torch.autograd.grad((weights * probe).sum(), given.architecture.alphas["normal"])
    alphas = again.architecture.alphas["normal"]
    noise = -torch.empty(alphas.shape).exponential_(generator=again.generator).log()
    soft = torch.softmax((torch.log_softmax(alphas, dim=1) + noise) / 2.0, dim=1)
    [expected] = torch.autograd.grad((soft * probe).sum(), alphas)
    torch.testing.assert_close(found, expected)


def test_gdas_draws_operations_by_their_shares() -> None:
    given = draw()
    counts = np.zeros((EDGES, 3))
    sampled(given)
    with unchecked(True):
        for _ in range(4000):
            for edge, (op,) in enumerate(sampled(given).reduce.active):
                counts[edge, op] += 1
    shares = given.architecture.shares("reduce").detach().numpy()
    assert np.abs(counts / 4000 - shares).max() < 5 * np.sqrt(0.25 / 4000)


def test_the_likeliest_operations_are_those_with_the_largest_shares() -> None:
    given = draw()
    expected = given.architecture.alphas["normal"].argmax(dim=1).tolist()
    assert [op for (op,) in likeliest(given).normal.active] == expected


def test_random_paths_are_candidates_of_the_space() -> None:
    given = draw()
    found = [random_path(given) for _ in range(20)]
    for mixing in found:
        for mix in (mixing.normal, mixing.reduce):
            for node in range(2, 5):
                into = [mix.active[edge] for edge, place in enumerate(edge_places(3)) if place[0] == node]
                assert sorted(map(len, into)) == [0] * (node - 2) + [1, 1]
            assert mix.weights.sum().item() == 2 * SPACE.nodes
    assert len({mixing.normal.active for mixing in found}) > 10


def test_gdas_cools_from_ten_to_a_tenth() -> None:
    assert [round(temperature(epoch, 4), 6) for epoch in range(4)] == [10.0, 6.7, 3.4, 0.1]
    assert temperature(0, 1) == 10.0
    assert [name for name, method in METHODS.items() if method.cools] == ["gdas"]
