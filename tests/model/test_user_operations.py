"""Operations that a user adds in Python (nas.plugins)."""

from pathlib import Path

import pytest
import torch

import nas
from nas import plugins
from nas.errors import GenotypeError
from nas.model import build_network
from nas.model.ops import build_op
from nas.model.style import Style
from nas.space import Candidate, Cell, Edge, Genotype, Shape

MODULE = """
import torch
from torch import nn


class Shuffle(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.stride = stride
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 2.0))

    def forward(self, x):
        return x[:, :, :: self.stride, :: self.stride].flip(1) * self.scale


class NoTensor(Shuffle):
    def forward(self, x):
        return "nothing"


def breaks(channels, stride):
    raise RuntimeError("no such thing")


OPERATIONS = {
    "shuffle": Shuffle,
    "wide": lambda channels, stride: nn.Conv2d(channels, 2 * channels, 1),
    "never_halves": lambda channels, stride: nn.Identity(),
    "no_tensor": NoTensor,
    "breaks": breaks,
    "no_module": lambda channels, stride: abs,
}
"""


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "operations_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_used", {table: {} for table in plugins.GROUPS})
    nas.use("operations_of_a_test")


def test_a_users_operation_is_built_with_its_channels_and_its_stride() -> None:
    x = torch.randn(2, 3, 5, 4)
    operation = build_op("shuffle", 3, 2, Style("gelu", "none"))
    assert torch.equal(operation(x), 2 * x.flip(1)[:, :, ::2, ::2])
    assert [tuple(p.shape) for p in operation.parameters()] == [(3, 1, 1)]


def test_a_network_with_a_users_operation_learns_it_and_exports() -> None:
    cell = Cell(((Edge("shuffle", 0), Edge("skip_connect", 1)), (Edge("shuffle", 2),)), (2, 3))
    candidate = Candidate(Genotype(cell, cell), Shape(channels=2, cells=3))
    network = build_network(candidate, in_channels=1, outputs=2)
    names = [name for name, _ in network.named_parameters() if name.endswith("scale")]
    assert len(names) == 6
    images = torch.randn(4, 1, 9, 9)
    network(images).square().sum().backward()
    assert all(parameter.grad is not None for name, parameter in network.named_parameters() if name in names)
    twin = build_network(candidate, in_channels=1, outputs=2).eval()
    twin.load_state_dict(network.state_dict())
    program = torch.export.export(twin, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(images[:3]), network.eval()(images[:3]))


@pytest.mark.parametrize(
    ("name", "stride", "says"),
    [
        ("wide", 1, r"\(2, 4, 5, 5\) at stride 1 has to become \(2, 4, 5, 5\), not \(2, 8, 5, 5\)"),
        ("never_halves", 2, r"\(2, 4, 5, 5\) at stride 2 has to become \(2, 4, 3, 3\), not \(2, 4, 5, 5\)"),
    ],
)
def test_an_operation_of_another_shape_is_named_when_it_first_runs(name: str, stride: int, says: str) -> None:
    operation = build_op(name, 4, stride, Style())
    for _ in range(2):  # a mistake is not forgiven because it has been seen
        with pytest.raises(GenotypeError, match=rf"operation: '{name}' is not possible: {says}"):
            operation(torch.randn(2, 4, 5, 5))
    assert build_op("never_halves", 4, 1, Style())(torch.randn(2, 4, 5, 5)).shape == (2, 4, 5, 5)


def test_an_operation_that_gives_no_tensor_is_named() -> None:
    with pytest.raises(
        GenotypeError, match=r"'no_tensor' is not possible: .* has to become \(2, 4, 5, 5\), not 'nothing'"
    ):
        build_op("no_tensor", 4, 1, Style())(torch.randn(2, 4, 5, 5))


def test_a_builder_that_stops_is_named_with_its_reason() -> None:
    match = r"'breaks' is not possible: its builder \(module operations_of_a_test\) .*RuntimeError: no such thing"
    with pytest.raises(GenotypeError, match=match):
        build_op("breaks", 4, 1, Style())


def test_a_builder_has_to_return_a_module() -> None:
    with pytest.raises(GenotypeError, match=r"'no_module' is not possible: .*has to return a module, not <built-in"):
        build_op("no_module", 4, 1, Style())


def test_a_user_replaces_none_of_the_projects_own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    own = plugins.Plugin("a package", lambda: lambda channels, stride: torch.nn.Identity())
    monkeypatch.setitem(plugins._used["OPERATIONS"], "sep_conv_3x3", own)
    assert sum(p.numel() for p in build_op("sep_conv_3x3", 4, 1, Style()).parameters()) == 2 * (9 * 4 + 16 + 8)
