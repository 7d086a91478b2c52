"""Downloads of what is stored: whole, in part, only if it is another one, and never a damaged one that looks well."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api import downloads
from api.downloads import Content, Wishes
from api.main import create_app
from nas.client import Client, ServiceError
from nas.settings import Settings
from tests.api.client import ApiClient, attach, problem, retrain, succeed
from tests.api.conftest import started
from tests.api.served import listening, served
from tests.s3 import bucket
from tests.support import database, take

PACKAGE = bytes(range(256)) * 4000
"""Some chunks of it."""


@pytest.fixture(scope="module", params=["file", "s3"])
def stocked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ApiClient, str]]:
    """An app whose files are in a folder, or in S3, and the URL of a model in it."""
    home = tmp_path_factory.mktemp("downloads")
    environ = {"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home)}
    if request.param == "file":
        with started(Settings.read(environ)) as client:
            yield client, f"/v1/jobs/{succeed(client, PACKAGE)}/model"
        return
    with bucket() as url, started(Settings.read(environ | {"NAS_ARTIFACTS_URL": url})) as client:
        yield client, f"/v1/jobs/{succeed(client, PACKAGE)}/model"


def tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


def test_a_download_is_the_file_with_its_sha256_as_its_tag(stocked: tuple[ApiClient, str]) -> None:
    api, url = stocked
    answer = api.get(url)
    assert answer.status_code == 200
    assert answer.content == PACKAGE
    assert answer.headers["ETag"] == tag(PACKAGE)
    assert answer.headers["Content-Length"] == str(len(PACKAGE))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="model-{url.split("/")[3]}.zip"'


def test_head_tells_what_get_would_and_sends_nothing(stocked: tuple[ApiClient, str]) -> None:
    api, url = stocked
    head = api.request("HEAD", url, headers={"Range": "bytes=0-1"})
    whole = api.get(url)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("ETag", "Content-Length", "Accept-Ranges", "Content-Type", "Content-Disposition"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("ranges", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=300000-600000", 300_000, 600_000),
        ("bytes=1023999-", 1_023_999, 1_023_999),
        ("bytes=500-", 500, 1_023_999),
        ("bytes=-1", 1_023_999, 1_023_999),
        ("bytes=-2000000", 0, 1_023_999),
        ("bytes=1000000-99999999999999999999999999", 1_000_000, 1_023_999),
        ("BYTES = 5-6", 5, 6),
        ("bytes=0-9, 10-19", 0, 19),
        ("bytes=5-9,0-20,", 0, 20),
        ("bytes=5-9,2000000-", 5, 9),
    ],
)
def test_a_range_is_that_part_of_the_file(stocked: tuple[ApiClient, str], ranges: str, first: int, last: int) -> None:
    api, url = stocked
    answer = api.get(url, headers={"Range": ranges})
    assert answer.status_code == 206
    assert answer.content == PACKAGE[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(PACKAGE)}"
    assert answer.headers["Content-Length"] == str(last + 1 - first)
    assert answer.headers["ETag"] == tag(PACKAGE)


@pytest.mark.parametrize(
    "ranges", ["bytes=1024000-", "bytes=1024000-1024005", "bytes=-0", "bytes=9999999999999999999999-"]
)
def test_a_range_beyond_the_end_is_told_the_length(stocked: tuple[ApiClient, str], ranges: str) -> None:
    api, url = stocked
    answer = api.get(url, headers={"Range": ranges})
    problem(answer, 416, "Range", ranges, "1024000 bytes")
    assert answer.headers["Content-Range"] == f"bytes */{len(PACKAGE)}"


@pytest.mark.parametrize(
    "ranges",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=2-1", "bytes=1", "lines=1-2", "bytes=0-1,5-6", "bytes=٣-٤"],
)
def test_what_is_no_range_or_several_is_answered_with_the_whole_file(ranges: str) -> None:
    content = Content(hashlib.sha256(PACKAGE).hexdigest(), len(PACKAGE), lambda: pytest.fail("it is not yet read"))
    answer = downloads.send(content, Wishes("GET", ranges=ranges), "x.zip")
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(PACKAGE))


def test_an_answer_that_is_known_is_not_sent_again(stocked: tuple[ApiClient, str]) -> None:
    api, url = stocked
    for known in (tag(PACKAGE), f"W/{tag(PACKAGE)}", f'"a", {tag(PACKAGE)}', "*"):
        answer = api.get(url, headers={"If-None-Match": known, "Range": "bytes=0-1"})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["ETag"] == tag(PACKAGE)
    assert api.get(url, headers={"If-None-Match": tag(b"")}).content == PACKAGE


def test_a_part_is_sent_only_of_the_file_that_the_rest_is_of(stocked: tuple[ApiClient, str]) -> None:
    api, url = stocked
    part = {"Range": "bytes=10-19"}
    assert api.get(url, headers=part | {"If-Range": tag(PACKAGE)}).content == PACKAGE[10:20]
    for other in (tag(b""), f"W/{tag(PACKAGE)}", "Sat, 21 Nov 2026 15:00:00 GMT"):
        answer = api.get(url, headers=part | {"If-Range": other})
        assert (answer.status_code, answer.content) == (200, PACKAGE)
    assert api.get(url, headers=part | {"If-Match": tag(PACKAGE)}).status_code == 206
    problem(api.get(url, headers=part | {"If-Match": tag(b"")}), 412, "If-Match", tag(PACKAGE))
    problem(api.get(url, headers=part | {"If-Match": f"W/{tag(PACKAGE)}"}), 412)


def test_an_empty_file_can_be_sent() -> None:
    content = Content(hashlib.sha256(b"").hexdigest(), 0, lambda: pytest.fail("there is nothing to read"))
    assert downloads.send(content, Wishes("GET"), "x").headers["Content-Length"] == "0"
    assert downloads.send(content, Wishes("GET", ranges="bytes=0-"), "x").status_code == 416


def test_a_trials_model_is_sent_in_the_same_way(api: ApiClient) -> None:
    job_id = succeed(api)
    number = api.post(f"/v1/jobs/{job_id}/trials/1/retrain").json()["trial"]
    retrain(api, PACKAGE)
    answer = api.get(f"/v1/jobs/{job_id}/trials/{number}/model", headers={"Range": "bytes=7-9"})
    assert (answer.status_code, answer.content) == (206, PACKAGE[7:10])
    assert api.request("HEAD", f"/v1/jobs/{job_id}/trials/{number}/model").headers["ETag"] == tag(PACKAGE)


def test_the_logs_are_the_same_bytes_until_there_are_more(api: ApiClient) -> None:
    url = f"/v1/jobs/{api.add_job(tensorboard=True)}/tensorboard"
    trial = take(api.store)
    attach(api, trial, "tensorboard-0001", os.urandom(50_000))
    first = api.get(url)
    assert api.get(url, headers={"Range": "bytes=1000-"}).content == first.content[1000:]
    assert api.get(url, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert first.headers["ETag"] == tag(first.content)
    attach(api, trial, "tensorboard-0002", b"more")
    grown = api.get(url, headers={"Range": "bytes=1000-", "If-Range": first.headers["ETag"]})
    assert grown.status_code == 200
    assert grown.headers["ETag"] != first.headers["ETag"]


# --- files that are not well


@pytest.mark.parametrize("damage", [b"", PACKAGE[:-1], PACKAGE + b"1", b"x" + PACKAGE[1:]])
def test_a_damaged_file_is_never_sent(api: ApiClient, damage: bytes) -> None:
    url = f"/v1/jobs/{succeed(api, PACKAGE)}/model"
    assert api.get(url).content == PACKAGE  # it is known to be well
    path = stored_at(api, PACKAGE)
    path.write_bytes(damage)
    for headers in ({}, {"Range": "bytes=5-9"}):
        problem(api.get(url, headers=headers), 503, path.name, "restore it from a backup")
    path.write_bytes(PACKAGE)
    assert api.get(url).content == PACKAGE


def test_a_file_that_is_missing_is_no_fault_of_the_request(api: ApiClient) -> None:
    url = f"/v1/jobs/{succeed(api, PACKAGE)}/model"
    stored_at(api, PACKAGE).unlink()
    problem(api.get(url), 503, hashlib.sha256(PACKAGE).hexdigest(), "is missing; restore it from a backup")
    logged = api.add_job(tensorboard=True)
    attach(api, take(api.store), "tensorboard-0001", b"events")
    stored_at(api, b"events").unlink()
    problem(api.get(f"/v1/jobs/{logged}/tensorboard"), 503, "is missing; restore it from a backup")


def test_a_store_that_cannot_be_read_is_told_to_come_back(api: ApiClient) -> None:
    url = f"/v1/jobs/{succeed(api, PACKAGE)}/model"
    path = stored_at(api, PACKAGE)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"no folder")  # as root every folder can be read
    answer = api.get(url)
    problem(answer, 503, "cannot be used now")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_file_that_changes_on_its_way_does_not_look_whole(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(PACKAGE[:-1] + b"x")
    content = Content(hashlib.sha256(PACKAGE).hexdigest(), len(PACKAGE), lambda: path.open("rb"))
    with served(lambda wishes: downloads.send(content, wishes, "x")) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)
    path.write_bytes(PACKAGE[:1000])
    with served(lambda wishes: downloads.send(content, wishes, "x")) as url:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(url)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(url, headers={"Range": "bytes=900-1100"})
        assert httpx.get(url, headers={"Range": "bytes=900-999"}).content == PACKAGE[900:1000]


# --- over a real socket


def test_a_model_is_taken_home_from_a_real_server(api: ApiClient, settings: Settings, tmp_path: Path) -> None:
    url = f"/v1/jobs/{(job_id := succeed(api, PACKAGE))}/model"
    with listening(create_app(settings)) as server, Client(server) as client:
        assert client.job(job_id).download(tmp_path / "model.zip").read_bytes() == PACKAGE
        assert httpx.get(server + url, headers={"Range": "bytes=-3"}).content == PACKAGE[-3:]
        assert httpx.head(server + url).headers["ETag"] == tag(PACKAGE)
        stored_at(api, PACKAGE).write_bytes(b"damage")
        with pytest.raises(ServiceError, match="restore it from a backup") as caught:
            client.job(job_id).download(tmp_path / "again.zip")
    assert caught.value.status == 503
    assert not (tmp_path / "again.zip").exists()


class Tap:
    """Endless content that counts what is read of it, and tells when it is closed."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.closed, self.done = threading.Event(), threading.Event()

    def read(self, size: int, /) -> bytes:
        self.read_bytes += size
        return bytes(size)

    def seek(self, offset: int, /) -> int:
        return offset

    def close(self) -> None:
        self.closed.set()


def test_a_file_is_read_as_it_is_taken_and_closed_when_nobody_wants_it() -> None:
    tap, size_bytes = Tap(), 1 << 40
    content = Content("0" * 64, size_bytes, lambda: tap, tap.done.set)
    with served(lambda wishes: downloads.send(content, wishes, "x")) as url:
        with httpx.stream("GET", url) as answer:
            assert answer.headers["Content-Length"] == str(size_bytes)
            assert len(next(answer.iter_raw(1000))) == 1000
            assert not tap.closed.is_set()
        assert tap.closed.wait(20)
        assert tap.done.wait(20)
    assert tap.read_bytes < 64 << 20


def stored_at(api: ApiClient, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    return Path(api.artifacts.url) / sha256[:2] / sha256
