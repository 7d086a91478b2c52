"""`nas worker` as a user starts it: a process a core, lanes in each, and an end that leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cli.places import Cores
from nas.settings import Settings
from nas.store import workers
from nas.store.session import Store
from tests.processes import open_store, process, settings_in, until
from worker import main
from worker.pack import MOST_LANES, lanes, packed


def alive(store: Store) -> list[str]:
    with store.read() as session:
        return [worker.id for worker in workers.alive(session, 30.0)]


def test_there_is_a_process_on_each_core_which_keeps_to_it_and_has_its_lanes(tmp_path: Path) -> None:
    settings, cores = settings_in(tmp_path), Cores.here()
    store = open_store(settings)
    arguments = ["-m", "cli", "worker", "--device", "cpu", "--pack", "2", "--json"]
    with process(arguments, settings, tmp_path / "log") as started:
        until(lambda: len(alive(store)) == 2 * cores.count, "all lanes are there")
        names = alive(store)
        pids = {int(name.split("-")[-2]) for name in names}
        assert {name[-2:] for name in names} == {"-0", "-1"}
        assert len(pids) == cores.count
        if cores.count == len(cores.numbers) > 1:
            status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
            kept = [re.search(r"^Cpus_allowed_list:\s+(\S+)$", text, re.MULTILINE) for text in status]
            assert {found[1] for found in kept if found} == set(map(str, cores.numbers))
            assert os.getpid() not in pids
            assert len(os.sched_getaffinity(started.pid)) == len(cores.numbers)
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0
    assert f'{{"workers": {cores.count}, "device": "cpu"}}\n' in (tmp_path / "log").read_text()
    assert alive(store) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    store.close()


@pytest.mark.parametrize("workers_asked", ["1", "2"])
def test_settings_that_somebody_has_to_mend_end_it_with_one_status(tmp_path: Path, workers_asked: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a CUDA device")
    settings = settings_in(tmp_path)
    arguments = ["-m", "cli", "worker", "--device", "cuda", "--workers", workers_asked]
    with process(arguments, settings, tmp_path / "log") as started:
        assert started.wait(60) == 2
    assert "torch sees no CUDA device" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("wrong", ["0", "33", "many", "-1", "1.5"])
def test_what_pack_cannot_be_is_said(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"--pack is '{wrong}'; it can be auto, or 1 to {MOST_LANES} trials at once"):
        packed(wrong)


def test_a_wrong_pack_is_a_line_and_a_status() -> None:
    done = subprocess.run([sys.executable, "-m", "cli", "worker", "--pack=many"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"it can be auto" in done.stderr


def test_auto_leaves_the_number_on_a_gpu_to_its_memory_and_is_one_on_a_core() -> None:
    assert (lanes(packed("auto"), "cpu"), lanes(packed("auto"), "cuda") > 8, lanes(packed("3"), "cuda")) == (1, True, 3)


@pytest.mark.parametrize("leaked", [True, False])
def test_a_process_that_lost_memory_begins_anew_as_it_was_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leaked: bool
) -> None:
    begun: list[list[str]] = []
    for name, value in settings_in(tmp_path).to_environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(main, "work", lambda *_: leaked)
    monkeypatch.setattr(Settings, "log_to_stderr", lambda _: None)
    monkeypatch.setattr(os, "execv", lambda program, arguments: begun.append([program, *arguments]))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main.main(["--device", "cpu", "--pack", "2"]) == 0
    anew = [sys.executable, sys.executable, "-m", "worker.main", "--device", "cpu", "--pack", "2"]
    assert begun == ([anew] if leaked else [])
