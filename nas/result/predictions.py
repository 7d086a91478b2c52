"""What a loaded model says of images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nas.errors import InvalidInput
from nas.result.package import Classifier, Images
from nas.result.reading import by_name, read_image
from nas.train.loop import predict as outputs_of


def predict(classifier: Classifier, images: Images) -> list[dict[str, float]]:
    """See Classifier.predict; one mapping an image. The network stays in the mode it was in.

    Raises:
        InvalidInput: a file is no image that can be decoded, or an array has another shape or type.
        OSError: a file cannot be read.
    """
    pixels = _pixels(classifier, images)
    if not len(pixels):
        return []
    device = next(classifier.parameters()).device
    training = classifier.training
    with torch.no_grad():
        outputs = outputs_of(classifier, pixels.to(device)).cpu().numpy()
    classifier.train(training)
    return by_name(classifier.task, outputs, classifier.classes)


def _pixels(classifier: Classifier, images: Images) -> UInt8[Tensor, "n c h w"]:
    if isinstance(images, Sequence):
        return torch.from_numpy(_read(classifier, images))
    found = torch.as_tensor(images)
    if found.dtype != torch.uint8 or tuple(found.shape[1:]) != classifier.image:
        wanted = f"[N, {', '.join(map(str, classifier.image))}]"
        shape = f"{found.dtype} {list(found.shape)}"
        raise InvalidInput("images", shape, f"it has to be uint8 {wanted}, as the data set holds images; or give paths")
    return found


def _read(classifier: Classifier, paths: Sequence[str | Path]) -> UInt8[np.ndarray, "n c h w"]:
    low, high = classifier.metrics["data"]["value_range"]
    read = [read_image(path, classifier.image, (low, high)) for path in paths]
    return np.stack(read) if read else np.empty((0, *classifier.image), dtype=np.uint8)
