"""TensorBoard logs of a training, on request: what plain `tensorboard` shows of it."""

import logging
import math
import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.train.epoch import EpochResult

FEATURE_MAPS = 16
"""Channels of a feature map that are shown."""

log = logging.getLogger(__name__)


class Board:
    """Writes scalars, weight histograms, first-layer kernels, feature maps and the graph of one training.

    A log is a file of TFRecords, so that parts of it are joined by writing one behind the other: those of the epochs,
    and those of an interrupted training and of its resumption.
    """

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter  # a third of a second that few trainings need

        self._folder = tempfile.TemporaryDirectory(prefix="nas-board-")
        self._writer = SummaryWriter(self._folder.name)
        self._taken = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._folder.cleanup()

    def log(self, result: EpochResult, network: nn.Module, images: Float[Tensor, "n c h w"]) -> None:
        """Logs an epoch.

        Args:
            result: what the epoch showed.
            network: normalised images → outputs; it is looked at in evaluation mode and left as it was.
            images: a few normalised images whose feature maps are shown; the graph is logged with the first epoch.
        """
        training = network.training
        network.eval()
        try:
            self._scalars(result)
            self._weights(result.epoch, network)
            self._feature_maps(result.epoch, network, images[:1])
            if result.epoch == 1:
                self._graph(network, images[:1])
        finally:
            network.train(training)

    def take(self) -> bytes:
        """What was logged since the last time, as a part of an events file."""
        self._writer.flush()
        [path] = Path(self._folder.name).iterdir()
        with path.open("rb") as file:
            file.seek(self._taken)
            part = file.read()
        self._taken += len(part)
        return part

    def _scalars(self, result: EpochResult) -> None:
        shown = {
            "loss/train": result.train_loss,
            "loss/validation": result.validation_loss,
            "score/validation": result.validation_accuracy,
            "lr": result.lr,
            "seconds": result.seconds,
        }
        shown |= {f"metrics/{name}": value for name, value in dict(result.metrics).items()}
        for name, value in shown.items():
            self._writer.add_scalar(name, value, result.epoch)

    def _weights(self, epoch: int, network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                self._writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), epoch)
        first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
        if first is not None:
            kernels = first.weight.detach().float().cpu()
            shown = kernels if kernels.shape[1] == 3 else kernels[:, :1]
            self._writer.add_image("first_layer/kernels", grid(shown), epoch)

    def _feature_maps(self, epoch: int, network: nn.Module, image: Float[Tensor, "1 c h w"]) -> None:
        maps: dict[str, Tensor] = {}

        def keep(name: str) -> object:
            def hook(module: nn.Module, inputs: object, output: object) -> None:
                last = output[-1] if isinstance(output, tuple) else output  # a stem gives both inputs of a cell
                if isinstance(last, Tensor) and last.ndim == 4:
                    maps[name] = last.detach()

            return hook

        watched = {"stem": getattr(network, "stem", None)}
        for parts in ("cells", "groups", "blocks"):
            for index, part in enumerate(getattr(network, parts, ())):
                watched[f"{parts}.{index}"] = part
        hooks = [
            module.register_forward_hook(keep(name))  # type: ignore[arg-type]
            for name, module in watched.items()
            if isinstance(module, nn.Module)
        ]
        try:
            with torch.no_grad():
                network(image)
        finally:
            for hook in hooks:
                hook.remove()
        for name, found in maps.items():
            channels = found[0, :FEATURE_MAPS].float().cpu().unsqueeze(1)
            self._writer.add_image(f"feature_maps/{name}", grid(channels), epoch)

    def _graph(self, network: nn.Module, image: Float[Tensor, "1 c h w"]) -> None:
        try:
            with warnings.catch_warnings():  # the tracer's own deprecations are not ours to mend
                warnings.simplefilter("ignore")
                # Traced here: the writer's own tracing compares two runs node by node, which constants fail.
                traced = torch.jit.trace(network, image, check_trace=False)  # type: ignore[no-untyped-call]
                self._writer.add_graph(traced, image)
        except Exception as error:  # a network that cannot be traced is trained all the same
            log.warning("the graph is not in the TensorBoard log: %s", error)


def grid(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "c rows columns"]:
    """Images side by side, about as many rows as columns, a pixel apart, each scaled to 0..1 by itself."""
    count, channels, height, width = images.shape
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    high = images.amax(dim=(1, 2, 3), keepdim=True)
    scaled = (images - low) / torch.where(high > low, high - low, 1.0)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = torch.ones(channels, rows * (height + 1) - 1, columns * (width + 1) - 1)
    for index, image in enumerate(scaled):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        sheet[:, top : top + height, left : left + width] = image
    return sheet
