"""A device takes as many trials as fit, in their order; what they held is measured, learned from, and known to be free.

The arithmetic is tested on a device that is told what to say; leaks on real tensors, which tests/worker/test_lanes.py
has more of.
"""

import threading
import time
from collections.abc import Callable

import pytest

from nas.errors import Stopped
from worker.admission import (
    FEW,
    FIRST_FACTOR,
    LEAK_BYTES,
    LEAST_FACTOR,
    WORKSPACE_BYTES,
    Held,
    Learned,
    Need,
    Room,
    Seat,
)

GB = 10**9


class FakeDevice:
    """Says what it was told."""

    exact = True

    def __init__(self, total: int = 10 * GB) -> None:
        self.total, self.allocated, self.peak, self.tidied, self.others = total, 0, 0, 0, False
        self.garbage = 0

    def total_bytes(self) -> int:
        return self.total

    def allocated_bytes(self) -> int:
        return self.allocated + self.garbage

    def take_peak_bytes(self) -> int:
        peak, self.peak = self.peak, self.allocated
        return peak

    def tidy(self) -> None:
        self.tidied += 1
        self.garbage = 0

    def is_shared(self) -> bool:
        return self.others


def exact(factor: float = 1.0) -> Learned:
    """Predictions are believed, times a factor."""
    learned = Learned()
    for _ in range(FEW):
        learned.add(round(factor * GB), GB)
    return learned


def room_of(device: FakeDevice, factor: float = 1.0) -> Room:
    return Room(device, exact(factor), share=1.0)


def never() -> bool:
    return False


class Entering(threading.Thread):
    """A trial that asks for room."""

    def __init__(self, room: Room, need: Need, should_stop: Callable[[], bool] = never) -> None:
        super().__init__(daemon=True)
        self.room, self.need, self.should_stop = room, need, should_stop
        self.held: Held | None = None
        self.stopped = False
        self.start()

    def run(self) -> None:
        try:
            self.held = self.room.enter(self.need, self.should_stop)
        except Stopped:
            self.stopped = True

    def is_in(self) -> bool:
        self.join(0.25)
        return self.held is not None

    def comes_in(self) -> Held:
        self.join(10)
        assert self.held is not None
        return self.held


def net(gb: float) -> Need:
    """A trial of so much with its workspace."""
    return Need(round(gb * GB) - WORKSPACE_BYTES)


def test_trials_are_let_in_by_bytes_and_the_next_when_one_leaves() -> None:
    room = room_of(FakeDevice())
    first = room.enter(net(4), never)
    room.enter(net(5), never)
    third = Entering(room, net(2))
    assert not third.is_in()
    room.leave(first)
    third.comes_in()


def test_nobody_is_passed_over() -> None:
    room = room_of(FakeDevice())
    first = room.enter(net(6), never)
    large = Entering(room, net(9))
    assert not large.is_in()
    small = Entering(room, net(1))  # it would fit beside the first
    assert not small.is_in()
    room.leave(first)
    large.comes_in()
    small.comes_in()


def test_a_trial_larger_than_the_device_runs_alone() -> None:
    room = room_of(FakeDevice())
    small = room.enter(net(1), never)
    large = Entering(room, net(50))
    assert not large.is_in()
    room.leave(small)
    held = large.comes_in()
    assert not held.shared
    after = Entering(room, net(0.5))
    assert not after.is_in()
    room.leave(held)
    after.comes_in()


@pytest.mark.parametrize("need", [Need(1000, alone=True), Need(None)])
def test_who_has_to_be_alone_waits_for_all_others_and_all_others_for_it(need: Need) -> None:
    room = room_of(FakeDevice())
    others = [room.enter(net(1), never) for _ in range(2)]
    alone = Entering(room, need)
    for other in others:
        assert not alone.is_in()
        room.leave(other)
    held = alone.comes_in()
    after = Entering(room, net(1))
    assert not after.is_in()
    room.leave(held)
    assert not held.shared
    after.comes_in()


def test_who_is_to_stop_does_not_wait_on_and_holds_nobody_up() -> None:
    room = room_of(FakeDevice())
    first = room.enter(net(6), never)
    asked = threading.Event()
    large, small = Entering(room, net(9), asked.is_set), Entering(room, net(1))
    assert not small.is_in()
    asked.set()
    large.join(10)
    assert large.stopped
    small.comes_in()
    room.leave(first)


def test_a_data_set_counts_once_for_all_who_have_it() -> None:
    room = room_of(FakeDevice())
    gb = GB - WORKSPACE_BYTES
    for _ in range(3):
        room.enter(Need(gb, data="cifar10", data_bytes=4 * GB), never)
    asked = threading.Event()
    another = Entering(room, Need(gb, data="svhn", data_bytes=4 * GB), asked.is_set)
    assert not another.is_in()
    asked.set()
    Entering(room, Need(gb, data="cifar10", data_bytes=4 * GB)).comes_in()


def test_what_a_capture_keeps_in_reserve_counts_too() -> None:
    room = room_of(FakeDevice())
    room.enter(Need(4 * GB, spare_bytes=4 * GB), never)
    assert not Entering(room, net(2.5)).is_in()


def test_a_trial_knows_whether_it_shared_the_device_at_any_time() -> None:
    room = room_of(FakeDevice())
    first = room.enter(net(1), never)
    found = [first.shared]
    second = room.enter(net(1), never)
    assert [*found, first.shared, second.shared] == [False, True, True]
    room.leave(first)
    room.leave(second)
    assert not room.enter(net(1), never).shared


def test_another_process_on_the_device_is_somebody_beside_it() -> None:
    device = FakeDevice()
    device.others = True
    assert room_of(device).enter(net(1), never).shared


def test_what_is_measured_is_shared_out_by_what_was_predicted_and_the_data_set_is_nobodys() -> None:
    device = FakeDevice()
    device.allocated = device.peak = GB // 10  # what the libraries keep
    room = room_of(device)
    first = room.enter(Need(GB, data="digits", data_bytes=GB), never)
    device.peak = GB // 10 + GB + GB // 2
    second = room.enter(Need(3 * GB, data="digits", data_bytes=GB), never)
    assert first.peak_bytes == GB // 2
    device.peak = GB // 10 + GB + 2 * GB
    assert room.peak_bytes(second) == 3 * GB // 2
    assert room.peak_bytes(first) == GB // 2


def test_what_was_found_corrects_the_next_predictions() -> None:
    learned = Learned()
    assert learned.factor == FIRST_FACTOR
    learned.add(3 * GB, GB)
    assert learned.factor == 3.0  # one that was far too low is believed at once
    for measured in range(1, 101):
        learned.add(round(GB * (1 + measured / 100)), GB)
    assert 1.9 <= learned.factor <= 2.0
    for _ in range(100):
        learned.add(GB // 100, GB)
    assert learned.factor == LEAST_FACTOR
    few = Learned()
    for _ in range(100):
        few.add(GB, 1000)  # libraries' own memory beside a tiny network
        few.add(0, GB)
    assert few.factor == FIRST_FACTOR


def test_a_higher_factor_lets_fewer_in() -> None:
    room = room_of(FakeDevice(), factor=2.0)
    room.enter(net(3), never)
    assert not Entering(room, net(3)).is_in()


def test_memory_that_stays_in_use_after_a_trial_is_a_leak_unless_it_is_garbage() -> None:
    device = FakeDevice()
    room = room_of(device)
    device.garbage = GB
    room.leave(room.enter(net(1), never))
    assert (room.leaked_bytes, device.tidied) == (0, 1)
    device.allocated = WORKSPACE_BYTES + LEAK_BYTES - 1
    room.leave(room.enter(net(1), never))
    assert (room.leaked_bytes, device.tidied) == (0, 1)
    device.allocated = GB
    room.leave(room.enter(net(1), never))
    assert room.leaked_bytes == GB


def test_a_suspicion_lets_nobody_in_until_all_are_through_and_it_is_looked_at_again() -> None:
    device = FakeDevice()
    room = room_of(device)
    first, second = room.enter(net(1), never), room.enter(net(1), never)
    device.allocated = 3 * GB
    room.leave(first)
    assert room.leaked_bytes == 0  # the second may have more than was thought
    third = Entering(room, net(1))
    assert not third.is_in()
    device.allocated = 0
    room.leave(second)
    assert room.leaked_bytes == 0
    third.comes_in()


def test_a_seat_gives_its_room_back_once_and_without_a_room_there_is_always_space() -> None:
    room = room_of(FakeDevice())
    seat = Seat(room)
    assert not seat.shared
    seat.take(net(8), never)
    waiting = Entering(room, net(8))
    assert not waiting.is_in()
    seat.leave()
    seat.leave()
    waiting.comes_in()
    free = Seat()
    free.take(net(10**6), never)
    assert (free.shared, free.peak_bytes()) == (False, None)
    free.leave()


def test_many_lanes_never_hold_more_than_there_is() -> None:
    room = room_of(FakeDevice(4 * GB))
    inside: list[float] = []
    most: list[float] = []
    lock = threading.Lock()

    def lane(index: int) -> None:
        for turn in range(8):
            size = 0.5 + (index * 7 + turn * 3) % 5 / 2
            held = room.enter(net(size), never)
            with lock:
                inside.append(size)
                most.append(sum(inside))
            time.sleep(0.001)
            with lock:
                inside.remove(size)
            room.leave(held)

    lanes = [threading.Thread(target=lane, args=(index,)) for index in range(6)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join(30)
        assert not thread.is_alive()
    assert max(most) <= 4
    assert max(most) > 2.5
