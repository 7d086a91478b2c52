import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.model import build_network, cost_of, count_params, params_of
from nas.space import Candidate, CellSpace, ResidualNet, known
from nas.space.known import KNOWN
from nas.space.operations import OPERATIONS

SPACE = CellSpace(tuple(OPERATIONS), nodes=4, channels=4, cells=4)
CANDIDATES = {
    **{f"random {seed}": SPACE.sample(np.random.default_rng(seed)) for seed in range(6)},
    **{name: Candidate(known(name)) for name in KNOWN},
    "residual": Candidate(ResidualNet(width=6, blocks=2)),
}


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 11, 9)], ids=str)
@pytest.mark.parametrize("candidate", CANDIDATES.values(), ids=CANDIDATES.keys())
def test_the_cost_is_what_torch_counts(candidate: Candidate, image: tuple[int, int, int]) -> None:
    cost = cost_of(candidate, channels=4, cells=4, image=image, classes=7)
    network = build_network(candidate, channels=4, cells=4, in_channels=image[0], classes=7).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, *image))
    assert cost.macs * 2 == counter.get_total_flops()
    assert cost.params == count_params(network) == sum(p.numel() for p in network.parameters())
    assert cost.params == params_of(candidate, channels=4, cells=4, in_channels=image[0], classes=7)


def test_work_grows_with_the_image_and_size_does_not() -> None:
    small, large = (
        cost_of(CANDIDATES["DARTS_V2"], channels=4, cells=4, image=(3, side, side), classes=7) for side in (8, 32)
    )
    assert small.params == large.params
    linear = 4 * 16 * 7  # four output nodes of 4 × 2 × 2 channels into the classifier, once whatever the image
    assert (large.macs - linear) == 16 * (small.macs - linear)


def test_frozen_parameters_do_not_count() -> None:
    network = build_network(CANDIDATES["DARTS_V2"], channels=4, cells=4, in_channels=1, classes=7)
    before = count_params(network)
    network.classifier.requires_grad_(False)
    assert count_params(network) == before - (4 * 16 * 7 + 7)


def test_a_cost_is_known_without_drawing_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    cost_of(CANDIDATES["NASNet"], channels=4, cells=4, image=(3, 8, 8), classes=7)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_largest_network_of_the_paper_is_counted_without_being_built() -> None:
    # Liu et al. 2019, table 2: 4.7 million parameters, 574 million multiply-adds on ImageNet, with another stem.
    cost = cost_of(CANDIDATES["DARTS_V2"], channels=4_000, cells=20, image=(3, 224, 224), classes=1_000)
    assert cost.params > 10**10  # 40 gigabytes, if they were allocated
    assert cost.macs > 10**12
