"""Data sets: a row each, with the content in the artifact store."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.builtin import BUILTIN, Builtin
from nas.data.images import ImageSet
from nas.errors import Conflict, InvalidInput, NotFound, NotReady
from nas.store import datasets
from nas.store.artifacts import ArtifactStore, Stored
from nas.store.files import record
from nas.store.session import Store
from nas.store.tables import Dataset
from tests.support import add_job, everything, random_images, take, together


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


def names(store: Store) -> list[str]:
    with store.read() as session:
        return [row.name for row in datasets.listed(session)]


def content(artifacts: ArtifactStore, row: Dataset) -> ImageSet:
    return ImageSet.from_bytes(artifacts.get(row.sha256))


def test_a_built_in_data_set_is_stored_when_it_is_first_asked_for(store: Store, artifacts: ArtifactStore) -> None:
    assert names(store) == []
    row = datasets.ensure(store, artifacts, "digits")
    assert names(store) == ["digits"]
    assert (row.name, row.channels, row.height, row.width) == ("digits", 1, 8, 8)
    assert (row.train, row.validation, row.test) == (1149, 288, 360)
    assert row.classes == [str(digit) for digit in range(10)]
    data = content(artifacts, row)
    assert data.digest == row.digest == BUILTIN["digits"].load().digest
    assert (len(data.train), len(data.validation), len(data.test)) == (1149, 288, 360)


def test_asking_again_stores_nothing(store: Store, artifacts: ArtifactStore) -> None:
    first = datasets.ensure(store, artifacts, "digits")
    before = everything(store)
    assert datasets.ensure(store, artifacts, "digits").id == first.id
    assert everything(store) == before


def test_threads_that_ask_at_once_get_the_same_data_set(store: Store, artifacts: ArtifactStore) -> None:
    rows = together(4, lambda _: datasets.ensure(store, artifacts, "digits"))
    assert len({row.id for row in rows}) == 1
    assert names(store) == ["digits"]


def test_a_name_that_is_not_there_is_answered_with_those_that_are(store: Store, artifacts: ArtifactStore) -> None:
    datasets.add(store, artifacts, "squares", random_images(8))
    with pytest.raises(
        InvalidInput, match=r"there is no such data set; allowed: cifar10.* digits, .*squares"
    ) as caught:
        datasets.ensure(store, artifacts, "triangles")
    assert (caught.value.field, caught.value.value) == ("dataset", "triangles")
    assert names(store) == ["squares"]


def test_an_added_data_set_comes_back_as_it_was(store: Store, artifacts: ArtifactStore) -> None:
    data = random_images(6, count=50)
    datasets.add(store, artifacts, "squares", data)
    row = datasets.ensure(store, artifacts, "squares")
    assert (row.channels, row.height, row.width, row.classes) == (1, 6, 6, ["even", "odd"])
    assert row.train + row.validation + row.test == 50
    found = content(artifacts, row)
    assert found.digest == data.digest
    np.testing.assert_array_equal(found.images, data.images)
    np.testing.assert_array_equal(found.labels, data.labels)


def test_the_same_content_under_the_same_name_is_the_same_data_set(store: Store, artifacts: ArtifactStore) -> None:
    first = datasets.add(store, artifacts, "squares", random_images(8))
    before = everything(store)
    assert datasets.add(store, artifacts, "squares", random_images(8)).id == first.id
    assert everything(store) == before


def test_other_content_under_the_same_name_is_refused(store: Store, artifacts: ArtifactStore) -> None:
    first = datasets.add(store, artifacts, "squares", random_images(8))
    before = everything(store)
    with pytest.raises(
        InvalidInput, match=r"^name: 'squares' is not possible: a data set of that name exists"
    ) as caught:
        datasets.add(store, artifacts, "squares", random_images(8, seed=1))
    assert caught.value.field == "name"
    assert everything(store) == before
    assert content(artifacts, first).digest == random_images(8).digest


def test_what_is_known_of_a_data_set_stands_in_its_row(store: Store, artifacts: ArtifactStore) -> None:
    data = random_images(8)
    row, is_new = datasets.offer(store, artifacts, "squares", data, warnings=("few images",), seed=3)
    assert is_new
    with store.read() as session:
        found = datasets.find(session, "squares")
    assert found is not None
    assert (found.task, found.counts, found.warnings) == ("single_label", {"even": 20, "odd": 20}, ["few images"])
    assert (found.seed, found.digest) == (3, data.digest)
    assert found.size_bytes == len(artifacts.get(row.sha256))


def test_a_data_set_is_never_held_in_memory_a_second_time(store: Store, artifacts: ArtifactStore) -> None:
    data = random_images(512, count=100)  # 26 MB
    datasets.add(store, artifacts, "small", random_images(8))  # imports
    tracemalloc.start()
    try:
        datasets.add(store, artifacts, "squares", data)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_what_is_stored_passes_through_the_folder_that_is_named(
    store: Store, artifacts: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    seen = []
    put = artifacts.put_file

    def watched(path: Path) -> Any:
        seen.append(path)
        return put(path)

    monkeypatch.setattr(artifacts, "put_file", watched)
    datasets.offer(store, artifacts, "squares", random_images(8), scratch=scratch)
    assert [path.is_relative_to(scratch) for path in seen] == [True]
    assert list(scratch.iterdir()) == []


def files(artifacts: ArtifactStore) -> set[str]:
    return {path.name for path in Path(artifacts.url).rglob("*") if path.is_file()}


def test_threads_with_other_content_for_a_name_leave_one_data_set(store: Store, artifacts: ArtifactStore) -> None:
    def offer(index: int) -> bool | None:
        try:
            return datasets.offer(store, artifacts, "squares", random_images(8, seed=index))[1]
        except Conflict:
            return None

    assert sorted(together(4, offer), key=str) == [None, None, None, True]
    with store.read() as session:
        [row] = datasets.listed(session)
    assert files(artifacts) == {row.sha256}


def test_a_twin_that_comes_while_the_other_goes_has_its_file(store: Store, artifacts: ArtifactStore) -> None:
    """The same content is added and deleted under many names at once: each row that is left has its file."""
    data = random_images(8)

    def busy(index: int) -> None:
        for _ in range(5):
            datasets.add(store, artifacts, f"squares-{index}", data)
            if index:
                datasets.delete(store, artifacts, f"squares-{index}")

    together(4, busy)
    with store.read() as session:
        [row] = datasets.listed(session)
    assert row.name == "squares-0"
    assert content(artifacts, row).digest == data.digest


def test_a_file_that_vanishes_before_its_row_is_there_is_stored_again(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = artifacts.put_file

    def late(path: Path) -> Any:
        stored = put(path)
        monkeypatch.undo()
        artifacts.delete(stored.sha256)  # what the deletion of the last twin does between the file and the row
        return stored

    monkeypatch.setattr(artifacts, "put_file", late)
    row = datasets.add(store, artifacts, "squares", random_images(8))
    assert content(artifacts, row).digest == row.digest


def test_a_deleted_data_set_takes_its_file_along_unless_someone_else_has_it(
    store: Store, artifacts: ArtifactStore
) -> None:
    rows = [datasets.add(store, artifacts, name, random_images(8)) for name in ("circles", "squares")]
    datasets.delete(store, artifacts, "circles")
    assert (names(store), files(artifacts)) == (["squares"], {rows[0].sha256})
    datasets.delete(store, artifacts, "squares")
    assert (names(store), files(artifacts)) == ([], set())
    with pytest.raises(NotFound, match="no data set 'squares' is stored; GET /v1/datasets lists them"):
        datasets.delete(store, artifacts, "squares")


def test_a_file_that_a_trial_has_as_well_stays(store: Store, artifacts: ArtifactStore) -> None:
    row = datasets.add(store, artifacts, "circles", random_images(8))
    add_job(store, trials=1)
    taken = take(store)
    with store.write() as session:
        record(session, taken.trial_id, "weights", Stored(row.sha256, 1))
    datasets.delete(store, artifacts, "circles")
    assert files(artifacts) == {row.sha256}


def test_a_data_set_with_a_job_stays(store: Store, artifacts: ArtifactStore) -> None:
    job = add_job(store)
    before = everything(store)
    with pytest.raises(Conflict, match=f"^name: 'squares' is not possible: job {job} refers to it, so it"):
        datasets.delete(store, artifacts, "squares")
    assert everything(store) == before


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(
    store: Store, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotReady, match=r"the files of 'mnist' cannot be kept \(.*NAS_DATA"):
        datasets.ensure(store, artifacts, "mnist", tmp_path / "file")
    assert names(store) == []


def test_the_files_of_built_in_data_sets_are_looked_for_in_the_folder(
    store: Store, artifacts: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path | None] = []

    def read(folder: Path | None) -> ImageSet:
        folders.append(folder)
        return random_images(8)

    monkeypatch.setitem(BUILTIN, "mnist", Builtin("squares", read))
    datasets.ensure(store, artifacts, "mnist", tmp_path)
    datasets.ensure(store, artifacts, "mnist", tmp_path)  # it is stored by now
    assert folders == [tmp_path]


def test_data_sets_are_listed_by_name(store: Store, artifacts: ArtifactStore) -> None:
    for name in ("squares", "circles", "digits"):
        datasets.add(store, artifacts, name, random_images(8))
    assert names(store) == ["circles", "digits", "squares"]
