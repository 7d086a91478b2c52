"""Run in a fresh process: does the exported model score what was reported?

    python -m nas.result.verify model.zip data.npz [plugin module …]

Loads the package as its user would, scores the test split, runs the ONNX file with ONNX Runtime on the same images,
and prints one line of JSON.
"""

import json
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import torch

import nas
from nas.data.images import ImageSet
from nas.errors import VerificationFailed
from nas.result.package import ONNX
from nas.result.scores import scores
from nas.train.loop import EVALUATION_BATCH, predict

ONNX_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Verified:
    """What the fresh process found.

    Attributes:
        accuracy: the task's score on the test split, by torch.
        onnx_accuracy: the same by ONNX Runtime.
        onnx_difference: largest difference of an output between ONNX Runtime and torch, as a share of the largest
            output where that is above 1.
    """

    accuracy: float
    onnx_accuracy: float
    onnx_difference: float


def verify(package: Path, data: ImageSet) -> Verified:
    """Scores a package on the test split of its data."""
    torch.set_num_threads(1)
    images, labels = data.images[data.test], data.labels[data.test]
    ours = predict(nas.load(package), torch.from_numpy(images)).numpy()
    with zipfile.ZipFile(package) as archive:
        session = onnxruntime.InferenceSession(archive.read(ONNX), providers=["CPUExecutionProvider"])
    theirs = np.concatenate(
        [
            session.run(["logits"], {"images": images[start : start + EVALUATION_BATCH]})[0]
            for start in range(0, len(images), EVALUATION_BATCH)
        ]
    )
    return Verified(
        accuracy=float(scores(data.task, ours[np.newaxis], labels).plain[0]),
        onnx_accuracy=float(scores(data.task, theirs[np.newaxis], labels).plain[0]),
        onnx_difference=float(np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max())),
    )


def check(found: Verified, reported: float) -> None:
    """Raises VerificationFailed unless the score is the reported one and ONNX agrees."""
    if found.accuracy != reported:
        raise VerificationFailed(
            f"the package scores {found.accuracy:.6f} in a fresh process, but {reported:.6f} was to be reported"
        )
    if not found.onnx_difference <= ONNX_TOLERANCE:
        raise VerificationFailed(
            f"ONNX Runtime's outputs differ from torch's by {found.onnx_difference:.2e}, more than {ONNX_TOLERANCE:.0e}"
        )


def main() -> None:
    """See the module."""
    package, data, *plugins = sys.argv[1:]
    nas.use(*plugins)
    sys.stdout.write(json.dumps(asdict(verify(Path(package), ImageSet.load(Path(data))))) + "\n")


if __name__ == "__main__":
    main()
