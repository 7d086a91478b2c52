"""Workers see each GPU, or each core that they may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.places import Cores, Place, find_gpus, places

FOUR = Cores((0, 2, 4, 6), 4)


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1,3", ["0", "1", "3"]),
        ("GPU-8932f937-d72c, GPU-1f0a", ["GPU-8932f937-d72c", "GPU-1f0a"]),
        ("MIG-GPU-8932f937/1/0,MIG-4a", ["MIG-GPU-8932f937/1/0", "MIG-4a"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["1"]),
    ],
)
def test_the_devices_that_are_visible_are_taken_by_their_names(visible: str, found: list[str]) -> None:
    assert find_gpus({"CUDA_VISIBLE_DEVICES": visible}) == found


LISTED = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 3g.40gb     Device  1: (UUID: MIG-2222)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-cccc)
"""


@pytest.mark.parametrize(
    ("listed", "found"), [(LISTED, ["0", "MIG-1111", "MIG-2222", "2"]), ("No devices found.\n", [])]
)
def test_without_a_choice_the_driver_says_which_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: str, found: list[str]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_gpus({}) == found


def test_a_machine_without_a_driver_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus({}) == []


def test_there_is_a_worker_on_each_gpu() -> None:
    assert places(None, ["0", "GPU-1f0a"], FOUR) == [Place("0"), Place("GPU-1f0a")]


def test_fewer_workers_have_several_gpus_each_and_more_share_them() -> None:
    assert places(2, ["a", "b", "c"], FOUR) == [Place("a,c"), Place("b")]
    assert places(3, ["a", "b"], FOUR) == [Place("a"), Place("b"), Place("a")]


def test_without_gpus_there_is_a_worker_on_each_core_and_it_keeps_to_it() -> None:
    assert places(None, [], FOUR) == [Place(core=core) for core in (0, 2, 4, 6)]
    assert places(4, [], FOUR, pin=False) == [Place()] * 4


@pytest.mark.parametrize(
    ("asked", "cores"), [(3, FOUR), (8, FOUR), (None, Cores((5,), 1)), (None, Cores((0, 1, 2), 2))]
)
def test_where_others_may_be_on_the_same_cores_nobody_is_kept_to_one(asked: int | None, cores: Cores) -> None:
    """Fewer workers than cores, more of them, a single core, and a container that may keep two of three busy."""
    assert places(asked, [], cores) == [Place()] * (asked or cores.count)


def test_no_workers_have_no_places() -> None:
    assert places(0, [], FOUR) == places(0, ["0"], FOUR) == []


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, files: dict[str, str], count: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    allowed = len(os.sched_getaffinity(0))
    assert Cores.here([tmp_path]).count == min(allowed, count or allowed)


def test_the_cores_are_those_of_the_process() -> None:
    """Also where it may use fewer than the machine has."""
    first = min(os.sched_getaffinity(0))
    code = "from cli.places import Cores; print(*Cores.here([]).numbers)"
    kept = f"import os; os.sched_setaffinity(0, {{{first}}}); {code}"
    found = subprocess.run([sys.executable, "-c", kept], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(first)]
