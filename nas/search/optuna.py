"""Optuna's samplers as functions of the history.

For each proposal the sampler is shown a study that was made up for it: as much of the history as it can use in the
time that a proposal may take, with scores that can be compared (nas.search.prospects). So nothing that was asked before
can change an answer, and a history of 10,000 trials costs hardly more than one of 1,000.
"""

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.search.fronts import merits
from nas.search.prospects import Prospect, excerpt, prospects, standing
from nas.search.strategy import C, Observation
from nas.space import Categorical, Distribution, Integer, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

TPE_TRIALS: Final = 256
"""TPE is shown so many: of 250 it takes 25 for good ones, and never more of any number."""

GP_TRIALS: Final = 50
"""A Gaussian process is shown so many: its cost grows with their cube."""

GP_LIARS: Final = 8
"""So many of those that run, and of those that failed, a Gaussian process is shown."""

LIARS: Final = 64
"""So many of the trials of which nothing is known are shown, the newest ones."""

POOL: Final = 4
"""NSGA's parents are chosen from so many times the population, the best of all earlier generations."""


@dataclass(frozen=True, slots=True)
class Row:
    """A trial as a sampler is shown it; without values it is one that runs."""

    number: int
    candidate: Any
    values: tuple[float, ...] | None


Show = Callable[[Sequence[Observation[Any]]], list[Row]]
"""What a sampler is shown of a history, in its order."""


class OptunaSearch:
    """A strategy that asks an Optuna sampler.

    Args:
        sampler: makes the sampler for one proposal from a seed.
        show: what it is shown.
        sure: whether it may propose the same whatever the seed. What was tried before is then varied, so that asking
            again helps.
        attributes: that it would have written to each finished trial itself.
    """

    def __init__(
        self,
        sampler: Callable[[int], BaseSampler],
        show: Show,
        *,
        sure: bool = False,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._sampler, self._show, self._sure = sampler, show, sure
        self._attributes = dict(attributes or {})
        self._space: Space[Any] | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        self._encoded: dict[int, tuple[Any, dict[str, Any]]] = {}

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy. Raises ValueError if it is shown a trial whose candidate is not of the space."""
        if self._space != space:
            self._space, self._encoded = space, {}
            self._distributions = {name: _distribution(found) for name, found in space.distributions().items()}
        rows = self._show(history)
        study = _Study([self._trial(index, row, space) for index, row in enumerate(rows)], _objectives(rows))
        found = space.decode(_ask(study, self._sampler(seed), self._distributions))
        if self._sure and any(observation.candidate == found for observation in history):
            return space.mutate(found, np.random.default_rng(seed))
        return found

    def _trial(self, index: int, row: Row, space: Space[Any]) -> FrozenTrial:
        known = row.values is not None
        return FrozenTrial(
            number=index,
            trial_id=index,
            state=TrialState.COMPLETE if known else TrialState.RUNNING,
            value=None,
            values=row.values,
            params=self._params(row, space),
            distributions=self._distributions,
            user_attrs={},
            system_attrs=self._attributes if known else {},
            intermediate_values={},
            datetime_start=None,
            datetime_complete=None,
        )

    def _params(self, row: Row, space: Space[Any]) -> dict[str, Any]:
        """The candidate encoded; what was encoded before is looked up by the number and checked."""
        kept = self._encoded.get(row.number)
        if kept is None or kept[0] != row.candidate:
            kept = self._encoded[row.number] = row.candidate, dict(space.encode(row.candidate))
        return kept[1]


class _Study(optuna.Study):
    """A study of the trials that it is given; its storage holds only the one that is asked for."""

    def __init__(self, shown: list[FrozenTrial], objectives: int) -> None:
        storage = InMemoryStorage()
        found = storage.create_new_study([StudyDirection.MAXIMIZE] * objectives)
        super().__init__(study_name=storage.get_study_name_from_id(found), storage=storage)
        self.asked = storage.create_new_trial(found)
        self._shown = shown

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def _ask(study: _Study, sampler: BaseSampler, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """As Study.ask does, without comparing the distributions of all trials: they are the same ones."""
    trial = study._storage.get_trial(study.asked)
    trial.number = len(study._shown)
    open_ = {name: distributions[name] for name in sorted(distributions) if not distributions[name].single()}
    together = sampler.sample_relative(study, trial, open_) if study._shown else {}
    return {
        name: together[name]
        if name in together
        else sampler.sample_independent(study, trial, name, found)
        if name in open_
        else _only(found)
        for name, found in distributions.items()
    }


def _only(found: BaseDistribution) -> Any:
    return found.choices[0] if isinstance(found, CategoricalDistribution) else found.low  # type: ignore[attr-defined]


def _objectives(rows: Sequence[Row]) -> int:
    return next((len(row.values) for row in rows if row.values is not None), 1)


def _distribution(found: Distribution) -> BaseDistribution:
    if isinstance(found, Categorical):
        return CategoricalDistribution(found.choices)
    if isinstance(found, Integer):
        return IntDistribution(found.low, found.high, log=found.log)
    return FloatDistribution(found.low, found.high, log=found.log)


def _unknown(history: Sequence[Observation[C]]) -> tuple[list[Observation[C]], list[Observation[C]]]:
    """Trials that run and of which nothing is known, and those that ended without a score; the newest ones of each."""
    without = [observation for observation in history if standing(observation) is None]
    running = [observation for observation in without if not observation.finished]
    return running[-LIARS:], [observation for observation in without if observation.finished][-LIARS:]


def _with(found: Sequence[Prospect[C]], lies: Sequence[tuple[Observation[C], tuple[float, ...] | None]]) -> list[Row]:
    """Rows of trials that are known, and of others with the values that are made up for them, by their numbers."""
    rows = [Row(prospect.number, prospect.candidate, prospect.values) for prospect in found]
    rows += [Row(observation.number, observation.candidate, values) for observation, values in lies]
    return sorted(rows, key=lambda row: row.number)


def tpe(startup: int = 10) -> OptunaSearch:
    """The tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023).

    Trials that run, that failed and that break a limit count as bad ones, whatever the others score: parallel workers
    do not crowd together (constant liar), and what cannot be trained is avoided.

    Args:
        startup: trials with a score before which candidates are random.
    """

    def show(history: Sequence[Observation[Any]]) -> list[Row]:
        found = excerpt(prospects(history), TPE_TRIALS)
        if len(found) < startup:
            return []
        running, failed = _unknown(history)
        return _with(found, [(observation, None) for observation in (*running, *failed)])

    # Jointly: one parameter at a time takes ten times as long, and found worse candidates on the DARTS space.
    return OptunaSearch(
        lambda seed: TPESampler(n_startup_trials=1, multivariate=True, constant_liar=True, seed=seed), show
    )


def gp(startup: int = 10) -> OptunaSearch:
    """A Gaussian process with a Matérn kernel and expected improvement (Optuna's GPSampler).

    Of trials that run the median is assumed, so that parallel workers do not crowd together (constant liar; Ginsbourger
    et al. 2010); of those that failed or break a limit the worst that is known.

    Args:
        startup: trials with a score before which candidates are random.
    """

    def sampler(seed: int) -> GPSampler:
        found = GPSampler(n_startup_trials=1, seed=seed)
        # Local searches from the best known point and the best of 256, not of ten points and 2,048: 40 ms, not 180.
        found._n_local_search, found._n_preliminary_samples = 2, 256
        return found

    def show(history: Sequence[Observation[Any]]) -> list[Row]:
        found = excerpt(prospects(history), GP_TRIALS)
        if len(found) < startup:
            return []
        columns = [sorted(column) for column in zip(*(prospect.values for prospect in found), strict=True)]
        worst, middle = tuple(column[0] for column in columns), tuple(column[len(column) // 2] for column in columns)
        running, failed = _unknown(history)
        lies = [(observation, middle) for observation in running[-GP_LIARS:]]
        return _with(found, lies + [(observation, worst) for observation in failed[-GP_LIARS:]])

    return OptunaSearch(sampler, show, sure=True)


def nsga2(population: int = 24) -> OptunaSearch:
    """NSGA-II (Deb et al. 2002): crossover and mutation of the best by non-dominated rank and crowding distance."""
    return _genetic(NSGAIISampler, population)


def nsga3(population: int = 24) -> OptunaSearch:
    """NSGA-III (Deb, Jain 2014): as NSGA-II, spread over reference directions instead of by crowding distance."""
    return _genetic(NSGAIIISampler, population)


def _genetic(kind: type[NSGAIISampler] | type[NSGAIIISampler], population: int) -> OptunaSearch:
    """Generations are made up of the trials with a score in the order of their numbers; others are never parents.

    Optuna passes its parents on from generation to generation. Here they are chosen from all earlier trials at once,
    which gives the same ones with a single objective, and needs nothing to be remembered.
    """

    def show(history: Sequence[Observation[Any]]) -> list[Row]:
        found = prospects(history)
        older = found[: len(found) // population * population]
        ranked = merits([prospect.values for prospect in older])
        best = sorted(range(len(older)), key=ranked.__getitem__, reverse=True)[: POOL * population]
        return _with([older[index] for index in best], [])

    def sampler(seed: int) -> BaseSampler:
        with warnings.catch_warnings():  # NSGA-III is called experimental since 2023
            warnings.simplefilter("ignore", ExperimentalWarning)
            return kind(population_size=population, seed=seed)

    return OptunaSearch(sampler, show, attributes={kind._get_generation_key(): 0})
