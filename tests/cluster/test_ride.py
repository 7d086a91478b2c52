"""A trial on a node, without a cluster: when it tells, when it waits, when it saves, and what it may fail with."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest
import torch

from nas.errors import ArtifactsAway, DiskFull, Diverged, Stopped
from nas.search.options import SchedulerSpec
from nas.store.artifacts import ArtifactStore
from nas.store.claims import Claim
from nas.store.states import Phase
from nas.train.checkpoint import Checkpoint
from tests.cluster.driving import open_store_in
from tests.processes import until
from tests.support import add_job, epoch, reserve
from worker.cluster.deaths import NodeLost, meaning
from worker.cluster.ride import News, Ride
from worker.cluster.trainable import FailedOnNode, portable
from worker.orders import Order, Outcome

LATE_S = 5.0


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    """A search trial of nine epochs, which is compared after the first and the third."""
    with open_store_in(tmp_path) as store:
        add_job(store, epochs=9, pruning={"method": "halving", "first": 1, "eta": 3}, trials=3)
        found = reserve(store)
    assert found is not None
    return found


def test_a_training_waits_where_it_is_compared_and_nowhere_else(claim: Claim, tmp_path: Path) -> None:
    ride = begin(claim, tmp_path, trains(9))
    first, second, last = (ride.news(LATE_S) for _ in range(3))
    assert [news.waits for news in (first, second, last)] == [True, True, False]
    assert [epochs_in(news) for news in (first, second, last)] == [[1], [2, 3], [4, 5, 6, 7, 8, 9]]
    assert last.outcome is not None
    assert [news.told[-1].checkpoint is not None for news in (first, second, last)] == [True, True, False]
    store = ArtifactStore(str(tmp_path))
    assert [Checkpoint.from_bytes(store.get(news.files[0].sha256)).epoch for news in (first, second)] == [1, 3]


def test_a_training_that_comes_to_its_rung_between_two_questions_waits_until_that_is_told(
    claim: Claim, tmp_path: Path
) -> None:
    gate = Semaphore(0)

    def work(ride: Ride) -> Outcome:
        for number in range(1, 10):
            gate.acquire()
            ride.on_epoch(epoch(number), lambda number=number: checkpoint(number), None)  # type: ignore[misc]
        return Outcome()

    ride = begin(claim, tmp_path, work)
    assert epochs_in(ride.news(0.01)) == []
    for rung in ([1], [2, 3]):
        gate.release(len(rung))
        until(lambda: ride._waits, "the training to come to its rung, while nobody asks")
        found = ride.news(LATE_S)
        assert (epochs_in(found), found.waits) == (rung, True)
        assert not ride.news(0.01).waits  # the driver lets it go on
    ride.stop(0)
    gate.release()


def test_a_training_that_nobody_compares_saves_now_and_then_and_tells_so(claim: Claim, tmp_path: Path) -> None:
    ride = begin(replace(claim, phase=Phase.FINALIST), tmp_path, trains(9, each_s=0.3))
    told = [ride.news(0.4)]
    while not told[-1].ended:
        told.append(ride.news(0.4))
    assert not any(news.waits for news in told)
    assert [number for news in told for number in epochs_in(news)] == list(range(1, 10))
    assert 1 <= sum(len(news.files) for news in told) <= 3, "a checkpoint a second, and none at the end"
    assert [] in [epochs_in(news) for news in told], "it tells that it is alive, too"


def test_rays_schedulers_see_every_epoch_alone(claim: Claim, tmp_path: Path) -> None:
    spec = claim.spec.model_copy(update={"scheduler": SchedulerSpec(method="asha")})
    ride = begin(replace(claim, spec=spec), tmp_path, trains(9))
    assert [epochs_in(ride.news(LATE_S)) for _ in range(9)] == [[number] for number in range(1, 10)]
    assert Checkpoint.from_bytes(ride.content).epoch == 8


def test_a_training_that_is_stopped_ends_where_it_waits_and_in_the_middle_of_an_epoch(
    claim: Claim, tmp_path: Path
) -> None:
    ride = begin(claim, tmp_path, trains(9))
    assert ride.news(LATE_S).waits
    assert ride.stop(LATE_S)

    def endless(ride: Ride) -> Outcome:
        while not ride.should_stop():
            time.sleep(0.01)
        raise Stopped

    ride = begin(claim, tmp_path, endless)
    assert not ride.news(0.05).ended
    assert ride.stop(LATE_S)
    assert isinstance(ride.news(0).failure, Stopped)


def test_epochs_without_a_checkpoint_are_trained_again_after_a_failure_but_count_where_it_diverged(
    claim: Claim, tmp_path: Path
) -> None:
    for error, counted in ((RuntimeError("no"), []), (Diverged(3, float("nan")), [1, 2])):

        def work(ride: Ride, error: Exception = error) -> Outcome:
            trains(2)(ride)
            raise error

        news = begin(replace(claim, phase=Phase.FINALIST), tmp_path, work).news(LATE_S)
        assert epochs_in(news) == counted
        assert news.failure is not None
        assert news.outcome is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Stopped(), Stopped),
        (Diverged(3, float("inf")), Diverged),
        (ArtifactsAway("away"), ArtifactsAway),
        (DiskFull("full"), DiskFull),
        (OSError(28, "No space left on device"), DiskFull),
        (MemoryError(), MemoryError),
        (torch.OutOfMemoryError("CUDA out of memory"), MemoryError),
        (ValueError("of a user's own"), FailedOnNode),
    ],
)
def test_what_a_trial_raises_travels_and_means_the_same(error: Exception, kind: type[Exception]) -> None:
    sent = copy.deepcopy(portable(error))  # made anew from its arguments, as pickle does
    assert isinstance(sent, kind)
    assert str(error) in str(sent)


def test_a_traceback_comes_along_with_what_a_user_has_to_mend() -> None:
    try:
        raise ValueError("a bad operation")
    except ValueError as error:
        text = str(portable(error))
    assert "test_ride.py" in text
    assert text.splitlines()[-1] == "ValueError: a bad operation"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("The actor is dead because its node has died. Node Id: 8f", NodeLost, "its node was lost"),
        (
            "Failure # 1\nThe actor is dead because its worker process has died: SIGSEGV\n",
            NodeLost,
            "its process on the node died: The actor is dead because its worker process has died: SIGSEGV",
        ),
        ("Task was killed due to the node running low on memory.\nMemory: 15.2GB", MemoryError, "low on memory"),
        ("The actor died because of an error raised in its creation task, ray::No", FailedOnNode, "creation"),
        ("ray::Node.train() (pid=7)\nValueError: no", FailedOnNode, "ValueError: no"),
        ("", NodeLost, "its process on the node died"),
    ],
)
def test_what_ray_says_of_a_failed_actor_is_understood(text: str, kind: type[Exception], said: str) -> None:
    found = meaning(text)
    assert type(found) is kind
    assert said in str(found)


def begin(claim: Claim, folder: Path, work: Callable[[Ride], Outcome]) -> Ride:
    ride = Ride(Order(claim), ArtifactStore(str(folder)), node="n", place="cpu@here")
    ride.start(work, portable)
    return ride


def trains(count: int, each_s: float = 0.0) -> Callable[[Ride], Outcome]:
    """Work that does so many epochs."""

    def work(ride: Ride) -> Outcome:
        for number in range(1, count + 1):
            time.sleep(each_s)
            ride.on_epoch(epoch(number), lambda number=number: checkpoint(number), None)  # type: ignore[misc]
        return Outcome()

    return work


def checkpoint(number: int) -> Checkpoint:
    nothing: dict[Any, Any] = {}
    return Checkpoint(number, {"weight": torch.zeros(1)}, nothing, nothing, nothing)


def epochs_in(news: News) -> list[int]:
    return [result.epoch for told in news.told for result in told.epochs]
