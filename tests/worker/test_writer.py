"""Epochs are written beside the training: in order, all of them, and whoever waits for them hears of failures."""

import threading
from collections.abc import Callable, Sequence

import pytest
import torch

from nas.errors import LeaseLost
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from worker.writer import Done, Writer


def done(number: int) -> Done:
    result = EpochResult(number, 1.0, 1.0, 0.5, 0.1, 0.01, {"accuracy": 0.5})
    return Done(result, Checkpoint(number, {"weight": torch.zeros(1)}, {}), None)


class Desk:
    """Notes what is written, each time not before it may."""

    def __init__(self, *, open_from_the_beginning: bool = True) -> None:
        self.written: list[list[tuple[int, bool]]] = []
        self.began, self.may = threading.Semaphore(0), threading.Event()
        if open_from_the_beginning:
            self.may.set()

    def __call__(self, epochs: Sequence[Done]) -> None:
        self.began.release()
        assert self.may.wait(30)
        self.written.append([(one.result.epoch, one.checkpoint is not None) for one in epochs])


def test_at_the_end_all_epochs_are_written_in_order() -> None:
    desk = Desk()
    with Writer(desk) as writer:
        for number in range(1, 30):
            writer.add(done(number))
    assert [number for epochs in desk.written for number, _ in epochs] == list(range(1, 30))


def test_epochs_that_come_while_one_is_written_go_together_with_the_newest_checkpoint_alone() -> None:
    desk = Desk(open_from_the_beginning=False)
    with Writer(desk) as writer:
        writer.add(done(1))
        assert desk.began.acquire(timeout=30)
        for number in (2, 3, 4):
            writer.add(done(number))
        desk.may.set()
    assert desk.written == [[(1, True)], [(2, False), (3, False), (4, True)]]


def test_the_training_does_not_wait_for_what_is_written() -> None:
    desk = Desk(open_from_the_beginning=False)
    with Writer(desk) as writer:
        for number in range(1, 6):
            writer.add(done(number))
        assert desk.written == []
        desk.may.set()


def test_settled_everything_is_written() -> None:
    desk = Desk()
    with Writer(desk) as writer:
        for number in (1, 2):
            writer.add(done(number))
            writer.settle()
            assert desk.written[-1] == [(number, True)]


@pytest.mark.parametrize("ask", [lambda writer: writer.settle(), lambda writer: writer.add(done(2))])
def test_what_writing_raises_is_raised_where_the_training_asks_next(ask: Callable[[Writer], None]) -> None:
    failed = threading.Event()

    def refuse(epochs: Sequence[Done]) -> None:
        failed.set()
        raise LeaseLost("it is another worker's")

    def train() -> None:
        with Writer(refuse) as writer:
            writer.add(done(1))
            assert failed.wait(30)
            while True:  # until the thread has told of it
                ask(writer)

    with pytest.raises(LeaseLost, match="another worker's"):
        train()


def test_what_writing_raises_last_is_raised_at_the_end() -> None:
    def refuse(epochs: Sequence[Done]) -> None:
        raise LeaseLost("it is another worker's")

    with pytest.raises(LeaseLost, match="another worker's"), Writer(refuse) as writer:
        writer.add(done(1))


def test_an_error_of_the_training_is_not_hidden_and_what_was_added_is_written() -> None:
    desk = Desk()

    def train() -> None:
        with Writer(desk) as writer:
            writer.add(done(1))
            raise ValueError("the training's own")

    with pytest.raises(ValueError, match="the training's own"):
        train()
    assert desk.written == [[(1, True)]]


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with Writer(Desk()) as writer:
        writer.add(done(1))
    assert threading.active_count() == before
