"""The head in the middle of a network that helps to train it, and is thrown away afterwards."""

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.kernels import Pointwise
from nas.model.style import Style
from nas.space.shape import Stem


class AuxiliaryHead(nn.Module):
    """Averages over four corners, two convolutions down to one pixel, a classifier: [N, c_in, H, W] → [N, outputs].

    AuxiliaryHeadCIFAR and AuxiliaryHeadImageNet in the published code of Liu et al. 2019, who had no second norm on
    ImageNet (and no bias in its place). They expect maps of 8×8 and 7×7 pixels; see `corners` for others.

    Args:
        c_in: channels where it is attached.
        outputs: of the network.
        style: activation and norm.
        stem: of the network.
    """

    def __init__(self, c_in: int, outputs: int, style: Style, *, stem: Stem) -> None:
        super().__init__()
        second = [] if stem == "imagenet" and style.norm != "none" else [style.normalise(768)]
        self.activation = style.activate()
        self.features = nn.Sequential(
            Pointwise(c_in, 128, bias=style.bias),
            style.normalise(128),
            style.activate(),
            nn.Conv2d(128, 768, 2, bias=style.bias),
            *second,
            style.activate(),
        )
        self.classifier = nn.Linear(768, outputs)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n outputs"]:
        """See the class."""
        logits: Tensor = self.classifier(self.features(corners(self.activation(x))).flatten(1))
        return logits


def corners(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2 2"]:
    """Means over a window in each corner of maps of any size.

    A window's side is five eighths of the map's, rounded: 5 of 8 and 5 of 7 pixels, as published.
    """
    height, width = (max(2, side) for side in x.shape[2:])
    x = x.expand(-1, -1, height, width)  # a single row is both the upper and the lower one
    window = ((5 * height + 5) // 8, (5 * width + 5) // 8)
    return F.avg_pool2d(x, window, (height - window[0], width - window[1]))
