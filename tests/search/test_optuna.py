import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean, median
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState, create_trial

from nas.search.optuna import GP_LIARS, GP_TRIALS, LIARS, TPE_TRIALS, OptunaSearch, gp, nsga2, nsga3, tpe
from nas.search.prospects import excerpt, prospects
from nas.search.random import RandomSearch
from nas.search.strategy import Observation, Strategy
from nas.seeds import derive
from nas.space import Candidate, Categorical, CellSpace, Integer, JointSpace, Real, ResidualNet, Space
from tests.search.histories import completed, cost, draw, halved, score

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


def tpe_of_optuna(seed: int) -> BaseSampler:
    return TPESampler(n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed)


def gp_of_optuna(seed: int) -> BaseSampler:
    sampler = GPSampler(n_startup_trials=8, seed=seed)
    sampler._n_local_search, sampler._n_preliminary_samples = 2, 256
    return sampler


def asked_of_optuna(
    sampler: BaseSampler,
    space: Space[Any],
    rows: Sequence[tuple[Any, tuple[float, ...] | None]],
    objectives: int = 1,
) -> Any:
    """What Optuna itself answers: a new study, the trials one after the other (without values: running), a question."""
    distributions = distributions_of(space)
    study = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)
    for candidate, values in rows:
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING if values is None else TrialState.COMPLETE,
                params=dict(space.encode(candidate)),
                distributions=distributions,
                values=values,
            )
        )
    return space.decode(study.ask(distributions).params)


def distributions_of(space: Space[Any]) -> dict[str, BaseDistribution]:
    return {
        name: OPTUNA_S[name] if name in OPTUNA_S else CategoricalDistribution(found.choices)  # type: ignore[union-attr]
        for name, found in space.distributions().items()
    }


def plain(history: list[Observation[Any]]) -> list[tuple[Any, tuple[float, ...] | None]]:
    """Rows of a history without rungs: those that have not been trained to the end count as running."""
    return [(one.candidate, one.values if one.complete else None) for one in history]


def mixed(count: int, space: Space[Any] = SPACE, objectives: int = 1) -> list[Observation[Any]]:
    """Complete, failed, infeasible and running trials in turn."""
    observations = []
    for number, candidate in enumerate(draw(space, count)):
        others = (cost(candidate),) * (objectives - 1)
        match number % 5:
            case 0 | 1:
                one = Observation(number, candidate, True, True, 8, score(candidate) - number / 1e4, others=others)
            case 2:
                one = Observation(number, candidate, True, False, 0, None, infeasible=True, others=others)
            case 3:
                one = Observation(number, candidate, True, False, 3, None, others=others)
            case _:
                one = Observation(number, candidate, False, False, 2, score(candidate) / 2, others=others)
        observations.append(one)
    return observations


@pytest.mark.parametrize("space", [SPACE, JOINT], ids=["cells", "numbers"])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 40])
def test_tpe_proposes_what_optuna_does_after_completed_trials(space: Space[Any], count: int) -> None:
    history = completed(draw(space, count))
    for seed in range(5):
        assert tpe().propose(space, history, seed) == asked_of_optuna(tpe_of_optuna(seed), space, plain(history))


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("count", [5, 12, 24, 26, 60])
def test_tpe_proposes_what_optuna_does_if_failed_trials_ran(count: int, objectives: int) -> None:
    """Optuna takes running trials for bad ones (constant liar)."""
    history = mixed(count, JOINT, objectives)
    rows = plain(history) if sum(one.complete for one in history) >= 10 else []
    for seed in range(3):
        theirs = asked_of_optuna(tpe_of_optuna(seed), JOINT, rows, objectives if rows else 1)
        assert tpe().propose(JOINT, history, seed) == theirs


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("space", [SPACE, JOINT], ids=["cells", "numbers"])
def test_gp_proposes_what_optuna_does_with_the_same_lies(space: Space[Any], objectives: int) -> None:
    """Running trials have scored the median, failed ones the worst of each objective."""
    history = mixed(20, space, objectives)  # eight of them failed, and no more are shown
    known = [one.values for one in history if one.complete]
    middle = tuple(sorted(column)[len(column) // 2] for column in zip(*known, strict=True))
    worst = tuple(map(min, zip(*known, strict=True)))
    rows = [(one.candidate, one.values if one.complete else worst if one.finished else middle) for one in history]
    ours, theirs = gp(8).propose(space, history, 2), asked_of_optuna(gp_of_optuna(2), space, rows, objectives)
    tried = theirs in [one.candidate for one in history]  # by Optuna again and again, with one outlier among the scores
    assert ours in space.neighbours(theirs) if tried else ours == theirs


def test_gp_is_random_before_it_has_enough_scores() -> None:
    history = completed(draw(SPACE, 12))
    for seed in range(3):
        assert gp(12).propose(SPACE, history[:11], seed) == gp(12).propose(SPACE, [], seed)
        assert gp(12).propose(SPACE, history, seed) != gp(12).propose(SPACE, [], seed)


@pytest.mark.parametrize(("make", "theirs"), [(nsga2, NSGAIISampler), (nsga3, NSGAIIISampler)])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_nsga_proposes_what_optuna_does_all_through_a_search(
    make: Callable[[int], OptunaSearch], theirs: Callable[..., BaseSampler]
) -> None:
    """Of nine generations of six. After the first child of each Optuna has its parents in another order."""
    ours = make(6)
    history: list[Observation[Candidate]] = []
    study, distributions = optuna.create_study(direction="maximize"), distributions_of(JOINT)
    for number in range(54):
        study.sampler = theirs(population_size=6, seed=number)
        trial = study.ask(distributions)
        candidate = JOINT.decode(trial.params)
        if number < 6 or number % 6 == 0:
            assert ours.propose(JOINT, history, number) == candidate
        study.tell(trial, cost(candidate))
        history.append(Observation(number, candidate, True, True, 8, cost(candidate)))


@pytest.mark.parametrize(("make", "theirs"), [(nsga2, NSGAIISampler), (nsga3, NSGAIIISampler)])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_nsga_proposes_what_optuna_does_with_several_objectives(
    make: Callable[[int], OptunaSearch], theirs: Callable[..., BaseSampler]
) -> None:
    """Of the second generation, whose parents are the first one."""
    history = completed(draw(JOINT, 8), [cost(candidate) + index for index, candidate in enumerate(draw(JOINT, 8))], 2)
    attribute = {f"{theirs.__name__}:generation": 0}
    for seed in range(5):
        study = optuna.create_study(directions=["maximize"] * 2, sampler=theirs(population_size=8, seed=seed))
        for one in sorted(history, key=lambda one: one.number):
            study.add_trial(
                create_trial(
                    params=dict(JOINT.encode(one.candidate)),
                    distributions=distributions_of(JOINT),
                    values=one.values,
                    system_attrs=attribute,
                )
            )
        assert make(8).propose(JOINT, history, seed) == JOINT.decode(study.ask(distributions_of(JOINT)).params)


@pytest.mark.parametrize("make", [nsga2, nsga3])
def test_nsga_chooses_its_parents_among_whole_generations(make: Callable[[int], OptunaSearch]) -> None:
    """However good their siblings are: what is still missing of a generation could not be compared with them."""
    history = completed(draw(SPACE, 24), [number / 24 for number in range(24)])
    for seed in range(3):
        within = [make(6).propose(SPACE, history[:count], seed) for count in range(12, 19)]
        assert within[:6] == [within[0]] * 6
        assert within[6] != within[0]


@pytest.mark.parametrize("make", [nsga2, nsga3])
def test_nsga_recombines_the_best_of_all_generations(make: Callable[[int], OptunaSearch]) -> None:
    """Almost every value of a child comes from one of the few good trials, however long ago they were."""
    candidates = draw(SPACE, 96)
    good = candidates[3:9]
    scores = [2.0 + index / 10 if candidate in good else index / 100 for index, candidate in enumerate(candidates)]
    values = [SPACE.encode(candidate) for candidate in good]
    inherited = [
        mean(any(value[name] == chosen for value in values) for name, chosen in SPACE.encode(child).items())
        for child in (make(6).propose(SPACE, completed(candidates, scores), seed) for seed in range(30))
    ]
    others = [SPACE.encode(candidate) for candidate in candidates[20:26]]
    foreign = [
        mean(any(value[name] == chosen for value in others) for name, chosen in SPACE.encode(child).items())
        for child in (make(6).propose(SPACE, completed(candidates, scores), seed) for seed in range(30))
    ]
    assert mean(inherited) > 0.95 > mean(foreign) + 0.05


def test_a_strategy_that_is_kept_proposes_what_a_new_study_does() -> None:
    kept, history = tpe(), completed(draw(SPACE, 40))
    for count in range(8, 41, 2):
        theirs = asked_of_optuna(tpe_of_optuna(count), SPACE, plain(history[:count]))
        assert kept.propose(SPACE, history[:count], count) == theirs


@pytest.mark.parametrize(("make", "limit", "lies"), [(tpe, TPE_TRIALS, LIARS), (gp, GP_TRIALS, GP_LIARS)])
def test_of_a_long_history_an_excerpt_is_shown(make: Callable[[], OptunaSearch], limit: int, lies: int) -> None:
    """And of those without a score the newest that run, and the newest that failed."""
    history = mixed(2_000)
    shown = [row.number for row in make()._show(history)]
    known = {prospect.number for prospect in excerpt(prospects(history), limit)}
    running = [one.number for one in history if not one.finished][-lies:]
    failed = [one.number for one in history if one.finished and not one.complete][-lies:]
    assert shown == sorted({*known, *running, *failed})
    assert limit / 2 < len(known) <= limit


def test_trials_at_rungs_count_by_what_they_promise() -> None:
    """As completed trials would: the median gain of those that went on is added."""
    history = halved(draw(SPACE, 36))

    def at(one: Observation[Any], epoch: int) -> float:
        return dict(one.rungs)[epoch]

    last = median(at(one, 8) - at(one, 4) for one in history if one.epoch == 8)
    first = median(at(one, 4) - at(one, 2) for one in history if one.epoch >= 4) + last
    promised = [at(one, one.epoch) + {2: first, 4: last, 8: 0.0}[one.epoch] for one in history]
    finished = completed(draw(SPACE, 36), promised)
    for seed in range(5):
        for make in (tpe, partial(nsga2, 6)):
            assert make().propose(SPACE, history, seed) == make().propose(SPACE, finished, seed)
    assert gp().propose(SPACE, history, 0) == gp().propose(SPACE, finished, 0)


def test_gp_asks_for_something_else_where_it_is_sure_of_what_was_tried() -> None:
    """A small space of which all is known: the same 20 seeds have to give more than one answer."""
    space = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1)
    history = completed(draw(space, 40))
    assert len({gp().propose(space, history, seed) for seed in range(8)}) > 2


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
