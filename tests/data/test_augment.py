import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.augment import (
    Mixing,
    augment,
    cutout,
    draw_factors,
    draw_flips,
    draw_mixing,
    draw_squares,
    flip,
    jitter,
    mix,
)
from nas.data.randaugment import randaugment
from nas.data.tensors import random_shift
from nas.train.recipe import Recipe

OFF: dict[str, Any] = {"epochs": 1, "shift": 0}
EVERY: dict[str, dict[str, Any]] = {
    "shift": {"shift": 1},
    "flip": {"flip": True},
    "cutout": {"cutout": 0.5},
    "jitter": {"jitter": 0.4},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "both mixtures": {"mixup": 0.2, "cutmix": 1.0},
    "randaugment": {"randaugment": 2, "magnitude": 0.5},
}
ALL: dict[str, Any] = {name: value for fields in EVERY.values() for name, value in fields.items()}
UNMIXED = {name: fields for name, fields in EVERY.items() if not {"mixup", "cutmix"} & set(fields)}
SHAPES = [(1, 1, 8, 8), (6, 1, 8, 8), (5, 3, 7, 4), (4, 2, 5, 9), (3, 3, 1, 1), (2, 3, 2, 3)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(0))


def labels(count: int, classes: int = 4) -> Tensor:
    return torch.arange(count) % classes


def augmented(images: Tensor, seed: int = 0, **fields: Any) -> tuple[Tensor, Tensor]:
    return augment(images, labels(len(images)).to(images.device), Recipe(**OFF | fields), seeded(seed), outputs=4)


def within(pixel: tuple[int, int], box: Tensor) -> bool:
    top, left, bottom, right = (int(edge) for edge in box)
    return top <= pixel[0] < bottom and left <= pixel[1] < right


def pixels(images: Tensor) -> list[tuple[int, int]]:
    return [(row, column) for row in range(images.shape[2]) for column in range(images.shape[3])]


# What augment does as a whole.


def test_with_everything_off_the_arguments_come_back_and_nothing_is_drawn() -> None:
    images, targets, generator = pictures(5, 3, 8, 8), labels(5), seeded(0)
    found = augment(images, targets, Recipe(**OFF), generator, outputs=4)
    assert found[0] is images
    assert found[1] is targets
    assert torch.equal(generator.get_state(), seeded(0).get_state())


@pytest.mark.parametrize("fields", EVERY.values(), ids=EVERY)
def test_the_seed_alone_decides(fields: dict[str, Any]) -> None:
    images = pictures(40, 3, 8, 8)
    before = torch.get_rng_state(), str(np.random.get_state())
    one, again, other = (augmented(images, seed, **fields) for seed in (0, 0, 1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == str(np.random.get_state())
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("fields", EVERY.values(), ids=EVERY)
def test_a_generator_that_goes_on_decides_anew(fields: dict[str, Any]) -> None:
    images, generator = pictures(40, 3, 8, 8), seeded(0)
    recipe = Recipe(**OFF | fields)
    one, other = (augment(images, labels(40), recipe, generator, outputs=4)[0] for _ in range(2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("fields", [*EVERY.values(), ALL], ids=[*EVERY, "all"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_and_type_are_kept_and_the_images_are_not_written_to(
    shape: tuple[int, int, int, int], fields: dict[str, Any]
) -> None:
    for dtype in (torch.float32, torch.float64):
        images = pictures(*shape).to(dtype)
        before = images.clone()
        for seed in range(3):
            found, targets = augmented(images, seed, **fields)
            assert found.shape == shape
            assert found.dtype == dtype
            assert bool(found.isfinite().all())
            assert len(targets) == shape[0]
        assert torch.equal(images, before)


@pytest.mark.parametrize("fields", [*EVERY.values(), ALL], ids=[*EVERY, "all"])
def test_images_in_channels_last_stay_so(fields: dict[str, Any]) -> None:
    images = pictures(12, 3, 8, 6).contiguous(memory_format=torch.channels_last)
    found, _ = augmented(images, **fields)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("fields", [*EVERY.values(), ALL], ids=[*EVERY, "all"])
def test_the_memory_format_does_not_matter(fields: dict[str, Any]) -> None:
    images = pictures(12, 3, 8, 6)
    last = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(augmented(images, **fields)[0], augmented(last, **fields)[0])


def test_images_on_another_device_stay_there() -> None:
    """The meta device computes nothing but refuses to meet tensors of another device."""
    found, targets = augmented(pictures(12, 3, 8, 6).to("meta"), **ALL)
    assert found.device == targets.device == torch.device("meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_one_seed_gives_one_sequence_on_every_device() -> None:
    images = pictures(40, 3, 8, 6)
    here, there = augmented(images, **ALL), augmented(images.cuda(), **ALL)
    torch.testing.assert_close(there[0].cpu(), here[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(there[1].cpu(), here[1])


@pytest.mark.parametrize("fields", [*UNMIXED.values(), {"mixup": 0.2}, {"cutmix": 1.0}], ids=str)
def test_every_image_has_its_own_decision(fields: dict[str, Any]) -> None:
    """Equal images come out in more than one way, and mixtures of two images in many shares."""
    images = pictures(1, 3, 8, 8).repeat(60, 1, 1, 1)
    if {"mixup", "cutmix"} & set(fields):
        images[::2] += 5
    found, _ = augmented(images, **fields)
    # A flip has two ways; a shift by one pixel nine.
    ways = {"flip": 2, "shift": 9}.get(next(iter(fields)), 15)
    assert len(torch.unique(found.flatten(1), dim=0)) >= ways


@pytest.mark.parametrize("fields", UNMIXED.values(), ids=UNMIXED)
@pytest.mark.parametrize(
    "targets", [labels(6), torch.ones(6, 3, dtype=torch.uint8), torch.randn(6, 2)], ids=["classes", "labels", "targets"]
)
def test_targets_are_left_alone_unless_images_are_mixed(targets: Tensor, fields: dict[str, Any]) -> None:
    assert augment(pictures(6, 3, 8, 8), targets, Recipe(**OFF | fields), seeded(0), outputs=4)[1] is targets


def test_a_shift_draws_and_does_what_it_does_alone() -> None:
    images = pictures(20, 3, 8, 8)
    assert torch.equal(augmented(images, shift=3)[0], random_shift(images, 3, seeded(0)))


def test_what_comes_in_or_is_blanked_is_the_mean_of_the_data_whatever_else_is_on() -> None:
    images = 3 + torch.rand(200, 3, 8, 8, generator=seeded(0))
    found, _ = augmented(images, shift=2, cutout=0.25, jitter=0.3, flip=True)
    zeros = (found == 0).all(dim=1)
    assert torch.equal(zeros, (found == 0).any(dim=1))
    assert float(found[found != 0].min()) > 0.5


def test_colours_change_first_then_places_then_images_are_blanked_and_mixed() -> None:
    images, generator = pictures(20, 3, 8, 6), seeded(0)
    expected = jitter(images, draw_factors(20, 0.4, generator))
    expected = randaugment(expected, 2, 0.5, generator)
    expected = random_shift(expected, 1, generator)
    expected = flip(expected, draw_flips(20, generator))
    expected = cutout(expected, draw_squares(20, 0.5, 8, 6, generator))
    expected, targets = mix(expected, labels(20), draw_mixing(20, 0.2, 1.0, 8, 6, generator), outputs=4)
    found = augmented(images, 0, **ALL)
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], targets)


# Flip, cutout, jitter: against the same in the plainest way, image after image.


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_chosen_images_are_mirrored_left_to_right(shape: tuple[int, int, int, int]) -> None:
    images, chosen = pictures(*shape), torch.arange(shape[0]) % 3 != 1
    expected = images.clone()
    for image in range(shape[0]):
        for row, column in pixels(images):
            if chosen[image]:
                expected[image, :, row, column] = images[image, :, row, shape[3] - 1 - column]
    assert torch.equal(flip(images, chosen), expected)


def test_half_of_the_images_are_mirrored() -> None:
    chosen = draw_flips(10_000, seeded(0))
    assert abs(float(chosen.float().mean()) - 0.5) < 0.02
    # Each on its own: a pair is alike as often as not.
    assert abs(float((chosen[1:] == chosen[:-1]).float().mean()) - 0.5) < 0.02


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_square_is_blanked(shape: tuple[int, int, int, int], share: float) -> None:
    images = pictures(*shape)
    squares = draw_squares(shape[0], share, shape[2], shape[3], seeded(1))
    expected = images.clone()
    for image in range(shape[0]):
        for row, column in pixels(images):
            if within((row, column), squares[image]):
                expected[image, :, row, column] = 0
    assert torch.equal(cutout(images, squares), expected)
    assert torch.equal(augmented(images, 1, cutout=share)[0], expected)


@pytest.mark.parametrize(("share", "side"), [(0.45, 3), (0.4, 2), (0.01, 1), (1.0, 6)])
def test_cutouts_are_as_often_as_large_as_a_centre_at_any_pixel_makes_them(share: float, side: int) -> None:
    height, width, count = 6, 9, 20_000
    expected: Counter[int] = Counter()
    for row in range(height):
        for column in range(width):
            top, left = row - side // 2, column - side // 2
            rows = [r for r in range(top, top + side) if 0 <= r < height]
            columns = [c for c in range(left, left + side) if 0 <= c < width]
            expected[len(rows) * len(columns)] += 1
    squares = draw_squares(count, share, height, width, seeded(0))
    found = Counter((cutout(torch.ones(count, 1, height, width), squares) == 0).sum(dim=(1, 2, 3)).tolist())
    assert set(found) == set(expected)
    for area, centres in expected.items():
        chance = centres / (height * width)
        assert abs(found[area] / count - chance) <= 5 * math.sqrt(chance * (1 - chance) / count)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_brightness_contrast_and_saturation_change_by_their_factors(shape: tuple[int, int, int, int]) -> None:
    images = pictures(*shape).double()
    factors = draw_factors(shape[0], 0.5, seeded(3)).double()
    expected = images.numpy().copy()
    for image, (brightness, contrast, saturation) in zip(expected, factors.T.tolist(), strict=True):
        for channel in image:
            channel[:] = channel.min() + brightness * (channel - channel.min())
            channel[:] = channel.mean() + contrast * (channel - channel.mean())
        if shape[1] == 3:
            grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
            image[:] = grey + saturation * (image - grey)
    np.testing.assert_allclose(jitter(images, factors.float()).numpy(), expected, rtol=1e-5, atol=1e-5)
    found, _ = augmented(images, 3, jitter=0.5)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_factors_are_uniform_around_1_and_independent(strength: float) -> None:
    factors = draw_factors(20_000, strength, seeded(0))
    for row in (factors - 1) / strength:
        assert float(row.abs().max()) <= 1 + 1e-6
        assert float(row.abs().max()) > 0.999
        assert abs(float(row.mean())) < 5 * math.sqrt(1 / 3 / 20_000)
        assert abs(float(row.var()) - 1 / 3) < 0.01
    correlations = torch.corrcoef(factors) - torch.eye(3)
    assert float(correlations.abs().max()) < 0.04


# Mixtures.


def mixed_one_by_one(images: Tensor, mixing: Mixing) -> tuple[Tensor, list[float]]:
    """(mixtures, the share of its own that each image kept), pixel after pixel."""
    out, shares = images.clone(), []
    for image, partner in enumerate(mixing.partner.tolist()):
        kept = 0.0
        for row, column in pixels(images):
            share = 0.0 if within((row, column), mixing.boxes[image]) else float(mixing.share[image])
            own, other = images[image, :, row, column], images[partner, :, row, column]
            out[image, :, row, column] = share * own + (1 - share) * other
            kept += share
        shares.append(kept / len(pixels(images)))
    return out, shares


ALPHAS = [(0.2, 0.0), (0.0, 1.0), (1.0, 0.5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("mixup", "cutmix"), ALPHAS)
def test_images_and_targets_are_mixed_by_the_same_shares(
    shape: tuple[int, int, int, int], mixup: float, cutmix: float
) -> None:
    images, count, generator = pictures(*shape), shape[0], seeded(1)
    mixing = draw_mixing(count, mixup, cutmix, shape[2], shape[3], seeded(2))
    expected, shares = mixed_one_by_one(images, mixing)
    kinds = {
        "single": labels(count),
        "multi": torch.randint(2, (count, 5), generator=generator).to(torch.uint8),
        "multi float": torch.randint(2, (count, 5), generator=generator).float(),
        "regression": torch.randn(count, 2, generator=generator),
        "wide": torch.randn(count, 2, generator=generator).double(),
    }
    for kind, targets in kinds.items():
        found, mixed = mix(images, targets, mixing, outputs=7)
        torch.testing.assert_close(found, expected)
        rows = torch.eye(7)[targets] if kind == "single" else targets
        for image, share in enumerate(shares):
            own, other = rows[image], rows[mixing.partner[image]]
            torch.testing.assert_close(mixed[image], (share * own + (1 - share) * other).to(mixed.dtype))
        assert mixed.dtype == (torch.float64 if kind == "wide" else torch.float32)
    fields = {"mixup": mixup, "cutmix": cutmix}
    torch.testing.assert_close(augmented(images, 2, **fields)[0], expected)


@pytest.mark.parametrize(("mixup", "cutmix"), ALPHAS)
def test_a_mixture_of_labels_sums_to_1(mixup: float, cutmix: float) -> None:
    images = pictures(50, 3, 9, 6)
    _, targets = augment(images, labels(50), Recipe(**OFF, mixup=mixup, cutmix=cutmix), seeded(0), outputs=6)
    assert targets.shape == (50, 6)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(50))
    assert bool((targets >= 0).all())
    assert int((targets[:, :4] > 0).sum(dim=1).max()) == 2
    assert bool((targets[:, 4:] == 0).all())


def test_a_batch_of_one_is_mixed_with_itself() -> None:
    image = pictures(1, 3, 8, 8)
    for seed in range(5):
        found, targets = augment(image, labels(1), Recipe(**OFF, mixup=0.4, cutmix=1.0), seeded(seed), outputs=4)
        torch.testing.assert_close(found, image)
        torch.testing.assert_close(targets, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))


def test_every_image_is_the_partner_of_one() -> None:
    one, other = (draw_mixing(100, 0.2, 1.0, 8, 8, seeded(seed)).partner for seed in (0, 1))
    assert sorted(one.tolist()) == list(range(100))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("alphas", [(0.4, 0.0), (0.0, 1.0)])
def test_the_shares_are_drawn_anew_every_time(alphas: tuple[float, float]) -> None:
    generator = seeded(0)
    one, other = (draw_mixing(100, *alphas, 32, 32, generator) for _ in range(2))
    again = draw_mixing(100, *alphas, 32, 32, seeded(0))
    sizes = [mixing.boxes[:, 2:] - mixing.boxes[:, :2] for mixing in (one, other, again)]
    assert torch.equal(one.share, again.share)
    assert torch.equal(sizes[0], sizes[2])
    assert torch.equal(one.share, other.share) == (alphas[0] == 0)
    assert torch.equal(sizes[0], sizes[1]) == (alphas[1] == 0)


@pytest.mark.parametrize("alpha", [1e-9, 0.1, 0.2, 1.0, 5.0, 10.0])
def test_lambda_has_the_mean_and_the_variance_of_the_beta_distribution(alpha: float) -> None:
    share = draw_mixing(40_000, alpha, 0.0, 8, 8, seeded(0)).share.double()
    variance = 1 / (4 * (2 * alpha + 1))
    assert bool(((share >= 0) & (share <= 1)).all())
    assert abs(float(share.mean()) - 0.5) < 5 * math.sqrt(variance / 40_000)
    assert float(share.var()) == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize(
    ("alpha", "chance_below"), [(0.5, lambda x: 2 / math.pi * math.asin(math.sqrt(x))), (1.0, lambda x: x)]
)
def test_lambda_has_the_beta_distribution(alpha: float, chance_below: Any) -> None:
    """Where its distribution function is an elementary one: the arcsine law and the uniform one."""
    share = draw_mixing(20_000, alpha, 0.0, 8, 8, seeded(0)).share
    for x in (0.001, 0.05, 0.3, 0.5, 0.8, 0.99):
        chance = chance_below(x)
        assert abs(float((share < x).float().mean()) - chance) < 5 * math.sqrt(chance * (1 - chance) / 20_000)


def test_a_pasted_box_has_the_drawn_area_its_centre_at_any_pixel() -> None:
    """With alpha 1 the area is uniform, so that a side of the drawn box is at most k with probability ((k + 1)/h)²."""
    height, width, count = 6, 12, 20_000
    mixing = draw_mixing(count, 0.0, 1.0, height, width, seeded(0))
    top, left, bottom, right = mixing.boxes.unbind(dim=1)
    assert bool((mixing.share == 1).all())
    for side, whole in ((bottom - top, height), (right - left, width)):
        for k in range(whole):
            chance = ((k + 1) / whole) ** 2
            found = float((side <= k).float().mean())
            assert abs(found - chance) <= 5 * math.sqrt(chance * (1 - chance) / count)
    # Both sides come from one area: they are in the proportion of the image's.
    assert torch.equal((right - left) // 2, bottom - top)
    for first, side, whole in ((top, bottom - top, height), (left, right - left, width)):
        share = torch.bincount(first + side // 2, minlength=whole) / count
        assert len(share) == whole
        assert float((share - 1 / whole).abs().max()) < 5 * math.sqrt(1 / whole / count)


def test_with_both_on_each_image_has_one_or_the_other() -> None:
    mixing = draw_mixing(10_000, 2.0, 2.0, 32, 32, seeded(0))
    boxed = (mixing.boxes[:, 2:] > mixing.boxes[:, :2]).all(dim=1)
    assert bool((mixing.share[boxed] == 1).all())
    assert bool((mixing.share[~boxed] < 1).all())
    assert abs(float(boxed.float().mean()) - 0.5) < 0.025


def test_each_mixture_has_its_own_alpha() -> None:
    mixing = draw_mixing(20_000, 10.0, 1e-3, 32, 32, seeded(0))
    blended = mixing.share[mixing.share < 1].double()
    assert float(blended.var()) == pytest.approx(1 / 84, rel=0.1)
    # So small an alpha pastes all or nothing.
    sides = (mixing.boxes[:, 2] - mixing.boxes[:, 0])[mixing.share == 1]
    assert float(((sides == 0) | (sides >= 31)).float().mean()) > 0.98
