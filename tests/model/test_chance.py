from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.model.chance import Noise, drop, own_noise, reseed, seeded
from nas.space import Shape
from tests.train.runs import CANDIDATE, RECIPE, change, same
from worker.evaluate import evaluate


@pytest.mark.parametrize("images", [True, False])
def test_what_is_kept_is_scaled_up_and_the_mean_stays(images: bool) -> None:
    x = torch.rand(20_000, 3) + 1
    out = drop(x, 0.3, Noise(torch.Generator().manual_seed(0)), images=images)
    kept = out != 0
    assert abs(float(kept.double().mean()) - 0.7) < 0.01
    torch.testing.assert_close(out[kept], x[kept] / 0.7)
    whole_rows = kept.all(dim=1) | ~kept.any(dim=1)
    assert bool(whole_rows.all()) == images


def test_dropout_is_torchs_own_for_the_same_seed() -> None:
    x = torch.randn(7, 5)
    with seeded(3):
        expected = nn.functional.dropout(x, 0.4)
    assert torch.equal(drop(x, 0.4, Noise(torch.Generator().manual_seed(3))), expected)


def test_with_probability_0_nothing_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    before, x = generator.get_state(), torch.randn(3)
    assert drop(x, 0.0, Noise(generator)) is x
    assert torch.equal(generator.get_state(), before)


def test_seeded_weights_are_the_same_whatever_was_drawn_and_leave_no_trace() -> None:
    def draw() -> Tensor:
        with seeded(5):
            return nn.Linear(3, 2).weight.detach()

    first, before = draw(), torch.get_rng_state()
    torch.rand(10)
    assert torch.equal(draw(), first)
    torch.set_rng_state(before)
    draw()
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_that_are_not_ours_are_seeded_too_by_their_part_of_the_batch() -> None:
    before = torch.get_rng_state()
    found = []
    with own_noise(torch.device("cpu")) as generator:
        for part in (0, 1, 0):
            reseed(generator, 7, part=part)
            found.append((torch.rand(4), torch.rand(4, generator=generator)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0][0], found[2][0])
    assert not torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_trainings_in_threads_of_one_process_do_not_disturb_each_other() -> None:
    data = BUILTIN["digits"].load()
    data = replace(data, train=data.train[:128], validation=data.validation[:50])
    alone = [_trained(data, seed) for seed in (1, 2, 3)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(partial(_trained, data), (1, 2, 3, 1)))
    assert all(same(one, other) for one, other in zip(found, [*alone, alone[0]], strict=True))


def _trained(data: ImageSet, seed: int) -> dict[str, Tensor]:
    candidate = replace(CANDIDATE, shape=Shape(channels=4, cells=2, dropout=0.5, drop_path=0.5))
    return evaluate(
        candidate,
        data,
        change(RECIPE, epochs=2),
        seed=seed,
        device=torch.device("cpu"),
        on_epoch=lambda *_: True,
        should_stop=lambda: False,
    ).state_dict()
