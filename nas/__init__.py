"""Neural architecture search that ends with a trained, verified model.

nas.published()                                                           the published cells, by name
nas.build("DARTS_V2", channels=36, cells=20, in_channels=3, classes=10)   a published network, untrained
nas.use("my_operations")                                                  takes a module of your own operations in
nas.load("model.zip")                                                     the network that a job ended with
nas.Client("http://127.0.0.1:8000")                                       a client of a service; nas.AsyncClient too
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from nas.errors import InvalidInput
from nas.plugins import use
from nas.space import Candidate, Genotype, LayerNet, Shape, known
from nas.space.known import KNOWN

if TYPE_CHECKING:
    from nas.client import AsyncClient, Client
    from nas.model import Network
    from nas.result.package import Classifier

__all__ = ["AsyncClient", "Client", "build", "load", "published", "use"]

_LATER: Final = {"AsyncClient": "nas.client", "Client": "nas.client"}
"""Names that are imported when they are first asked for, from where: not everybody talks to a service."""


def build(
    architecture: str | Genotype | LayerNet,
    *,
    channels: int = 36,
    cells: int = 20,
    in_channels: int = 3,
    classes: int = 10,
    **shape: Any,
) -> "Network":
    """An untrained network of a genotype, or of a published one by name: [N, in_channels, H, W] → [N, classes].

    Args:
        architecture: a name of published(), a pair of cells, or a chain of layers (for which channels and cells mean
            nothing).
        channels, cells: of the first cell, and how many there are.
        in_channels: of the images.
        classes: outputs of the network.
        shape: the other fields of nas.space.shape.Shape, such as stem="imagenet", auxiliary=0.4, activation="silu".

    Raises:
        NotFound: no published genotype has that name; the message lists them.
        InvalidInput: a field that a shape has not, or a value that is not possible.
    """
    from nas.model import build_network  # torch is loaded where a network is wanted, not where a name is

    found = known(architecture) if isinstance(architecture, str) else architecture
    frame = _shape({"channels": channels, "cells": cells} | shape)
    return build_network(Candidate(found, frame), in_channels=in_channels, outputs=classes)


def published() -> dict[str, str]:
    """The published cells that build() knows: name → text, as the repository of its authors has it."""
    return dict(KNOWN)


def load(path: str | Path) -> "Classifier":
    """The network of a model.zip in evaluation mode: uint8 [N, C, H, W] → logits [N, classes].

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput: it is not a package of this project.
    """
    from nas.result.package import load_package

    return load_package(path)


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def _shape(fields: dict[str, Any]) -> Shape:
    try:
        return Shape(**fields)
    except ValidationError as error:
        [first, *_] = error.errors()
        name = ".".join(map(str, first["loc"]))
        mend = first["msg"] if name in Shape.model_fields else f"the fields are {', '.join(Shape.model_fields)}"
        raise InvalidInput(name, first["input"], mend) from error
