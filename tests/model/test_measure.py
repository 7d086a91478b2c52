import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas.model.measure import latency_ms, peak_memory_mb

CPU, META = torch.device("cpu"), torch.device("meta")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def chain() -> nn.Sequential:
    """Feature maps of 4, 16, 8 and 2 channels on 6×6, 6×6, 6×6 and 3×3 pixels."""
    return nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(16, 8, 1, bias=False), nn.Conv2d(8, 2, 3, stride=2, padding=1)
    )


CHAIN_WEIGHTS = (4 * 16 * 9 + 16) + 16 * 8 + (8 * 2 * 9 + 2)


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def values(network: nn.Module, image: tuple[int, int, int] = (4, 6, 6), batch_size: int = 1) -> float:
    """The peak in float32 values."""
    return peak_memory_mb(network, image=image, batch_size=batch_size, device=CPU) * 10**6 / 4


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_chain_of_convolutions_holds_its_input_and_two_maps_at_once(batch_size: int) -> None:
    # The input is the caller's and stays; of the maps, each dies once the next one is there.
    maps = max(16 * 36, 16 * 36 + 8 * 36, 8 * 36 + 2 * 9)
    assert values(chain(), batch_size=batch_size) == CHAIN_WEIGHTS + batch_size * (4 * 36 + maps)


def test_what_is_kept_for_later_counts_until_it_is_used() -> None:
    size = 4 * 36

    def straight(x: Tensor) -> Tensor:
        return ((x + 1) + 1) + 1

    def keeping(x: Tensor) -> Tensor:
        kept = x + 1
        return ((kept + 1) + 1) + kept

    assert values(Of(straight)) == size + 2 * size
    assert values(Of(keeping)) == size + 3 * size


def test_views_and_in_place_operations_take_no_memory() -> None:
    size = 4 * 36
    assert values(Of(lambda x: x.flatten(1).view(-1, 2)[:, :1])) == size
    assert values(Of(lambda x: (x + 1).relu_().mul_(2).transpose(2, 3)[..., ::2])) == 2 * size
    assert values(nn.Sequential(nn.Identity(), nn.Flatten())) == size


def test_a_part_of_a_large_tensor_keeps_all_of_it_alive() -> None:
    size = 4 * 36
    assert values(Of(lambda x: x.repeat(1, 10, 1, 1)[:, :1] + 1)) == size + 10 * size + size // 4


def test_a_shared_weight_is_held_once_and_buffers_are_held_too() -> None:
    twice = nn.Conv2d(4, 4, 1, bias=False)
    assert values(nn.Sequential(twice, twice)) == 16 + 3 * 4 * 36
    norm = nn.BatchNorm2d(4)  # scale, offset, mean and variance, and one integer of 64 bits
    assert values(norm) == 4 * 4 + 2 + 2 * 4 * 36


def test_the_peak_is_the_same_every_time_and_without_computing() -> None:
    first = peak_memory_mb(chain(), image=(4, 6, 6), batch_size=3, device=CPU)
    assert peak_memory_mb(chain(), image=(4, 6, 6), batch_size=3, device=CPU) == first
    with META:
        network = chain()
    assert peak_memory_mb(network, image=(4, 6, 6), batch_size=3, device=META) == first


@pytest.mark.parametrize("measure", [latency_ms, peak_memory_mb])
def test_a_measured_network_is_left_as_it_was(measure: Callable[..., float]) -> None:
    network = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    network[1].eval()  # frozen, as in transfer
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    measure(network, image=(4, 6, 6), batch_size=2, device=CPU)
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_is_measured_in_eval_mode_without_gradients_on_the_batch_asked_for() -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append((network.training, torch.is_grad_enabled(), tuple(x.shape), x.std().item() > 0))
        return x

    network = Of(look)
    latency_ms(network, image=(3, 4, 5), batch_size=2, device=CPU, warmup=2, runs=3)
    assert seen == [(False, False, (2, 3, 4, 5), True)] * 5


def test_latency_is_the_median_of_the_runs_after_the_warm_up() -> None:
    naps_s = iter([0.08, 0.08, 0.001, 0.02, 0.06])  # two to warm up, three that count

    def nap(x: Tensor) -> Tensor:
        time.sleep(next(naps_s))
        return x

    assert 20 <= latency_ms(Of(nap), image=(1, 2, 2), batch_size=1, device=CPU, warmup=2, runs=3) < 50


def test_a_slow_network_is_run_no_longer_than_the_bound() -> None:
    runs = 0

    def slow(x: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        time.sleep(0.15)
        return x

    assert 150 <= latency_ms(Of(slow), image=(1, 2, 2), batch_size=1, device=CPU) < 300
    assert runs <= 1 + 3  # one to warm up, and those that begin in the 0.4 seconds


@CUDA
def test_a_cuda_device_holds_at_least_what_the_tensors_take() -> None:
    device = torch.device("cuda")
    network = nn.Sequential(*(nn.Conv2d(64, 64, 1, bias=False) for _ in range(3)))
    found = peak_memory_mb(network, image=(64, 32, 32), batch_size=16, device=device)
    least = (3 * 64 * 64 + 3 * 16 * 64 * 32 * 32) * 4 / 10**6
    assert least <= found < 5 * least
    assert found == peak_memory_mb(network, image=(64, 32, 32), batch_size=16, device=device)


@CUDA
def test_latency_on_a_cuda_device_waits_for_the_output() -> None:
    device = torch.device("cuda")
    large = nn.Linear(8192, 8192, bias=False)  # 2 × 16,384 × 8,192² operations: 15 ms at 150 TFLOP/s
    assert latency_ms(large, image=(1, 1, 8192), batch_size=16_384, device=device) > 1
