import pytest
import torch
from torch import Tensor, nn

from nas.model import ResidualNetwork, build_network
from nas.space import Candidate, ResidualNet


def size_of(candidate: Candidate, in_channels: int, classes: int) -> int:
    with torch.device("meta"):
        network = build_network(candidate, in_channels=in_channels, outputs=classes)
    return sum(parameter.numel() for parameter in network.parameters())


def residual_params(width: int, blocks: int, in_channels: int, classes: int) -> int:
    """With w, b, i and c for the arguments: stem 9iw + 2w; a block of a stage of width v, with u channels before it,
    9uv + 9v² + 4v, and uv + 2v more where its shortcut is a convolution; classifier 4wc + c."""
    total = 9 * in_channels * width + 2 * width + 4 * width * classes + classes
    total += blocks * (18 * width**2 + 4 * width)
    for v in (2 * width, 4 * width):
        u = v // 2
        total += 9 * u * v + 9 * v**2 + 4 * v + u * v + 2 * v + (blocks - 1) * (18 * v**2 + 4 * v)
    return total


@pytest.mark.parametrize(
    ("width", "blocks", "in_channels", "classes"), [(1, 1, 1, 2), (8, 2, 1, 10), (16, 3, 3, 10), (5, 4, 3, 7)]
)
def test_a_residual_network_has_the_size_that_its_formula_says(
    width: int, blocks: int, in_channels: int, classes: int
) -> None:
    candidate = Candidate(ResidualNet(width, blocks))
    assert size_of(candidate, in_channels, classes) == residual_params(width, blocks, in_channels, classes)


def test_a_residual_network_of_twenty_layers_has_the_size_of_resnet20() -> None:
    # He et al. 2016, table 6: 0.27 million, without the two projection shortcuts (2,752 weights) that ours has.
    assert size_of(Candidate(ResidualNet(16, 3)), 3, 10) == 269_722 + 2_752


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 11)], ids=str)
def test_a_residual_network_computes_what_its_definition_says(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = ResidualNetwork(ResidualNet(4, 2), in_channels=3, outputs=5).eval()
    images = torch.randn(2, 3, *size)
    layers = iter([m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)])

    def convolved(x: Tensor) -> Tensor:
        convolution, norm = next(layers), next(layers)
        result: Tensor = norm(convolution(x))
        return result

    with torch.no_grad():
        x = torch.relu(convolved(images))
        for stage in range(3):
            for block in range(2):
                y = convolved(torch.relu(convolved(x)))
                x = torch.relu(y + (convolved(x) if stage > 0 and block == 0 else x))
        logits = next(layers)(x.flatten(2).mean(dim=2))
        torch.testing.assert_close(network(images), logits, rtol=1e-5, atol=1e-5)
    assert next(layers, None) is None
