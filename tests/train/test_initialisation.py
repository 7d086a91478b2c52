"""Initialisations against their formulas."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from nas.train.initialisation import INITIALISATIONS, initialise
from nas.train.recipe import Recipe
from tests.train.runs import network, same, state

LAYERS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "linear": (lambda: nn.Linear(300, 200), 300, 200),
    "convolution": (lambda: nn.Conv2d(40, 60, 3), 40 * 9, 60 * 9),
    "oblong kernel": (lambda: nn.Conv2d(50, 80, (1, 7)), 50 * 7, 80 * 7),
    "grouped": (lambda: nn.Conv2d(80, 160, 3, groups=4), 20 * 9, 40 * 9),
    "depthwise": (lambda: nn.Conv2d(2000, 2000, 5, groups=2000), 25, 25),
    "depthwise twice": (lambda: nn.Conv2d(1000, 2000, 5, groups=1000), 25, 50),
    "one-dimensional": (lambda: nn.Conv1d(100, 120, 5), 500, 600),
}
"""Name → (layer, inputs of a unit, units of an input)."""


def drawn(name: str, layer: nn.Module, scale: float = 1.0, seed: int = 0) -> Tensor:
    recipe = Recipe(epochs=1, initialisation=name, init_scale=scale)  # type: ignore[arg-type]
    initialise(layer, recipe, torch.Generator().manual_seed(seed))
    weight: Tensor = layer.weight.detach().double()  # type: ignore[operator]
    return weight.flatten()


def std_of(name: str, fan_in: int, fan_out: int) -> float:
    """What the papers say; Keras's numbers for the two without one."""
    if "xavier" in name:
        return math.sqrt(2 / (fan_in + fan_out))
    if "he" in name:
        return math.sqrt(2 / fan_in)
    return {"uniform": 0.05 / math.sqrt(3), "normal": 0.05}[name]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", INITIALISATIONS)
def test_weights_have_the_deviation_and_the_shape_of_distribution_that_was_asked_for(name: str, layer: str) -> None:
    build, fan_in, fan_out = LAYERS[layer]
    weights = drawn(name, build(), scale=1.5)
    std = 1.5 * std_of(name, fan_in, fan_out)
    count = len(weights)
    assert count >= 20_000
    assert abs(weights.mean().item()) < 4 * std / math.sqrt(count)
    # The standard error of a deviation is at most std × sqrt(0.5 / n), of a normal distribution.
    assert weights.std().item() == pytest.approx(std, rel=4 * math.sqrt(0.5 / count))
    scaled = (weights / std).numpy()
    if "uniform" in name:
        assert stats.kstest(scaled, stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf).pvalue > 1e-3
        assert abs(scaled).max() <= math.sqrt(3) * (1 + 1e-6)
    elif "truncated" in name:
        underlying = 1 / stats.truncnorm(-2, 2).std()
        assert stats.kstest(scaled, stats.truncnorm(-2, 2, scale=underlying).cdf).pvalue > 1e-3
        assert 0.99 * 2 * underlying < abs(scaled).max() <= 2 * underlying * (1 + 1e-6)
    else:
        assert stats.kstest(scaled, stats.norm.cdf).pvalue > 1e-3
        assert abs(scaled).max() > 3.5


def test_he_keeps_the_variance_behind_relus_over_many_layers() -> None:
    layers = [layer for _ in range(20) for layer in (nn.Linear(512, 512), nn.ReLU())]
    model = nn.Sequential(*layers)
    initialise(model, Recipe(epochs=1, initialisation="he_normal"), torch.Generator().manual_seed(0))
    x = torch.randn(200, 512, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert 0.5 < (model(x).square().mean() / x.square().mean()).item() < 2


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_biases_become_0_and_norms_are_left_alone(name: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), nn.Linear(2, 2, bias=False)
    )
    with torch.no_grad():
        model[1].weight.fill_(3.0)  # type: ignore[operator]
        model[1].bias.fill_(2.0)  # type: ignore[operator]
    before = state(model)
    initialise(model, Recipe(epochs=1, initialisation=name), torch.Generator())  # type: ignore[arg-type]
    after = state(model)
    for key in ("1.weight", "1.bias", "1.running_var"):
        assert torch.equal(after[key], before[key])
    assert not after["0.bias"].any()
    assert not after["3.bias"].any()
    assert not any(torch.equal(after[key], before[key]) for key in ("0.weight", "3.weight", "4.weight"))


def test_by_default_a_network_stays_as_torch_made_it() -> None:
    model = network()
    before = state(model)
    initialise(model, Recipe(epochs=1), torch.Generator())
    assert same(state(model), before)


def test_by_default_a_scale_is_one_on_the_weights_that_torch_drew() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    before = state(model)
    initialise(model, Recipe(epochs=1, init_scale=3.0), torch.Generator())
    after = state(model)
    assert torch.equal(after["0.weight"], 3 * before["0.weight"])
    assert torch.equal(after["2.weight"], 3 * before["2.weight"])
    assert all(torch.equal(after[key], before[key]) for key in ("0.bias", "1.weight", "2.bias"))


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_the_generator_alone_decides_what_is_drawn(name: str) -> None:
    build = LAYERS["linear"][0]
    torch.manual_seed(5)
    first = drawn(name, build())
    torch.manual_seed(6)
    assert torch.equal(drawn(name, build()), first)
    assert not torch.equal(drawn(name, build(), seed=1), first)


def test_a_network_has_an_initialisation_of_its_own_in_every_layer() -> None:
    model = network()
    initialise(model, Recipe(epochs=1, initialisation="he_uniform"), torch.Generator())
    kernels = [p for p in model.parameters() if p.ndim == 4]
    firsts = {kernel.flatten()[0].item() for kernel in kernels}
    assert len(firsts) == len(kernels) > 10
