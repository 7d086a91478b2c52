"""Downloads over a real socket that breaks, lies, and changes what it has."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from nas import fetching
from nas.errors import ArtifactDamaged
from nas.fetching import fetch

CONTENT = bytes(range(256)) * 8000
"""More than sockets hold on their own."""


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes, int]) -> Iterator[tuple[httpx.Client, list[dict[str, str]]]]:
    """A server that gives one answer after the other, the last one again and again.

    An answer is (status, headers, body, bytes of it that are promised); what it promises and has not is a broken
    connection. Beside the client there are the headers of the requests so far.
    """
    asked: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body, promised = answers[min(len(asked), len(answers) - 1)]
            asked.append(dict(self.headers))
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(promised)}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            yield client, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE_S", 0.001)


def tagged(content: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}


def whole(content: bytes = CONTENT, sent: int | None = None) -> tuple[int, dict[str, str], bytes, int]:
    return 200, tagged(content), content[:sent], len(content)


def rest(start: int, sent: int | None = None) -> tuple[int, dict[str, str], bytes, int]:
    there = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return 206, tagged(CONTENT) | there, CONTENT[start:][:sent], len(CONTENT) - start


def refused(answer: httpx.Response) -> Exception:
    return LookupError(answer.status_code, answer.text)


def left(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.glob("*")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "model.zip"


def test_a_download_is_written_whole(path: Path) -> None:
    with answering(whole()) as (client, asked):
        fetch(client, "/", path, refused)
    assert path.read_bytes() == CONTENT
    assert left(path) == ["model.zip"]
    assert len(asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(path: Path) -> None:
    with answering(whole(sent=1_000_000), rest(1_000_000, 500_000), rest(1_500_000)) as (client, asked):
        fetch(client, "/", path, refused)
    assert path.read_bytes() == CONTENT
    tag = tagged(CONTENT)["ETag"]
    assert [(headers.get("Range"), headers.get("If-Range")) for headers in asked] == [
        (None, None),
        ("bytes=1000000-", tag),
        ("bytes=1500000-", tag),
    ]


def test_a_file_that_has_become_another_is_taken_from_its_beginning(path: Path) -> None:
    with answering(whole(sent=1_000_000), whole(b"a short one")) as (client, _):
        fetch(client, "/", path, refused)
    assert path.read_bytes() == b"a short one"


def test_what_is_not_what_it_is_called_is_not_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"before")
    lie = (200, tagged(b"other"), CONTENT, len(CONTENT))
    with answering(lie) as (client, _), pytest.raises(ArtifactDamaged, match="download it again"):
        fetch(client, "/", path, refused)
    assert path.read_bytes() == b"before"
    assert left(path) == ["model.zip"]


def test_a_connection_that_brings_nothing_more_is_given_up(path: Path) -> None:
    with answering(whole(sent=1000), rest(1000, 0)) as (client, asked), pytest.raises(httpx.TransportError):
        fetch(client, "/", path, refused)
    assert len(asked) == 1 + fetching.TRIES - 1
    assert left(path) == []


def test_a_connection_that_brings_a_little_each_time_is_not_given_up(path: Path) -> None:
    steps = [whole(sent=1000), *(rest(start, 1000) for start in range(1000, 20_000, 1000)), rest(20_000)]
    with answering(*steps) as (client, asked):
        fetch(client, "/", path, refused)
    assert path.read_bytes() == CONTENT
    assert len(asked) == len(steps)


def test_a_connection_that_broke_after_the_last_byte_has_brought_all(path: Path) -> None:
    over = (416, {"Content-Range": f"bytes */{len(CONTENT)}"}, b"", 0)
    with answering((200, tagged(CONTENT), CONTENT, len(CONTENT) + 1), over) as (client, _):
        fetch(client, "/", path, refused)
    assert path.read_bytes() == CONTENT


def test_a_refusal_is_told_in_the_services_words(path: Path) -> None:
    with answering((409, {}, b"not yet", 7)) as (client, _), pytest.raises(LookupError, match="not yet"):
        fetch(client, "/", path, refused)
    assert left(path) == []


def test_without_a_tag_there_is_no_second_try_and_no_comparison(path: Path) -> None:
    for headers in ({}, {"ETag": f"W/{tagged(b'')['ETag']}"}):
        with answering((200, headers, b"12345", 9)) as (client, asked), pytest.raises(httpx.TransportError):
            fetch(client, "/", path, refused)
        assert len(asked) == 1
        with answering((200, headers, b"12345", 5)) as (client, _):
            fetch(client, "/", path, refused)
        assert path.read_bytes() == b"12345"
        path.unlink()
