"""The package that a job ends with: model.zip, and how to load it again."""

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nas.data.tensors import Normalise
from nas.errors import InvalidInput
from nas.model import build_network
from nas.space import Candidate, Genotype

GENOTYPE: Final = "genotype.json"
WEIGHTS: Final = "weights.safetensors"
ONNX: Final = "model.onnx"
METRICS: Final = "metrics.json"
CARD: Final = "model_card.md"
CELLS: Final = "cells.svg"

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


class Classifier(nn.Module):
    """A network with its normalisation: images as the data set holds them, uint8 [N, C, H, W] → logits [N, classes].

    Attributes:
        classes: names of the classes, in the order of the logits.
        image: (channels, height, width).
        genotype: what the network was built from.
        metrics: metrics.json of the package.
    """

    def __init__(self, normalise: Normalise, network: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network
        self.classes: tuple[str, ...] = ()
        self.image: tuple[int, int, int] = (0, 0, 0)
        self.genotype: Genotype | None = None
        self.metrics: dict[str, Any] = {}

    def forward(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """See the class."""
        logits: Tensor = self.network(self.normalise(images))
        return logits


def empty_classifier(candidate: Candidate, *, channels: int, cells: int, in_channels: int, classes: int) -> Classifier:
    """A classifier of that shape whose weights wait to be loaded."""
    network = build_network(candidate, channels=channels, cells=cells, in_channels=in_channels, classes=classes)
    return Classifier(Normalise(torch.zeros(in_channels), torch.ones(in_channels)), network).eval()


def weights_to_bytes(classifier: Classifier) -> bytes:
    """The classifier's state as a safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()})


def load_weights(classifier: Classifier, content: bytes) -> Classifier:
    """Puts a state into a classifier of the same shape, and returns it."""
    classifier.load_state_dict(load(content))
    return classifier


def onnx_bytes(classifier: Classifier, image: tuple[int, int, int]) -> bytes:
    """The classifier as an ONNX model: `images` uint8 [batch, C, H, W] → `logits` float32 [batch, classes]."""
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

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput: it is not a package of this project.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            read = _reader(archive)
            shape, metrics = json.loads(read(GENOTYPE)), json.loads(read(METRICS))
            image = tuple(int(side) for side in metrics["data"]["image"])
            classes = tuple(str(name) for name in metrics["data"]["classes"])
            genotype = Genotype.from_json(shape["genotype"])
            classifier = empty_classifier(
                Candidate(genotype),
                channels=int(shape["channels"]),
                cells=int(shape["cells"]),
                in_channels=image[0],
                classes=len(classes),
            )
            load_weights(classifier, read(WEIGHTS))
    except FileNotFoundError:
        raise
    except _FOREIGN as error:
        raise InvalidInput("package", str(path), f"it has to be a model.zip of this service ({error})") from error
    classifier.classes = classes
    classifier.image = (image[0], image[1], image[2])
    classifier.genotype = genotype
    classifier.metrics = metrics
    return classifier


def _reader(archive: zipfile.ZipFile) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if archive.getinfo(name).file_size > MAX_FILE_BYTES:
            raise ValueError(f"{name} is too large")
        return archive.read(name)

    return read
