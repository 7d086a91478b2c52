"""Files in a folder, whatever becomes of the process and the disk; and what a store is called that cannot be had."""

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.errors import ArtifactsAway, DiskFull, SettingsError
from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from tests.disks import small_disk
from tests.s3 import bucket, led_to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"weights")
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_content_is_stored_once(folder: Path, source: Path) -> None:
    artifacts = ArtifactStore(str(folder))
    first = artifacts.put(b"weights")
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert artifacts.put(b"weights") == first
    assert artifacts.put_file(source) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written
    assert files(folder) == {f"{first.sha256[:2]}/{first.sha256}": b"weights"}


def test_a_file_that_is_stored_again_after_a_long_time_is_new(folder: Path) -> None:
    artifacts = ArtifactStore(str(folder))
    sha256 = artifacts.put(b"weights").sha256
    path = folder / sha256[:2] / sha256
    os.utime(path, (0, 0))
    artifacts.put(b"weights")
    assert path.stat().st_mtime > 1
    assert files(folder) == {f"{sha256[:2]}/{sha256}": b"weights"}


def test_a_process_killed_before_the_rename_leaves_nothing_under_the_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = ArtifactStore(str(folder))
    sha256 = hashlib.sha256(b"weights").hexdigest()

    class Killed(BaseException):
        """A process that is killed cleans nothing up."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die)
        patched.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            artifacts.put(b"weights")
    leftover = list(files(folder))
    assert len(leftover) == 1
    assert not leftover[0].endswith(f"/{sha256}")
    with pytest.raises(FileNotFoundError):
        artifacts.get(sha256)

    artifacts.put(b"weights")
    assert artifacts.get(sha256) == b"weights"
    assert set(files(folder)) == {leftover[0], f"{sha256[:2]}/{sha256}"}


def test_a_name_is_seen_once_its_content_is_on_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = ArtifactStore(str(folder))
    seen = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), files(folder)))
        sync(descriptor)

    monkeypatch.setattr("os.fsync", watched)
    sha256 = artifacts.put(b"weights").sha256
    name = f"{sha256[:2]}/{sha256}"
    (file, before), *after = seen  # the file under a temporary name, then the folders with the new names
    assert Path(file).parent == folder / sha256[:2]
    assert list(before.values()) == [b"weights"]
    assert name not in before
    assert after == [(str(folder / sha256[:2]), {name: b"weights"}), (str(folder), {name: b"weights"})]


# --- disks that are full


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_that_fails_for_want_of_room_leaves_no_file(
    folder: Path, source: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = ArtifactStore(str(folder))

    def full(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(DiskFull, match=f"no space is left in {folder} for 7 bytes .*; make room there"):
            artifacts.put(b"weights")
        with pytest.raises(DiskFull, match=f"no space is left in {folder} for 7 bytes .*; make room there"):
            artifacts.put_file(source)
    assert files(folder) == {}
    assert artifacts.get(artifacts.put(b"weights").sha256) == b"weights"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", size_bytes=1 << 20) as disk:
        yield disk


def test_a_real_full_disk_is_named_and_stays_as_it_was(full_disk: Path, tmp_path: Path) -> None:
    artifacts = ArtifactStore(str(full_disk / "artifacts"))
    kept = artifacts.put(b"kept")
    before = files(full_disk)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(2 << 20))
    with pytest.raises(DiskFull, match=f"no space is left in {full_disk}/artifacts for 2,097,152 bytes"):
        artifacts.put_file(large)
    with pytest.raises(DiskFull, match="for 2,097,152 bytes"):
        artifacts.put(large.read_bytes())
    assert files(full_disk) == before
    assert artifacts.get(kept.sha256) == b"kept"
    stored = ArtifactStore(str(tmp_path / "roomy")).put_file(large)
    with pytest.raises(DiskFull, match=f"no space is left in {full_disk} "):
        ArtifactStore(str(tmp_path / "roomy")).fetch(stored.sha256, full_disk / "fetched")
    assert files(full_disk) == before
    assert artifacts.get(artifacts.put(b"small").sha256) == b"small"


# --- stores that cannot be had


def test_a_store_without_room_for_a_folder_does_not_pass_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    artifacts = ArtifactStore(str(tmp_path / "file" / "artifacts"))
    with pytest.raises(ArtifactsAway, match=r"files in .*/file/artifacts cannot be used now"):
        artifacts.check()
    with pytest.raises(OSError, match="cannot be used now"):
        artifacts.put(b"weights")


def test_a_folder_that_cannot_be_written_does_not_pass_the_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ArtifactsAway, match=f"{folder} is not writable"):
        ArtifactStore(str(folder)).check()


def test_an_s3_that_does_not_answer_is_away_for_all_that_is_asked(source: Path) -> None:
    with bucket() as url, led_to("http://127.0.0.1:1"):
        artifacts = ArtifactStore(url)
        with pytest.raises(ArtifactsAway, match=r"cannot be used now .*127\.0\.0\.1:1"):
            artifacts.put_file(source)


def test_an_s3_that_goes_away_while_a_file_is_read_is_away() -> None:
    with bucket() as url:
        artifacts = ArtifactStore(url)
        sha256 = artifacts.put(bytes(1000)).sha256
        with artifacts.open(sha256) as file:
            artifacts.delete(sha256)
            with pytest.raises((ArtifactsAway, FileNotFoundError)):
                file.read(10)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s4://bucket", "has the protocol 's4'; it can be a folder, file:///folder, s3://bucket/folder"),
        ("simplecache::s4://bucket", "has the protocol 's4'"),
    ],
)
def test_a_protocol_that_nobody_knows_is_named(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ArtifactStore(url)
    with pytest.raises(SettingsError, match=f"NAS_ARTIFACTS_URL: .*{words}"):
        Settings.read({"NAS_ARTIFACTS_URL": url})


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = sys.modules["fsspec.registry"]._registry  # `fsspec.registry` is a view of it
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(known, "s3", raising=False)
    with pytest.raises(SettingsError, match=r"NAS_ARTIFACTS_URL: .*pip install 'nas-service\[s3\]'"):
        Settings.read({"NAS_ARTIFACTS_URL": "s3://bucket/folder"})


def test_a_path_or_a_url_can_be_set(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"file://{tmp_path}", "memory://nas", "s3://bucket/folder"):
        assert Settings.read({"NAS_ARTIFACTS_URL": url}).artifacts_url == url
