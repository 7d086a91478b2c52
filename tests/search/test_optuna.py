import math
from statistics import mean

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from nas.search.optuna import tpe
from nas.search.random import RandomSearch
from nas.search.strategy import Observation, Strategy
from nas.seeds import derive
from nas.space import Candidate, Categorical, CellSpace, Integer, JointSpace, Real, ResidualNet
from tests.search.histories import completed, draw, score

SPACE = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5"), nodes=2)
JOINT = JointSpace(
    CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1),
    (
        ("space.channels", Integer(4, 64, log=True)),
        ("recipe.randaugment", Integer(0, 3)),
        ("recipe.lr", Real(1e-4, 1.0, log=True)),
        ("recipe.ema", Real(0.0, 0.9)),
        ("recipe.clip_norm", Categorical((None, 1.0, 5.0))),
    ),
)
OPTUNA_S: dict[str, BaseDistribution] = {
    "space.channels": IntDistribution(4, 64, log=True),
    "recipe.randaugment": IntDistribution(0, 3),
    "recipe.lr": FloatDistribution(1e-4, 1.0, log=True),
    "recipe.ema": FloatDistribution(0.0, 0.9),
    "recipe.clip_norm": CategoricalDistribution((None, 1.0, 5.0)),
}
"""The open parameters of JOINT, as Optuna writes them."""


def asked_of_optuna(
    history: list[Observation[Candidate]], seed: int, space: CellSpace | JointSpace = SPACE
) -> Candidate:
    """What Optuna itself answers: a new study, the trials one after the other, one question."""
    distributions: dict[str, BaseDistribution] = {
        name: OPTUNA_S[name] if name in OPTUNA_S else CategoricalDistribution(found.choices)  # type: ignore[union-attr]
        for name, found in space.distributions().items()
    }
    sampler = TPESampler(n_startup_trials=10, constant_liar=True, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for observation in history:
        study.add_trial(
            create_trial(
                state=state_of(observation),
                params=dict(space.encode(observation.candidate)),
                distributions=distributions,
                value=observation.accuracy if observation.complete else None,
                intermediate_values={} if observation.accuracy is None else {observation.epoch: observation.accuracy},
            )
        )
    return space.decode(study.ask(distributions).params)


def state_of(observation: Observation[Candidate]) -> TrialState:
    if not observation.finished:
        return TrialState.RUNNING
    return TrialState.COMPLETE if observation.complete else TrialState.PRUNED


def mixed(count: int, space: CellSpace | JointSpace = SPACE) -> list[Observation[Candidate]]:
    """Complete, pruned, failed and running trials in turn."""
    observations = []
    for number, candidate in enumerate(draw(space, count)):
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


@pytest.mark.parametrize("count", [0, 5, 12, 40])
def test_tpe_proposes_numbers_as_optuna_does(count: int) -> None:
    history = mixed(count, JOINT)
    for seed in range(5):
        proposed = tpe().propose(JOINT, history, seed)
        assert proposed == asked_of_optuna(history, seed, JOINT)
        assert JOINT.contains(proposed)


def test_a_strategy_that_is_kept_proposes_what_a_new_study_does() -> None:
    kept, history = tpe(), completed(draw(SPACE, 40))
    for count in range(8, 41, 2):
        assert kept.propose(SPACE, history[:count], count) == asked_of_optuna(history[:count], count)


def test_tpe_is_no_longer_random_after_ten_finished_trials() -> None:
    history = completed(draw(SPACE, 10))
    other = completed(draw(SPACE, 10), [1 - score(candidate) for candidate in draw(SPACE, 10)])
    seeds = range(10)

    def proposals(observations: list[Observation[Candidate]]) -> list[Candidate]:
        return [tpe().propose(SPACE, observations, seed) for seed in seeds]

    assert proposals(history[:9]) == proposals([]) == proposals(other[:9])
    assert proposals(history) != proposals([])
    assert proposals(history) != proposals(other)


def best_after(strategy: Strategy, trials: int, job: int) -> float:
    history: list[Observation[Candidate]] = []
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


def test_tpe_finds_a_good_number_sooner_than_random_search() -> None:
    """The best learning rate is 0.01, and every decade away from it costs a quarter."""

    def goodness(candidate: Candidate) -> float:
        return 1 - abs(math.log10(float(str(dict(candidate.recipe)["lr"]))) + 2) / 4

    def mean_of_the_last(strategy: Strategy, job: int) -> float:
        history: list[Observation[Candidate]] = []
        for number in range(40):
            candidate = strategy.propose(JOINT, history, derive(job, "proposal", number))
            history.append(Observation(number, candidate, True, True, 8, goodness(candidate)))
        return mean(goodness(observation.candidate) for observation in history[20:])

    for job in range(3):
        assert mean_of_the_last(tpe(), job) > mean_of_the_last(RandomSearch(), job) + 0.05


def test_candidates_that_break_a_limit_are_taken_for_bad_ones() -> None:
    candidates = draw(SPACE, 40)
    history = [
        Observation(number, candidate, True, False, 0, None, infeasible=True)
        if score(candidate) > 0.3
        else Observation(number, candidate, True, True, 8, 0.5)
        for number, candidate in enumerate(candidates)
    ]
    assert 5 < sum(observation.infeasible for observation in history) < 35
    proposed = mean(score(tpe().propose(SPACE, history, seed)) for seed in range(20))
    assert proposed < mean(map(score, candidates)) - 0.05


def test_trials_that_run_are_taken_for_bad_ones() -> None:
    """Ten trials of one good candidate running at once push the next proposals away from it."""
    history = completed(draw(SPACE, 20))
    best = max(draw(SPACE, 200), key=score)
    running = [Observation(20 + index, best, False, False, 0, None) for index in range(10)]

    def shares(observations: list[Observation[Candidate]]) -> float:
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
