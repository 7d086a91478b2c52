"""Which number format the training computes in. Weights, optimizer and losses stay in float32."""

from typing import Final

import torch

from nas.errors import InvalidInput

CPU_PIXELS: Final = 16 * 16
"""Pixels of an image from which bfloat16 trains faster on a CPU that multiplies in it.

Measured on one core of a Zen 5 server with random networks of 8 channels, CPU time of a step, float32 over bfloat16:
8×8 images 0.8 to 1.1, 16×16 1.0 to 1.2, 32×32 1.1 to 1.2; of 16 channels, 16×16 1.2 to 1.4."""

_FORMATS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(name: str, device: torch.device, *, pixels: int = 0) -> torch.autocast:
    """A context in which a network computes in that format; a new one for every use.

    `auto` is bfloat16 on CUDA devices that have it, on CPUs that multiply in it where the images are large enough to
    gain by it, and float32 elsewhere. It depends on machine and images only, so that a resumed training goes on as it
    began; workers on unlike machines compute alike only where the recipe names a format.

    Args:
        name: Recipe.precision.
        device: where the network is trained.
        pixels: of an image, height times width.

    Raises:
        InvalidInput: the device does not train in that format.
    """
    dtype = _dtype(name, device, pixels)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def scaler(name: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses so that float16 gradients do not vanish (Micikevicius et al. 2018); does nothing for other formats.

    Raises InvalidInput as autocast does.
    """
    return torch.amp.GradScaler(device.type, enabled=_dtype(name, device, 0) == torch.float16)


def value_bytes(name: str, device: torch.device, pixels: int) -> int:
    """Bytes of a value as a network computes it in that format. Raises InvalidInput as autocast does."""
    return _dtype(name, device, pixels).itemsize


def _dtype(name: str, device: torch.device, pixels: int) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if _gains(device, pixels) else torch.float32
    if name not in _FORMATS:
        raise InvalidInput("recipe.precision", name, f"use auto, {', '.join(_FORMATS)}")
    if name == "float16" and device.type != "cuda":
        raise InvalidInput("recipe.precision", name, f"float16 needs a CUDA device, not {device.type}; use auto")
    return _FORMATS[name]


def _gains(device: torch.device, pixels: int) -> bool:
    """Whether bfloat16 is faster: where the device has units for it, and enough to do for them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and pixels >= CPU_PIXELS and multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16: AVX-512 BF16 or AMX; False where torch cannot tell."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        asked = getattr(torch.cpu, name, None)  # private names, of which an older or newer torch may lack one
        if asked is not None and asked():
            return True
    return False
