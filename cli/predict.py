"""Classifies image files with a package."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

import nas
from nas.errors import InvalidInput
from nas.train.loop import predict

MAX_PIXELS = 64_000_000
FULL_SCALE = 255


def read_image(path: Path, image: tuple[int, int, int], value_range: tuple[int, int]) -> UInt8[np.ndarray, "c h w"]:
    """Reads an image file into the form that the network's data has: its channels, its size, its range of values.

    Files have values from 0 to 255. Where the data has a smaller range (scikit-learn's digits go to 16), the values
    are scaled to it, unless the file keeps within that range already, as one written from the data does.

    Raises:
        InvalidInput: the file is no image that can be decoded, or a huge one.
    """
    channels, height, width = image
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise InvalidInput("image", str(path), f"at most {MAX_PIXELS:,} pixels; make it smaller")
            # Transparent pixels are shown on white by most viewers, so that is what they are here.
            flat = Image.new("RGBA", opened.size, "white")
            flat.alpha_composite(opened.convert("RGBA"))
            plain = flat.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput("image", str(path), f"it has to be an image file ({error})") from error
    pixels = np.asarray(plain, dtype=np.float64).reshape(height, width, channels).transpose(2, 0, 1)
    low, high = value_range
    if pixels.max() > high:
        pixels = low + pixels * (high - low) / FULL_SCALE
    return pixels.round().astype(np.uint8)


def classify(package: Path, images: list[Path]) -> list[list[tuple[str, float]]]:
    """For each image file the classes with their probabilities, the likeliest first. Raises InvalidInput."""
    torch.set_num_threads(1)
    network = nas.load(package)
    low, high = network.metrics["data"]["value_range"]
    batch = np.stack([read_image(path, network.image, (low, high)) for path in images])
    probabilities = predict(network, torch.from_numpy(batch)).softmax(dim=1)
    return [sorted(zip(network.classes, row.tolist(), strict=True), key=lambda pair: -pair[1]) for row in probabilities]
