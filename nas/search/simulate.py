"""Runs a search against a table or a function instead of training: the proof of a strategy."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from nas.errors import InvalidInput
from nas.search.catalog import strategies
from nas.search.options import AutoOptions, PruningSpec
from nas.search.pruning import PRUNERS, Pruner, make_pruner
from nas.search.screening import warm_start
from nas.search.simulation import Budget, Simulation
from nas.search.simulator import Objective, Run
from nas.search.strategy import C, Strategy
from nas.seeds import derive
from nas.space import Space
from nas.strict import Strict

M = TypeVar("M", bound=Strict)


def simulate(
    strategy: str | Strategy,
    space: Space[C],
    objective: Objective,
    *,
    budget: int | Mapping[str, Any] | Budget,
    workers: int = 1,
    seed: int = 0,
    epochs: int = 1,
    pruning: str | PruningSpec | Pruner | None = None,
    options: Mapping[str, Any] | None = None,
    starts: Sequence[C] = (),
    prior: Callable[[Sequence[C]], Sequence[float]] | None = None,
) -> Simulation[C]:
    """Runs a search against an objective; the same arguments give the same result.

        space = CategoricalSpace({"edge 1": ("none", "skip", "conv"), "edge 2": ("none", "skip", "conv")})
        table = {("skip", "conv"): 0.93, …}
        found = simulate("auto", space, lambda net, epochs: (table[tuple(net.values())], 60.0 * epochs), budget=100)
        found.best, found.best_score

    Args:
        strategy: a name from nas.search.catalog.strategies(), or a strategy.
        space: what is searched.
        objective: (candidate, epochs) → (score, seconds): the score after so many epochs in all, larger is better, and
            the seconds that training from scratch to there takes; a trial that goes on from a checkpoint pays the
            difference. The score may be a tuple for several objectives, all maximised, of which training changes the
            first only. A bare score takes a second an epoch. A trial fails if the score is None or not finite, or if
            the objective raises; if it raises for ten trials in a row, the error is passed on. Of a candidate for
            which it raises nas.errors.Infeasible nothing is trained.
        budget: a number of full trainings, that is, so many times `epochs` in epochs; or a Budget, or a mapping of its
            fields. Never exceeded; epochs are held back in it to train one trial to the end (nas.search.pruner).
        workers: that work side by side, each on its own trial, all at the same speed.
        seed: of everything random.
        epochs: of a whole training.
        pruning: a name from nas.search.pruning.PRUNERS, a PruningSpec or a pruner. None: halving for auto; none for all
            others, which are then the published algorithms.
        options: of a named strategy.
        starts: what the first trials train.
        prior: candidates → training-free scores, larger is better: `auto` then begins with the best of
            options.warm_start random candidates. Without it there is no warm start.

    Raises:
        InvalidInput: an argument is impossible, or the strategy cannot search the space.
    """
    limits, whole = _budget(budget, epochs)
    if workers < 1:
        raise InvalidInput("workers", workers, "at least one worker is needed")
    chosen, settings = _strategy(strategy, space, options or {})
    pruner = _pruner(("halving" if strategy == "auto" else "none") if pruning is None else pruning)
    if prior is not None and isinstance(settings, AutoOptions) and settings.warm_start:
        trials = _trials(limits, pruner, whole)
        starts = [*starts, *_screened(space, prior, settings.warm_start, trials, seed)]
    return Run(chosen, space, objective, limits, whole, pruner, tuple(starts), workers, seed).result()


def _budget(given: int | Mapping[str, Any] | Budget, epochs: int) -> tuple[Budget, int]:
    """The budget, and the epochs of a whole training."""
    if epochs < 1:
        raise InvalidInput("epochs", epochs, "a whole training takes at least one")
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        if given < 1:
            raise InvalidInput("budget", given, "it has to be at least one full training")
        given = Budget(total_epochs=int(given) * epochs)
    found = given if isinstance(given, Budget) else _parse(Budget, "budget", given)
    if found.trials is None and found.total_epochs is None and found.seconds is None:
        raise InvalidInput("budget", given, "it needs trials, total_epochs or seconds")
    return found, found.epochs or epochs


def _strategy(given: str | Strategy, space: Space[Any], options: Mapping[str, Any]) -> tuple[Strategy, Strict | None]:
    """The strategy, and its options if it has a name."""
    if not isinstance(given, str):
        if options:
            raise InvalidInput("options", options, "a strategy that is an object has its options already")
        return given, None
    entry = strategies().get(given)
    if entry is None:
        raise InvalidInput("strategy", given, f"the strategies are {', '.join(strategies())}")
    if entry.prepares == "supernet":
        raise InvalidInput("strategy", given, "it trains a supernet, which no objective stands for")
    if (refusal := entry.refuses(space)) is not None:
        raise InvalidInput("strategy", given, refusal)
    settings = _parse(entry.options, "options", options)
    return entry.make(settings), settings


def _pruner(given: str | Mapping[str, Any] | PruningSpec | Pruner) -> Pruner:
    if isinstance(given, str):
        if given not in PRUNERS:
            raise InvalidInput("pruning", given, f"it is one of {', '.join(PRUNERS)}")
        given = {"method": given}
    if isinstance(given, Mapping):
        given = _parse(PruningSpec, "pruning", given)
    return make_pruner(given) if isinstance(given, PruningSpec) else given


def _parse(model: type[M], name: str, given: Any) -> M:
    """A model from what a user wrote. Raises InvalidInput, which names the field."""
    try:
        return model.model_validate(dict(given) if isinstance(given, Mapping) else given)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in (name, *first["loc"]))
        raise InvalidInput(path, first["input"], first["msg"]) from error


def _screened(
    space: Space[C], prior: Callable[[Sequence[C]], Sequence[float]], count: int, trials: int, seed: int
) -> list[C]:
    """The warm start: what screening makes of the scores of `count` random candidates."""
    rng = np.random.default_rng(derive(seed, "screening"))
    drawn = {space.digest(candidate): candidate for candidate in (space.sample(rng) for _ in range(count))}
    candidates = list(drawn.values())
    scores = np.nan_to_num(np.asarray(prior(candidates), np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    if scores.shape != (len(candidates),):
        raise InvalidInput("prior", scores.shape, f"it has to return a score for each of {len(candidates)} candidates")
    return warm_start(candidates, scores.tolist(), trials=trials, seed=derive(seed, "warm start"))


def _trials(limits: Budget, pruner: Pruner, whole: int) -> int:
    """About how many trials a budget lasts for: halving spends about as many epochs at each of its rungs."""
    stages = pruner.stages(0, whole)
    cost = stages[0] * len(stages) if pruner.annealed else whole
    return min(limits.trials or sys.maxsize, (limits.total_epochs or sys.maxsize) // cost)
