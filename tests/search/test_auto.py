from collections.abc import Callable, Sequence
from statistics import mean

import pytest

from nas.search.auto import Auto
from nas.search.options import AutoOptions
from nas.search.random import RandomSearch
from nas.search.strategy import Observation, Strategy
from nas.seeds import derive
from nas.space import CategoricalSpace, Choices
from tests.search.histories import completed, draw

SPACE = CategoricalSpace({f"edge {index}": ("none", "skip", "pool", "conv", "dil") for index in range(6)})
WORTH = {"none": 0.0, "skip": 0.3, "pool": 0.1, "conv": 1.0, "dil": 0.6}
GREEDY = AutoOptions(exploration=0.0)


def worth(candidate: Choices) -> float:
    """Each edge counts for itself, the later ones for more."""
    return sum(WORTH[str(op)] * (1 + place / 3) for place, op in enumerate(candidate.values()))


def share(op: str) -> Callable[[Choices], float]:
    """Of the edges with that operation."""
    return lambda candidate: list(candidate.values()).count(op) / 6


def proposed(history: Sequence[Observation[Choices]], seeds: int = 12, options: AutoOptions = GREEDY) -> list[Choices]:
    strategy = Auto(options)
    return [strategy.propose(SPACE, history, seed) for seed in range(seeds)]


def search(strategy: Strategy, trials: int, job: int) -> list[float]:
    history: list[Observation[Choices]] = []
    for number in range(trials):
        candidate = strategy.propose(SPACE, history, derive(job, number))
        history.append(Observation(number, candidate, True, True, 1, worth(candidate)))
    return [worth(observation.candidate) for observation in history]


def test_it_finds_what_random_search_does_not() -> None:
    jobs = range(3)
    best = max(map(worth, (SPACE.decode(dict.fromkeys(SPACE.distributions(), op)) for op in WORTH)))
    by_auto = [max(search(Auto(AutoOptions()), 50, job)) for job in jobs]
    at_random = [max(search(RandomSearch(), 50, job)) for job in jobs]
    assert min(by_auto) > 0.97 * best
    assert mean(at_random) < 0.9 * best


def test_it_learns_from_trials_that_are_paused_as_from_complete_ones() -> None:
    candidates = draw(SPACE, 40)
    paused = [
        Observation(number, candidate, False, False, 4, worth(candidate), paused=True, rungs=((4, worth(candidate)),))
        for number, candidate in enumerate(candidates)
    ]
    known = sorted(map(worth, candidates))
    assert mean(map(worth, proposed(paused))) > known[-2]
    assert proposed(paused) == proposed(completed(candidates, [worth(candidate) for candidate in candidates]))


def test_of_rungs_that_contradict_each_other_the_last_one_counts() -> None:
    candidates = draw(SPACE, 40)

    def history(first: str, last: str) -> list[Observation[Choices]]:
        early, late = share(first), share(last)
        return [
            Observation(number, candidate, True, True, 9, late(candidate), rungs=((1, early(candidate)),))
            for number, candidate in enumerate(candidates)
        ]

    for first, last in [("conv", "skip"), ("skip", "conv")]:
        found = proposed(history(first, last))
        assert mean(map(share(last), found)) > 0.5 > mean(map(share(first), found)) + 0.2


def test_early_rungs_tell_what_the_last_one_does_not_yet() -> None:
    """Of 40 trials the four best at the first rung were promoted; three of them are equally good at the last one."""
    candidates = draw(SPACE, 40)
    good = sorted(range(40), key=lambda number: -worth(candidates[number]))[:4]
    history = [
        Observation(number, candidate, True, True, 9, 5.0, rungs=((1, worth(candidate)),))
        if number in good
        else Observation(
            number, candidate, False, False, 1, worth(candidate), paused=True, rungs=((1, worth(candidate)),)
        )
        for number, candidate in enumerate(candidates)
    ]
    assert mean(map(worth, proposed(history))) > worth(candidates[good[0]])


@pytest.mark.parametrize("exploration", [0.0, 1.0])
def test_nothing_is_proposed_twice_while_there_are_others(exploration: float) -> None:
    space = CategoricalSpace(dict.fromkeys("xyz", ("a", "b", "c")))
    everything = list(dict.fromkeys(draw(space, 300)))
    assert len(everything) == 27
    strategy = Auto(AutoOptions(exploration=exploration))
    for count in (10, 20):
        history = completed(everything[:count], [number / 27 for number in range(count)])
        found = {strategy.propose(space, history, seed) for seed in range(15)}
        assert not found & set(everything[:count])
    [last] = {Auto(GREEDY).propose(space, completed(everything[:26], [0.5] * 26), seed) for seed in range(5)}
    assert last == everything[26]


def test_the_share_of_random_trials_is_the_option() -> None:
    """A random proposal is the same whatever the trials scored."""
    candidates = draw(SPACE, 30)
    scores = [worth(candidate) for candidate in candidates]
    histories = completed(candidates, scores), completed(candidates, [-score for score in scores])

    def unmoved(exploration: float) -> int:
        options = AutoOptions(exploration=exploration)
        one, other = (proposed(history, 60, options) for history in histories)
        return sum(a == b for a, b in zip(one, other, strict=True))

    assert unmoved(0.0) == 0
    assert 11 <= unmoved(0.4) <= 37
    assert unmoved(1.0) == 60


def test_candidates_that_break_a_limit_are_avoided() -> None:
    """The best operation is forbidden where there are more than two of it."""
    candidates = draw(SPACE, 80)
    forbidden = [share("conv")(candidate) > 0.4 for candidate in candidates]
    history = [
        Observation(number, candidate, True, False, 0, None, infeasible=True)
        if breaks
        else Observation(number, candidate, True, True, 1, worth(candidate))
        for number, (candidate, breaks) in enumerate(zip(candidates, forbidden, strict=True))
    ]
    assert 5 < sum(forbidden) < 60
    for options in (GREEDY, AutoOptions(exploration=1.0)):
        found = proposed(history, 20, options)
        assert mean(share("conv")(candidate) > 0.4 for candidate in found) < 0.15
    assert mean(map(worth, proposed(history, 20))) > mean(map(worth, candidates)) + 1


def test_failed_trials_are_bad_ones_even_where_all_scores_are_negative() -> None:
    candidates = draw(SPACE, 60)
    history = [
        Observation(number, candidate, True, False, 3, None)
        if share("skip")(candidate) > 0.3
        else Observation(number, candidate, True, True, 9, worth(candidate) - 100)
        for number, candidate in enumerate(candidates)
    ]
    assert 10 < sum(observation.score is None for observation in history) < 50
    assert mean(map(share("skip"), proposed(history))) < 0.5 * mean(map(share("skip"), candidates))


def test_workers_that_propose_at_once_do_not_crowd_together() -> None:
    """What runs counts as tried: the same seed, asked again and again, goes on to others."""
    history = completed(draw(SPACE, 30), [worth(candidate) for candidate in draw(SPACE, 30)])
    strategy, batch = Auto(GREEDY), set()
    for number in range(30, 42):
        candidate = strategy.propose(SPACE, history, 7)
        batch.add(candidate)
        history.append(Observation(number, candidate, False, False, 0, None))
    assert len(batch) == 12
    assert len({candidate["edge 0"] for candidate in batch}) > 1


def test_two_objectives_are_both_sought_and_so_is_what_lies_between() -> None:
    """One objective wants convolutions, the other one skip connections: each costs the other one edges."""
    candidates = draw(SPACE, 60)
    conv, skip = share("conv"), share("skip")
    history = [
        Observation(number, candidate, True, True, 1, conv(candidate), others=(skip(candidate),))
        for number, candidate in enumerate(candidates)
    ]
    found = proposed(history, 30)
    assert mean(conv(candidate) + skip(candidate) for candidate in found) > 0.75
    assert max(map(conv, found)) > 0.6
    assert max(map(skip, found)) > 0.6
    assert min(map(conv, found)) < 0.4
