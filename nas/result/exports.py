"""A loaded model in the formats of other programs: each file is read back and compared with the network."""

import copy
import io
import os
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nas.errors import VerificationFailed
from nas.result.package import onnx_bytes
from nas.result.verify import ONNX_TOLERANCE
from nas.train.loop import predict

if TYPE_CHECKING:
    from nas.result.package import Classifier

BATCHES: Final = (1, 7)
"""Sizes of the batches that are compared: the number of images has to be free."""

SEED: Final = 0


def export_onnx(classifier: "Classifier", path: str | Path) -> Path:
    """Writes the classifier as ONNX: `images` uint8 [batch, C, H, W] → `logits` float32 [batch, outputs].

    Raises:
        VerificationFailed: what ONNX Runtime makes of the file differs from the network; nothing is written.
    """
    target = _file_at(path, "model.onnx")
    model = _still(classifier)
    content = onnx_bytes(model, model.image)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    for images in _examples(model):
        _compare("ONNX Runtime", run(images), model, images)
    return _write(target, content)


def export_torch(classifier: "Classifier", path: str | Path) -> Path:
    """Writes the classifier as an ExportedProgram of torch.export, usually called .pt2: torch.export.load reads it.

    Raises:
        VerificationFailed: what the program computes differs from the network; nothing is written.
    """
    target = _file_at(path, "model.pt2")
    model = _still(classifier)
    first, *_ = _examples(model, sizes=(2,))  # one image would make the batch a constant
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # the exporter's own deprecations are not ours to mend
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (first,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, buffer)
        buffer.seek(0)
        network = torch.export.load(buffer).module()
    with torch.no_grad():
        for images in _examples(model):
            _compare("torch.export", network(images), model, images)
    return _write(target, buffer.getvalue())


def _file_at(path: str | Path, name: str) -> Path:
    """The path itself, or in a folder a file of that name."""
    target = Path(path)
    return target / name if target.is_dir() else target


def _still(classifier: "Classifier") -> "Classifier":
    """A copy in evaluation mode on the CPU: the user's own stays where and as it is."""
    return copy.deepcopy(classifier).cpu().eval()


def _examples(model: "Classifier", sizes: tuple[int, ...] = BATCHES) -> list[UInt8[Tensor, "n c h w"]]:
    low, high = model.metrics.get("data", {}).get("value_range", (0, 255))
    rng = np.random.default_rng(SEED)
    return [torch.from_numpy(rng.integers(low, high + 1, (size, *model.image), dtype=np.uint8)) for size in sizes]


def _compare(program: str, found: Float[Tensor, "n k"], model: "Classifier", images: UInt8[Tensor, "n c h w"]) -> None:
    """Raises VerificationFailed unless the outputs are the network's, up to rounding."""
    wanted = predict(model, images)
    if found.shape != wanted.shape:
        raise VerificationFailed(f"{program} gives outputs of {tuple(found.shape)}, not {tuple(wanted.shape)}")
    difference = float((found - wanted).abs().max() / max(1.0, float(wanted.abs().max())))
    if not difference <= ONNX_TOLERANCE:
        raise VerificationFailed(
            f"{program}'s outputs differ from the network's by {difference:.2e}, more than {ONNX_TOLERANCE:.0e}; "
            "nothing was written"
        )


def _write(path: Path, content: bytes) -> Path:
    """Writes a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
