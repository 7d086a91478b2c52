"""Neural architecture search that ends with a trained, verified model.

nas.build("DARTS_V2", channels=36, cells=20, in_channels=3, classes=10)   a published network, untrained
nas.load("model.zip")                                                     the network that a job ended with
"""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.space import Candidate, Genotype, known

if TYPE_CHECKING:
    from nas.model import CellNetwork, ResidualNetwork
    from nas.result.package import Classifier

__all__ = ["build", "load"]


def build(
    genotype: str | Genotype, *, channels: int = 36, cells: int = 20, in_channels: int = 3, classes: int = 10
) -> "CellNetwork | ResidualNetwork":
    """An untrained network of a genotype, or of a published one by name: [N, in_channels, H, W] → [N, classes].

    Raises:
        NotFound: no published genotype has that name; the message lists them.
    """
    from nas.model import build_network  # torch is loaded where a network is wanted, not where a name is

    found = known(genotype) if isinstance(genotype, str) else genotype
    return build_network(Candidate(found), channels=channels, cells=cells, in_channels=in_channels, classes=classes)


def load(path: str | Path) -> "Classifier":
    """The network of a model.zip in evaluation mode: uint8 [N, C, H, W] → logits [N, classes].

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput: it is not a package of this project.
    """
    from nas.result.package import load_package

    return load_package(path)
