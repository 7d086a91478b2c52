"""RandAugment: a few random operations on each image of a batch, on normalised values.

Normalised images do not say which value was black and which was white, so that an operation takes the darkest and the
brightest value of each channel of the image itself for them. Where an image holds both, this is what image libraries
compute on bytes, without their rounding and without clipping of what becomes brighter than white.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float, Int64
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]
"""(images [n, c, h, w], strength in [-1, 1] of each image [n]) → images [n, c, h, w]."""

PHOTOMETRIC: Final[dict[str, Operation]] = {
    "identity": lambda images, _: images,
    "autocontrast": lambda images, _: autocontrast(images),
    "brightness": lambda images, strength: blend(black(images), images, 1 + 0.9 * strength),
    "contrast": lambda images, strength: blend(mean(images), images, 1 + 0.9 * strength),
    "saturation": lambda images, strength: blend(grey(images), images, 1 + 0.9 * strength),
    "sharpness": lambda images, strength: blend(smoothed(images), images, 1 + 0.9 * strength),
    "posterize": lambda images, strength: posterize(images, 8 - (4 * strength.abs()).round()),
    "solarize": lambda images, strength: solarize(images, 1 - strength.abs()),
}

GEOMETRIC: Final[dict[str, float]] = {
    "rotate": math.pi / 6,  # radians
    "shear_x": 0.3,
    "shear_y": 0.3,
    "translate_x": 150 / 331,  # of the width
    "translate_y": 150 / 331,  # of the height
}
"""How far each goes at strength 1. The strengths are those of Cubuk et al. 2020, whose M is 30 at magnitude 1."""


def operations(channels: int) -> list[str]:
    """What can happen to an image, photometric operations first; saturation is a matter of three channels."""
    return [name for name in PHOTOMETRIC if name != "saturation" or channels == 3] + list(GEOMETRIC)


def randaugment(
    images: Float[Tensor, "n c h w"], rounds: int, magnitude: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Applies `rounds` operations to each image, every one drawn anew from all (Cubuk et al. 2020, section 3).

    Their space without equalize, which histograms of bytes define. An operation that can go two ways goes either.

    Args:
        images: normalised, so that what comes in from outside the image is the mean of the data.
        rounds: operations on each image.
        magnitude: 0..1, of every operation.
        generator: on the CPU, so that one seed gives one sequence on every device.
    """
    chosen, strength = draw_operations(len(images), images.shape[1], rounds, magnitude, generator)
    for one_each, its_strength in zip(chosen, strength, strict=True):
        images = apply_operations(images, one_each, its_strength)
    return images


def draw_operations(
    count: int, channels: int, rounds: int, magnitude: float, generator: torch.Generator
) -> tuple[Int64[Tensor, "rounds n"], Float[Tensor, "rounds n"]]:
    """(places in `operations(channels)`, strengths of either sign) for every round and image, on the CPU."""
    chosen = torch.randint(len(operations(channels)), (rounds, count), generator=generator)
    sign = 2 * torch.randint(2, (rounds, count), generator=generator) - 1
    return chosen, magnitude * sign.float()


def apply_operations(
    images: Float[Tensor, "n c h w"], chosen: Int64[Tensor, " n"], strength: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Applies to each image the operation that stands at its place in `operations`, all geometric ones at once.

    `chosen` and `strength` are on the CPU: which images go together is known there, without waiting for a device.
    """
    _, channels, height, width = images.shape
    photometric = operations(channels)[: -len(GEOMETRIC)]
    # Sorted by operation, each one has its images side by side and is computed for those only.
    order = chosen.argsort(stable=True)
    counts = torch.bincount(chosen, minlength=len(photometric))[: len(photometric)].tolist()
    counts.append(len(images) - sum(counts))
    *pieces, moved = torch.split(images[order.to(images.device)], counts)
    strengths = torch.split(strength[order].to(images), counts)
    done = [
        PHOTOMETRIC[name](piece, its_strength)
        for name, piece, its_strength in zip(photometric, pieces, strengths[:-1], strict=True)
        if len(piece)
    ]
    if len(moved):
        last = order[-len(moved) :]
        theta = matrices(chosen[last] - len(photometric), strength[last], height / width).to(images)
        grid = F.affine_grid(theta, list(moved.shape), align_corners=False)
        # grid_sample answers in its own memory format; pieces of different ones would not go together.
        done.append(torch.empty_like(moved).copy_(F.grid_sample(moved, grid, align_corners=False)))
    return torch.cat(done)[order.argsort().to(images.device)]


def matrices(place: Int64[Tensor, " n"], strength: Float[Tensor, " n"], aspect: float) -> Float[Tensor, "n 2 3"]:
    """For each image the map from a place in the result to its source, about the centre; `aspect` is height / width.

    Both sides of the image go from -1 to 1 in it, as torch's affine_grid has them, so that the aspect keeps angles.
    """
    amounts = torch.zeros(len(GEOMETRIC), len(place)).scatter(0, place[None], strength[None])
    angle, shear_x, shear_y, right, down = amounts * torch.tensor(list(GEOMETRIC.values()))[:, None]
    # Only one of the five is not 0, which is why they can be added up.
    x = torch.stack([angle.cos(), (shear_x - angle.sin()) * aspect, 2 * right], dim=1)
    y = torch.stack([(shear_y + angle.sin()) / aspect, angle.cos(), 2 * down], dim=1)
    return torch.stack([x, y], dim=1)


def blend(
    faded: Float[Tensor, "n _ _ _"], images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """faded + factor · (images − faded), a factor for each image: 0 fades it, 1 keeps it, more exaggerates it."""
    return torch.lerp(faded, images, factor[:, None, None, None].to(images))


def black(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
    """The darkest value of each channel of each image; brightness fades to it."""
    return images.amin(dim=(2, 3), keepdim=True)


def mean(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
    """The mean of each channel of each image; contrast fades to it."""
    return images.mean(dim=(2, 3), keepdim=True)


def grey(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """The luma of ITU-R BT.601, of normalised red, green and blue; saturation fades to it."""
    red, green, blue = images.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def smoothed(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each pixel averaged with its eight neighbours, itself five times, but at the border; sharpness fades to it."""
    if min(images.shape[2:]) < 3:
        return images
    out = images.clone()
    out[:, :, 1:-1, 1:-1] = (9 * F.avg_pool2d(images, 3, stride=1) + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return out


def autocontrast(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Stretches each channel to two deviations of the data on either side of its mean; a constant one stays."""
    low, span = _range(images)
    return torch.where(span > 0, 4 * _position(images, low, span) - 2, images)


def posterize(images: Float[Tensor, "n c h w"], bits: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Rounds down to 2^bits even steps from the darkest to the brightest value of each channel."""
    low, span = _range(images)
    steps = 2 ** bits[:, None, None, None].to(images)
    # The brightest value is at the top of the last step, not in one of its own.
    step = torch.minimum((_position(images, low, span) * steps).floor(), steps - 1)
    return low + span * step / steps


def solarize(images: Float[Tensor, "n c h w"], threshold: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Inverts what is at or above the threshold: a share of the way from each channel's darkest to its brightest.

    A threshold of 1 is above the brightest, as 256 is above 255: it inverts nothing, and 0 inverts everything.
    """
    low, span = _range(images)
    inverted = _position(images, low, span) >= threshold[:, None, None, None].to(images) * 256 / 255
    return torch.where(inverted, 2 * low + span - images, images)


def _range(images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c 1 1"], Float[Tensor, "n c 1 1"]]:
    """(darkest value, distance to the brightest one) of each channel of each image."""
    low = black(images)
    return low, images.amax(dim=(2, 3), keepdim=True) - low


def _position(
    images: Float[Tensor, "n c h w"], low: Float[Tensor, "n c 1 1"], span: Float[Tensor, "n c 1 1"]
) -> Float[Tensor, "n c h w"]:
    """0 for the darkest value, 1 for the brightest; 0 in a constant channel."""
    return (images - low) / torch.where(span > 0, span, 1)
