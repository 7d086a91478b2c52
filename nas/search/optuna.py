"""Optuna's samplers as functions of the history.

The history is replayed into a study in memory. A study is kept and extended as long as the history grows at its end;
otherwise it is built again, so that the proposal depends on the history alone and never on what was asked before.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.search.strategy import C, Observation
from nas.space import Categorical, Distribution, Integer, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaSearch:
    """A strategy that asks an Optuna sampler.

    Args:
        sampler: makes the sampler for one proposal from a seed.
    """

    def __init__(self, sampler: Callable[[int], BaseSampler]) -> None:
        self._sampler = sampler
        self._space: Space[Any] | None = None
        self._study = optuna.create_study(direction="maximize")
        self._replayed: list[Observation[Any]] = []
        self._ids: list[int] = []

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy."""
        distributions = {name: _distribution(found) for name, found in space.distributions().items()}
        self._replay(space, distributions, history)
        self._study.sampler = self._sampler(seed)
        trial = self._study.ask(distributions)
        # The answer enters the study by the history, once it is a row; samplers do not look at failed trials.
        self._study.tell(trial, state=TrialState.FAIL)
        return space.decode(trial.params)

    def _replay(
        self, space: Space[C], distributions: Mapping[str, BaseDistribution], history: Sequence[Observation[C]]
    ) -> None:
        kept = self._replayed
        if self._space != space or len(kept) > len(history) or not all(map(_continues, kept, history)):
            kept, self._ids = [], []
            self._study = optuna.create_study(direction="maximize")
        self._space = None  # until all is replayed: an error in between must not leave a half study behind
        storage = self._study._storage
        for index, observation in enumerate(history):
            if index < len(kept) and kept[index] == observation:
                continue
            frozen = _frozen(observation, space, distributions)
            if index >= len(kept):
                self._ids.append(storage.create_new_trial(self._study._study_id, template_trial=frozen))
            else:  # it was running then
                for step, value in frozen.intermediate_values.items():
                    storage.set_trial_intermediate_value(self._ids[index], step, value)
                if frozen.state.is_finished():
                    storage.set_trial_state_values(self._ids[index], frozen.state, frozen.values)
        self._space, self._replayed = space, list(history)


def _continues(before: Observation[Any], after: Observation[Any]) -> bool:
    return before == after or (
        not before.finished and (before.number, before.candidate) == (after.number, after.candidate)
    )


def _frozen(observation: Observation[C], space: Space[C], distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """The observation as Optuna sees it; one that failed counts as stopped early, before anything was known."""
    if not observation.finished:
        state = TrialState.RUNNING
    elif observation.complete:
        state = TrialState.COMPLETE
    else:
        state = TrialState.PRUNED
    return create_trial(
        state=state,
        params=dict(space.encode(observation.candidate)),
        distributions=dict(distributions),
        value=observation.accuracy if state == TrialState.COMPLETE else None,
        # Of a running trial nothing is kept: it may still end as if it had never been seen.
        intermediate_values={observation.epoch: observation.accuracy}
        if observation.finished and observation.accuracy is not None
        else {},
    )


def _distribution(found: Distribution) -> BaseDistribution:
    if isinstance(found, Categorical):
        return CategoricalDistribution(found.choices)
    if isinstance(found, Integer):
        return IntDistribution(found.low, found.high, log=found.log)
    return FloatDistribution(found.low, found.high, log=found.log)


def tpe() -> OptunaSearch:
    """The tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023), ten random trials first.

    Trials that are running count as bad ones (constant liar), so that parallel workers do not crowd together.
    """
    return OptunaSearch(lambda seed: TPESampler(n_startup_trials=10, constant_liar=True, seed=seed))
