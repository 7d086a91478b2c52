"""What a process holds of the machine's memory, as the system says it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from worker.devices import CpuDevice

MB = 10**6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_process_holds_is_seen_with_its_peak_since_it_was_last_asked() -> None:
    device = CpuDevice()
    before = device.allocated_bytes()
    device.take_peak_bytes()
    held = np.ones(200 * MB, dtype=np.uint8)
    assert 150 * MB < device.allocated_bytes() - before < 300 * MB
    del held
    device.tidy()
    after = device.allocated_bytes()
    assert after - before < 100 * MB
    assert 150 * MB < device.take_peak_bytes() - before < 300 * MB
    assert device.take_peak_bytes() < before + 100 * MB


def test_a_container_has_what_it_is_allowed(tmp_path: Path) -> None:
    whole = CpuDevice(limits=()).total_bytes()
    limit = tmp_path / "memory.max"
    for text, total in (("max\n", whole), ("1000000000\n", 10**9), (f"{10**18}\n", whole)):
        limit.write_text(text)
        assert CpuDevice(limits=(limit, tmp_path / "none")).total_bytes() == total
    assert whole > 10**9


def test_where_the_system_says_nothing_nothing_is_measured(tmp_path: Path) -> None:
    device = CpuDevice(process=tmp_path)
    assert (device.allocated_bytes(), device.take_peak_bytes(), device.is_shared()) == (0, 0, False)
