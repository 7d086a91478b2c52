"""The default strategy: mutations of the best trials, chosen by a model of what all trials showed at all rungs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.search.evidence import Evidence, gather
from nas.search.features import Encoder, Floats
from nas.search.gaussian import Known, Process, Settings, default, learn
from nas.search.options import AutoOptions
from nas.search.strategy import Observation
from nas.space import Space

C = TypeVar("C")

STARTUP: Final = 8
"""Random trials that have to have a score before the model takes over."""

ROWS: Final = 500
"""Scores that the model is given, so that a proposal takes as long after 10,000 trials as after 1,000."""

LEARNT: Final = 60
"""Trials that its settings are learnt from."""

GROWTH: Final = 1.25
"""The settings are learnt anew whenever there are so many times as many trials."""

PARENTS: Final = 8
"""Trials that are mutated: the best ones at the highest rungs, and as many that the model takes for the best."""

POOL: Final = 200
"""Candidates of a round."""

ROUNDS: Final = 2
"""Rounds of mutations; those after the first one mutate what the model took for the best in the one before."""

STEPS: Final = (0.5, 0.3, 0.2)
"""Shares of the mutations that change one, two and three parameters."""

OPTIMISM: Final = 0.5
"""Standard deviations that are added to the mean."""

DRAWS: Final = 20
"""Candidates drawn for a random trial, should they be known or likely to break a limit."""

LIKELY: Final = 0.4
"""Chance of keeping the limits from which on a random candidate is as good as any other."""

CLOSER: Final = 60
"""Candidates with the largest means, whose deviations are worked out too."""


class Auto:
    """Model-guided mutation, which learns from trials that are paused at a rung as from those trained to the end.

    The model is a Gaussian process over the ranks at each rung (nas.search.gaussian). A few rounds of mutations of the
    best trials and of what the model prefers to them make a pool; the largest mean plus half a standard deviation is
    proposed. Candidates that break a limit are avoided by a second model. Several objectives are made one with random
    weights for each proposal (Knowles 2006, ParEGO).

    Args:
        options: `exploration` is the share of trials that are random.
    """

    def __init__(self, options: AutoOptions) -> None:
        self._exploration = options.exploration
        self._trials: _Trials[Any] | None = None
        self._learnt: dict[bytes, Settings] = {}

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy."""
        rng = np.random.default_rng(seed)
        trials = self._known(space)
        codes, taken = trials.look_up(history)
        evidence = gather(history)
        limits = _limits(trials.encoder, codes, history)
        scored = np.unique(evidence.trials[np.isfinite(evidence.values[:, 0])])
        if rng.random() < self._exploration or len(scored) < STARTUP:
            return _random(space, trials.encoder, limits, taken, rng)
        weights = rng.dirichlet(np.ones(evidence.values.shape[1]))
        process, kept = self._fit(trials.encoder, codes, evidence, weights, _pending(history, evidence))
        pool = _pool(trials.encoder, process, _parents(process, trials.encoder, codes, kept), rng)
        for candidate in _best_first(trials.encoder, process, limits, pool):
            if space.digest(candidate) not in taken:
                return candidate
        return _random(space, trials.encoder, limits, taken, rng)

    def _known(self, space: Space[C]) -> "_Trials[C]":
        if self._trials is None or self._trials.space != space:
            self._trials, self._learnt = _Trials(space), {}
        return self._trials

    def _fit(
        self, encoder: Encoder[C], codes: Floats, evidence: Evidence, weights: Floats, pending: NDArray[np.intp]
    ) -> tuple[Process, Evidence]:
        """The model of the latest scores, and which they are, the best of the highest rung first."""
        scores = evidence.scores(weights)
        kept = _latest(evidence.levels)
        used = evidence.where(kept)
        known = Known(encoder.features(codes[used.trials]), used.levels, scores[kept])
        settings = self._settings(encoder, codes, evidence)
        process = Process(known, encoder.features(codes[pending]), encoder.groups, settings)
        return process, used.where(np.lexsort((-scores[kept], -used.levels)))

    def _settings(self, encoder: Encoder[C], codes: Floats, evidence: Evidence) -> Settings:
        """What is learnt from a part of the trials that seldom changes, so that it can be kept."""
        levels = int(evidence.levels.max()) + 1
        trials = np.unique(evidence.trials)
        size = float(STARTUP)
        while size * GROWTH <= len(trials):
            size *= GROWTH
        part = evidence.where(np.isin(evidence.trials, trials[: int(size)]))
        part = part.where(np.isin(part.trials, _spread(part)))
        key = b"".join([np.intp(levels).tobytes(), *(a.tobytes() for a in (part.trials, part.levels, part.values))])
        key += codes[part.trials].tobytes()
        if key not in self._learnt:
            if len(self._learnt) > 8:
                self._learnt.clear()
            scores = part.scores(np.eye(evidence.values.shape[1])[0])
            known = Known(encoder.features(codes[part.trials]), part.levels, scores)
            self._learnt[key] = learn(known, levels, encoder.groups)
        return self._learnt[key]


class _Trials(Generic[C]):
    """What was computed for the trials of a space before, looked up by their numbers; their candidates are compared."""

    def __init__(self, space: Space[C]) -> None:
        self.space, self.encoder = space, Encoder(space)
        self._kept: dict[int, tuple[C, Floats, str]] = {}

    def look_up(self, history: Sequence[Observation[C]]) -> tuple[Floats, set[str]]:
        """The codes of all trials, and their digests."""
        found = [self._one(observation) for observation in history]
        return np.array([codes for _, codes, _ in found]), {digest for _, _, digest in found}

    def _one(self, observation: Observation[C]) -> tuple[C, Floats, str]:
        kept, candidate = self._kept.get(observation.number), observation.candidate
        if kept is None or (kept[0] is not candidate and kept[0] != candidate):
            kept = candidate, self.encoder.codes([candidate])[0], self.space.digest(candidate)
            self._kept[observation.number] = kept
        return kept


def _latest(levels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows for the model: half of the places for the highest rung, half of the others for the next, and so on."""
    left, chosen = ROWS, []
    for level in range(int(levels.max()), -1, -1):
        rows = np.flatnonzero(levels == level)[-(left // 2 if level else left) :]
        chosen.append(rows)
        left -= len(rows)
    return np.sort(np.concatenate(chosen))


def _spread(evidence: Evidence) -> NDArray[np.intp]:
    """Trials to learn from: as many from each rung, from early to late ones."""
    levels = np.unique(evidence.levels)
    chosen = []
    for level in levels:
        there = np.unique(evidence.trials[evidence.levels == level])
        chosen.append(there[np.linspace(0, len(there) - 1, min(len(there), LEARNT // len(levels))).astype(np.intp)])
    return np.unique(np.concatenate(chosen))


def _pending(history: Sequence[Observation[Any]], evidence: Evidence) -> NDArray[np.intp]:
    """Running trials of which nothing is known yet, the latest ones."""
    running = [index for index, found in enumerate(history) if not found.finished and not found.paused]
    return np.setdiff1d(running, evidence.trials).astype(np.intp)[-ROWS // 4 :]


def _limits(encoder: Encoder[C], codes: Floats, history: Sequence[Observation[Any]]) -> Process | None:
    """A model that is above 0 where candidates keep the limits more often than all do; None if none broke one."""
    kept = np.array([not observation.infeasible for observation in history], np.float64)[-ROWS // 2 :]
    if kept.all() or not kept.any():
        return None
    features = encoder.features(codes[-len(kept) :])
    known = Known(features, np.zeros(len(kept), np.intp), (kept - kept.mean()) / kept.std())
    return Process(known, features[:0], encoder.groups, default(1, int(encoder.groups.max()) + 1))


def _chances(limits: Process | None, features: Floats) -> Floats:
    """[k, features] → [k]: of keeping the limits, a half where nothing is known."""
    return np.full(len(features), 0.5) if limits is None else np.asarray(ndtr(limits.mean(features)))


def _random(
    space: Space[C], encoder: Encoder[C], limits: Process | None, taken: set[str], rng: np.random.Generator
) -> C:
    """A candidate that is not known, if there is one among a few, and likely to keep the limits."""
    drawn: Iterable[C] = (space.sample(rng) for _ in range(DRAWS))
    if limits is not None:
        drawn = list(drawn)
        # Among those that are likely enough chance decides.
        chances = np.minimum(_chances(limits, encoder.features(encoder.codes(drawn))), LIKELY)
        drawn = [drawn[index] for index in np.argsort(-chances, kind="stable")]
    for candidate in drawn:
        if space.digest(candidate) not in taken:
            return candidate
    return space.sample(rng)


def _parents(process: Process, encoder: Encoder[C], codes: Floats, kept: Evidence) -> Floats:
    """The trials that did best at the highest rungs, and those that the model takes for the best."""
    trials = np.array(list(dict.fromkeys(kept.trials.tolist())), np.intp)
    liked = trials[np.argsort(-process.mean(encoder.features(codes[trials])), kind="stable")[:PARENTS]]
    return codes[np.union1d(trials[:PARENTS], liked)]


def _pool(encoder: Encoder[C], process: Process, parents: Floats, rng: np.random.Generator) -> Floats:
    """Candidates to choose from."""
    pool = parents
    for turn in range(ROUNDS):
        chosen = parents[rng.integers(len(parents), size=POOL)]
        steps = rng.choice(np.arange(1, len(STEPS) + 1), p=STEPS, size=POOL)
        pool = np.unique(np.vstack([encoder.mutate(chosen, steps, rng), *([parents] if turn else [])]), axis=0)
        best = np.argsort(-process.mean(encoder.features(pool)), kind="stable")
        parents = pool[best[: 2 * PARENTS]]
    return pool[best]


def _best_first(encoder: Encoder[C], process: Process, limits: Process | None, pool: Floats) -> Iterator[C]:
    """The pool, which is sorted by mean, by mean and deviation and by how likely the limits are kept."""
    features = encoder.features(pool)
    worth = process.mean(features)
    worth[:CLOSER] += OPTIMISM * process.deviation(features[:CLOSER])
    worth[CLOSER:] -= worth[CLOSER:].max(initial=0) - worth[:CLOSER].min()  # they come last
    worth += np.log(np.maximum(_chances(limits, features), 1e-9))
    order = np.argsort(-worth, kind="stable")
    return (encoder.candidate(pool[index]) for index in order)
