"""The strategies by name: a visible table. Making one may import a library; reading the table does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nas.search.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Entry:
    """A strategy: what it does, where it comes from, and how to make one."""

    summary: str
    source: str
    make: Callable[[], Strategy]


def _random() -> Strategy:
    from nas.search.random import RandomSearch

    return RandomSearch()


def _tpe() -> Strategy:
    from nas.search.optuna import tpe  # optuna belongs to the workers; the API only lists names

    return tpe()


STRATEGIES: Final = {
    "random": Entry(
        "uniformly random candidates",
        "Li, Talwalkar 2019, Random Search and Reproducibility for Neural Architecture Search",
        _random,
    ),
    "tpe": Entry(
        "tree-structured Parzen estimator over all that is open, after ten random trials",
        "Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; Optuna's TPESampler",
        _tpe,
    ),
}
"""Name → strategy. Every strategy is pruned by successive halving (nas.search.pruning)."""
