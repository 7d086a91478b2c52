"""The plain residual network that every search is compared with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.base import Network
from nas.model.kernels import Convolution, Pointwise
from nas.space import ResidualNet


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(c_in, c_out, 3, stride, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            Convolution(c_out, c_out, 3, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(Pointwise(c_in, c_out, stride), nn.BatchNorm2d(c_out))

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResidualNetwork(Network):
    """He et al. 2016, section 4.2, with projection shortcuts. [N, in_channels, H, W] → logits [N, outputs]."""

    def __init__(self, shape: ResidualNet, *, in_channels: int, outputs: int) -> None:
        super().__init__()
        widths = [shape.width * 2**stage for stage in range(3)]
        self.stem = nn.Sequential(
            Convolution(in_channels, widths[0], 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks, c_in = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(shape.blocks):
                blocks.append(BasicBlock(c_in, width, 2 if stage > 0 and block == 0 else 1))
                c_in = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(c_in, outputs)

    def features(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n a i j"], Float[Tensor, "n a i j"]]:
        """See Network; there is no auxiliary head."""
        out = self.blocks(self.stem(x))
        return out, out
