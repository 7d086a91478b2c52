import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from nas.data.randaugment import (
    GEOMETRIC,
    PHOTOMETRIC,
    apply_operations,
    autocontrast,
    draw_operations,
    operations,
    posterize,
    randaugment,
    solarize,
)

SHAPES = [(1, 1, 8, 8), (5, 3, 7, 4), (4, 2, 5, 9)]
NAMES = [*PHOTOMETRIC, *GEOMETRIC]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(0))


def applied(name: str, images: Tensor, strength: list[float]) -> Tensor:
    """One operation on all images."""
    place = operations(images.shape[1]).index(name)
    return apply_operations(images, torch.full((len(images),), place), torch.tensor(strength))


# The operations, against what is established.

MEAN, DEVIATION = 117.0, 61.0


def by_pillow(name: str, picture: Image.Image, strength: float) -> Image.Image:
    """What Pillow does to bytes, at the strengths of Cubuk et al."""
    size = abs(strength)
    factor = 1 + 0.9 * strength
    match name:
        case "identity":
            return picture
        case "autocontrast":
            return ImageOps.autocontrast(picture)
        case "brightness":
            return ImageEnhance.Brightness(picture).enhance(factor)
        case "contrast":
            return ImageEnhance.Contrast(picture).enhance(factor)
        case "saturation":
            return ImageEnhance.Color(picture).enhance(factor)
        case "sharpness":
            return ImageEnhance.Sharpness(picture).enhance(factor)
        case "posterize":
            return ImageOps.posterize(picture, 8 - round(4 * size))
        case "solarize":
            return ImageOps.solarize(picture, 256 * (1 - size))  # type: ignore[arg-type]  # compares by <
    raise AssertionError(name)


@pytest.mark.parametrize("strength", [0.0, 0.3, -0.3, 0.9, -0.9, 1.0])
@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_colours_change_as_pillow_changes_them(name: str, strength: float) -> None:
    """Up to its rounding, for images that hold black and white, after clipping."""
    rng = np.random.default_rng(0)
    channels = 3 if name == "saturation" else 1
    bytes_ = rng.integers(0, 256, (2, channels, 9, 7), dtype=np.uint8)
    if name != "autocontrast":
        bytes_[:, :, 1, 1], bytes_[:, :, 2, 2] = 0, 255
    images = (torch.from_numpy(bytes_).float() - MEAN) / DEVIATION
    found = applied(name, images, [strength, strength]).numpy()
    # Autocontrast has no bytes to stretch to: two deviations on either side stand for black and white.
    found = (found + 2) / 4 * 255 if name == "autocontrast" else found * DEVIATION + MEAN
    for image, result in zip(bytes_, found, strict=True):
        picture = Image.fromarray(image[0] if channels == 1 else image.transpose(1, 2, 0))
        expected = np.asarray(by_pillow(name, picture, strength), dtype=np.float64)
        expected = expected[None] if channels == 1 else expected.transpose(2, 0, 1)
        np.testing.assert_allclose(result.clip(0, 255), expected, atol=1.6)


def test_every_channel_of_every_image_has_its_own_black_and_white() -> None:
    images = pictures(4, 2, 6, 5).double() * torch.tensor([1.0, 5.0]).view(1, 2, 1, 1) + 3
    bits = torch.tensor([1.0, 2.0, 3.0, 8.0])
    threshold = torch.tensor([0.0, 0.3, 0.7, 1.0])
    poster, solar, stretched = posterize(images, bits), solarize(images, threshold), autocontrast(images)
    for image in range(4):
        steps, limit = 2 ** int(bits[image]), float(threshold[image])
        for channel in range(2):
            values = images[image, channel].flatten().tolist()
            low, high = min(values), max(values)
            position = [(value - low) / (high - low) for value in values]
            even = [low + (high - low) * min(math.floor(at * steps), steps - 1) / steps for at in position]
            turned = [
                low + high - value if at >= limit * 256 / 255 else value
                for value, at in zip(values, position, strict=True)
            ]
            torch.testing.assert_close(poster[image, channel].flatten().tolist(), even)
            torch.testing.assert_close(solar[image, channel].flatten().tolist(), turned)
            torch.testing.assert_close(stretched[image, channel].flatten().tolist(), [4 * at - 2 for at in position])
    assert torch.equal(solar[3], images[3])


def source_of(name: str, strength: float, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Where the value of a place comes from: (x, y) in pixels from the centre of an image (height, width)."""
    angle = math.radians(30) * strength
    return {
        "rotate": (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)),
        "shear_x": (x + 0.3 * strength * y, y),
        "shear_y": (x, y + 0.3 * strength * x),
        "translate_x": (x + 150 / 331 * strength * size[1], y),
        "translate_y": (x, y + 150 / 331 * strength * size[0]),
    }[name]


def moved_pixel_by_pixel(name: str, image: Tensor, strength: float) -> Tensor:
    """Every value is that of its source, bilinear between the four pixels around it, 0 outside."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            x, y = source_of(name, strength, column - (width - 1) / 2, row - (height - 1) / 2, (height, width))
            x, y = x + (width - 1) / 2, y + (height - 1) / 2
            for r in (math.floor(y), math.floor(y) + 1):
                for c in (math.floor(x), math.floor(x) + 1):
                    if 0 <= r < height and 0 <= c < width:
                        out[:, row, column] += image[:, r, c] * (1 - abs(y - r)) * (1 - abs(x - c))
    return out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", GEOMETRIC)
def test_images_move_about_their_centre(name: str, shape: tuple[int, int, int, int]) -> None:
    images = pictures(*shape)
    strength = [1.0, -0.7, 0.3, 0.0, 0.5][: len(images)]
    found = applied(name, images, strength)
    for image, result, one in zip(images, found, strength, strict=True):
        torch.testing.assert_close(result, moved_pixel_by_pixel(name, image, one), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_or_tiny_image_stays_finite(name: str) -> None:
    for shape in ((2, 3, 1, 1), (2, 3, 2, 2), (2, 3, 6, 6)):
        constant = torch.full(shape, 0.7)
        found = applied(name, constant, [0.6, -0.6])
        assert bool(found.isfinite().all())
        if name in PHOTOMETRIC:
            torch.testing.assert_close(found, constant)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "autocontrast"])
def test_at_strength_0_nothing_changes(name: str) -> None:
    """Posterize rounds down to one of 256 steps even then, as bytes are."""
    images = pictures(3, 3, 8, 7)
    step = float((images.amax(dim=(2, 3)) - images.amin(dim=(2, 3))).max()) / 256
    found = applied(name, images, [0.0] * 3)
    torch.testing.assert_close(found, images, rtol=0, atol=step + 1e-5 if name == "posterize" else 1e-5)


# Which operation an image has.


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_saturation_is_for_three_channels(channels: int) -> None:
    assert operations(channels) == [name for name in NAMES if channels == 3 or name != "saturation"]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_of_a_batch_has_its_own_operation(channels: int) -> None:
    """All operations in one batch, twice and in no order, are those of each image alone."""
    count = 2 * len(operations(channels))
    images = pictures(count, channels, 7, 6)
    chosen = torch.randperm(count, generator=seeded(1)) % (count // 2)
    strength = torch.linspace(-1, 1, count)
    found = apply_operations(images, chosen, strength)
    for image in range(count):
        one = slice(image, image + 1)
        alone = applied(operations(channels)[int(chosen[image])], images[one], [float(strength[image])])
        torch.testing.assert_close(found[one], alone, rtol=1e-5, atol=1e-5)
    assert len({tuple(result.flatten().tolist()) for result in found}) == count


def test_all_operations_and_both_directions_are_equally_frequent() -> None:
    chosen, strength = draw_operations(20_000, 3, 2, 0.3, seeded(0))
    assert chosen.shape == strength.shape == (2, 20_000)
    chance = 1 / 13
    for round_, its_strength in zip(chosen, strength, strict=True):
        share = torch.bincount(round_, minlength=13) / 20_000
        assert len(share) == 13
        assert float((share - chance).abs().max()) < 5 * math.sqrt(chance * (1 - chance) / 20_000)
        assert set(its_strength.tolist()) == {float(torch.tensor(sign * 0.3)) for sign in (-1, 1)}
        assert abs(float((its_strength > 0).float().mean()) - 0.5) < 5 * math.sqrt(0.25 / 20_000)
    # The rounds know nothing of each other.
    assert abs(float((chosen[0] == chosen[1]).float().mean()) - chance) < 0.01
    assert abs(float((strength[0] == strength[1]).float().mean()) - 0.5) < 0.02


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_rounds_follow_each_other(rounds: int) -> None:
    images = pictures(30, 3, 8, 8)
    chosen, strength = draw_operations(30, 3, rounds, 0.6, seeded(5))
    expected = images
    for round_ in range(rounds):
        expected = apply_operations(expected, chosen[round_], strength[round_])
    assert torch.equal(randaugment(images, rounds, 0.6, seeded(5)), expected)
