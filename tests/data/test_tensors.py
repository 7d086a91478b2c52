import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.builtin import BUILTIN
from nas.data.tensors import Batchable, Normalise, random_shift

CPU = torch.device("cpu")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_holds_its_images_and_labels(split: str) -> None:
    data = BUILTIN["digits"].load()
    found = Batchable.of(data, split, CPU)
    indices = getattr(data, split)
    assert len(found) == len(indices)
    np.testing.assert_array_equal(found.images.numpy(), data.images[indices], strict=True)
    np.testing.assert_array_equal(found.labels.numpy(), data.labels[indices], strict=True)


def test_normalised_images_have_mean_0_and_deviation_1_in_every_channel() -> None:
    rng = np.random.default_rng(0)
    images = np.stack([rng.integers(0, 256, (50, 6, 5)), rng.integers(100, 110, (50, 6, 5))], axis=1).astype(np.uint8)
    normalise = Normalise.of(torch.from_numpy(images))
    mean = images.mean(axis=(0, 2, 3), keepdims=True)
    std = images.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(normalise.mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(normalise.std.numpy(), std, rtol=1e-6)
    out = normalise(torch.from_numpy(images))
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.numpy(), (images - mean) / std, rtol=1e-4, atol=1e-5)


def test_other_images_are_normalised_by_the_statistics_that_were_measured() -> None:
    normalise = Normalise.of(torch.tensor([0, 2], dtype=torch.uint8).view(2, 1, 1, 1))
    assert normalise(torch.tensor([5], dtype=torch.uint8).view(1, 1, 1, 1)).item() == 4.0


def test_a_constant_channel_becomes_zero() -> None:
    images = torch.full((4, 2, 3, 3), 7, dtype=torch.uint8)
    images[:, 1, 0, 0] = 9
    out = Normalise.of(images)(images)
    assert bool((out[:, 0] == 0).all())
    assert bool(out.isfinite().all())


def test_the_statistics_stay_with_the_network() -> None:
    normalise = Normalise.of(torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8))
    other = Normalise(torch.zeros(3), torch.ones(3))
    other.load_state_dict(normalise.state_dict())
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    assert torch.equal(other(images), normalise(images))


def shifted_one_by_one(images: Tensor, pixels: int, seed: int) -> Tensor:
    """The same in the plainest way: image after image, pixel after pixel."""
    count, channels, height, width = images.shape
    offsets = torch.randint(0, 2 * pixels + 1, (2, count), generator=torch.Generator().manual_seed(seed))
    out = torch.zeros_like(images)
    for image in range(count):
        down, right = (int(offset) - pixels for offset in offsets[:, image])
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        out[image, channel, row, column] = images[image, channel, row + down, column + right]
    return out


@pytest.mark.parametrize(("shape", "pixels"), [((6, 1, 8, 8), 1), ((5, 3, 4, 7), 2), ((4, 2, 3, 2), 4)])
def test_every_image_is_shifted_by_its_own_offset(shape: tuple[int, ...], pixels: int) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    shifted = random_shift(images, pixels, torch.Generator().manual_seed(1))
    assert torch.equal(shifted, shifted_one_by_one(images, pixels, 1))


def test_all_shifts_up_to_the_furthest_one_occur() -> None:
    images = torch.zeros(400, 1, 7, 7)
    images[:, :, 3, 3] = 1
    shifted = random_shift(images, 2, torch.Generator().manual_seed(0))
    places = {(int(row), int(column)) for _, _, row, column in shifted.nonzero()}
    assert places == {(row, column) for row in range(1, 6) for column in range(1, 6)}


def test_a_shift_of_0_changes_nothing() -> None:
    images = torch.randn(5, 3, 4, 7)
    assert torch.equal(random_shift(images, 0, torch.Generator().manual_seed(0)), images)


def test_the_generator_decides_the_shifts() -> None:
    images = torch.randn(50, 1, 8, 8)
    one, again, other = (random_shift(images, 2, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_generator_that_goes_on_gives_other_shifts() -> None:
    images, generator = torch.randn(50, 1, 8, 8), torch.Generator().manual_seed(0)
    assert not torch.equal(random_shift(images, 2, generator), random_shift(images, 2, generator))
