"""What every place for files keeps to: a folder by its path, by its URL, S3 over HTTP, and a store in memory."""

import hashlib
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import fsspec
import pytest

from nas.errors import ArtifactDamaged, ArtifactsAway
from nas.store import artifacts as artifacts_module
from nas.store.artifacts import ArtifactStore
from tests.s3 import bucket
from tests.support import together

LARGE = 24 << 20


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "s3":
        with bucket() as found:
            yield found
    elif request.param == "memory":
        name = f"/{uuid.uuid4().hex}"
        yield f"memory:/{name}"
        memory = fsspec.filesystem("memory")
        if memory.exists(name):
            memory.rm(name, recursive=True)
    else:
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path / 'artifacts'}"


@pytest.fixture
def artifacts(url: str) -> ArtifactStore:
    return ArtifactStore(url)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"weights")
    return path


def overwrite(artifacts: ArtifactStore, sha256: str, content: bytes) -> None:
    """Damages a file behind the store's back."""
    system, root = fsspec.core.url_to_fs(artifacts.url)
    system.pipe_file(f"{root}/{sha256[:2]}/{sha256}", content)


def names(artifacts: ArtifactStore) -> list[str]:
    return sorted(file.name for folder in artifacts.folders() for file in artifacts.listed(folder))


@pytest.mark.parametrize("content", [b"", b"weights", bytes(range(256)) * 4096])
def test_content_comes_back_as_it_was(artifacts: ArtifactStore, content: bytes) -> None:
    stored = artifacts.put(content)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.size_bytes == len(content)
    assert artifacts.get(stored.sha256) == content
    assert artifacts.verify(stored.sha256) == len(content)


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
    with target.open("wb") as into:
        artifacts.pour(stored.sha256, into)
    assert target.read_bytes() == content
    assert source.read_bytes() == content


def test_another_process_finds_it(url: str) -> None:
    first, second = ArtifactStore(url), ArtifactStore(url)
    assert not second.exists(hashlib.sha256(b"weights").hexdigest())
    stored = first.put(b"weights")
    assert second.exists(stored.sha256)
    assert second.get(stored.sha256) == b"weights"
    first.delete(stored.sha256)
    assert not second.exists(stored.sha256)


def test_any_part_of_it_can_be_read(artifacts: ArtifactStore) -> None:
    content = bytes(range(256)) * 50
    with artifacts.open(artifacts.put(content).sha256) as file:
        assert file.read(3) == content[:3]
        assert file.read(3) == content[3:6]
        file.seek(12_000)
        assert file.read(1_000_000) == content[12_000:]
        assert file.read(1) == b""
        file.seek(7)
        assert file.read() == content[7:]


def test_what_is_not_there_is_a_missing_file(artifacts: ArtifactStore, tmp_path: Path) -> None:
    nothing = "0" * 64
    assert not artifacts.exists(nothing)
    with pytest.raises(FileNotFoundError):
        artifacts.get(nothing)
    with pytest.raises(FileNotFoundError):
        artifacts.fetch(nothing, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    for read in (artifacts.verify, lambda sha256: artifacts.pour(sha256, BytesIO())):
        with pytest.raises(ArtifactDamaged, match=f"artifact {nothing} is missing; restore it from a backup"):
            read(nothing)


def test_deleted_content_is_gone_and_can_be_deleted_and_stored_again(artifacts: ArtifactStore) -> None:
    kept, gone = artifacts.put(b"kept"), artifacts.put(b"gone")
    artifacts.delete(gone.sha256)
    artifacts.delete(gone.sha256)
    with pytest.raises(FileNotFoundError):
        artifacts.get(gone.sha256)
    assert artifacts.get(kept.sha256) == b"kept"
    assert names(artifacts) == [kept.sha256]
    assert artifacts.get(artifacts.put(b"gone").sha256) == b"gone"


@pytest.mark.parametrize("damage", [b"", b"weight", b"weightz", b"weights and more"])
def test_a_damaged_file_is_noticed_however_it_is_read(artifacts: ArtifactStore, source: Path, damage: bytes) -> None:
    sha256 = artifacts.put_file(source).sha256
    assert artifacts.verify(sha256) == 7
    time.sleep(0.01)  # a clock of a store can be slow; one that stands still for longer could hide any change
    overwrite(artifacts, sha256, damage)
    target = source.with_name("target")
    target.write_bytes(b"before")
    words = f"artifact {sha256} has the content of .*; restore it from a backup"
    with pytest.raises(ArtifactDamaged, match=words):
        artifacts.get(sha256)
    with pytest.raises(ArtifactDamaged, match=words):
        artifacts.fetch(sha256, target)
    if damage != b"weightz" or not artifacts.url.startswith("s3"):  # S3's clock counts seconds
        with pytest.raises(ArtifactDamaged, match=words):
            artifacts.verify(sha256)
    with pytest.raises(ArtifactDamaged, match=words):
        ArtifactStore(artifacts.url).verify(sha256)
    with pytest.raises(ArtifactDamaged, match=words):
        artifacts.pour(sha256, BytesIO())
    assert target.read_bytes() == b"before"
    assert [path.name for path in target.parent.glob(".*")] == []


def test_storing_what_is_cut_short_mends_it(artifacts: ArtifactStore, source: Path) -> None:
    sha256 = artifacts.put(b"weights").sha256
    overwrite(artifacts, sha256, b"wei")
    artifacts.put(b"weights")
    assert artifacts.get(sha256) == b"weights"
    overwrite(artifacts, sha256, b"")
    artifacts.put_file(source)
    assert artifacts.get(sha256) == b"weights"


def test_a_file_is_made_new_only_if_it_is_old(artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    stored = artifacts.put(b"weights")
    place = artifacts._place
    monkeypatch.setattr(type(place), "write", lambda self, *what: written.append(what))
    artifacts.put(b"weights")
    assert written == []
    monkeypatch.setattr(artifacts_module, "NEW_S", -60.0)
    artifacts.put(b"weights")
    assert [what[1:] for what in written] == [(b"weights", stored.sha256)]


def test_files_are_listed_with_their_size_and_age(artifacts: ArtifactStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    stored = artifacts.put(b"weights")
    (found,) = artifacts.listed(stored.sha256[:2])
    assert (found.name, found.size_bytes) == (stored.sha256, 7)
    assert before < found.modified_at < datetime.now(UTC) + timedelta(seconds=2)
    assert artifacts.listed("zz") == []
    assert artifacts.folders() == [stored.sha256[:2]]


def test_what_is_set_aside_has_lost_its_name_until_it_is_put_back(artifacts: ArtifactStore) -> None:
    stored = artifacts.put(b"weights")
    assert artifacts.set_aside(stored.sha256)
    assert not artifacts.set_aside(stored.sha256)
    assert not artifacts.exists(stored.sha256)
    assert names(artifacts) == [f".{stored.sha256}.doomed"]
    artifacts.put_back(stored.sha256)
    artifacts.put_back(stored.sha256)
    assert artifacts.get(stored.sha256) == b"weights"
    artifacts.set_aside(stored.sha256)
    artifacts.discard(f".{stored.sha256}.doomed")
    artifacts.discard(f".{stored.sha256}.doomed")
    assert names(artifacts) == []


def test_a_large_file_is_never_held_in_memory(url: str, source: Path) -> None:
    artifacts = ArtifactStore(url)
    if url.startswith("memory"):
        pytest.skip("this store is the memory")
    with source.open("wb") as file:
        for number in range(LARGE >> 20):
            file.write(bytes([number]) * (1 << 20))
    target = source.with_name("target")
    artifacts.put(b"")  # what an object store's client takes for itself
    tracemalloc.start()
    try:
        stored = artifacts.put_file(source)
        if not url.startswith("s3"):  # its server is in this process, and has the parts
            assert tracemalloc.get_traced_memory()[1] < 6 << 20
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        artifacts.fetch(stored.sha256, target)
        assert tracemalloc.get_traced_memory()[1] - held < (6 << 20 if not url.startswith("s3") else LARGE * 2)
    finally:
        tracemalloc.stop()
    assert stored.size_bytes == LARGE
    assert hashlib.sha256(target.read_bytes()).hexdigest() == stored.sha256


def test_threads_that_store_the_same_leave_one_file(artifacts: ArtifactStore, source: Path) -> None:
    found = together(6, lambda index: artifacts.put(b"weights") if index % 2 else artifacts.put_file(source))
    assert len(set(found)) == 1
    assert names(artifacts) == [found[0].sha256]
    assert artifacts.get(found[0].sha256) == b"weights"


def test_a_file_that_changes_while_it_is_stored_is_not_stored(
    artifacts: ArtifactStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = type(artifacts._place).look

    def changed(self: object, name: str) -> object:
        source.write_bytes(b"other")
        return look(artifacts._place, name)

    monkeypatch.setattr(type(artifacts._place), "look", changed)
    with pytest.raises(ArtifactDamaged, match="was changed while it was stored; store it again"):
        artifacts.put_file(source)
    assert names(artifacts) == []


def test_a_store_that_can_be_written_passes_the_check(artifacts: ArtifactStore) -> None:
    artifacts.check()
    artifacts.put(b"weights")
    artifacts.check()


def test_a_bucket_that_is_not_there_is_named(source: Path) -> None:
    with bucket(there=False) as url:
        artifacts = ArtifactStore(url)
        for store in (artifacts.check, lambda: artifacts.put(b"weights"), lambda: artifacts.put_file(source)):
            with pytest.raises(ArtifactsAway, match=r"no place like nas-\w+/artifacts to store files in .*; create it"):
                store()
