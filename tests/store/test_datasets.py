"""Data sets: a row each, with the content in the artifact store."""

from pathlib import Path

import numpy as np
import pytest

from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.errors import InvalidInput
from nas.store import datasets
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.tables import Dataset
from tests.support import everything, random_images, together


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
    with pytest.raises(InvalidInput, match="there is no such data set; allowed: digits, squares") as caught:
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


def test_data_sets_are_listed_by_name(store: Store, artifacts: ArtifactStore) -> None:
    for name in ("squares", "circles", "digits"):
        datasets.add(store, artifacts, name, random_images(8))
    assert names(store) == ["circles", "digits", "squares"]
