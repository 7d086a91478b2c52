import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import Infeasible, InvalidInput, SpaceExhausted
from nas.search import Budget, Simulation, simulate
from nas.search.halving import Halving
from nas.search.options import PruningSpec
from nas.search.pruning import PRUNERS, Unpruned
from nas.search.random import RandomSearch
from nas.search.strategy import Observation
from nas.seeds import derive
from nas.space import CategoricalSpace, Choices, Space

SPACE = CategoricalSpace({f"edge {index}": ("a", "b", "c", "d") for index in range(6)})
SMALL = CategoricalSpace({"edge": ("a", "b", "c"), "node": (1, 2)})


def dice(candidate: Choices, name: str = "") -> float:
    """A number from 0 to 1 that belongs to the candidate."""
    text = name + json.dumps(candidate.to_json())
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def table(candidate: Choices, epochs: int) -> tuple[float, float]:
    """Grows with the epochs, more or less; an epoch takes 5 to 15 seconds."""
    return dice(candidate) - 1 / epochs + dice(candidate, f"{epochs}") / 10, epochs * (5 + 10 * dice(candidate, "pace"))


@pytest.mark.parametrize("seed", range(3))
def test_a_random_search_is_what_one_would_write_down(seed: int) -> None:
    """Draw, skip what was seen, train, keep the best; one worker, no pruning."""
    seen: dict[str, float] = {}
    steps, clock = [], 0.0
    for number in range(30):
        for attempt in range(1_000):
            net = SPACE.sample(np.random.default_rng(derive(seed, "propose", number, attempt)))
            if SPACE.digest(net) not in seen:
                break
        score, seconds = table(net, 9)
        clock += seconds
        if score > max(seen.values(), default=-1.0):
            steps.append((9 * (number + 1), clock, score, net))
        seen[SPACE.digest(net)] = score
    found = simulate("random", SPACE, table, budget=30, epochs=9, seed=seed)
    assert [(step.epochs, step.seconds, step.score, step.candidate) for step in found.trajectory] == steps
    assert [trial.score for trial in found.history] == list(seen.values())
    assert (found.best, found.best_score) == (steps[-1][3], max(seen.values()))
    assert (found.epochs, found.seconds, found.busy_seconds) == (270, clock, clock)


def test_successive_halving_is_what_one_would_write_down() -> None:
    """One worker, rungs at 3 of 9 epochs: whenever a third more of the trials may go on, the best waiting one does."""
    at_3: list[tuple[float, Choices, bool]] = []
    spent, trained = 0, []
    rng = iter(range(10_000))
    while spent + 3 <= 120:
        waiting = [entry for entry in sorted(at_3, key=lambda entry: -entry[0])[: len(at_3) // 3] if not entry[2]]
        if waiting:
            if spent + 6 > 120:
                break
            best = waiting[0]
            at_3[at_3.index(best)] = (best[0], best[1], True)
            trained.append(table(best[1], 9)[0])
            spent += 6
        else:
            number = next(rng)
            net = SPACE.sample(np.random.default_rng(derive(5, "propose", number, 0)))
            at_3.append((table(net, 3)[0], net, False))
            spent += 3
    found = simulate("random", SPACE, table, budget={"total_epochs": 120}, epochs=9, seed=5, pruning="halving")
    assert [trial.candidate for trial in found.history] == [net for _, net, _ in at_3]
    assert sorted(trial.score or 0 for trial in found.history if trial.complete) == sorted(trained)
    assert found.epochs == spent
    assert found.best_score == max(trained)


@settings(deadline=None, max_examples=60)
@given(
    workers=st.integers(1, 9),
    seed=st.integers(0, 99),
    epochs=st.integers(1, 30),
    pruning=st.sampled_from(list(PRUNERS)),
    budget=st.one_of(
        st.integers(1, 12),
        st.builds(lambda trials: {"trials": trials}, st.integers(1, 40)),
        st.builds(lambda seconds: {"seconds": seconds}, st.floats(10, 3_000)),
        st.builds(lambda total: {"total_epochs": total, "trials": 30}, st.integers(1, 200)),
    ),
    trouble=st.sampled_from([0.0, 0.3]),
)
def test_what_holds_of_every_search(
    workers: int, seed: int, epochs: int, pruning: str, budget: Any, trouble: float
) -> None:
    trainings: list[tuple[str, int]] = []

    def objective(net: Choices, reached: int) -> tuple[float | None, float]:
        if dice(net, "limit") < trouble:
            raise Infeasible("too large")
        trainings.append((SPACE.digest(net), reached))
        if dice(net, f"crash {reached}") < trouble / 2:
            raise RuntimeError("out of memory")
        score, seconds = table(net, reached)
        return (None if dice(net, f"nan {reached}") < trouble / 2 else score), seconds

    try:
        found = simulate(
            "random", SPACE, objective, budget=budget, workers=workers, seed=seed, epochs=epochs, pruning=pruning
        )
    except RuntimeError as error:  # ten in a row
        assert trouble
        assert str(error) == "out of memory"  # noqa: PT017
        return
    kept(found, budget, workers, epochs, pruning)
    if isinstance(budget, int) or "seconds" not in budget:  # there what turns out to end too late is not begun
        assert len(trainings) == len(set(trainings)), "an epoch was trained twice"


def kept(found: Simulation[Choices], budget: Any, workers: int, epochs: int, pruning: str) -> None:
    history = found.history
    assert [trial.number for trial in history] == list(range(len(history)))
    digests = [SPACE.digest(trial.candidate) for trial in history]
    assert len(digests) == len(set(digests))
    assert found.epochs == sum(trial.epoch for trial in history)
    assert found.seconds <= found.busy_seconds + 1e-6
    assert found.busy_seconds <= workers * found.seconds + 1e-6
    limits = {"total_epochs": budget * epochs} if isinstance(budget, int) else budget
    assert found.epochs <= limits.get("total_epochs", found.epochs)
    assert found.seconds <= limits.get("seconds", found.seconds)
    assert len(history) <= limits.get("trials", len(history))
    for before, after in pairwise(found.trajectory):
        assert before.epochs <= after.epochs
        assert before.seconds <= after.seconds
        assert before.score < after.score
    complete = [trial for trial in history if trial.complete]
    assert found.best_score == max((trial.score or 0 for trial in complete), default=None)
    for trial in history:
        assert trial.finished or trial.paused, "nobody would take it up"
        assert trial.complete == (trial.epoch == epochs and trial.score is not None)
        assert list(trial.rungs) == sorted(trial.rungs)
        assert all(epoch < epochs for epoch, _ in trial.rungs)
        assert not (trial.infeasible and trial.epoch)
        if trial.paused:
            assert trial.rungs[-1] == (trial.epoch, trial.score)
    if not any(trial.finished and trial.score is None for trial in history) and "seconds" not in limits:
        assert complete or limits.get("total_epochs", epochs) < epochs, "the best one was not trained to the end"


@pytest.mark.parametrize("pruning", PRUNERS)
@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_arguments_give_the_same_search(pruning: str, workers: int) -> None:
    def run(seed: int) -> Simulation[Choices]:
        return simulate("random", SPACE, table, budget=20, epochs=27, workers=workers, seed=seed, pruning=pruning)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_workers_share_the_work_and_see_what_the_others_run() -> None:
    """Of a table in which every training takes as long: four workers need a quarter of the time."""

    class Watching(RandomSearch):
        running: list[int] = []  # noqa: RUF012

        def propose(self, space: Space[Any], history: Sequence[Observation[Any]], seed: int) -> Any:
            self.running.append(sum(not trial.finished for trial in history))
            return super().propose(space, history, seed)

    def even(net: Choices, epochs: int) -> tuple[float, float]:
        return dice(net), 10.0 * epochs

    watching = Watching()
    found = simulate(watching, SPACE, even, budget=40, epochs=5, workers=4)
    assert found.seconds == 40 * 50 / 4
    assert found.busy_seconds == 40 * 50
    assert watching.running[:6] == [0, 1, 2, 3, 3, 3]
    assert found.trajectory[0].epochs == 20  # the four ran side by side, so all their epochs were spent by then


def test_the_epochs_of_an_improvement_count_what_the_others_were_doing() -> None:
    """The second worker's training takes four times as long: when the first one ends, a quarter of it is done."""

    def objective(net: Choices, epochs: int) -> tuple[float, float]:
        return dice(net), epochs * (1.0 if SPACE.digest(net) == SPACE.digest(first) else 4.0)

    first = simulate("random", SPACE, table, budget=1).history[0].candidate
    found = simulate("random", SPACE, objective, budget=2, epochs=8, workers=2)
    assert (found.trajectory[0].epochs, found.trajectory[0].seconds) == (8 + 2, 8.0)


def test_a_promoted_trial_pays_only_the_new_epochs() -> None:
    def even(net: Choices, epochs: int) -> tuple[float, float]:
        return dice(net), 7.0 * epochs

    found = simulate("random", SPACE, even, budget={"trials": 9}, epochs=27, pruning="halving")
    reached = [trial.epoch for trial in found.history]
    assert {3, 9, 27} == set(reached)
    assert found.seconds == 7.0 * found.epochs == 7.0 * sum(reached)
    best = max(found.history, key=lambda trial: dice(trial.candidate))
    assert found.best == best.candidate
    assert best.rungs == ((3, best.score), (9, best.score))


@pytest.mark.parametrize("pruning", ["halving", "hyperband", "none", "median"])
@pytest.mark.parametrize("epochs", [1, 2, 5, 27, 98])
def test_a_budget_of_one_training_trains_one_to_the_end(pruning: str, epochs: int) -> None:
    found = simulate("random", SPACE, table, budget=1, epochs=epochs, pruning=pruning)
    assert [trial.complete for trial in found.history].count(True) == 1
    assert found.epochs <= epochs


def test_a_small_space_is_searched_whole_and_then_the_search_ends() -> None:
    found = simulate("random", SMALL, lambda net, epochs: (dice(net), 1.0), budget=1_000, workers=3)
    assert sorted(SMALL.digest(trial.candidate) for trial in found.history) == sorted(
        SMALL.digest(Choices((("edge", edge), ("node", node)))) for edge in "abc" for node in (1, 2)
    )


def test_a_strategy_may_end_the_search() -> None:
    class Three(RandomSearch):
        def propose(self, space: Space[Any], history: Sequence[Observation[Any]], seed: int) -> Any:
            if len(history) == 3:
                raise SpaceExhausted("three will do")
            return super().propose(space, history, seed)

    found = simulate(Three(), SPACE, table, budget=100, epochs=9, pruning="halving", workers=2)
    assert len(found.history) == 3
    assert [trial.complete for trial in found.history].count(True) == 1


def test_the_starts_are_trained_first_each_once() -> None:
    rng = np.random.default_rng(9)
    starts = [SPACE.sample(rng) for _ in range(3)]
    found = simulate("random", SPACE, table, budget=10, starts=[starts[0], starts[1], starts[0], starts[2]])
    assert [trial.candidate for trial in found.history][:2] == starts[:2]
    assert found.history[3].candidate == starts[2]
    assert found.history[2].candidate not in starts


def test_what_breaks_a_limit_is_recorded_and_takes_nothing_from_the_epochs() -> None:
    def objective(net: Choices, epochs: int) -> tuple[float, float]:
        if net["edge 0"] == "a":
            raise Infeasible("too large")
        return table(net, epochs)

    found = simulate("random", SPACE, objective, budget=20, epochs=4)
    broken = [trial for trial in found.history if trial.infeasible]
    assert broken
    assert all(trial.finished and not trial.complete and trial.score is None for trial in broken)
    assert [trial.complete for trial in found.history].count(True) == 20


def test_a_search_in_which_nothing_keeps_the_limits_ends() -> None:
    def objective(net: Choices, epochs: int) -> tuple[float, float]:
        raise Infeasible("too large")

    found = simulate("random", SPACE, objective, budget=5)
    assert len(found.history) == 10  # then chance draws until something keeps them
    assert found.best is None
    assert found.best_score is None
    assert found.epochs == 0


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf"), (float("nan"), 1.0)])
def test_a_training_without_a_score_failed_and_is_never_the_best(nothing: Any) -> None:
    def objective(net: Choices, epochs: int) -> tuple[Any, float]:
        score = -1 - dice(net)
        return (nothing if net["edge 0"] == "a" else (score, 1.0) if isinstance(nothing, tuple) else score), 3.0

    found = simulate("random", SPACE, objective, budget=30, epochs=2)
    failed = [trial for trial in found.history if trial.score is None]
    assert failed
    assert all(trial.finished and not trial.complete and trial.candidate["edge 0"] == "a" for trial in failed)
    assert found.best_score is not None
    assert found.best_score < -1
    assert (found.epochs, found.seconds) == (60, 90.0)


def test_an_objective_that_raises_for_all_is_at_fault_itself() -> None:
    with pytest.raises(KeyError, match="edge 9"):
        simulate("random", SPACE, lambda net, epochs: (net["edge 9"], 1.0), budget=100)


def test_trainings_may_crash_as_long_as_some_do_not() -> None:
    def objective(net: Choices, epochs: int) -> tuple[float, float]:
        if dice(net) < 0.4:
            raise MemoryError("out of memory")
        return dice(net), 1.0

    found = simulate("random", SPACE, objective, budget=40, seed=1)
    assert [trial.score is None for trial in found.history].count(True) >= 10
    assert found.best is not None


def test_what_the_median_rule_saves_is_spent_on_more_trials() -> None:
    found = simulate("random", SPACE, table, budget=20, epochs=50, pruning="median")
    stopped = [trial for trial in found.history if trial.finished and not trial.complete]
    assert len(stopped) > 5
    assert len(found.history) > 25
    assert 950 < found.epochs <= 1000


def test_a_trial_that_diverges_after_a_rung_is_not_the_end_of_the_search() -> None:
    def objective(net: Choices, epochs: int) -> tuple[float | None, float]:
        return (dice(net) if epochs < 9 or dice(net) < 0.6 else None), float(epochs)

    found = simulate("random", SPACE, objective, budget={"trials": 12}, epochs=9, pruning="halving")
    diverged = [trial for trial in found.history if trial.finished and not trial.complete]
    assert diverged
    assert all(trial.rungs == ((3, dice(trial.candidate)),) for trial in diverged)
    assert found.best is not None


def test_a_target_ends_the_search() -> None:
    found = simulate("random", SPACE, table, budget={"trials": 500, "target": 0.9}, epochs=9)
    assert found.best_score is not None
    assert found.best_score >= 0.9
    assert all(trial.score is None or trial.score < 0.9 for trial in found.history[:-1])
    assert len(found.history) < 500


def test_a_budget_of_seconds_is_kept_and_used() -> None:
    found = simulate("random", SPACE, table, budget={"seconds": 2_000.0}, epochs=9, workers=3, pruning="halving")
    assert 2_000 - 9 * 15 < found.seconds <= 2_000
    assert found.best is not None


def test_with_several_objectives_the_best_are_those_that_nothing_dominates() -> None:
    def objective(net: Choices, epochs: int) -> tuple[tuple[float, float], float]:
        return (table(net, epochs)[0], -dice(net, "size")), 1.0 * epochs

    for pruning in PRUNERS:
        found = simulate("random", SPACE, objective, budget=15, epochs=9, pruning=pruning, workers=2)
        complete = [trial.values for trial in found.history if trial.complete]
        expected = {
            one for one in complete if not any(a[0] >= one[0] and a[1] >= one[1] and a != one for a in complete)
        }
        assert {trial.values for trial in found.pareto} == expected
        assert found.best_score == max(values[0] for values in complete)


def test_a_prior_chooses_what_auto_begins_with() -> None:
    asked: list[int] = []

    def prior(nets: Sequence[Choices]) -> list[float]:
        asked.append(len(nets))
        return [dice(net) for net in nets]

    found = simulate("auto", SPACE, table, budget=20, epochs=9, prior=prior, options={"warm_start": 200})
    assert len(asked) == 1
    assert 150 < asked[0] <= 200  # twins are left out
    first = [dice(trial.candidate) for trial in found.history[:8]]
    assert np.median(first) > 0.9  # some are random
    unaided = simulate("auto", SPACE, table, budget=20, epochs=9, options={"warm_start": 200})
    assert np.median([dice(trial.candidate) for trial in unaided.history[:8]]) < 0.9


def test_a_prior_is_of_no_use_to_other_strategies() -> None:
    def prior(nets: Sequence[Choices]) -> list[float]:
        raise AssertionError("it is not asked")

    assert simulate("random", SPACE, table, budget=4, prior=prior) == simulate("random", SPACE, table, budget=4)


def test_auto_is_pruned_by_halving_and_the_published_strategies_are_not() -> None:
    assert any(trial.rungs for trial in simulate("auto", SPACE, table, budget=3, epochs=27).history)
    assert not any(trial.rungs for trial in simulate("random", SPACE, table, budget=3, epochs=27).history)


def test_a_budget_says_how_long_a_whole_training_is() -> None:
    found = simulate("random", SPACE, table, budget=Budget(trials=3, epochs=8))
    assert [trial.epoch for trial in found.history] == [8, 8, 8]


def test_a_pruner_is_named_described_or_given() -> None:
    given: list[Any] = ["halving", {"method": "halving"}, PruningSpec(method="halving"), Halving()]
    assert len({repr(simulate("random", SPACE, table, budget=9, epochs=9, pruning=pruning)) for pruning in given}) == 1
    assert simulate("random", SPACE, table, budget=9, epochs=9, pruning=Unpruned()) == simulate(
        "random", SPACE, table, budget=9, epochs=9
    )


def test_a_simulation_tells_the_best_score_at_any_time() -> None:
    found = simulate("random", SPACE, table, budget=20, epochs=3)
    scores = [trial.score for trial in found.history if trial.score is not None]
    assert [found.score_at(3 * count) for count in range(1, 21)] == [max(scores[:count]) for count in range(1, 21)]
    assert found.score_at(2) is None


def test_a_score_alone_takes_a_second_an_epoch() -> None:
    found = simulate("random", SPACE, lambda net, epochs: np.float32(dice(net)), budget=4, epochs=3)
    assert found.seconds == 12.0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"strategy": "randm"}, "strategy"),
        ({"budget": 0}, "budget"),
        ({"budget": -3}, "budget"),
        ({"budget": True}, "budget"),
        ({"budget": "100"}, "budget"),
        ({"budget": {}}, "budget"),
        ({"budget": {"target": 0.5}}, "budget"),
        ({"budget": {"trails": 5}}, "budget.trails"),
        ({"budget": {"seconds": 0.0}}, "budget.seconds"),
        ({"workers": 0}, "workers"),
        ({"epochs": 0}, "epochs"),
        ({"pruning": "asha"}, "pruning"),
        ({"pruning": {"method": "halving", "eta": 1}}, "pruning.eta"),
        ({"strategy": "tpe", "options": {"startup": -1}}, "options.startup"),
        ({"strategy": RandomSearch(), "options": {"startup": 1}}, "options"),
        ({"strategy": "auto", "prior": lambda nets: [0.5]}, "prior"),
        ({"strategy": "darts"}, "strategy"),
        ({"strategy": "cmaes"}, "strategy"),
        ({"objective": lambda net, epochs: ("good", 1.0)}, "objective"),
        ({"objective": lambda net, epochs: (0.5, -1.0)}, "objective"),
        ({"objective": lambda net, epochs: (0.5, float("nan"))}, "objective"),
        ({"objective": lambda net, epochs: (0.5, 0.0), "budget": {"seconds": 5.0}}, "objective"),
        ({"objective": lambda net, epochs: ((0.5,) * (1 + (dice(net) > 0.5)), 1.0)}, "objective"),
    ],
)
def test_nonsense_is_refused_by_name(changed: dict[str, Any], field: str) -> None:
    asked: dict[str, Any] = {"strategy": "random", "space": SPACE, "objective": table, "budget": 20} | changed
    with pytest.raises(InvalidInput) as caught:
        simulate(**asked)
    assert caught.value.field == field


def test_a_search_with_thousands_of_trials_takes_a_time_in_proportion() -> None:
    """Not a measurement: it would take minutes if a trial cost what all before it cost."""
    objective: Callable[[Choices, int], tuple[float, float]] = lambda net, epochs: (len(net), 1.0)  # noqa: E731
    large = CategoricalSpace({f"edge {index}": tuple(range(16)) for index in range(8)})
    assert len(simulate("random", large, objective, budget=3_000).history) == 3_000


def test_an_observation_is_replaced_never_changed() -> None:
    """What a strategy was shown stays what it was."""
    shown: list[tuple[list[Observation[Any]], list[Observation[Any]]]] = []

    class Keeping(RandomSearch):
        def propose(self, space: Space[Any], history: Sequence[Observation[Any]], seed: int) -> Any:
            shown.append(([replace(trial) for trial in history], list(history)))
            return super().propose(space, history, seed)

    simulate(Keeping(), SPACE, table, budget=5, epochs=9, pruning="halving", workers=2)
    assert all(copies == kept for copies, kept in shown)
