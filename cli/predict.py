"""Classifies image files with a package."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

import nas
from nas.data.decode import decode_as
from nas.data.upload import Limits
from nas.train.loop import predict

FULL_SCALE = 255
LIKELY = 0.5
"""A label at least this probable is called present."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model says of images.

    Attributes:
        task: of the model.
        values: for each image, by the name of a class or label its probability, of a target its value.
    """

    task: str
    values: list[dict[str, float]]


def predict_files(package: Path, images: list[Path]) -> Found:
    """What a package says of image files. Raises InvalidInput."""
    torch.set_num_threads(1)
    network = nas.load(package)
    low, high = network.metrics["data"]["value_range"]
    batch = np.stack([read_image(path, network.image, (low, high)) for path in images])
    outputs = predict(network, torch.from_numpy(batch))
    if network.task == "single_label":
        outputs = outputs.softmax(dim=1)
    elif network.task == "multi_label":
        outputs = outputs.sigmoid()
    return Found(network.task, [dict(zip(network.classes, row, strict=True)) for row in outputs.tolist()])


def describe(task: str, values: dict[str, float], top: int) -> str:
    """One line of what a model says of an image: the `top` likeliest classes, the labels, or the targets."""
    if task == "regression":
        return ", ".join(f"{name} {value:.6g}" for name, value in values.items())
    ranked = sorted(values.items(), key=lambda pair: -pair[1])
    if task == "multi_label":
        ranked = [pair for pair in ranked if pair[1] >= LIKELY] or ranked[:1]
        return ", ".join(f"{name} {share * 100:.1f} %" for name, share in ranked)
    return ", ".join(f"{name} {share * 100:.1f} %" for name, share in ranked[:top])


def read_image(path: Path, image: tuple[int, int, int], value_range: tuple[int, int]) -> UInt8[np.ndarray, "c h w"]:
    """Reads an image file into the form that the network's data has, as an upload of it would have been read.

    Files have values from 0 to 255. Where the data has a smaller range (scikit-learn's digits go to 16), the values
    are scaled to it, unless the file keeps within that range already, as one written from the data does.

    Raises:
        InvalidInput: the file is no image that can be decoded, or a huge one.
    """
    pixels = decode_as(str(path), path.read_bytes(), image, Limits())
    low, high = value_range
    if pixels.max() > high:
        pixels = (low + pixels.astype(np.float64) * (high - low) / FULL_SCALE).round().astype(np.uint8)
    return pixels
