"""Files by their content."""

import hashlib
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from nas.store.artifacts import ArtifactDamaged, ArtifactStore
from tests.support import together


@pytest.fixture(params=["folder", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store by a path, by a URL of it, and one that is no folder at all."""
    if request.param != "memory":
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path / 'artifacts'}"
        return
    name = f"/{uuid.uuid4().hex}"
    yield f"memory:/{name}"
    memory = fsspec.filesystem("memory")
    if memory.exists(name):
        memory.rm(name, recursive=True)


@pytest.fixture
def artifacts(url: str) -> ArtifactStore:
    return ArtifactStore(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", [b"", b"weights", bytes(range(256)) * 4096])
def test_content_comes_back_as_it_was(artifacts: ArtifactStore, content: bytes) -> None:
    stored = artifacts.put(content)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.size_bytes == len(content)
    assert artifacts.get(stored.sha256) == content


def test_another_process_finds_it(url: str) -> None:
    assert ArtifactStore(url).get(ArtifactStore(url).put(b"weights").sha256) == b"weights"


def test_the_same_content_is_stored_once(folder: Path) -> None:
    artifacts = ArtifactStore(str(folder))
    first = artifacts.put(b"weights")
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert artifacts.put(b"weights") == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written
    assert files(folder) == {f"{first.sha256[:2]}/{first.sha256}": b"weights"}


def test_threads_that_store_the_same_content_leave_one_file(folder: Path) -> None:
    content = bytes(1_000_000)
    found = together(8, lambda _: ArtifactStore(str(folder)).put(content))
    assert len(set(found)) == 1
    assert list(files(folder).values()) == [content]


def test_content_that_is_not_there_is_a_missing_file(artifacts: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError):
        artifacts.get("0" * 64)


def test_deleted_content_is_gone_and_can_be_deleted_again(artifacts: ArtifactStore) -> None:
    kept, gone = artifacts.put(b"kept"), artifacts.put(b"gone")
    artifacts.delete(gone.sha256)
    artifacts.delete(gone.sha256)
    with pytest.raises(FileNotFoundError):
        artifacts.get(gone.sha256)
    assert artifacts.get(kept.sha256) == b"kept"


def test_deleted_content_can_be_stored_again(artifacts: ArtifactStore) -> None:
    stored = artifacts.put(b"weights")
    artifacts.delete(stored.sha256)
    assert artifacts.get(artifacts.put(b"weights").sha256) == b"weights"


@pytest.mark.parametrize("damage", [b"", b"weight", b"weightz", b"weights and more"])
def test_a_damaged_file_is_noticed(folder: Path, damage: bytes) -> None:
    artifacts = ArtifactStore(str(folder))
    sha256 = artifacts.put(b"weights").sha256
    (folder / sha256[:2] / sha256).write_bytes(damage)
    with pytest.raises(ArtifactDamaged, match=f"artifact {sha256} has the content of .*; restore it from a backup"):
        artifacts.get(sha256)


def test_a_write_that_fails_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = ArtifactStore(str(folder))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            artifacts.put(b"weights")
    assert files(folder) == {}
    assert artifacts.get(artifacts.put(b"weights").sha256) == b"weights"


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
    import os

    artifacts = ArtifactStore(str(folder))
    seen = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append({Path(name).name: content for name, content in files(folder).items()})
        sync(descriptor)

    monkeypatch.setattr("os.fsync", watched)
    sha256 = artifacts.put(b"weights").sha256
    before, after = seen  # the file under a temporary name, then its folder with the new name
    assert list(before.values()) == [b"weights"]
    assert sha256 not in before
    assert after == {sha256: b"weights"}


# --- files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("content", [b"", b"weights", bytes(range(256)) * 10_000])
def test_a_file_comes_back_as_it_was(artifacts: ArtifactStore, source: Path, content: bytes) -> None:
    source.write_bytes(content)
    stored = artifacts.put_file(source)
    assert stored == artifacts.put(content)
    assert artifacts.exists(stored.sha256)
    assert artifacts.get(stored.sha256) == content
    target = source.with_name("target")
    artifacts.fetch(stored.sha256, target)
    assert target.read_bytes() == content
    assert source.read_bytes() == content


def test_a_file_that_is_stored_already_is_not_written_again(folder: Path, source: Path) -> None:
    artifacts = ArtifactStore(str(folder))
    first = artifacts.put(b"weights")
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert artifacts.put_file(source) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written


def test_a_large_file_is_never_held_in_memory(url: str, source: Path) -> None:
    artifacts = ArtifactStore(url)
    with source.open("wb") as file:
        for number in range(24):
            file.write(bytes([number]) * (1 << 20))
    target = source.with_name("target")
    tracemalloc.start()
    try:
        stored = artifacts.put_file(source)
        if not url.startswith("memory"):
            artifacts.fetch(stored.sha256, target)
            assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()
    assert stored.size_bytes == 24 << 20


def test_nothing_is_fetched_of_what_is_not_there(artifacts: ArtifactStore, tmp_path: Path) -> None:
    assert not artifacts.exists("0" * 64)
    with pytest.raises(FileNotFoundError):
        artifacts.fetch("0" * 64, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("damage", [b"", b"weight", b"weightz", b"weights and more"])
def test_nothing_is_fetched_of_a_damaged_file(folder: Path, source: Path, damage: bytes) -> None:
    artifacts = ArtifactStore(str(folder))
    sha256 = artifacts.put_file(source).sha256
    (folder / sha256[:2] / sha256).write_bytes(damage)
    target = source.with_name("target")
    target.write_bytes(b"before")
    with pytest.raises(ArtifactDamaged, match=f"artifact {sha256} has the content of .*; restore it from a backup"):
        artifacts.fetch(sha256, target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in target.parent.glob(".*")] == []


def test_a_file_that_changes_while_it_is_stored_is_not_stored(
    folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = ArtifactStore(str(folder))
    monkeypatch.setattr(artifacts._fs, "exists", lambda path: bool(source.write_bytes(b"other")) and False)
    with pytest.raises(ArtifactDamaged, match="was changed while it was stored; store it again"):
        artifacts.put_file(source)
    assert files(folder) == {}


def test_a_file_that_cannot_be_written_whole_leaves_nothing(
    folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = ArtifactStore(str(folder))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            artifacts.put_file(source)
    assert files(folder) == {}
    assert artifacts.get(artifacts.put_file(source).sha256) == b"weights"


def test_threads_that_store_the_same_file_leave_one(folder: Path, source: Path) -> None:
    found = together(8, lambda _: ArtifactStore(str(folder)).put_file(source))
    assert len(set(found)) == 1
    assert list(files(folder).values()) == [b"weights"]


# --- the store as a whole


def test_a_store_that_can_be_written_passes_the_check(artifacts: ArtifactStore) -> None:
    artifacts.check()
    artifacts.put(b"weights")
    artifacts.check()


def test_a_store_without_room_for_a_folder_does_not_pass_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        ArtifactStore(str(tmp_path / "file" / "artifacts")).check()


def test_a_folder_that_cannot_be_written_does_not_pass_the_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(PermissionError, match=f"{folder} is not writable"):
        ArtifactStore(str(folder)).check()
