"""Uploads that cannot be: always 4xx, in bounded memory, and nothing is left of them."""

import os
import threading
import time
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import nas.data.upload
from api.main import create_app
from nas.settings import Settings
from tests.api.client import ApiClient, calling, fault, problem
from tests.api.uploads import ENOUGH, kept, left, names, upload
from tests.support import database, together
from tests.uploads import folders, npz, parquet, pictures, zipped

TRAVERSAL = zipped({**folders(), "../outside.png": b""})
BOMB = zipped({**folders(), "cat/bomb.png": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)


@pytest.fixture(scope="module")
def unchanged(shared_api: ApiClient) -> Iterator[ApiClient]:
    """One app for all requests that are refused; in the end nothing of them is left."""
    files = kept(shared_api)
    yield shared_api
    assert names(shared_api) == ["squares"]
    assert left(shared_api) == []
    assert kept(shared_api) == files


# --- names, sizes, seeds


@pytest.mark.parametrize(
    ("texts", "field", "mend"),
    [
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "a" * 201}, "name", "at most 200 characters"),
        ({"name": "a\nb"}, "name", "control characters"),
        ({"name": "a\x00b"}, "name", "control characters"),
        ({"name": "a\x7f"}, "name", "control characters"),
        ({"name": "a" * 100_000}, "name", "at most 4,096 bytes"),
        ({"name": "digits"}, "name", "a built-in data set has that name; choose another one"),
        ({"name": "a/b"}, "name", "it may have no /"),
        ({"name": "."}, "name", "may not be . or .."),
        ({"name": ".."}, "name", "may not be . or .."),
        ({"size": "7"}, "size", "8 or more"),
        ({"size": "513"}, "size", "512 or less"),
        ({"size": "large"}, "size", "whole number"),
        ({"size": "8.5"}, "size", "whole number"),
        ({"size": "9" * 4000}, "size", "512 or less"),
        ({"seed": "-1"}, "seed", "0 or more"),
        ({"seed": str(2**31)}, "seed", "2,147,483,647 or less"),
        ({"seed": "one"}, "seed", "whole number"),
        ({"seed": "nan"}, "seed", "whole number"),
        ({"shuffle": "yes"}, "shuffle", "there is no such field; allowed: file, name, size, seed"),
        ({"": "yes"}, "body", "there is no such field; allowed: file, name, size, seed"),
    ],
)
def test_a_text_that_is_not_possible_is_named_with_what_is(
    unchanged: ApiClient, texts: dict[str, Any], field: str, mend: str
) -> None:
    fault(upload(unchanged, **{"name": "photos"} | texts), field, mend)


# --- bodies

CRLF = "\r\n"
HEAD = {"Content-Type": "multipart/form-data; boundary=XX"}


def part(field: str, content: bytes = b"", filename: str | None = None) -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--XX{CRLF}Content-Disposition: form-data; name="{field}"{named}{CRLF}{CRLF}'
    return head.encode() + content + CRLF.encode()


NAME, FILE, END = part("name", b"photos"), part("file", ENOUGH, "photos.zip"), b"--XX--\r\n"


def post(api: ApiClient, body: bytes, headers: dict[str, str] = HEAD) -> httpx.Response:
    return api.post("/v1/datasets", content=body, headers=headers)


def test_parts_may_come_in_any_order(api: ApiClient) -> None:
    assert post(api, NAME + FILE + END).status_code == 201
    assert post(api, FILE + NAME + END).status_code == 200
    assert post(api, b"preamble\r\n" + FILE + NAME + END + b"epilogue").status_code in (200, 422)


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        (END, "file", "this field is required"),
        (NAME + END, "file", "this field is required"),
        (FILE + END, "name", "this field is required"),
        (b"", "body", "it ends before its last boundary"),
        (NAME + FILE, "body", "it ends before its last boundary"),
        (NAME + FILE[:200], "body", "it ends before its last boundary"),
        (b"--YY" + NAME + END, "body", "it is broken"),
        (b"nonsense", "body", "it is broken"),
        (NAME + part("file", b"", "photos.zip") + END, "file", "it is empty"),
        (NAME + part("file", b"", "") + END, "file", "it is empty"),
        (NAME + part("file", ENOUGH[:100]) + END, "file", "it has to come as a file"),
        (part("name", b"photos", "name.txt") + FILE + END, "name", "it has to be a text, not a file"),
        (NAME + FILE + FILE + END, "file", "it stands there twice; send one"),
        (NAME + NAME + FILE + END, "name", "it stands there twice; send one"),
        (part("name", b"\xff\xfe") + FILE + END, "name", "it has to be UTF-8"),
        (part("name", b"\xed\xa0\x80") + FILE + END, "name", "it has to be UTF-8"),
        (part("images", ENOUGH, "photos.zip") + END, "images", "there is no such field; allowed: file, name"),
        (b"--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, "body", "a part has no Content-Disposition"),
        (b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, "body", "a part has no Content-Disposition"),
        (b"--XX\r\nX: " + b"a" * 100_000 + b"\r\n\r\nx\r\n" + END, "body", "it is broken"),
    ],
)
def test_a_body_that_is_not_right_is_answered_with_what_it_has_to_be(
    unchanged: ApiClient, body: bytes, field: str, mend: str
) -> None:
    fault(post(unchanged, body), field, mend)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/json",
        "application/zip",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=XX",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
        f"multipart/form-data; boundary={'X' * 300}",
    ],
)
def test_a_body_of_another_type_is_refused(unchanged: ApiClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind.encode("latin-1")}
    answer = unchanged.post("/v1/datasets", content=NAME + FILE + END, headers=headers)
    fault(answer, "body", "multipart/form-data")


# --- files


@pytest.mark.parametrize(
    "content",
    [
        b"no zip at all",
        ENOUGH[: len(ENOUGH) // 2],
        TRAVERSAL,
        BOMB,
        zipped({}),
        zipped(folders({"cat": 20})),
        zipped(folders({"cat": 20, "dog": 1})),
        zipped({"readme.txt": b"no images"}),
        npz(images=pictures(30).astype(np.float32), labels=np.arange(30) % 3),
        npz(images=pictures(30), labels=np.array([{}] * 30)),
        npz(images=np.array([None] * 30), labels=np.arange(30) % 3),
        npz(images=pictures(30), labels=np.arange(29) % 3),
        npz(images=pictures(30)),
        parquet()[:-10],
        b"PAR1" + bytes(100) + b"PAR1",
    ],
    ids=[
        *("no-zip", "cut-off", "traversal", "bomb", "nothing", "one-class", "one-image", "no-images", "float"),
        *("object-labels", "object-images", "a-label-short", "no-labels", "cut-off-parquet", "broken-parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_mend(unchanged: ApiClient, content: bytes) -> None:
    said = fault(upload(unchanged, content), "file")
    assert str(unchanged.parts.settings.home) not in said["mend"]
    assert "upload" not in str(said["value"])


def test_a_file_at_fault_as_a_whole_is_called_by_its_users_name(unchanged: ApiClient) -> None:
    assert fault(upload(unchanged, b"no zip at all"), "file")["value"] == "photos.zip"


def test_images_that_would_be_refused_by_their_size_are_not_stored(unchanged: ApiClient) -> None:
    fault(upload(unchanged, size="512" * 3), "size")


# --- how much


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ApiClient]:
    """An app that takes bodies of at most 8 MiB."""
    environ = {"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database("sqlite", tmp_path)}
    with calling(create_app(Settings.read(environ | {"NAS_MAX_UPLOAD_BYTES": str(8 << 20)}))) as client:
        yield client


def pieces(count: int, sent: list[int] | None = None) -> AsyncIterator[bytes]:
    """A body whose file is `count` times 64 KiB; none of it is there before it is asked for."""

    async def generate() -> AsyncIterator[bytes]:
        yield NAME + part("file", b"", "photos.zip")[:-2]
        for number in range(count):
            if sent is not None:
                sent.append(number)
            yield bytes(64 << 10)
        yield b"\r\n" + END

    return generate()


def test_a_body_over_the_limit_is_refused_while_it_comes(small: ApiClient) -> None:
    sent: list[int] = []
    answer = small.post("/v1/datasets", content=pieces(1024, sent), headers=HEAD)
    said = fault(answer, "body", "at most 8,388,608 bytes", "NAS_MAX_UPLOAD_BYTES", status=413)
    assert said["value"] is None
    assert len(sent) <= 129  # the rest was never asked for
    assert left(small) == []


def test_a_body_that_is_announced_over_the_limit_is_not_read_at_all(small: ApiClient) -> None:
    sent: list[int] = []
    headers = HEAD | {"Content-Length": str((8 << 20) + 1)}
    fault(small.post("/v1/datasets", content=pieces(1024, sent), headers=headers), "body", status=413)
    assert sent == []


def test_a_body_that_announces_less_than_it_has_is_counted(small: ApiClient) -> None:
    headers = HEAD | {"Content-Length": "100"}
    fault(small.post("/v1/datasets", content=pieces(1024), headers=headers), "body", status=413)


def test_a_body_of_just_the_limit_is_read(small: ApiClient) -> None:
    body = NAME + part("file", bytes((8 << 20) - len(NAME + part("file", b"", "x") + END)), "x") + END
    assert len(body) == 8 << 20
    fault(post(small, body), "file")
    fault(post(small, b" " + body), "body", status=413)


def test_other_requests_keep_their_limit(small: ApiClient) -> None:
    problem(small.post("/v1/jobs", content=bytes((1 << 20) + 1)), 413, "1,048,576")
    problem(small.request("PUT", "/v1/datasets", content=bytes((1 << 20) + 1)), 413, "1,048,576")


def test_a_body_is_never_held_in_memory(small: ApiClient) -> None:
    small.post("/v1/datasets", content=pieces(1), headers=HEAD)  # imports
    tracemalloc.start()
    try:
        fault(small.post("/v1/datasets", content=pieces(120), headers=HEAD), "file")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_few_uploads_are_read_at_once(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, at_once, most = threading.Lock(), [0], [0]
    read = nas.data.upload.read_upload

    def counted(*arguments: Any, **more: Any) -> Any:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            threading.Event().wait(0.1)
            return read(*arguments, **more)
        finally:
            with lock:
                at_once[0] -= 1

    monkeypatch.setattr(nas.data.upload, "read_upload", counted)
    answers = together(6, lambda index: upload(api, zipped(folders(seed=index)), name=f"photos-{index}"))
    assert [answer.status_code for answer in answers] == [201] * 6
    assert most == [2]


# --- what goes wrong on the way


def test_nothing_is_left_when_the_client_goes(api: ApiClient) -> None:
    messages = [{"type": "http.request", "body": NAME + FILE[:500], "more_body": True}, {"type": "http.disconnect"}]
    answers: list[Any] = []
    seen: list[list[str]] = []

    async def receive() -> Any:
        seen.append(left(api))
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"content-type", HEAD["Content-Type"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/datasets", "headers": headers, "query_string": b""}
    app: Any = api.http._transport.app  # type: ignore[attr-defined]
    api.portal.call(app, scope | {"asgi": {"version": "3.0"}, "http_version": "1.1"}, receive, send)
    assert any("upload" in names for names in seen)
    assert (left(api), names(api)) == ([], ["squares"])
    assert answers[0]["status"] == 400


def full(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["nas.data.images.ImageSet.save", "api.multipart._Receiver.flush"])
def test_a_full_disk_is_answered_as_that(api: ApiClient, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(where, full)
        problem(upload(api), 507, "no room left")
    assert (left(api), names(api)) == ([], ["squares"])
    assert upload(api).status_code == 201


def test_what_a_killed_process_left_is_cleared_after_a_day(settings: Settings) -> None:
    uploads = settings.home / "uploads"
    for name, age_s in (("old", 90_000), ("new", 3_600)):
        (uploads / name).mkdir(parents=True)
        (uploads / name / "upload").write_bytes(b"half")
        os.utime(uploads / name, (time.time() - age_s,) * 2)
    with calling(create_app(settings)):
        assert [path.name for path in uploads.iterdir()] == ["new"]


def test_an_upload_with_a_key_is_answered_again_and_its_key_stands_for_no_other(api: ApiClient) -> None:
    def send(content: bytes, name: str = "photos", key: str = "a key") -> httpx.Response:
        file = ("photos.zip", content, "application/zip")
        headers = {"Idempotency-Key": key}
        return api.post("/v1/datasets", data={"name": name}, files={"file": file}, headers=headers)

    first, again = send(ENOUGH), send(ENOUGH)
    assert (first.status_code, again.status_code) == (201, 201), "without a key the second one would be 200"
    assert (again.json(), again.headers["Location"]) == (first.json(), first.headers["Location"])
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    for other in (send(ENOUGH, "holidays"), send(zipped(folders(seed=9)))):
        assert other.status_code == 409
        assert "Idempotency-Key: 'a key' is not possible" in other.json()["detail"]
    assert send(ENOUGH, key="tab\there").status_code == 422
    assert names(api) == ["photos", "squares"]
    assert left(api) == []
