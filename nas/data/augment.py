"""Augmentation of a batch on the training device: every image has its own random decisions, none a Python loop.

Each operation is a pair: one function draws the parameters of all images, on the CPU, so that one seed gives one
sequence on every device; another applies them where the images are.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from nas.data.randaugment import black, blend, grey, mean, randaugment
from nas.data.tensors import random_shift
from nas.train.recipe import Recipe


def augment(
    images: Float[Tensor, "n c h w"],
    targets: Shaped[Tensor, "n ..."],
    recipe: Recipe,
    generator: torch.Generator,
    *,
    outputs: int,
) -> tuple[Float[Tensor, "n c h w"], Shaped[Tensor, "n ..."]]:
    """What the recipe says, in the order jitter, randaugment, shift, flip, cutout, and mixup or cutmix.

    Colours change first, while all pixels are the image's own: what is blanked or comes in from outside is 0, the
    mean of the data. What the recipe leaves off costs nothing; with everything off the arguments come back.

    Args:
        images: normalised: mean 0 and deviation 1 a channel. They are not written to; a result may have the memory
            format channels_last where they have another one.
        targets: int64 [n] of a single label, [n, k] of several, float [n, t] of a regression.
        recipe: its fields shift, flip, cutout, jitter, mixup, cutmix, randaugment and magnitude.
        generator: on the CPU; the only source of randomness.
        outputs: of the network; the classes of a single label.

    Returns:
        (images, targets). The targets are the same tensor unless images are mixed: then they are float mixtures,
        [n, outputs] of a single label.
    """
    count, _, height, width = images.shape
    if recipe.jitter:
        images = jitter(images, draw_factors(count, recipe.jitter, generator))
    if recipe.randaugment:
        images = randaugment(images, recipe.randaugment, recipe.magnitude, generator)
    if recipe.shift:
        images = random_shift(images, recipe.shift, generator)
    if recipe.flip:
        images = flip(images, draw_flips(count, generator))
    if recipe.cutout:
        images = cutout(images, draw_squares(count, recipe.cutout, height, width, generator))
    if recipe.mixup or recipe.cutmix:
        mixing = draw_mixing(count, recipe.mixup, recipe.cutmix, height, width, generator)
        return mix(images, targets, mixing, outputs=outputs)
    return images, targets


def draw_factors(count: int, strength: float, generator: torch.Generator) -> Float[Tensor, "3 n"]:
    """Factors of brightness, contrast and saturation of each image, uniform in [1 − strength, 1 + strength]."""
    return 1 + strength * (2 * torch.rand(3, count, generator=generator) - 1)


def jitter(images: Float[Tensor, "n c h w"], factors: Float[Tensor, "3 n"]) -> Float[Tensor, "n c h w"]:
    """Changes brightness, contrast and, of three channels, saturation, in this order, by factors (1: as it was).

    Each moves the values away from or towards those of a faded image: the darkest value of each channel, the mean of
    each channel, the grey image. On bytes that is Pillow's ImageEnhance, but that nothing is clipped here.
    """
    images = blend(black(images), images, factors[0])
    images = blend(mean(images), images, factors[1])
    return blend(grey(images), images, factors[2]) if images.shape[1] == 3 else images


def draw_flips(count: int, generator: torch.Generator) -> Bool[Tensor, " n"]:
    """Which images are mirrored: each with probability 1/2."""
    return torch.randint(2, (count,), generator=generator) == 1


def flip(images: Float[Tensor, "n c h w"], mirrored: Bool[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Mirrors some of the images, left to right."""
    return torch.where(mirrored[:, None, None, None].to(images.device), images.flip(3), images)


def draw_squares(count: int, share: float, height: int, width: int, generator: torch.Generator) -> Int64[Tensor, "n 4"]:
    """A square for each image, (top, left, bottom, right), its centre at a random pixel: it may reach outside.

    Its side is `share` of the image's shorter one, rounded, and one pixel at least.
    """
    sides = torch.full((count, 2), max(1, round(share * min(height, width))))
    return _draw_boxes(sides, height, width, generator)


def cutout(images: Float[Tensor, "n c h w"], squares: Int64[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """Blanks a part of each image (DeVries and Taylor 2017, section 3.2)."""
    return torch.where(_inside(squares, images), 0.0, images)


@dataclass(frozen=True, eq=False, slots=True)
class Mixing:
    """How images are mixed, on the CPU: image i keeps `share` of its own, but in its box nothing; the rest is j's.

    Attributes:
        partner: j of each image.
        share: lambda of mixup; 1 for an image that cutmix has.
        boxes: (top, left, bottom, right) of what cutmix pastes; empty for an image that mixup has.
    """

    partner: Int64[Tensor, " n"]
    share: Float[Tensor, " n"]
    boxes: Int64[Tensor, "n 4"]


def draw_mixing(count: int, mixup: float, cutmix: float, height: int, width: int, generator: torch.Generator) -> Mixing:
    """Partners, one permutation of the batch, and lambda ~ Beta(alpha, alpha) of each image.

    Args:
        count: images in the batch.
        mixup: alpha of Zhang et al. 2018, section 2; 0: none.
        cutmix: alpha of Yun et al. 2019, section 3.1: a box with 1 − lambda of the area, its centre at a random pixel;
            0: none. Where both are more than 0, each image has one or the other with probability 1/2.
        height, width: of the images.
        generator: on the CPU.
    """
    partner = torch.randperm(count, generator=generator)
    pasted = torch.rand(count, generator=generator) < (0.5 if mixup and cutmix else float(cutmix > 0))
    share = torch.ones(count)
    sides = torch.zeros(count, 2, dtype=torch.int64)
    if mixup:
        share = torch.where(pasted, share, _draw_beta(mixup, count, generator))
    if cutmix:
        side = (1 - _draw_beta(cutmix, count, generator)).sqrt()[:, None]
        sides = torch.where(pasted[:, None], (side * torch.tensor([height, width])).long(), sides)
    return Mixing(partner, share, _draw_boxes(sides, height, width, generator))


def mix(
    images: Float[Tensor, "n c h w"], targets: Shaped[Tensor, "n ..."], mixing: Mixing, *, outputs: int
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n k"]]:
    """Mixes each image with its partner, and the targets by what it kept on the average over its pixels.

    So a target follows the pixels that cutmix did paste, not the area that was drawn and may reach outside.
    """
    partner = mixing.partner.to(images.device)
    share = mixing.share.to(images.device)[:, None, None, None]
    kept = torch.where(_inside(mixing.boxes, images), 0.0, share)
    if targets.ndim == 1:
        targets = F.one_hot(targets, outputs)
    targets = targets if targets.is_floating_point() else targets.float()
    mixed = torch.lerp(targets[partner], targets, kept.mean(dim=(1, 2, 3))[:, None].to(targets))
    return torch.lerp(images[partner], images, kept.to(images)), mixed


def _draw_beta(alpha: float, count: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """Beta(alpha, alpha) for each image. torch's takes no generator, numpy's takes a seed, which is drawn here."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count)).float()


def _draw_boxes(
    sides: Int64[Tensor, "n 2"], height: int, width: int, generator: torch.Generator
) -> Int64[Tensor, "n 4"]:
    """(top, left, bottom, right) of boxes (height, width) around random pixels; bottom and right are just outside."""
    rows = torch.randint(height, (len(sides),), generator=generator)
    columns = torch.randint(width, (len(sides),), generator=generator)
    first = torch.stack([rows, columns], dim=1) - sides // 2
    return torch.cat([first, first + sides], dim=1)


def _inside(boxes: Int64[Tensor, "n 4"], images: Float[Tensor, "n c h w"]) -> Bool[Tensor, "n 1 h w"]:
    """The pixels of each image that are in its box."""
    top, left, bottom, right = boxes.to(images.device)[:, :, None].unbind(dim=1)
    row, column = (torch.arange(side, device=images.device) for side in images.shape[2:])
    rows, columns = (top <= row) & (row < bottom), (left <= column) & (column < right)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
