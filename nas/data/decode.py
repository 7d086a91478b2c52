"""Image files to pixels: JPEG, PNG, WebP, BMP, TIFF and GIF, as a viewer shows them, in 8 bits and one size."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nas.data.found import Limits, count_text, refusing
from nas.data.pixels import Frame, allocate, frame_of
from nas.errors import InvalidInput

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

GREY: Final = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes without colour."""

UNREADABLE = "it does not decode as JPEG, PNG, WebP, BMP, TIFF or GIF: mend it or leave it out"

Files = Callable[[], Iterable[tuple[str, bytes]]]
"""Gives names and contents of image files, the same each time it is called."""


def decode(
    files: Files, size: int | None, limits: Limits
) -> tuple[UInt8[npt.NDArray[np.uint8], "n c h w"], tuple[str, ...]]:
    """Decodes image files into one array, in two passes: what sizes and colours there are, then the pixels.

    The first frame is taken, EXIF orientation applied, 16-bit grey scaled to 8 bits, alpha laid over white. Where an
    image is resized, its middle square is scaled to the frame, antialiased.

    Args:
        files: called twice.
        size: see frame_of.
        limits: what may be read.

    Returns:
        Images, uint8 [N, C, H, W], with one channel if no image has colour, else three; and warnings.

    Raises:
        InvalidInput: names the first file that is none of these formats, damaged, or too large.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for name, content in files():
        with _opened(name, content, limits) as image:
            sizes[_size_of(image)] += 1
            grey = grey and _is_grey(image)
    if not sizes:
        raise InvalidInput("file", "no images", "there has to be one at least")
    frame = frame_of(sizes, size)
    images = allocate((sizes.total(), 1 if grey else 3, frame.height, frame.width), limits)
    flattened = 0
    for slot, (name, content) in zip(images, files(), strict=True):
        with _opened(name, content, limits) as image:
            slot[:], had_alpha = _pixels(image, name, frame, grey)
            flattened += had_alpha
    alpha = (f"{count_text(flattened, 'image')} had transparent parts, which became white.",) if flattened else ()
    return images, frame.warnings + alpha


def decode_as(
    name: str, content: bytes, image: tuple[int, int, int], limits: Limits
) -> UInt8[npt.NDArray[np.uint8], "c h w"]:
    """One image file in the form that a data set's images have, as decode would have made it.

    Args:
        name: for the error.
        content: of the file.
        image: (channels, height, width) of the data set's images.
        limits: what may be read.

    Raises:
        InvalidInput: it is none of the formats, damaged, or too large.
    """
    channels, height, width = image
    with _opened(name, content, limits) as opened:
        return _pixels(opened, name, Frame(height, width, resize=True), grey=channels == 1)[0]


def fit(image: Image.Image, frame: Frame) -> Image.Image:
    """The middle of an image in 8 bits, of the frame's shape and as large as it can be, scaled to the frame."""
    if image.size == (frame.width, frame.height):
        return image
    scale = min(image.width / frame.width, image.height / frame.height)
    across, down = frame.width * scale, frame.height * scale
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    return image.resize((frame.width, frame.height), Image.Resampling.BILINEAR, box=box)


@contextmanager
def _opened(name: str, content: bytes, limits: Limits) -> Iterator[Image.Image]:
    """An image whose header has been read. Whatever goes wrong in the block is InvalidInput."""
    with refusing(name, UNREADABLE):
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_large(name, limits) from error
        except UnidentifiedImageError as error:  # whose words have an address in memory
            raise InvalidInput("file", name, UNREADABLE) from error
        with image:
            if image.width * image.height > limits.max_image_pixels:
                raise _too_large(name, limits)
            yield image


def _too_large(name: str, limits: Limits) -> InvalidInput:
    return InvalidInput("file", name, f"an image has at most {limits.max_image_pixels:,} pixels: scale it down")


def _size_of(image: Image.Image) -> tuple[int, int]:
    """(height, width) as it will be shown."""
    # Pillow turns a TIFF itself. Its own method of a PNG would decode the image to look for what may follow the pixels.
    turned = image.format != "TIFF" and Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA") and image.palette is not None:
        entries = image.palette.rawmode or image.palette.mode
        palette = np.frombuffer(bytes(image.palette.palette), np.uint8)
        palette = palette[: len(palette) // len(entries) * len(entries)].reshape(-1, len(entries))
        return bool((palette[:, :3] == palette[:, :1]).all())
    return image.mode in GREY


def _pixels(
    image: Image.Image, name: str, frame: Frame, grey: bool
) -> tuple[UInt8[npt.NDArray[np.uint8], "c h w"], bool]:
    """The pixels of an image in the frame, and whether it had transparent parts."""
    if frame.resize:
        # A JPEG decodes faster to a half, a quarter or an eighth; twice the frame is left for the scaling to smooth.
        image.draft(None, (2 * frame.width, 2 * frame.height))
    ImageOps.exif_transpose(image, in_place=True)
    image.load()
    if image.mode in ("I", "F"):
        raise InvalidInput("file", name, "its pixels have 32 bits, of no known scale: save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    had_alpha = False
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        had_alpha = layer.getchannel("A").getextrema() != (255, 255)
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image = image.convert("L" if grey else "RGB")
    if not frame.resize and image.size != (frame.width, frame.height):
        raise InvalidInput("file", name, "its header and its pixels differ in size: save it again")
    pixels = np.asarray(fit(image, frame))
    return (pixels[np.newaxis] if grey else pixels.transpose(2, 0, 1)), had_alpha
