"""Ray's own schedulers see the search trials alone, and nothing that they know is lost with a driver."""

import json
import random
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import cloudpickle
    from ray.tune.schedulers import AsyncHyperBandScheduler

from nas.objectives import ObjectiveForm
from nas.spec import JobSpec
from nas.store.lineage import Past
from nas.store.states import Phase
from tests.cluster.fake_tune import FakeTrial, FakeTune
from tests.cluster.toys import Course, Order, claim_of, run
from worker.cluster.population import Donor
from worker.cluster.schedulers import Asha, SearchOnly, compared_at, make_scheduler

# Ray warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster(address: str) -> Iterator[None]:
    """Two CPUs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(address, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def spec_of(method: str, *, epochs: int = 9, parallel: int | None = None, **options: Any) -> JobSpec:
    body = {
        "dataset": "digits",
        "engine": "ray",
        "scheduler": {"method": method} | options,
        "budget": {"trials": 12, "epochs": epochs, "parallel": parallel},
        "recipe": {"lr": {"low": 0.01, "high": 0.3, "log": True}},
    }
    return JobSpec.model_validate(body)


def scheduler_for(spec: JobSpec, pasts: tuple[Past, ...] = (), take_over: Any = None) -> SearchOnly:
    assert spec.scheduler is not None
    return make_scheduler(spec, spec.scheduler, pasts, take_over)


def plain(spec: JobSpec, **options: Any) -> AsyncHyperBandScheduler:
    """Ray's ASHA as one would set it up by hand."""
    return AsyncHyperBandScheduler(
        time_attr="epoch", metric="accuracy", mode="max", max_t=spec.budget.epochs, **options
    )


def scores(number: int, epochs: int) -> tuple[float, ...]:
    """A learning curve; which one is the best changes on the way."""
    rng = random.Random(number)
    return tuple(0.5 + 0.05 * epoch + 0.3 * rng.random() for epoch in range(epochs))


def test_tune_can_save_it_whatever_the_driver_has() -> None:
    scheduler = scheduler_for(spec_of("pbt"), take_over=threading.Lock())
    assert type(cloudpickle.loads(cloudpickle.dumps(scheduler))) is object  # type: ignore[no-untyped-call]  # nobody goes on with that


# --- ASHA


def test_under_tune_asha_decides_as_rays_own_does_and_finals_are_left_alone(cluster: None, tmp_path: Path) -> None:
    spec = spec_of("asha", eta=2, first=1)
    orders = [Order(claim_of(spec, number), scores(number, 9)) for number in range(10)]
    orders[3:3] = [Order(claim_of(spec, 90 + number, phase=phase), ()) for number, phase in enumerate(FINALS)]
    scheduler = scheduler_for(spec)
    heard: list[tuple[int, dict[str, Any], str]] = []
    decide = scheduler.inner.on_trial_result

    def listening(controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = decide(controller, trial, result)
        heard.append((trial.config["order"].claim.number, dict(result), decision))
        return decision

    scheduler.inner.on_trial_result = listening  # type: ignore[method-assign, assignment]
    courses = run(orders, scheduler, tmp_path)
    assert all(course.ended == "done" for course in courses.values())
    assert len(courses) == 10 + len(FINALS)
    assert all(len(courses[90 + number].results) == 9 for number in range(len(FINALS)))
    assert {number for number, _, _ in heard} == set(range(10))
    own = plain(spec, grace_period=1, reduction_factor=2)
    for number, result, decision in heard:
        trial: Any = SimpleNamespace(trial_id=str(number))
        if result["epoch"] == 1:
            own.on_trial_add(None, trial)  # type: ignore[arg-type]
        assert own.on_trial_result(None, trial, result) == decision  # type: ignore[arg-type]
        if decision == "STOP":
            assert epochs_of(courses[number]) == list(range(1, result["epoch"] + 1))
    stopped = {number for number, _, decision in heard if decision == "STOP"}
    assert 3 <= len(stopped) <= 8
    assert all(epochs_of(courses[number]) == list(range(1, 10)) for number in set(range(10)) - stopped)


FINALS = (Phase.FINALIST, Phase.REPORT)


def epochs_of(course: Course) -> list[int]:
    return [result["epoch"] for result in course.results]


class Hand:
    """Feeds a scheduler by hand, as Tune does; `tune_id` is new for every attempt."""

    def __init__(self, spec: JobSpec, inner: Any) -> None:
        self.spec, self.inner = spec, inner
        self.trials: dict[int, Any] = {}

    def begin(self, number: int, epoch: int = 0) -> None:
        order = Order(claim_of(self.spec, number, epoch=epoch), ())
        self.trials[number] = SimpleNamespace(trial_id=f"{number}-{epoch}", config={"order": order})
        self.inner.on_trial_add(None, self.trials[number])

    def tell(self, number: int, epoch: int, score: float) -> str:
        result = {"epoch": epoch, "accuracy": score}
        decision = str(self.inner.on_trial_result(None, self.trials[number], result))
        if decision == "STOP" or epoch == self.spec.budget.epochs:
            self.inner.on_trial_complete(None, self.trials.pop(number), result)
        return decision


def rungs_of(asha: Any) -> list[tuple[float, list[float]]]:
    """What stands at each rung."""
    return [(rung, sorted(found.values())) for rung, found in asha._brackets[0]._rungs]


@pytest.mark.parametrize("seed", range(12))
def test_a_driver_that_follows_another_one_decides_as_that_would_have(seed: int) -> None:
    spec = spec_of("asha", eta=3, first=1, epochs=27)
    curves = [scores(100 * seed + number, 27) for number in range(12)]
    rng = random.Random(seed)
    uninterrupted = Hand(spec, Asha(spec, spec.scheduler, ()))  # type: ignore[arg-type]
    done = dict.fromkeys(range(12), 0)
    ended: set[int] = set()
    for number in done:
        uninterrupted.begin(number)

    def play(hands: list[Hand], steps: int) -> None:
        for _ in range(steps):
            open_ = [number for number in done if number not in ended]
            if not open_:
                return
            number = rng.choice(open_)
            done[number] += 1
            decisions = {hand.tell(number, done[number], curves[number][done[number] - 1]) for hand in hands}
            assert len(decisions) == 1
            if decisions == {"STOP"} or done[number] == 27:
                ended.add(number)

    play([uninterrupted], 20 + 8 * seed)
    assert spec.scheduler is not None
    at = compared_at(spec.scheduler, 27)
    assert at == (1, 3, 9, 27)
    pasts = [
        Past(
            100 + number,
            epoch,
            number in ended,
            tuple((rung, curves[number][rung - 1]) for rung in at if rung <= epoch),
        )
        for number, epoch in done.items()
        if epoch
    ]
    following = Hand(spec, Asha(spec, spec.scheduler, pasts))
    for number, epoch in done.items():
        if number not in ended:
            following.begin(number, epoch)
    assert rungs_of(following.inner) == rungs_of(uninterrupted.inner)
    late = {number for number in done if number not in ended and following.inner._late.get(str(100 + number)) == "STOP"}
    assert not late  # what the last driver has let go on is let go on
    following.inner._late.clear()
    play([uninterrupted, following], 400)
    assert rungs_of(following.inner) == rungs_of(uninterrupted.inner)


def test_a_decision_that_was_not_carried_out_is_carried_out_an_epoch_later() -> None:
    spec = spec_of("asha", eta=3, first=2)
    better = [Past(200 + number, 2, True, ((2, 0.9),)) for number in range(3)]
    assert spec.scheduler is not None
    hand = Hand(spec, Asha(spec, spec.scheduler, [*better, Past(101, 2, False, ((2, 0.1),))]))
    hand.begin(1, epoch=2)
    hand.begin(2)
    assert hand.tell(2, 1, 0.9) == "CONTINUE"
    assert hand.tell(1, 3, 0.99) == "STOP"
    assert rungs_of(hand.inner) == [(6, []), (2, [0.1, 0.9, 0.9, 0.9])]


def test_a_trial_that_is_tried_again_stands_at_a_rung_once() -> None:
    spec = spec_of("asha", eta=3, first=2)
    assert spec.scheduler is not None
    hand = Hand(spec, Asha(spec, spec.scheduler, ()))
    for attempt in range(3):
        hand.begin(0, epoch=2 * bool(attempt))
        hand.tell(0, 2 + attempt, 0.5 - 0.1 * attempt)
        hand.inner.on_trial_error(None, hand.trials[0])
    assert rungs_of(hand.inner) == [(6, []), (2, [0.5])]


@pytest.mark.parametrize(("epochs", "first", "found"), [(8, None, (3, 9)), (27, None, (3, 9, 27)), (4, 1, (1, 3))])
def test_rungs_suit_the_budget_unless_the_job_says_where_they_begin(
    epochs: int, first: int | None, found: tuple[int, ...]
) -> None:
    spec = spec_of("asha", epochs=epochs, first=first)
    assert spec.scheduler is not None
    assert compared_at(spec.scheduler, epochs) == tuple(rung for rung in found if rung <= epochs)


def test_less_of_what_is_minimised_is_better() -> None:
    fewer = ObjectiveForm(metric="accuracy", direction="minimize")
    spec = spec_of("asha", first=2).model_copy(update={"objectives": (fewer,)})
    assert spec.scheduler is not None
    hand = Hand(spec, Asha(spec, spec.scheduler, [Past(200 + n, 2, True, ((2, 0.1),)) for n in range(3)]))
    for number, score in enumerate((0.9, 0.01)):
        hand.begin(number)
        assert hand.tell(number, 2, score) == ("STOP" if score == 0.9 else "CONTINUE")


# --- Hyperband


def test_under_tune_hyperband_ends_with_every_trial_accounted_for(cluster: None, tmp_path: Path) -> None:
    spec = spec_of("hyperband")
    fails = {4: 2}
    orders = [Order(claim_of(spec, number), scores(number, 9), fails=fails.get(number, 0)) for number in range(8)]
    orders.append(Order(claim_of(spec, 90, phase=Phase.FINALIST), ()))
    courses = run(orders, scheduler_for(spec), tmp_path)
    assert len(courses) == 9
    assert len(courses[90].results) == 9
    assert {number for number, course in courses.items() if course.ended == "error"} == fails.keys()
    assert {course.ended for course in courses.values()} == {"done", "error"}
    reached = {number: len(courses[number].results) for number in range(8)}
    for number, epochs in reached.items():
        assert epochs_of(courses[number]) == list(range(1, epochs + 1))
        assert courses[number].results[-1]["owners"] == [number] * epochs  # it went on from its own checkpoint
    assert [reached[number] for number in (0, 1, 2)] == [9, 9, 9]
    stopped = {number: epochs for number, epochs in reached.items() if epochs < 9 and number not in fails}
    assert len(stopped) == 2
    assert set(stopped.values()) == {3}


@pytest.mark.parametrize("parallel", [1, 2, 3, 5, None])
def test_no_trial_of_hyperband_waits_for_ever_whatever_fails(parallel: int | None) -> None:
    stopped = 0
    for seed in range(25):
        rng = random.Random(seed)
        spec = spec_of("hyperband", parallel=parallel, eta=rng.choice((2, 3)), epochs=rng.choice((3, 8, 9, 10)))
        orders = [
            Order(
                claim_of(spec, number, epoch=rng.choice((0, 0, 0, 1))),  # some were begun by an earlier driver
                scores(number, spec.budget.epochs),
                fails=rng.randrange(1, spec.budget.epochs) if rng.random() < 0.3 else 0,
            )
            for number in range(rng.randrange(1, 25))
        ]
        tune = FakeTune(orders, scheduler_for(spec), slots=rng.choice((1, 2, 4)), parallel=parallel or 100, rng=rng)
        ended = tune.run()
        assert sorted(ended) == list(range(len(orders)))
        whole = [number for number, how in ended.items() if how == "done"]
        assert all(tune.epochs[number] == spec.budget.epochs for number in whole)
        assert whole or any(how == "error" for how in ended.values())
        stopped += sum(how == "stopped" for how in ended.values())
    assert (stopped > 0) == (parallel != 1)


def test_a_bracket_is_no_larger_than_the_trials_that_may_be_there_at_once() -> None:
    stopped = 0
    for seed in range(10):
        spec = spec_of("hyperband", parallel=2)
        orders = [Order(claim_of(spec, number), scores(number, 9)) for number in range(12)]
        ended = FakeTune(orders, scheduler_for(spec), slots=2, parallel=2, rng=random.Random(seed)).run()
        stopped += list(ended.values()).count("stopped")
    assert stopped > 8  # of larger ones, of which two are never there, half as many


# --- PBT


class Takings:
    """Stands for what writes that a trial goes on as another one; every `refusing`-th time it goes on as it was."""

    def __init__(self, refusing: int = 0) -> None:
        self.refusing = refusing
        self.taken: list[tuple[int, int, int, int]] = []
        self.asked = 0

    def __call__(self, order: Order, epoch: int, donor: Donor | None) -> Order:
        assert donor is not None
        self.asked += 1
        claim = replace(order.claim, epoch=epoch)
        if self.refusing and self.asked % self.refusing == 0:
            return replace(order, claim=claim, owners=(claim.number,) * epoch)
        age, owners = json.loads(donor.content)
        other: Any = donor.order
        self.taken.append((claim.number, epoch, other.claim.number, age))
        return replace(order, claim=claim, owners=tuple(owners))


def test_under_tune_a_trial_goes_on_with_the_weights_of_a_better_one(cluster: None, tmp_path: Path) -> None:
    spec = spec_of("pbt", epochs=5, every=2, quantile=0.5)
    orders = [Order(claim_of(spec, number), tuple([number / 10] * 5), slow_s=0.05) for number in range(2)]
    orders.append(Order(claim_of(spec, 90, phase=Phase.FINALIST), ()))
    takings = Takings()
    courses = run(orders, scheduler_for(spec, take_over=takings), tmp_path)
    assert all(course.ended == "done" for course in courses.values())
    assert len(courses[90].results) == 5
    assert all(epochs_of(courses[number]) == [1, 2, 3, 4, 5] for number in range(2))  # none twice, none left out
    assert courses[1].results[-1]["owners"] == [1] * 5
    assert takings.taken
    for number, epoch, other, age in takings.taken:
        assert (number, other) == (0, 1)
        assert courses[0].results[epoch]["owners"] == [1] * age + [0]  # in the next epoch


def test_a_population_ends_and_takes_over_better_weights_that_are_no_older(tmp_path: Path) -> None:
    assert sum(a_population(seed, tmp_path / str(seed)) for seed in range(25)) > 50


def a_population(seed: int, folder: Path) -> int:
    """Runs one to its end; how often a trial took over."""
    folder.mkdir()
    rng = random.Random(seed)
    spec = spec_of("pbt", epochs=rng.choice((4, 9)), every=rng.choice((1, 2, 3)), quantile=rng.choice((0.25, 0.5)))
    orders = [
        Order(
            claim_of(spec, number, epoch=rng.choice((0, 0, 0, 2))),
            tuple([rng.random()] * spec.budget.epochs),
            fails=rng.randrange(1, spec.budget.epochs) if rng.random() < 0.15 else 0,
        )
        for number in range(rng.randrange(2, 14))
    ]
    takings = Takings(refusing=3)
    parallel = rng.choice((2, 4, 100))
    scheduler = scheduler_for(spec, take_over=takings)
    tune = FakeTune(orders, scheduler, slots=rng.choice((1, 2, 4)), parallel=parallel, rng=rng, folder=folder)
    ended = tune.run()
    assert sorted(ended) == list(range(len(orders)))
    assert set(ended.values()) <= {"done", "error"}
    for number, order in enumerate(orders):
        assert tune.done[number] == list(range(order.claim.epoch + 1, tune.epochs[number] + 1))
        assert (tune.epochs[number] == spec.budget.epochs) == (ended[number] == "done")
    for number, epoch, other, age in takings.taken:
        assert age <= epoch
        assert orders[other].scores[0] > orders[number].scores[0]
        assert (epoch - age) % spec.scheduler.every == 0  # type: ignore[union-attr, operator]
    assert not scheduler.inner._trial_state  # type: ignore[attr-defined]  # nothing is kept of what has ended
    return len(takings.taken)


def test_a_population_of_an_earlier_driver_is_compared_where_it_would_have_been() -> None:
    spec = spec_of("pbt", every=2)
    population: Any = scheduler_for(spec).inner
    for number, epoch in enumerate((0, 1, 4, 5)):
        trial: Any = FakeTrial(Order(claim_of(spec, number, epoch=epoch), ()))
        population.on_trial_add(SimpleNamespace(search_alg=None), trial)
        assert population._trial_state[trial].last_perturbation_time == epoch // 2 * 2
        assert population._trial_state[trial].last_train_time == epoch
