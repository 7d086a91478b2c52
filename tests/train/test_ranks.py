import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.data.tensors import Batchable
from nas.errors import Diverged
from nas.model.chance import Noise, drop
from nas.train.checkpoint import Checkpoint
from nas.train.ranks import ALONE, Lost, Ranks, UnitedBatchNorm
from nas.train.recipe import Recipe
from tests.train.ranks import in_ranks, train_in_ranks
from tests.train.runs import RECIPE, Run, change, digits, network, same, small, state, train

DATA = digits()
GENTLE = change(RECIPE, lr=0.01, epochs=3)
"""Small steps: differences in the last bit stay small."""


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], rtol=2e-3, atol=2e-4, msg=f"{name}: {one[name] - other[name]}"
        )


def assert_alike(found: Run, expected: Run) -> None:
    assert [result.epoch for result in found.results] == [result.epoch for result in expected.results]
    for result, other in zip(found.results, expected.results, strict=True):
        assert result.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert result.validation_loss == pytest.approx(other.validation_loss, rel=1e-3)
        assert result.lr == other.lr
        assert dict(result.metrics) == pytest.approx(dict(other.metrics), abs=0.021)  # two of the images


def check(
    make: Callable[[], nn.Module],
    recipe: Recipe,
    world: int,
    data: tuple[Batchable, Batchable] = DATA,
    **more: Any,
) -> None:
    """The ranks agree bit for bit, and with one process up to rounding."""
    model = make()
    alone = train(model, *data, recipe, **more)
    runs = train_in_ranks(world, make, data, recipe, **more)
    for run, weights in runs[1:]:
        assert run.results == runs[0][0].results
        assert run.checkpoints == runs[0][0].checkpoints
        assert same(weights, runs[0][1])
    assert_alike(runs[0][0], alone)
    assert_close(runs[0][1], state(model))


@pytest.mark.parametrize("count", [1, 2, 5, 64])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_all_rows_are_shared_out_evenly_and_in_their_order(count: int, world: int) -> None:
    parts = [list(range(count))[Ranks(rank, world).rows(count)] for rank in range(world)]
    assert list(chain(*parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sum(Ranks(rank, world).share(count) for rank in range(world)) == pytest.approx(1)


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "a batch that does not divide": {"batch_size": 32, "shift": 2, "cutout": 0.3, "flip": True},
    "several batches a step, and penalties": {"accumulate": 3, "batch_size": 15, "l1": 1e-3, "l2": 1e-2},
    "one batch, which is all there is": {"batch_size": 500},
    "mixing across the batch": {"mixup": 0.4, "cutmix": 0.4, "batch_size": 31, "label_smoothing": 0.2},
    "averages": {"ema": 0.9, "swa": 0.5},
    "clipping": {"clip_norm": 0.05, "clip_value": 0.01, "weight_clip": 0.3},
    "adam": {"optimizer": "adam", "lr": 0.002, "class_weights": "balanced", "randaugment": 2, "jitter": 0.3},
    "scores that decide": {"schedule": "plateau", "patience": 0, "early_stop": 1, "epochs": 6, "lr": 0.05},
}


@pytest.mark.parametrize("name", RECIPES)
def test_ranks_train_what_one_process_trains(name: str) -> None:
    # A bias before a batch norm has no gradient but what rounding leaves, and Adam scales that up.
    frozen = frozenset({"0.bias"} if name == "adam" else ())
    check(small, change(GENTLE, **RECIPES[name]), 3 if "divide" in name else 2, frozen=frozen)


def test_so_they_do_with_dropout_dropped_paths_and_an_auxiliary_head() -> None:
    recipe = change(GENTLE, epochs=2, batch_size=50, ema=0.9, swa=0.3, lr=0.002)
    check(lambda: network(dropout=0.5, drop_path=0.5, auxiliary=0.4), recipe, 3)


def test_and_where_layers_were_taken_over_and_stay_as_they_are() -> None:
    kept, frozen = frozenset({"0.weight", "1.weight"}), frozenset({"0.weight", "0.bias"})
    check(small, change(GENTLE, kept_lr=0.1), 2, kept=kept, frozen=frozen)
    frozen = frozenset(name for name, _ in small()[:2].named_parameters())
    check(small, GENTLE, 2, frozen=frozen)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_and_of_other_tasks(task: str) -> None:
    def convert(data: Batchable) -> Batchable:
        bits = (data.labels[:, None] >> torch.arange(3)) & 1
        return Batchable(data.images, bits.to(torch.uint8) if task == "multi_label" else bits.float() * 1e3)

    check(lambda: small(3), GENTLE, 2, (convert(DATA[0]), convert(DATA[1])), task=task)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 1), (2, 3)])
def test_a_training_goes_on_with_another_number_of_ranks(before: int, after: int) -> None:
    recipe = change(GENTLE, ema=0.9, epochs=4)
    model = small()
    whole = train(model, *DATA, recipe)
    first = whole if before == 1 else train_in_ranks(before, small, DATA, recipe)[0][0]
    other = small(seed=5)  # its own weights do not matter
    if after == 1:
        rest, weights = train(other, *DATA, recipe, resume=Checkpoint.from_bytes(first.checkpoints[1])), state(other)
    else:
        rest, weights = train_in_ranks(after, lambda: small(seed=5), DATA, recipe, resume=first.checkpoints[1])[0]
    assert_alike(rest, Run(whole.results[2:]))
    assert_close(weights, state(model))


def test_alone_there_is_nothing_to_send() -> None:
    model = small()
    before = list(model.modules())
    ALONE.unite(model)
    assert list(model.modules()) == before
    rows = torch.randn(3, 2)
    assert ALONE.joined(rows, 3) is rows
    assert ALONE.share(7) == 1.0


def test_a_loss_that_is_not_finite_ends_all_ranks() -> None:
    def act(ranks: Ranks) -> str:
        with pytest.raises(Diverged) as caught:
            train(models[ranks.rank], *DATA, change(RECIPE, lr=1e18, clip_norm=None), ranks=ranks)
        return str(caught.value)

    models = [small(), small()]
    first, second = in_ranks(2, act)
    assert first == second


def test_a_rank_that_is_left_alone_says_so() -> None:
    def act(ranks: Ranks) -> bool:
        ranks.add_up(torch.ones(1))
        if ranks.rank == 1:
            return True
        with pytest.raises(Lost, match="process 0 of 2 does not reach the others"):
            ranks.add_up(torch.ones(1))
        return False

    assert in_ranks(2, act) == [False, True]


NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "2d": (lambda: nn.BatchNorm2d(4), (7, 4, 3, 5)),
    "1d": (lambda: nn.BatchNorm1d(4), (7, 4)),
    "3d": (lambda: nn.BatchNorm3d(4, momentum=0.3), (7, 4, 2, 3, 2)),
    "without scale": (lambda: nn.BatchNorm2d(4, affine=False), (7, 4, 3, 3)),
    "the mean over all batches": (lambda: nn.BatchNorm2d(4, momentum=None), (7, 4, 3, 3)),
    "without a memory": (lambda: nn.BatchNorm2d(4, track_running_stats=False), (7, 4, 3, 3)),
    "a pixel each": (lambda: nn.BatchNorm2d(4, eps=1e-3), (3, 4, 1, 1)),
    "far from zero": (lambda: nn.BatchNorm2d(4), (6, 4, 3, 3)),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_batch_norm_of_all_ranks_is_that_of_the_whole_batch(name: str) -> None:
    make, shape = NORMS[name]
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, *shape, generator=draw) * 2 + (1_000.0 if name == "far from zero" else 1.0)
    aims = torch.randn(2, *shape, generator=draw)

    def run(model: nn.Module, ranks: Ranks) -> list[Tensor]:
        for parameter in model.parameters():
            nn.init.normal_(parameter, 1, 0.5, generator=torch.Generator().manual_seed(parameter.numel()))
        model.train()
        rows = ranks.rows(shape[0])
        found: list[Tensor] = []
        for batch, aim in zip(x, aims, strict=True):
            mine = batch[rows].clone().requires_grad_()
            out = model(mine)
            (out * aim[rows]).sum().backward()
            whole = [ranks.joined(part.detach(), shape[0]) for part in (out, mine.grad) if part is not None]
            found += whole
        ranks.add_up_gradients(list(model.parameters()))
        model.eval()
        return [*found, *(each.grad for each in model.parameters() if each.grad is not None), *model.buffers()]

    def act(ranks: Ranks) -> list[Tensor]:
        model = nn.Sequential(make())
        ranks.unite(model)
        assert isinstance(model[0], UnitedBatchNorm)
        return run(model, ranks)

    expected = run(nn.Sequential(make()), ALONE)
    for found in in_ranks(3, act):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=3e-4 if name == "far from zero" else 2e-5)


def test_a_batch_norm_of_all_ranks_computes_in_bfloat16_too() -> None:
    x = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)).bfloat16()

    def act(ranks: Ranks) -> tuple[Tensor, Tensor]:
        model = nn.Sequential(nn.BatchNorm2d(4))
        ranks.unite(model)
        mine = x[ranks.rows(8)].clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = model(mine)
        out.square().sum().backward()
        assert mine.grad is not None
        assert out.dtype == mine.grad.dtype == torch.bfloat16
        return ranks.joined(out.detach(), 8), ranks.joined(mine.grad, 8)

    whole = x.clone().requires_grad_()
    out = nn.BatchNorm2d(4)(whole)
    out.square().sum().backward()
    for found in in_ranks(2, act):
        torch.testing.assert_close(found, (out.detach(), whole.grad), rtol=0.02, atol=0.02)


def test_a_layer_that_stands_twice_in_a_network_stays_one_layer() -> None:
    def act(ranks: Ranks) -> bool:
        norm = nn.BatchNorm2d(4)
        model = nn.Sequential(norm, nn.Sequential(norm))
        names = list(model.state_dict())
        ranks.unite(model)
        inner = model[1]
        assert isinstance(inner, nn.Sequential)
        return model[0] is inner[0] and isinstance(model[0], UnitedBatchNorm) and list(model.state_dict()) == names

    assert all(in_ranks(2, act))


@pytest.mark.parametrize("images", [True, False])
def test_a_part_of_a_batch_is_dropped_as_it_is_in_the_whole(images: bool) -> None:
    x = torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    whole = drop(x, 0.4, Noise(torch.Generator().manual_seed(2)), images=images)
    parts = []
    for rank in range(3):
        rows = Ranks(rank, 3).rows(7)
        parts.append(drop(x[rows], 0.4, Noise(torch.Generator().manual_seed(2), 7, rows.start), images=images))
    assert torch.equal(torch.cat(parts), whole)
    assert 0 < (whole == 0).double().mean() < 1
    assert math.isclose(float(whole.abs().max()), float((x.abs() * (whole != 0)).max() / 0.6), rel_tol=1e-6)


def test_gradients_go_in_few_messages_and_none_is_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.train.ranks.MESSAGE_BYTES", 40)

    def act(ranks: Ranks) -> list[Tensor | None]:
        parameters = [nn.Parameter(torch.zeros(shape, dtype=kind)) for shape, kind in shapes]
        for index, parameter in enumerate(parameters):
            if index != 2:
                parameter.grad = torch.full_like(parameter, index + 10.0 * ranks.rank)
        parameters[3].grad = torch.arange(6.0).view(1, 2, 3, 1).to(memory_format=torch.channels_last) + ranks.rank
        ranks.add_up_gradients(parameters)
        return [parameter.grad for parameter in parameters]

    shapes = [((3,), torch.float32), ((20,), torch.float32), ((4,), torch.float32), ((1, 2, 3, 1), torch.float32)]
    shapes += [((2, 2), torch.float64), ((), torch.float32)]
    for found in in_ranks(2, act):
        assert found[2] is None
        means = [float(gradient.mean()) for gradient in found if gradient is not None]
        assert means == [10.0, 12.0, 6.0, 18.0, 20.0]
        assert found[3] is not None
        assert torch.equal(found[3].flatten(), 2 * torch.arange(6.0) + 1)
