"""How much, how often and how slowly one may ask."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

import cli.impatient
from api.limits import Rate
from api.main import create_app
from cli.service import local_service
from nas.errors import TooMany
from nas.settings import Settings
from nas.store import datasets, trials
from tests.api.client import ApiClient, calling, problem
from tests.api.uploads import upload
from tests.support import database, random_images, stored, take

# --- requests


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_may_make_a_minutes_requests_at_once_and_then_as_many_as_come_in() -> None:
    clock = Clock()
    rate = Rate(60, clock)
    for left in reversed(range(60)):
        assert f";r={left};" in rate.take(1)["RateLimit"]
    with pytest.raises(TooMany) as caught:
        rate.take(1)
    assert caught.value.retry_after_s == pytest.approx(1)
    rate.take(2)  # another key
    clock.now += 1.01
    rate.take(1)
    with pytest.raises(TooMany):
        rate.take(1)
    clock.now += 3600
    for _ in range(60):
        rate.take(1)
    with pytest.raises(TooMany):
        rate.take(1)


def test_over_ten_minutes_nobody_gets_more_than_eleven_minutes_worth() -> None:
    clock = Clock()
    rate = Rate(30, clock)
    let_in = 0
    for _ in range(6000):
        clock.now += 0.1
        try:
            rate.take(1)
            let_in += 1
        except TooMany:
            pass
    assert 30 * 10 <= let_in <= 30 * 11


def test_where_there_is_no_limit_or_no_key_nothing_is_counted() -> None:
    assert all(Rate(0).take(1) == {} for _ in range(5000))
    assert all(Rate(1).take(None) == {} for _ in range(5000))


def test_one_process_counts_so_many_keys_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.limits.COUNTED", 3)
    rate = Rate(10)
    for key in range(100):
        rate.take(key)
    assert len(rate._buckets) == 3


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[ApiClient]:
    """A service with small limits."""
    given = {
        "NAS_HOME": str(tmp_path),
        "NAS_DATABASE_URL": database("sqlite", tmp_path),
        "NAS_RATE_PER_MINUTE": "20",
        "NAS_MAX_OPEN_JOBS": "2",
        "NAS_MAX_STORED_BYTES": "100000",
    }
    with calling(create_app(Settings.read(given))) as client:
        yield client


def test_a_key_that_asks_too_often_is_told_when_to_come_back(limited: ApiClient) -> None:
    ada, bob = limited.of("ada"), limited.of("bob")
    answers = [ada.get("/v1/jobs") for _ in range(25)]
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    refused = answers[-1]
    problem(refused, 429, "20 requests a minute", "NAS_RATE_PER_MINUTE")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert answers[0].headers["RateLimit-Policy"] == '"key";q=20;w=60'
    assert bob.get("/v1/jobs").status_code == 200
    assert ada.get("/healthz").status_code == 200
    assert {replace(ada, key="x").get("/v1/jobs").status_code for _ in range(25)} == {401}


# --- what is kept


def test_an_owner_has_so_many_open_jobs_and_no_more(limited: ApiClient) -> None:
    ada = limited.of("ada")
    jobs = [ada.add_job() for _ in range(2)]
    answer = ada.ask({"dataset": "squares", "strategy": "random"})
    problem(answer, 429, "NAS_MAX_OPEN_JOBS")
    assert int(answer.headers["Retry-After"]) >= 1
    assert limited.of("bob").add_job()
    assert ada.post(f"/v1/jobs/{jobs[0]}/cancel").status_code == 200
    assert ada.add_job()


def test_an_owner_stores_so_much_and_no_more(limited: ApiClient) -> None:
    ada, bob = limited.of("ada"), limited.of("bob")
    big = datasets.add(limited.store, limited.artifacts, "big", random_images(8, 20, seed=2), "ada")
    job = ada.add_job()
    with limited.store.write() as session:
        trials.attach(session, take(limited.store), "weights", stored("x" * 99_000))
    for answer in (upload(ada, name="more"), ada.ask({"dataset": "squares", "strategy": "random"})):
        said = problem(answer, 413, "ada has", "of 100,000 bytes stored", "DELETE /v1/datasets/NAME")
        assert said["type"] == "/problems/too-large"
    assert ada.get(f"/v1/jobs/{job}").status_code == 200
    assert upload(bob, name="more").status_code == 201
    assert ada.request("DELETE", f"/v1/datasets/{big.name}").status_code == 204


# --- how slowly


def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer(
    limited: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.limits.BODY_S", 0.2)

    async def slow() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        await anyio.sleep(5)
        yield b"--x--"

    begun = time.monotonic()
    headers = {"Content-Type": "application/json", "Content-Length": "10"}
    problem(limited.post("/v1/jobs", content=slow(), headers=headers), 408, "send it again")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(limited.post("/v1/datasets", content=slow(), headers=headers), 408, "send it again")
    assert time.monotonic() - begun < 4


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A real server on a socket that has little patience."""
    home = tmp_path_factory.mktemp("patience")
    settings = Settings.read({"NAS_HOME": str(home), "NAS_LOG": "ERROR"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.impatient, "HEAD_S", 0.3)
        with local_service(settings, 0, [], {}) as url:
            yield "127.0.0.1", int(url.rpartition(":")[2])


def exchange(address: tuple[str, int], *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """What a server answers until it closes the connection."""
    with socket.create_connection(address, timeout=10) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause_s)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",),
        (b"G", b"E", b"T", b" ", b"/", b"h", b" "),
        (b"GET /healthz HTTP/1.1\r\n", b"Host: localhost\r\n", b"X: y\r\n", b"Z: y\r\n", b"V: y\r\n"),
    ],
)
def test_a_request_that_is_never_finished_is_waited_for_so_long_and_no_longer(
    address: tuple[str, int], pieces: tuple[bytes, ...]
) -> None:
    begun = time.monotonic()
    assert exchange(address, *pieces, pause_s=0.1) == b""
    assert time.monotonic() - begun < 3


def test_a_request_that_comes_in_pieces_is_answered(address: tuple[str, int]) -> None:
    pieces = (b"GET /healthz HTTP/1.1\r\n", b"Host: localhost\r\n", b"Connection: close\r\n\r\n")
    answer = exchange(address, *pieces, pause_s=0.05)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"ok"}')


def test_a_connection_is_used_again(address: tuple[str, int]) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert exchange(address, request, request, request + last, pause_s=0.2).count(b"HTTP/1.1 200") == 4


GARBAGE = [
    b"\r\n\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET\r\n\r\n",
    b"GET /nope HTTP/9.9\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX\x00: y\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n" + b"x" * 2_000_000,
    b"BREW /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET http://[/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"CONNECT evil:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs/%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs/%ff%fe%c0%af HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs?cursor=%ff%00&limit=%f0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs?limit=" + b"9" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
]


@pytest.mark.parametrize("sent", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_on_the_socket_is_answered_as_garbage(address: tuple[str, int], sent: bytes) -> None:
    answer = exchange(address, sent)
    statuses = [int(part[1:4]) for part in answer.split(b"HTTP/1.1")[1:]]
    assert all(400 <= status < 500 or b"/v1/jobs HTTP" in sent for status in statuses), answer[:300]
    assert all(status < 500 for status in statuses)
    assert exchange(address, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
