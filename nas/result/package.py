"""The package that a job ends with: model.zip, and how to load it again."""

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nas.data.images import ImageSet
from nas.data.tensors import Batchable, Denormalise, Normalise
from nas.errors import InvalidInput
from nas.model import Network, build_network, strip_auxiliary, without_auxiliary
from nas.space import Candidate, Genotype, Shape

GENOTYPE: Final = "genotype.json"
WEIGHTS: Final = "weights.safetensors"
ONNX: Final = "model.onnx"
METRICS: Final = "metrics.json"
CARD: Final = "model_card.md"
CELLS: Final = "cells.svg"
REPORT: Final = "report.html"

MAX_FILE_BYTES = 1 << 30
"""More than any network of these spaces has; a zip that unpacks to more is not one of ours."""

_FOREIGN = (
    OSError,
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    RuntimeError,
    SafetensorError,
    InvalidInput,
)
"""What reading a file that is no package can raise."""


Images = Sequence[str | Path] | UInt8[Tensor, "n c h w"] | UInt8[npt.NDArray[np.uint8], "n c h w"]
"""Paths of image files, or the pixels."""


class Classifier(nn.Module):
    """A network with its normalisation: images as the data set holds them, uint8 [N, C, H, W] → outputs [N, outputs].

    Outputs are logits, of classes or of labels; of a regression the targets themselves, in the units of the data.

    Attributes:
        task: single_label, multi_label or regression.
        classes: names of the classes, labels or targets, in the order of the outputs.
        image: (channels, height, width).
        candidate: what the network was built from.
        genotype: of it, if it is made of cells.
        metrics: metrics.json of the package.
    """

    def __init__(self, normalise: Normalise, network: nn.Module, denormalise: Denormalise | None = None) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network
        self.denormalise = denormalise
        self.task = "single_label"
        self.classes: tuple[str, ...] = ()
        self.image: tuple[int, int, int] = (0, 0, 0)
        self.candidate: Candidate | None = None
        self.genotype: Genotype | None = None
        self.metrics: dict[str, Any] = {}

    def forward(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n outputs"]:
        """See the class."""
        outputs: Tensor = self.network(self.normalise(images))
        return outputs if self.denormalise is None else self.denormalise(outputs)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str as well; it is one path here
        self, images: str | Path
    ) -> dict[str, float]: ...

    @overload
    def predict(self, images: Images) -> list[dict[str, float]]: ...

    def predict(self, images: str | Path | Images) -> dict[str, float] | list[dict[str, float]]:
        """What the network says of images: class → probability, the likeliest first; of targets their values.

        Args:
            images: path of an image file, or several; or images as the data set holds them, uint8 [N, C, H, W].

        Returns:
            A mapping for one path, a list of mappings otherwise.

        Raises:
            InvalidInput: a file is no image that can be decoded, or an array has another shape or type.
            OSError: a file cannot be read.
        """
        from nas.result.predictions import predict  # it needs this module

        return predict(self, [images])[0] if isinstance(images, str | Path) else predict(self, images)

    def export_onnx(self, path: str | Path) -> Path:
        """Writes an ONNX file: uint8 [batch, C, H, W] → float32 [batch, outputs], checked with ONNX Runtime.

        Raises:
            VerificationFailed: its outputs differ from the network's; nothing is written.
        """
        from nas.result.exports import export_onnx

        return export_onnx(self, path)

    def export_torch(self, path: str | Path) -> Path:
        """Writes an ExportedProgram (.pt2), which torch.export.load reads without this project; checked as well.

        Raises:
            VerificationFailed: its outputs differ from the network's; nothing is written.
        """
        from nas.result.exports import export_torch

        return export_torch(self, path)


def make_classifier(network: Network, data: ImageSet) -> Classifier:
    """A trained network with the normalisation of its training split; the auxiliary head has done its work."""
    train = Batchable.of(data, "train", torch.device("cpu"))
    denormalise = Denormalise.of(train.labels) if data.task == "regression" else None
    return Classifier(Normalise.of(train.images), strip_auxiliary(network), denormalise).eval()


def empty_classifier(candidate: Candidate, *, task: str, in_channels: int, outputs: int) -> Classifier:
    """A classifier of that candidate whose weights wait to be loaded."""
    network = build_network(without_auxiliary(candidate), in_channels=in_channels, outputs=outputs)
    denormalise = Denormalise(torch.zeros(outputs), torch.ones(outputs)) if task == "regression" else None
    return Classifier(Normalise(torch.zeros(in_channels), torch.ones(in_channels)), network, denormalise).eval()


def network_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's part of a classifier's state: what a transfer starts from."""
    prefix = "network."
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def weights_to_bytes(classifier: Classifier) -> bytes:
    """The classifier's state as a safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()})


def load_weights(classifier: Classifier, content: bytes) -> Classifier:
    """Puts a state into a classifier of the same shape, and returns it."""
    classifier.load_state_dict(load(content))
    return classifier


def onnx_bytes(classifier: Classifier, image: tuple[int, int, int]) -> bytes:
    """The classifier as an ONNX model: `images` uint8 [batch, C, H, W] → `logits` float32 [batch, outputs]."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.zeros(2, *image, dtype=torch.uint8)
    with warnings.catch_warnings():  # the exporter's own deprecations are not ours to mend
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            classifier.eval(),
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    content: bytes = program.model_proto.SerializeToString()
    return content


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """A zip of the files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def load_package(path: str | Path) -> Classifier:
    """The network of a model.zip, in evaluation mode on the CPU. Nothing in the file is executed.

    Args:
        path: of the file, or of the folder that it was unpacked into.

    Raises:
        FileNotFoundError: there is no such file or folder.
        InvalidInput: it is not a package of this project.
    """
    try:
        with _opened(Path(path)) as read:
            shape, metrics = json.loads(read(GENOTYPE)), json.loads(read(METRICS))
            image = tuple(int(side) for side in metrics["data"]["image"])
            classes = tuple(str(name) for name in metrics["data"]["classes"])
            candidate = _candidate(shape)
            task = metrics["data"].get("task", "single_label")
            classifier = empty_classifier(candidate, task=task, in_channels=image[0], outputs=len(classes))
            load_weights(classifier, read(WEIGHTS))
    except _FOREIGN as error:
        if not Path(path).exists():
            raise
        mend = f"it has to be a model.zip of this service, or the folder that one was unpacked into ({error})"
        raise InvalidInput("package", str(path), mend) from error
    classifier.classes = classes
    classifier.image = (image[0], image[1], image[2])
    classifier.task = task
    classifier.candidate = candidate
    classifier.genotype = candidate.architecture if isinstance(candidate.architecture, Genotype) else None
    classifier.metrics = metrics
    return classifier


def _candidate(shape: dict[str, Any]) -> Candidate:
    """From genotype.json; a package of the first version has channels and cells where others have a candidate."""
    if "candidate" in shape:
        return Candidate.from_json(shape["candidate"])
    frame = Shape(channels=shape["channels"], cells=shape["cells"])
    return Candidate(Genotype.from_json(shape["genotype"]), frame)


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], bytes]]:
    """Reads the files of a package by their names."""
    if path.is_dir():
        yield lambda name: (path / name).read_bytes()
        return
    with zipfile.ZipFile(path) as archive:

        def read(name: str) -> bytes:
            if archive.getinfo(name).file_size > MAX_FILE_BYTES:
                raise ValueError(f"{name} is too large")
            return archive.read(name)

        yield read
