"""What a user allows a network to cost: the limits, whether a network keeps them, whether a space can."""

import math
from typing import Final

from pydantic import Field

from nas.errors import InvalidInput
from nas.space.cost import Cost
from nas.space.joint import FixedSpace, JointSpace
from nas.space.layer_space import LayerSpace
from nas.space.smallest import SearchSpace, smallest
from nas.space.space import CellSpace
from nas.strict import Strict

MB: Final = 10**6
"""Bytes of a megabyte, here and in every name that ends in `_mb`."""

FLOAT_BYTES: Final = 4
"""Of a weight, and of a value of the input."""


class Limits(Strict):
    """What a network may cost at most. One that costs more is never trained."""

    max_params: int | None = Field(None, ge=1, le=10**12, description="trainable parameters; null: no limit")
    max_macs: int | None = Field(None, ge=1, le=10**15, description="multiply-accumulates an image; null: no limit")
    max_latency_ms: float | None = Field(
        None, gt=0, le=3_600_000, description="milliseconds of a forward pass on the worker's device; null: no limit"
    )
    max_memory_mb: float | None = Field(
        None, gt=0, le=10**7, description="peak of a forward pass in 10^6 bytes, weights included; null: no limit"
    )
    batch_size: int = Field(1, ge=1, le=65_536, description="images at once where latency and memory are measured")


def broken(limits: Limits, cost: Cost, latency_ms: float | None = None, memory_mb: float | None = None) -> str | None:
    """The limit that a network breaks, as a sentence; None if it keeps all those whose value is given."""
    least = "" if cost.exact else "at least "
    if limits.max_params is not None and cost.params > limits.max_params:
        return f"max_params is {limits.max_params:,}; this network has {least}{cost.params:,}"
    if limits.max_macs is not None and cost.macs > limits.max_macs:
        return f"max_macs is {limits.max_macs:,}; this network takes {least}{cost.macs:,}"
    if limits.max_latency_ms is not None and latency_ms is not None and latency_ms > limits.max_latency_ms:
        return f"max_latency_ms is {limits.max_latency_ms:,}; this network takes {_above(latency_ms)}"
    if limits.max_memory_mb is not None and memory_mb is not None and memory_mb > limits.max_memory_mb:
        return f"max_memory_mb is {limits.max_memory_mb:,}; this network takes {_above(memory_mb)}"
    return None


def check_limits(space: SearchSpace, limits: Limits, *, image: tuple[int, int, int], outputs: int) -> None:
    """Raises InvalidInput if no network of the space can keep a limit, and says what the smallest one would cost.

    Nothing is known of latency before a network runs, and of the memory only what the weights and the input take: a
    space that passes may still hold no network that keeps those two.

    Args:
        space: what the search chooses from.
        limits: what a network may cost.
        image: (channels, height, width).
        outputs: of the network.
    """
    if limits.max_params is not None or limits.max_memory_mb is not None:
        _, least = smallest(space, "params", image=image, outputs=outputs)
        if limits.max_params is not None and least.params > limits.max_params:
            raise InvalidInput(
                "limits.max_params", limits.max_params, _mend(space, least, f"{least.params:,} parameters")
            )
        _check_memory(space, limits, least, image)
    if limits.max_macs is not None:
        _, least = smallest(space, "macs", image=image, outputs=outputs)
        if least.macs > limits.max_macs:
            amount = f"{least.macs:,} multiply-accumulates an image"
            raise InvalidInput("limits.max_macs", limits.max_macs, _mend(space, least, amount))


def _check_memory(space: SearchSpace, limits: Limits, least: Cost, image: tuple[int, int, int]) -> None:
    values = least.params + limits.batch_size * image[0] * image[1] * image[2]
    if limits.max_memory_mb is not None and values * FLOAT_BYTES > limits.max_memory_mb * MB:
        amount = f"{_above(values * FLOAT_BYTES / MB)} MB in its weights and a batch of {limits.batch_size:,} alone"
        mend = _mend(space, least, amount)
        raise InvalidInput("limits.max_memory_mb", limits.max_memory_mb, f"{mend}, or lower limits.batch_size")


def _mend(space: SearchSpace, least: Cost, amount: str) -> str:
    base = space.base if isinstance(space, JointSpace) else space
    settings = next(text for kind, text in LOWERED_BY.items() if isinstance(base, kind))
    if isinstance(base, CellSpace) and not set(base.ops) >= CHEAP:
        settings += f", or add {' and '.join(sorted(CHEAP))} to space.ops"
    return (
        f"the smallest network of this space has {'' if least.exact else 'at least '}{amount}; "
        f"allow that, or lower {settings}"
    )


def _above(value: float) -> str:
    """With three decimals, rounded up, so that what is above a limit also reads so."""
    return f"{math.ceil(value * 1000) / 1000:,}"


CHEAP: Final = frozenset({"max_pool_3x3", "skip_connect"})
"""Operations without weights, at stride 2 and 1."""

LOWERED_BY: Final[dict[type, str]] = {
    CellSpace: "space.channels, space.cells or space.nodes",
    LayerSpace: "space.fewest, space.narrowest or space.kernels",
    FixedSpace: "space.tail",
}
"""What makes the networks of a space smaller."""
