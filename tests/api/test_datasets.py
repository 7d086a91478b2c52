"""Data sets of users: added, shown, used, deleted."""

import hashlib
from typing import Any

import numpy as np
import pytest

from nas.data.images import ImageSet
from nas.store import datasets
from tests.api.client import ApiClient, fault, problem
from tests.api.uploads import kept, left, names, upload
from tests.support import BACKENDS, random_images, together
from tests.uploads import COUNTS, folders, npz, parquet, pictures, zipped

# --- what is possible


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_uploaded_data_set_is_shown_with_all_that_is_known_of_it(api: ApiClient) -> None:
    answer = upload(api)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == "/v1/datasets/photos"
    shown = answer.json()
    assert api.get("/v1/datasets/photos").json() == shown
    assert shown in api.get("/v1/datasets").json()["items"]
    assert (shown["name"], shown["task"], shown["image"], shown["images"]) == ("photos", "single_label", [3, 8, 8], 44)
    assert (shown["classes"], shown["counts"]) == (["cat", "dog"], COUNTS)
    assert sum(shown["splits"].values()) == 44
    assert shown["splits"]["test"] == 9
    assert shown["summary"] == "44 colour images of 8×8 pixels in 2 classes"
    assert shown["warnings"] == []
    assert shown["links"] == {"self": "/v1/datasets/photos"}
    assert shown["created_at"].endswith(("Z", "+00:00"))
    [sha256] = kept(api) - {row_of(api, "squares").sha256}
    content = api.artifacts.get(sha256)
    assert shown["size_bytes"] == len(content)
    data = ImageSet.from_bytes(content)
    assert shown["digest"] == data.digest
    np.testing.assert_array_equal(data.images[:24], pictures(24).transpose(0, 3, 1, 2))
    assert left(api) == []


def row_of(api: ApiClient, name: str) -> Any:
    with api.store.read() as session:
        return datasets.find(session, name)


def test_a_search_can_be_asked_for_on_an_uploaded_data_set(api: ApiClient) -> None:
    upload(api)
    job = api.add_job(dataset="photos")
    assert api.get(f"/v1/jobs/{job}").json()["dataset"] == "photos"


@pytest.mark.parametrize(
    ("content", "classes", "counts"),
    [
        (npz(), ["0", "1", "2"], {"0": 10, "1": 10, "2": 10}),
        (parquet(), ["0", "1"], {"0": 12, "1": 12}),
    ],
    ids=["npz", "parquet"],
)
def test_tables_of_images_can_be_uploaded(
    api: ApiClient, content: bytes, classes: list[str], counts: dict[str, int]
) -> None:
    answer = upload(api, content)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["classes"], answer.json()["counts"]) == (classes, counts)


def test_images_are_scaled_to_the_size_that_is_asked_for(api: ApiClient) -> None:
    shown = upload(api, size="16").json()
    assert shown["image"] == [3, 16, 16]


def test_a_seed_decides_the_split(api: ApiClient) -> None:
    digests = [upload(api, name=f"photos-{seed}", seed=seed).json()["digest"] for seed in ("0", "1", "2", "1")]
    assert digests[1] == digests[3]
    assert len(set(digests)) == 3
    assert row_of(api, "photos-2").seed == 2


def test_what_a_browser_sends_for_an_empty_field_is_no_value(api: ApiClient) -> None:
    assert upload(api, size="", seed="").status_code == 201


def test_what_a_reader_should_know_of_an_upload_is_kept(api: ApiClient) -> None:
    shown = upload(api, zipped({**folders(COUNTS | {"owl": 8}), "notes.txt": b""})).json()
    assert any("owl (8)" in warning for warning in shown["warnings"])
    assert any("notes.txt" in warning for warning in shown["warnings"])
    assert api.get("/v1/datasets/photos").json()["warnings"] == shown["warnings"]


@pytest.mark.parametrize("name", ["my photos", "ünï çödé", "a%2Fb", "a?b#c&d", "😀", "a" * 200, "..."])
def test_a_name_may_have_any_letters(api: ApiClient, name: str) -> None:
    answer = upload(api, name=name)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == answer.json()["links"]["self"]
    assert api.get(answer.headers["Location"]).json()["name"] == name
    api.add_job(dataset=name)


# --- again, and other content


def test_the_same_upload_again_changes_nothing(api: ApiClient) -> None:
    first = upload(api)
    again = upload(api)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert names(api) == ["photos", "squares"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_uploads_at_once_make_one_data_set(api: ApiClient) -> None:
    answers = together(4, lambda _: upload(api))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.text for answer in answers}) == 1
    assert len(kept(api)) == 2
    assert left(api) == []


def test_other_content_under_a_name_that_is_taken_is_a_conflict(api: ApiClient) -> None:
    first = upload(api).json()
    files = kept(api)
    for other in (upload(api, zipped(folders(seed=1))), upload(api, seed="1"), upload(api, size="9")):
        said = fault(other, "name", "choose another name, or delete that one first", status=409)
        assert said["value"] == "photos"
    assert api.get("/v1/datasets/photos").json() == first
    assert (kept(api), left(api)) == (files, [])


# --- shown and deleted


def test_a_built_in_data_set_is_shown_before_it_is_stored(api: ApiClient) -> None:
    digits = api.get("/v1/datasets/digits").json()
    assert digits["summary"].startswith("scikit-learn's handwritten digits")
    assert {name for name, value in digits.items() if value is not None} == {"name", "summary", "links"}
    api.add_job(dataset="digits")
    shown = api.get("/v1/datasets/digits").json()
    assert shown["counts"]["0"] == 178
    assert shown["warnings"] == []
    assert shown["images"] == 1797


@pytest.mark.parametrize("name", ["nothing", "%00", "a" * 300, "%ED%A0%80", "a%2Fb"])
def test_a_data_set_that_is_not_there_is_not_found(api: ApiClient, name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = api.request(method, f"/v1/datasets/{name}")
        problem(answer, answer.status_code)
        assert answer.status_code in (404, 422)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deleted_data_set_is_gone_with_its_file(api: ApiClient) -> None:
    before = kept(api)
    upload(api)
    answer = api.request("DELETE", "/v1/datasets/photos")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(api.get("/v1/datasets/photos"), 404, "GET /v1/datasets lists them")
    problem(api.request("DELETE", "/v1/datasets/photos"), 404)
    assert (names(api), kept(api)) == (["squares"], before)
    assert upload(api).status_code == 201


def test_a_file_that_another_data_set_has_stays(api: ApiClient) -> None:
    for name in ("photos", "images"):
        upload(api, name=name)
    assert len(kept(api)) == 2
    api.request("DELETE", "/v1/datasets/photos")
    assert len(kept(api)) == 2
    assert hashlib.sha256(api.artifacts.get(row_of(api, "images").sha256)).hexdigest() in kept(api)
    api.request("DELETE", "/v1/datasets/images")
    assert len(kept(api)) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_data_set_stays_while_jobs_refer_to_it(api: ApiClient) -> None:
    upload(api)
    first = api.add_job(dataset="photos")
    said = fault(api.request("DELETE", "/v1/datasets/photos"), "name", f"job {first} refers to it", status=409)
    assert said["value"] == "photos"
    more = [api.add_job(dataset="photos") for _ in range(6)]
    mend = f"jobs {', '.join([first, *more][:5])} and 2 more refer to it"
    fault(api.request("DELETE", "/v1/datasets/photos"), "name", mend, status=409)
    assert names(api) == ["photos", "squares"]


def test_a_built_in_data_set_that_was_deleted_is_stored_again_when_it_is_asked_for(api: ApiClient) -> None:
    problem(api.request("DELETE", "/v1/datasets/digits"), 404)
    datasets.ensure(api.store, api.artifacts, "digits")
    assert api.request("DELETE", "/v1/datasets/digits").status_code == 204
    assert api.get("/v1/datasets/digits").json()["images"] is None
    api.add_job(dataset="digits")


def test_the_sizes_of_data_sets_from_before_they_were_recorded_are_null(api: ApiClient) -> None:
    with api.store.write() as session:
        row = datasets.find(session, "squares")
        assert row is not None
        row.counts = row.warnings = row.size_bytes = None
    shown = api.get("/v1/datasets/squares").json()
    assert [shown[name] for name in ("counts", "warnings", "size_bytes")] == [None] * 3
    assert (shown["images"], shown["task"]) == (40, "single_label")


def test_other_tasks_are_told_apart(api: ApiClient) -> None:
    targets = np.linspace(0, 1, 30, dtype=np.float32)
    shown = upload(api, npz(images=pictures(30), labels=targets)).json()
    assert (shown["task"], shown["counts"]) == ("regression", {})
    assert shown["summary"].endswith("with 1 target each")
    labels = np.stack([np.arange(30) % 2, np.arange(30) % 3 == 0], axis=1).astype(np.int64)
    shown = upload(api, npz(images=pictures(30), labels=labels), name="tags").json()
    assert shown["task"] == "multi_label"
    assert shown["summary"].endswith("with 2 labels that may hold")
    assert list(shown["counts"].values()) == [15, 10]


def test_rows_of_other_tasks_are_counted_without_an_upload(api: ApiClient) -> None:
    single = random_images(8)
    labels = np.stack([single.labels, 1 - single.labels], axis=1).astype(np.uint8)
    parts = {name: getattr(single, name) for name in ("train", "validation", "test")}
    several = ImageSet(single.images, labels, ("a", "b"), task="multi_label", **parts)
    assert datasets.add(api.store, api.artifacts, "several", several).counts == {"a": 20, "b": 20}
    targets = ImageSet(single.images, labels.astype(np.float32), ("a", "b"), task="regression", **parts)
    assert datasets.add(api.store, api.artifacts, "targets", targets).counts == {}
