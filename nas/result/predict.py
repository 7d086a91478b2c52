"""What a package says of an image file: pixels as the network saw them in training, and its model.onnx.

No torch: this is what the API runs, and what an application would do as well.
"""

import io
import json
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nas.errors import ArtifactDamaged
from nas.result.reading import by_name, read_image

if TYPE_CHECKING:
    import onnxruntime

SESSIONS: Final = 4
"""Models that are kept in memory, the last ones that were used."""

MODEL, METRICS = "model.onnx", "metrics.json"

MAX_MODEL_BYTES: Final = 1 << 30
"""No network of these spaces is as large."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of an image.

    Attributes:
        task: single_label, multi_label or regression.
        values: by the name of a class or label its probability, of a target its value; the likeliest first.
        ms: that the network took.
    """

    task: str
    values: dict[str, float]
    ms: float


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A model that is ready, and what its package says of it."""

    session: "onnxruntime.InferenceSession"
    task: str
    classes: tuple[str, ...]
    image: tuple[int, int, int]
    value_range: tuple[int, int]

    def say(self, path: Path) -> Said:
        """What it says of an image file. Raises InvalidInput."""
        pixels = read_image(path, self.image, self.value_range)
        begun = time.perf_counter()
        [outputs] = self.session.run(["logits"], {"images": pixels[np.newaxis]})
        ms = 1000 * (time.perf_counter() - begun)
        [values] = by_name(self.task, np.asarray(outputs), self.classes)
        return Said(self.task, values, ms)


class Models:
    """The models that were used last, by the sha256 of their packages; for any number of threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Model] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str, read: Callable[[], bytes]) -> Model:
        """The model of a package, which is read if it is not there.

        Raises:
            ArtifactDamaged: what is read is no package, or none that ONNX Runtime can run.
        """
        with self._lock:  # also while one is read: nobody gains by reading it twice
            model = self._kept.get(sha256)
            if model is None:
                while len(self._kept) >= SESSIONS:
                    self._kept.popitem(last=False)
                model = self._kept[sha256] = load(sha256, read())
            self._kept.move_to_end(sha256)
        return model


def load(sha256: str, package: bytes) -> Model:
    """The model of a package, on one thread of the CPU. Raises ArtifactDamaged."""
    import onnxruntime  # a large library, which only this needs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            said = json.loads(_read(archive, METRICS))["data"]
            session = onnxruntime.InferenceSession(_read(archive, MODEL), options, providers=["CPUExecutionProvider"])
        return Model(
            session,
            task=said.get("task", "single_label"),
            classes=tuple(str(name) for name in said["classes"]),
            image=_three(said["image"]),
            value_range=(int(said["value_range"][0]), int(said["value_range"][1])),
        )
    except Exception as error:  # ONNX Runtime has classes of errors of its own, and only its module knows them
        raise ArtifactDamaged(
            f"the package {sha256} has no model that runs ({error}); restore it from a backup"
        ) from error


def _three(sides: Any) -> tuple[int, int, int]:
    channels, height, width = (int(side) for side in sides)
    return channels, height, width


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_MODEL_BYTES:
        raise ValueError(f"{name} is too large")
    return archive.read(name)
