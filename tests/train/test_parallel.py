import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas import plugins
from nas.data.builtin import BUILTIN
from nas.errors import Diverged, Stopped
from nas.model import build_network
from nas.model.chance import seeded
from nas.space import Candidate, Cell, Edge, Genotype, Shape
from nas.train.board import Board
from nas.train.checkpoint import Checkpoint
from nas.train.crew import Crew, Message
from nas.train.epoch import EpochResult
from nas.train.parallel import devices_for
from nas.train.recipe import Recipe
from tests.processes import alive, children_of, until
from tests.train.runs import RECIPE, change, state
from worker.evaluate import evaluate

CPU = torch.device("cpu")
DIGITS = BUILTIN["digits"].load()
DATA = replace(DIGITS, train=DIGITS.train[:120], validation=DIGITS.validation[:41])
_CELL = Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),), (2,))
CANDIDATE = Candidate(Genotype(_CELL, _CELL), Shape(channels=4, cells=2, dropout=0.3))
GENTLE = change(RECIPE, lr=0.01, epochs=3, batch_size=31, ema=0.9, freeze=1, kept_lr=0.5)
LONG = change(GENTLE, epochs=100_000)

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@dataclass
class Seen:
    """What was reported, and what ranks there were at that time."""

    results: list[EpochResult] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    last: int = 0

    def on_epoch(self, result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        self.results.append(result)
        self.checkpoints.append(take().to_bytes())
        self.ranks = ranks_of(os.getpid())
        return result.epoch != self.last


def source() -> dict[str, Tensor]:
    """A network to start from, so that some weights stay as they are and others learn slowly."""
    with seeded(9):
        return build_network(CANDIDATE, in_channels=1, outputs=10).state_dict()


def ranks_of(pid: int) -> list[int]:
    def words(child: int) -> bytes:
        try:
            return Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            return b""

    return [child for child in children_of(pid) if b"nas.train.rank" in words(child)]


def run(
    processes: int,
    recipe: Recipe = GENTLE,
    seen: Seen | None = None,
    *,
    candidate: Candidate = CANDIDATE,
    resume: bytes | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    board: Board | None = None,
) -> tuple[Seen, dict[str, Tensor]]:
    seen = seen or Seen()
    network = evaluate(
        candidate,
        DATA,
        recipe,
        seed=1,
        device=CPU,
        devices=[CPU] * processes,
        on_epoch=seen.on_epoch,
        should_stop=should_stop,
        resume=Checkpoint.from_bytes(resume) if resume is not None else None,
        board=board,
        source=source(),
    )
    assert not network.training
    return seen, state(network)


class Logged(Board):
    """A board that says which epochs it was shown a network after which had learnt."""

    def __init__(self) -> None:
        self.shown: list[int] = []
        self._before: Tensor | None = None

    def log(self, result: EpochResult, network: nn.Module, images: Tensor) -> None:
        *_, weight = (parameter.detach().clone() for parameter in network.parameters())  # the first ones are frozen
        if self._before is None or not torch.equal(weight, self._before):
            self.shown.append(result.epoch)
        self._before = weight
        super().log(result, network, images)


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("nas-ranks-*"))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> object:
    before = folders()
    yield
    assert ranks_of(os.getpid()) == []
    assert folders() <= before


@pytest.fixture(scope="module")
def alone() -> tuple[Seen, dict[str, Tensor]]:
    return run(1)


def assert_alike(found: list[EpochResult], expected: list[EpochResult]) -> None:
    assert [result.epoch for result in found] == [result.epoch for result in expected]
    for result, other in zip(found, expected, strict=True):
        assert result.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert result.validation_loss == pytest.approx(other.validation_loss, rel=1e-3)
        assert result.lr == other.lr
        assert result.metrics.keys() == other.metrics.keys()


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=2e-3, atol=2e-4)


def test_two_processes_train_what_one_trains_and_any_number_goes_on_with_it(
    alone: tuple[Seen, dict[str, Tensor]],
) -> None:
    board = Logged()
    seen, weights = run(2, board=board)
    assert board.shown == [1, 2, 3]
    assert_alike(seen.results, alone[0].results)
    assert_close(weights, alone[1])
    assert len(seen.ranks) == 2
    resumed, final = run(1, resume=seen.checkpoints[0])
    assert_alike(resumed.results, alone[0].results[1:])
    assert_close(final, alone[1])


def test_a_training_of_one_process_goes_on_in_two_and_ends_where_it_is_told_to(
    alone: tuple[Seen, dict[str, Tensor]],
) -> None:
    seen, weights = run(2, seen=Seen(last=2), resume=alone[0].checkpoints[0])
    assert_alike(seen.results, alone[0].results[1:2])
    average = Checkpoint.from_bytes(seen.checkpoints[-1]).networks["ema"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in average.items())


def test_a_stop_ends_all_processes_at_once() -> None:
    seen = Seen()
    asked_at: list[float] = []

    def should_stop() -> bool:
        if len(seen.results) >= 2:
            asked_at.append(time.monotonic())
        return bool(asked_at)

    with pytest.raises(Stopped):
        run(2, LONG, seen, should_stop=should_stop)
    assert time.monotonic() - asked_at[0] < 5
    assert [result.epoch for result in seen.results] == list(range(1, len(seen.results) + 1))


def test_a_process_that_is_killed_ends_the_training_with_its_name() -> None:
    seen = Seen()

    def kill() -> None:
        until(lambda: seen.ranks, "the first epoch")
        os.kill(max(seen.ranks), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RuntimeError, match=r"process 1 of 2 that train together was killed by SIGKILL$"):
        run(2, LONG, seen)
    killer.join()


def test_the_first_failure_is_told_and_not_what_followed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [Message(rank, "error", {"error": "Lost", "text": "does not reach the others"}) for rank in (0, 2)]
    first = Message(1, "end", {"text": "was killed by SIGSEGV"})
    said = [Message(3, "ready", {}), lost[1], first]
    monkeypatch.setattr(Crew, "next", lambda self, timeout_s: said.pop(0) if said else None)
    crew = Crew(tmp_path, 4)
    assert crew.cause(lost[0]) is first
    assert crew.cause(first) is first
    monkeypatch.setattr("nas.train.crew.GRACE_S", 0.01)
    assert crew.cause(lost[1]) is lost[1]


PLUGIN = """
import sys
import torch
from torch import nn

class Greedy(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        if self.training and sys.argv[-1] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory: of 1 GiB")
        return x[:, :, :: self.stride, :: self.stride]

OPERATIONS = {"greedy_of_memory": lambda channels, stride: Greedy(stride)}
"""


def test_no_memory_in_one_process_is_no_memory_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("nas.plugins._used", {table: {} for table in plugins.GROUPS})
    plugins.use("greedy_plugin")
    cell = Cell(((Edge("greedy_of_memory", 1), Edge("skip_connect", 1)),), (2,))
    greedy = replace(CANDIDATE, architecture=Genotype(cell, cell))
    greedy = replace(greedy, shape=Shape(channels=4, cells=1))
    with pytest.raises(torch.OutOfMemoryError, match="of 1 GiB"):
        run(2, candidate=greedy)


def test_a_training_diverges_as_it_does_in_one_process() -> None:
    wild = change(GENTLE, lr=100.0, weight_decay=10.0, clip_norm=None, epochs=30)
    with pytest.raises(Diverged) as one:
        run(1, wild)
    with pytest.raises(Diverged) as two:
        run(2, wild)
    assert two.value.epoch == one.value.epoch
    assert not math.isfinite(two.value.loss)


PARENT = """
import torch
from tests.train.test_parallel import LONG, Seen, run

torch.set_num_threads(1)

class Told(Seen):
    def on_epoch(self, result, take):
        print("epoch", flush=True)
        return True

run(2, LONG, Told())
"""


def test_processes_end_with_the_one_that_is_killed_and_leave_no_files() -> None:
    before = folders()
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"epoch\n"
        ranks = ranks_of(parent.pid)
        assert len(ranks) == 2
        assert folders() - before
        parent.kill()
    until(lambda: not any(alive(pid) for pid in ranks), "the end of the processes", 10)
    until(lambda: not folders() - before, "the end of their files", 10)


def test_there_are_no_more_processes_than_cores_or_devices(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3})
    with caplog.at_level(logging.WARNING):
        assert devices_for(CPU, 2) == [CPU, CPU]
        assert devices_for(CPU, 1) == [CPU]
        assert not caplog.messages
        assert devices_for(CPU, 4) == [CPU, CPU]
        assert caplog.messages == ["4 processes are to train together, but 2 cores may be used: it takes longer"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    second = torch.device("cuda", 1)
    assert devices_for(second, 1) == [second]
    assert devices_for(second, 2) == [second, torch.device("cuda", 0)]
    assert devices_for(second, 8) == [second, torch.device("cuda", 0), torch.device("cuda", 2)]
    assert caplog.messages[1:] == ["8 processes are to train together, but 3 CUDA devices are visible: it takes longer"]
