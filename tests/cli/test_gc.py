"""`nas gc` on a database and files of its own."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.gc import seconds
from cli.main import run
from nas.errors import SettingsError
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from tests.support import add_dataset, database

Nas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """`nas ARGUMENTS` in this process; (status, output, errors)."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def run_it(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        status = 0
        try:
            run()
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_it


def test_a_dry_run_tells_what_a_collection_then_deletes(nas: Nas, tmp_path: Path) -> None:
    database("sqlite", tmp_path)
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    old, new = artifacts.put(b"a" * 12_345).sha256, artifacts.put(b"new").sha256
    os.utime(tmp_path / "artifacts" / old[:2] / old, (0, 0))
    status, printed, _ = nas("gc", "--dry-run")
    assert status == 0
    assert old in printed
    assert new not in printed
    assert "1 file to delete: 12,345 bytes; 1 file left" in printed
    assert artifacts.exists(old)
    status, printed, _ = nas("gc")
    assert (status, "1 file deleted: 12,345 bytes; 1 file left" in printed) == (0, True)
    assert not artifacts.exists(old)
    assert artifacts.exists(new)
    assert "1 file deleted: 3 bytes; 0 files left" in nas("gc", "--older-than", "0s")[1]
    assert "0 files deleted: 0 bytes; 0 files left" in nas("gc")[1]


def test_missing_files_are_named_and_nothing_else_happens(nas: Nas, tmp_path: Path) -> None:
    store = Store(database("sqlite", tmp_path))
    add_dataset(store)
    store.close()
    status, printed, _ = nas("gc")
    assert status == 0
    assert "missing: data set 'squares'" in printed
    assert "1 file missing; restore from a backup" in printed


def test_a_database_without_tables_and_a_wrong_age_are_one_line(nas: Nas, tmp_path: Path) -> None:
    status, _, error = nas("gc")
    assert (status, error.count("\n")) == (2, 1)
    assert "nas migrate" in error
    status, _, error = nas("backup", str(tmp_path / "copy"))
    assert (status, error.count("\n")) == (2, 1)
    assert "has no tables yet" in error
    assert not (tmp_path / "copy").exists()
    database("sqlite", tmp_path)
    status, _, error = nas("gc", "--older-than", "soon")
    assert (status, error.count("\n")) == (2, 1)
    assert "--older-than is 'soon'; it has to be a number and s, m, h or d" in error


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), (" 2d ", 172_800)])
def test_ages_have_units(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "-1h", "1w", "h", "1e3s", "١h"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="it has to be a number and s, m, h or d"):
        seconds(text)
