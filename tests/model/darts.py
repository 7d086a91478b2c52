"""The evaluation network of Liu et al. 2019 once more, in the plainest way and sharing nothing with nas.model.

Follows cnn/operations.py and cnn/model.py of quark0/darts: NetworkCIFAR and NetworkImageNet with their auxiliary heads,
without drop path. One thing is added, which that code cannot do: FactorizedReduce takes images of odd height or width.
"""

import torch
from torch import Tensor, nn

from nas.space import Cell, Genotype


class ReLUConvBN(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.conv(torch.relu(x)))
        return result


class FactorizedReduce(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        assert c_out % 2 == 0
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        even = torch.zeros(n, c, h + h % 2, w + w % 2, dtype=x.dtype)
        even[:, :, :h, :w] = torch.relu(x)
        result: Tensor = self.bn(torch.cat([self.conv_1(even), self.conv_2(even[:, :, 1:, 1:])], dim=1))
        return result


class DilConv(nn.Module):
    def __init__(self, c: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False)
        self.pointwise = nn.Conv2d(c, c, 1, bias=False)
        self.bn = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.pointwise(self.depthwise(torch.relu(x))))
        return result


class SepConv(nn.Module):
    def __init__(self, c: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.depthwise_1 = nn.Conv2d(c, c, kernel, stride, padding, groups=c, bias=False)
        self.pointwise_1 = nn.Conv2d(c, c, 1, bias=False)
        self.bn_1 = nn.BatchNorm2d(c)
        self.depthwise_2 = nn.Conv2d(c, c, kernel, 1, padding, groups=c, bias=False)
        self.pointwise_2 = nn.Conv2d(c, c, 1, bias=False)
        self.bn_2 = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn_1(self.pointwise_1(self.depthwise_1(torch.relu(x))))
        result: Tensor = self.bn_2(self.pointwise_2(self.depthwise_2(torch.relu(x))))
        return result


class SevenByOne(nn.Module):
    def __init__(self, c: int, stride: int) -> None:
        super().__init__()
        self.row = nn.Conv2d(c, c, (1, 7), stride=(1, stride), padding=(0, 3), bias=False)
        self.column = nn.Conv2d(c, c, (7, 1), stride=(stride, 1), padding=(3, 0), bias=False)
        self.bn = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.column(self.row(torch.relu(x))))
        return result


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


def operation(name: str, c: int, stride: int) -> nn.Module:
    if name == "none":
        return Zero(stride)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride=stride, padding=1)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
    if name == "sep_conv_3x3":
        return SepConv(c, 3, stride, 1)
    if name == "sep_conv_5x5":
        return SepConv(c, 5, stride, 2)
    if name == "sep_conv_7x7":
        return SepConv(c, 7, stride, 3)
    if name == "dil_conv_3x3":
        return DilConv(c, 3, stride, 2, 2)
    if name == "dil_conv_5x5":
        return DilConv(c, 5, stride, 4, 2)
    assert name == "conv_7x1_1x7"
    return SevenByOne(c, stride)


class DartsCell(nn.Module):
    def __init__(
        self, cell: Cell, c_prev_prev: int, c_prev: int, c: int, reduction: bool, reduction_prev: bool
    ) -> None:
        super().__init__()
        self.preprocess0 = FactorizedReduce(c_prev_prev, c) if reduction_prev else ReLUConvBN(c_prev_prev, c)
        self.preprocess1 = ReLUConvBN(c_prev, c)
        self.ops = nn.ModuleList()
        for edges in cell.nodes:
            for edge in edges:
                self.ops.append(operation(edge.op, c, 2 if reduction and edge.source < 2 else 1))
        self.cell = cell

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        used = 0
        for edges in self.cell.nodes:
            node = torch.zeros(())
            for edge in edges:
                node = node + self.ops[used](states[edge.source])
                used += 1
            states.append(node)
        return torch.cat([states[index] for index in self.cell.concat], dim=1)


class AuxiliaryHead(nn.Module):
    """For maps of 8×8 pixels (stride 3) or 7×7 (stride 2, ImageNet: without the second batch norm)."""

    def __init__(self, c: int, classes: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=stride, padding=0, count_include_pad=False)
        self.conv_1 = nn.Conv2d(c, 128, 1, bias=False)
        self.bn_1 = nn.BatchNorm2d(128)
        self.conv_2 = nn.Conv2d(128, 768, 2, bias=False)
        self.bn_2 = nn.BatchNorm2d(768) if stride == 3 else None
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_2(torch.relu(self.bn_1(self.conv_1(self.pool(torch.relu(x))))))
        x = torch.relu(x if self.bn_2 is None else self.bn_2(x))
        result: Tensor = self.classifier(x.view(x.size(0), -1))
        return result


class DartsNetwork(nn.Module):
    """NetworkCIFAR, or NetworkImageNet with `imagenet`."""

    def __init__(
        self,
        genotype: Genotype,
        c: int,
        layers: int,
        in_channels: int,
        classes: int,
        auxiliary: bool = False,
        imagenet: bool = False,
    ) -> None:
        super().__init__()
        self.imagenet = imagenet
        if imagenet:
            self.stem0 = nn.Sequential(
                nn.Conv2d(in_channels, c // 2, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(c // 2),
                nn.ReLU(),
                nn.Conv2d(c // 2, c, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(c),
            )
            self.stem1 = nn.Sequential(
                nn.ReLU(), nn.Conv2d(c, c, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(c)
            )
        else:
            self.stem = nn.Sequential(nn.Conv2d(in_channels, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))
        self.cells = nn.ModuleList()
        c_stem = c if imagenet else 3 * c
        c_prev_prev, c_prev, c_curr, reduction_prev = c_stem, c_stem, c, imagenet
        for i in range(layers):
            reduction = i in (layers // 3, 2 * layers // 3)
            if reduction:
                c_curr *= 2
            cell = genotype.reduce if reduction else genotype.normal
            self.cells.append(DartsCell(cell, c_prev_prev, c_prev, c_curr, reduction, reduction_prev))
            c_prev_prev, c_prev, reduction_prev = c_prev, len(cell.concat) * c_curr, reduction
            if i == 2 * layers // 3:
                c_to_auxiliary = c_prev
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_prev, classes)
        self.auxiliary_head = AuxiliaryHead(c_to_auxiliary, classes, 2 if imagenet else 3) if auxiliary else None

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        logits_aux = None
        if self.imagenet:
            s0 = self.stem0(x)
            s1 = self.stem1(s0)
        else:
            s0 = s1 = self.stem(x)
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1)
            if i == 2 * len(self.cells) // 3 and self.auxiliary_head is not None:
                logits_aux = self.auxiliary_head(s1)
        logits: Tensor = self.classifier(self.global_pooling(s1).flatten(1))
        return logits, logits_aux
