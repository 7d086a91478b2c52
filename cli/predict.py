"""Classifies image files with a package."""

from dataclasses import dataclass
from pathlib import Path

import torch

import nas

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
    return Found(network.task, network.predict(images))


def describe(task: str, values: dict[str, float], top: int) -> str:
    """One line of what a model says of an image: the `top` likeliest classes, the labels, or the targets."""
    if task == "regression":
        return ", ".join(f"{name} {value:.6g}" for name, value in values.items())
    ranked = sorted(values.items(), key=lambda pair: -pair[1])
    if task == "multi_label":
        ranked = [pair for pair in ranked if pair[1] >= LIKELY] or ranked[:1]
        return ", ".join(f"{name} {share * 100:.1f} %" for name, share in ranked)
    return ", ".join(f"{name} {share * 100:.1f} %" for name, share in ranked[:top])
