"""The strategies by name: a visible table. Making one may import a library; reading the table does not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from nas import plugins
from nas.search import grid, prepared
from nas.search.options import (
    AutoOptions,
    CmaesOptions,
    DartsOptions,
    EvolutionOptions,
    FirstSecondOptions,
    GeneticOptions,
    GpOptions,
    LocalSearchOptions,
    NoOptions,
    PartialOptions,
    SinglePathOptions,
    SupernetOptions,
    TpeOptions,
)
from nas.search.strategy import C, Observation, Strategy
from nas.space import Categorical, Space
from nas.space.parameters import has_choice
from nas.strict import Strict

Preparation = Literal["", "screening", "supernet"]
"""What is done once before the search: nothing; training-free scores of many candidates; a supernet's training."""


def _any(space: Space[Any]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A strategy.

    Attributes:
        summary, source: what it does, and where it comes from.
        options: the model of its options; all have defaults.
        make: options → the strategy.
        prepares: what has to be done once before it proposes.
        refuses: a space → why the strategy cannot search it and how to mend that, or None.
    """

    summary: str
    source: str
    options: type[Strict]
    make: Callable[[Any], Strategy]
    prepares: Preparation = ""
    refuses: Callable[[Space[Any]], str | None] = _any


def strategies() -> Mapping[str, Entry]:
    """All strategies by name: STRATEGIES, and the user's own (nas.plugins), which take no options."""
    return STRATEGIES | {name: _of_user(plugin) for name, plugin in plugins.strategies().items()}


def make_strategy(name: str, options: Mapping[str, Any] | None = None) -> Strategy:
    """The strategy of that name. Raises KeyError, and pydantic's ValidationError for impossible options."""
    entry = strategies()[name]
    return entry.make(entry.options.model_validate(dict(options or {})))


def _of_user(plugin: plugins.Plugin) -> Entry:
    return Entry("your own", plugin.summary, NoOptions, lambda options: Checked(plugin.get()()))


@dataclass(frozen=True, slots=True)
class Checked:
    """A user's own strategy, of which nobody knows whether it keeps to the space."""

    own: Strategy

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy. Raises TypeError if what it proposes is not of the space."""
        found = self.own.propose(space, history, seed)
        try:
            possible = space.contains(found)
        except Exception:  # a space expects a candidate, of whatever kind its own are
            possible = False
        if not possible:
            name = type(self.own).__name__
            raise TypeError(f"{name}.propose returned {str(found)[:200]!r}, which is no candidate of the space")
        return found


# Importing a strategy only when it is made keeps torch, Optuna and scikit-learn out of the API.


def _auto(options: AutoOptions) -> Strategy:
    from nas.search.auto import Auto

    return Auto(options)


def _random(options: NoOptions) -> Strategy:
    from nas.search.random import RandomSearch

    return RandomSearch()


def _grid(options: NoOptions) -> Strategy:
    return grid.Grid()


def _tpe(options: TpeOptions) -> Strategy:
    from nas.search.optuna import tpe

    return tpe(options.startup)


def _gp(options: GpOptions) -> Strategy:
    from nas.search.optuna import gp

    return gp(options.startup)


def _nsga2(options: GeneticOptions) -> Strategy:
    from nas.search.optuna import nsga2

    return nsga2(options.population)


def _nsga3(options: GeneticOptions) -> Strategy:
    from nas.search.optuna import nsga3

    return nsga3(options.population)


def _cmaes(options: CmaesOptions) -> Strategy:
    from nas.search.cmaes import CmaEs

    return CmaEs(options.startup)


def _evolution(options: EvolutionOptions) -> Strategy:
    from nas.search.evolution import Evolution

    return Evolution(options.population, options.tournament)


def _local_search(options: LocalSearchOptions) -> Strategy:
    from nas.search.local_search import LocalSearch

    return LocalSearch(options.startup)


def _prepared(options: SupernetOptions) -> Strategy:
    return prepared.Prepared()


def _too_few_numbers(space: Space[Any]) -> str | None:
    numbers = [found for found in space.distributions().values() if not isinstance(found, Categorical)]
    if sum(map(has_choice, numbers)) >= 2:
        return None
    return (
        "CMA-ES adapts the distribution of two or more numbers: "
        'open some as {"low": …, "high": …}, or take another strategy'
    )


STRATEGIES: Final = {
    "auto": Entry(
        "mutations of the best, chosen by a model of what the rungs have shown; training-free scores choose its start",
        "White, Neiswanger, Savani 2021, BANANAS; White et al. 2021, How Powerful are Performance Predictors in NAS?",
        AutoOptions,
        _auto,
        prepares="screening",
    ),
    "random": Entry(
        "uniformly random candidates",
        "Li, Talwalkar 2019, Random Search and Reproducibility for Neural Architecture Search",
        NoOptions,
        _random,
    ),
    "grid": Entry(
        f"every candidate once, in random order; for spaces of {grid.LARGEST:,} candidates or fewer",
        "exhaustive search",
        NoOptions,
        _grid,
        refuses=grid.refuses,
    ),
    "evolution": Entry(
        "regularized evolution: the best of a few young trials is varied, and trials die of age",
        "Real et al. 2019, Regularized Evolution for Image Classifier Architecture Search",
        EvolutionOptions,
        _evolution,
    ),
    "local_search": Entry(
        "all neighbours of the best candidate, a step to the first better one, and random restarts",
        "White et al. 2021, Exploring the Loss Landscape in Neural Architecture Search",
        LocalSearchOptions,
        _local_search,
    ),
    "tpe": Entry(
        "tree-structured Parzen estimator: what is common among good candidates and rare among others",
        "Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; Optuna's TPESampler",
        TpeOptions,
        _tpe,
    ),
    "gp": Entry(
        "Gaussian process and expected improvement",
        "Snoek et al. 2012, Practical Bayesian Optimization of Machine Learning Algorithms; Optuna's GPSampler",
        GpOptions,
        _gp,
    ),
    "nsga2": Entry(
        "genetic search for several objectives: non-dominated rank, then crowding distance",
        "Deb et al. 2002, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II; Optuna's NSGAIISampler",
        GeneticOptions,
        _nsga2,
    ),
    "nsga3": Entry(
        "genetic search for many objectives: non-dominated rank, then reference directions",
        "Deb, Jain 2014, An Evolutionary Many-Objective Optimization Algorithm (NSGA-III); Optuna's NSGAIIISampler",
        GeneticOptions,
        _nsga3,
    ),
    "cmaes": Entry(
        "adapts a normal distribution over two or more numbers; what is chosen by name is drawn at random",
        "Hansen 2016, The CMA Evolution Strategy: A Tutorial; the cmaes package",
        CmaesOptions,
        _cmaes,
        refuses=_too_few_numbers,
    ),
    "darts": Entry(
        "one supernet with a weight for each operation of each edge, learned by gradient descent",
        "Liu, Simonyan, Yang 2019, DARTS: Differentiable Architecture Search",
        FirstSecondOptions,
        _prepared,
        prepares="supernet",
        refuses=prepared.refuses,
    ),
    "pc_darts": Entry(
        "DARTS on a part of the channels, with normalised edges: less memory, fewer collapses",
        "Xu et al. 2020, PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
        PartialOptions,
        _prepared,
        prepares="supernet",
        refuses=prepared.refuses,
    ),
    "gdas": Entry(
        "one supernet of which each step trains one operation an edge, drawn by Gumbel-softmax",
        "Dong, Yang 2019, Searching for a Robust Neural Architecture in Four GPU Hours",
        DartsOptions,
        _prepared,
        prepares="supernet",
        refuses=prepared.refuses,
    ),
    "random_ws": Entry(
        "one supernet trained on random paths; its weights score random candidates",
        "Li, Talwalkar 2019, Random Search and Reproducibility for Neural Architecture Search; Guo et al. 2020",
        SinglePathOptions,
        _prepared,
        prepares="supernet",
        refuses=prepared.refuses,
    ),
}
"""Name → strategy; the default one comes first."""
