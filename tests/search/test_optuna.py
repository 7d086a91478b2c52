from statistics import mean

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from nas.search.optuna import tpe
from nas.search.random import RandomSearch
from nas.search.strategy import Observation, Strategy
from nas.seeds import derive
from nas.space import Candidate, CellSpace, ResidualNet
from tests.search.histories import completed, draw, score

SPACE = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5"), nodes=2, channels=4, cells=3)


def asked_of_optuna(history: list[Observation], seed: int) -> Candidate:
    """What Optuna itself answers: a new study, the trials one after the other, one question."""
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(choices) for name, choices in SPACE.distributions().items()
    }
    sampler = TPESampler(n_startup_trials=10, constant_liar=True, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for observation in history:
        study.add_trial(
            create_trial(
                state=state_of(observation),
                params=dict(SPACE.encode(observation.candidate)),
                distributions=distributions,
                value=observation.accuracy if observation.complete else None,
                intermediate_values={} if observation.accuracy is None else {observation.epoch: observation.accuracy},
            )
        )
    return SPACE.decode(study.ask(distributions).params)


def state_of(observation: Observation) -> TrialState:
    if not observation.finished:
        return TrialState.RUNNING
    return TrialState.COMPLETE if observation.complete else TrialState.PRUNED


def mixed(count: int) -> list[Observation]:
    """Complete, pruned, failed and running trials in turn."""
    observations = []
    for number, candidate in enumerate(draw(SPACE, count)):
        match number % 5:
            case 0 | 1:
                observations.append(Observation(number, candidate, True, True, 8, score(candidate)))
            case 2:
                observations.append(Observation(number, candidate, True, False, 1 + number % 3, score(candidate) / 2))
            case 3:
                observations.append(Observation(number, candidate, True, False, 0, None))
            case _:
                observations.append(Observation(number, candidate, False, False, 2, score(candidate) / 2))
    return observations


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 40])
def test_tpe_proposes_what_optuna_does_after_completed_trials(count: int) -> None:
    history = completed(draw(SPACE, count))
    for seed in range(5):
        assert tpe().propose(SPACE, history, seed) == asked_of_optuna(history, seed)


@pytest.mark.parametrize("count", [5, 12, 60])
def test_tpe_proposes_what_optuna_does_after_trials_of_all_kinds(count: int) -> None:
    history = mixed(count)
    for seed in range(5):
        assert tpe().propose(SPACE, history, seed) == asked_of_optuna(history, seed)


def test_a_strategy_that_is_kept_proposes_what_a_new_study_does() -> None:
    kept, history = tpe(), completed(draw(SPACE, 40))
    for count in range(8, 41, 2):
        assert kept.propose(SPACE, history[:count], count) == asked_of_optuna(history[:count], count)


def test_tpe_is_no_longer_random_after_ten_finished_trials() -> None:
    history = completed(draw(SPACE, 10))
    other = completed(draw(SPACE, 10), [1 - score(candidate) for candidate in draw(SPACE, 10)])
    seeds = range(10)

    def proposals(observations: list[Observation]) -> list[Candidate]:
        return [tpe().propose(SPACE, observations, seed) for seed in seeds]

    assert proposals(history[:9]) == proposals([]) == proposals(other[:9])
    assert proposals(history) != proposals([])
    assert proposals(history) != proposals(other)


def best_after(strategy: Strategy, trials: int, job: int) -> float:
    history: list[Observation] = []
    for number in range(trials):
        candidate = strategy.propose(SPACE, history, derive(job, "proposal", number))
        history.append(Observation(number, candidate, True, True, 8, score(candidate)))
    return max(score(observation.candidate) for observation in history)


def test_tpe_finds_better_candidates_than_random_search_in_sixty_trials() -> None:
    jobs = range(5)
    by_tpe = [best_after(tpe(), 60, job) for job in jobs]
    at_random = [best_after(RandomSearch(), 60, job) for job in jobs]
    assert mean(by_tpe) > mean(at_random) + 0.1
    assert all(one >= other for one, other in zip(by_tpe, at_random, strict=True))


def test_trials_that_run_are_taken_for_bad_ones() -> None:
    """Ten trials of one good candidate running at once push the next proposals away from it."""
    history = completed(draw(SPACE, 20))
    best = max(draw(SPACE, 200), key=score)
    running = [Observation(20 + index, best, False, False, 0, None) for index in range(10)]

    def shares(observations: list[Observation]) -> float:
        return mean(score(tpe().propose(SPACE, observations, seed)) for seed in range(20))

    assert shares([*history, *running]) < shares(history)


def test_a_history_that_cannot_be_replayed_leaves_the_strategy_as_it_was() -> None:
    good = completed(draw(SPACE, 20))
    foreign = Observation(20, Candidate(ResidualNet(8, 2)), True, True, 8, 0.5)
    strategy = tpe()
    with pytest.raises(ValueError, match="is not a candidate of"):
        strategy.propose(SPACE, [*good, foreign], 0)
    for seed in range(10):
        assert strategy.propose(SPACE, good, seed) == tpe().propose(SPACE, good, seed)


def test_a_trial_that_diverged_after_good_epochs_counts_as_if_nothing_were_known_of_it() -> None:
    candidates = draw(SPACE, 24)
    done = [
        Observation(number, candidate, True, False, 2, score(candidate))
        for number, candidate in enumerate(candidates[:20])
    ]
    running = [
        Observation(20 + index, candidate, False, False, 3, 0.99) for index, candidate in enumerate(candidates[20:])
    ]
    diverged = [Observation(o.number, o.candidate, True, False, 3, None) for o in running]
    for seed in range(10):
        kept = tpe()
        kept.propose(SPACE, [*done, *running], seed)
        assert kept.propose(SPACE, [*done, *diverged], seed) == asked_of_optuna([*done, *diverged], seed)
