"""The event stream of a job, over a real socket where it stays open."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event as listening
from sqlalchemy.exc import OperationalError

from api import feeds
from api.feeds import Feeds
from cli.service import listen, server
from nas import sse
from nas.client import Client, NoService, ServiceError, patience
from nas.settings import Settings
from nas.store import control, feed
from nas.store.claims import Claim
from nas.store.feed import BEGINNING
from nas.store.session import Store
from nas.store.states import TrialState
from tests import processes
from tests.api.client import ApiClient, fault, problem
from tests.processes import until
from tests.support import add_job, database, finish, propose, report, run_trial, take


def told(answer: httpx.Response) -> list[tuple[str, dict[str, Any], str | None]]:
    """(name, data, id) of every event of a stream that has ended."""
    assert answer.status_code == 200
    return [(m.event, json.loads(m.data), m.id) for m in sse.messages(answer.text.split("\n")) if m.data]


def ended(api: ApiClient) -> str:
    """A job that was cancelled after two trials; its id."""
    job_id = api.add_job(budget={"trials": 5, "epochs": 3})
    run_trial(api.store, accuracy=0.5)
    run_trial(api.store, accuracy=0.75)
    assert api.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    return job_id


def test_an_ended_job_is_told_from_its_beginning_to_its_end(api: ApiClient) -> None:
    job_id = ended(api)
    answer = api.get(f"/v1/jobs/{job_id}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.startswith("retry: 2000\nid: 0.0.0.0\n\n")
    events = told(answer)
    assert [name for name, _, _ in events] == [*["epoch"] * 3, "trial", *["epoch"] * 3, "trial", "job", "end"]
    assert [data["epoch"] for name, data, _ in events if name == "epoch"] == [1, 2, 3, 1, 2, 3]
    assert events[-2][1] == {
        "state": "cancelled",
        "phase": "done",
        "reason": "cancelled by the user",
        "note": None,
        "best": {"trial": 1, "accuracy": 0.75},
        "trials_planned": 5,
    }
    assert events[-1] == ("end", {"state": "cancelled"}, None)


def test_whoever_comes_back_gets_the_rest(api: ApiClient) -> None:
    url = f"/v1/jobs/{ended(api)}/events"
    events = told(api.get(url))
    for index, (_, _, last) in enumerate(events[:-1]):
        assert last is not None
        assert told(api.get(url, headers={"Last-Event-ID": last})) == events[index + 1 :]
        assert told(api.get(url, params={"after": last})) == events[index + 1 :]
        # a browser comes back to the URL that it was given, and says where it is
        assert told(api.get(url, params={"after": "now"}, headers={"Last-Event-ID": last})) == events[index + 1 :]


def test_now_leaves_out_the_past(api: ApiClient) -> None:
    answer = api.get(f"/v1/jobs/{ended(api)}/events", params={"after": "now"})
    assert [name for name, _, _ in told(answer)] == ["end"]
    assert next(m.id for m in sse.messages(answer.text.split("\n"))) not in (None, str(BEGINNING))


def test_a_place_that_the_job_has_not_come_to_begins_it_anew(api: ApiClient) -> None:
    url = f"/v1/jobs/{ended(api)}/events"
    events = told(api.get(url, headers={"Last-Event-ID": "100000.1.1.0"}))
    assert events[0][0] == "reset"
    assert events[0][2] == str(BEGINNING)
    assert events[1:] == told(api.get(url))


def test_a_place_that_is_none_is_refused(api: ApiClient) -> None:
    url = f"/v1/jobs/{ended(api)}/events"
    fault(api.get(url, headers={"Last-Event-ID": "seven"}), "Last-Event-ID", "the id of an event of this job")
    fault(api.get(url, params={"after": "1.0.0.99999999999"}), "after", "the id of an event of this job")
    fault(api.get(url, params={"after": ""}), "after", "the id of an event of this job")
    assert told(api.get(url, headers={"Last-Event-ID": ""}))[0][0] == "epoch"


def test_there_are_no_events_of_no_job(api: ApiClient) -> None:
    problem(api.get("/v1/jobs/nothing/events"), 404, "there is no job 'nothing'")


def test_many_pages_are_one_stream(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"/v1/jobs/{ended(api)}/events"
    events = told(api.get(url))
    monkeypatch.setattr(feeds, "PAGE", 2)
    assert told(api.get(url)) == events


def test_numbers_that_json_has_not_are_null(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 1, "epochs": 3})
    taken = take(api.store)
    propose(api.store, taken, 0)
    report(api.store, taken, 1, float("inf"))
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert told(api.get(f"/v1/jobs/{job_id}/events"))[0][1]["accuracy"] is None


def test_the_document_says_what_comes(api: ApiClient) -> None:
    operation = api.get("/openapi.json").json()["paths"]["/v1/jobs/{job_id}/events"]["get"]
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {"job_id", "after", "last-event-id"}


def test_a_stream_that_is_kept_no_longer_ends_without_an_end(api: ApiClient) -> None:
    job_id = api.add_job()
    kept: Feeds = feeds.Feeds(api.store)

    async def read() -> bytes:
        return b"".join([part async for part in kept.stream(job_id, BEGINNING, longest_s=0.2)])

    text = api.portal.call(read).decode()
    assert "event: job" in text
    assert "event: end" not in text


# --- streams that stay open


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Without keys and limits; on SQLite."""
    return Settings.read({"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database("sqlite", tmp_path)})


@contextmanager
def served(settings: Settings, port: int = 0) -> Iterator[str]:
    """A service without workers in a thread; its URL."""
    sock = listen("127.0.0.1", port)
    running = server(settings)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


@contextmanager
def following(url: str, job_id: str) -> Iterator[list[dict[str, Any]]]:
    """What a client is told, as it comes; it has to come to the end by itself."""
    got: list[dict[str, Any]] = []

    def follow() -> None:
        with Client(url) as client:
            got.extend(client.job(job_id).events())  # as an iterator: every event is there when it came

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    yield got
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert got[-1]["event"] == "end"


def waits(got: list[dict[str, Any]], **words: Any) -> None:
    until(lambda: any(words.items() <= event.items() for event in list(got)), f"{words}", 20)


def cancel(store: Store, job_id: str) -> None:
    with store.write() as session:
        control.cancel(session, job_id)


def begun(store: Store) -> Claim:
    taken = take(store)
    propose(store, taken, taken.trial_id)
    return taken


def whole(url: str, job_id: str) -> list[dict[str, Any]]:
    with Client(url) as client:
        return list(client.job(job_id).events())


def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(settings: Settings, store: Store) -> None:
    job_id = add_job(store, trials=3)
    with served(settings) as url, following(url, job_id) as got:
        waits(got, event="job", state="queued")
        taken = begun(store)
        waits(got, event="trial", trial=0, state="running")
        report(store, taken, 1, 0.25)
        waits(got, event="epoch", trial=0, epoch=1, accuracy=0.25)
        finish(store, taken, TrialState.COMPLETE)
        waits(got, event="job", best={"trial": 0, "accuracy": 0.25})
        cancel(store, job_id)
        waits(got, event="end", state="cancelled")


def test_a_client_goes_on_where_it_was_when_the_service_comes_back(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "RECONNECT_S", 0.1)
    job_id = add_job(store, trials=3, epochs=9)
    taken = begun(store)
    with served(settings) as url:
        reader = following(url, job_id)
        got = reader.__enter__()
        report(store, taken, 1)
        waits(got, event="epoch", epoch=1)
    report(store, taken, 2)
    with served(settings, int(url.rsplit(":", 1)[1])) as url:
        report(store, taken, 3)
        waits(got, event="epoch", epoch=3)
        cancel(store, job_id)
        reader.__exit__(None, None, None)
        ids = [event["id"] for event in got if event["id"]]
        assert len(ids) == len(set(ids))
        assert [event["epoch"] for event in got if event["event"] == "epoch"] == [1, 2, 3]
        assert got[-1] == whole(url, job_id)[-1]


def test_a_stream_outlives_a_database_that_is_away(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> Any:
        raise OperationalError("SELECT", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(feeds, "RETRY_S", 0.1)
    job_id = add_job(store, trials=3)
    taken = begun(store)
    with served(settings) as url, following(url, job_id) as got:
        waits(got, event="trial", state="running")
        with monkeypatch.context() as broken:
            broken.setattr(feed, "since", away)
            broken.setattr(feed, "versions", away)
            report(store, taken, 1)
            until(lambda: "event streams wait for the database" in caplog.text, "the warning", 20)
            time.sleep(3 * feeds.POLL_S)
        waits(got, event="epoch", epoch=1)
        cancel(store, job_id)
    assert caplog.text.count("event streams wait for the database") == 1


def test_a_client_that_finds_no_service_says_so_at_once() -> None:
    begun = time.monotonic()
    with Client("http://127.0.0.1:9") as client, pytest.raises(NoService, match="no service answers"):
        next(client._sender.events("/v1/jobs/j/events", None))
    assert time.monotonic() - begun < patience.RECONNECT_S


def test_a_job_that_is_deleted_ends_its_streams(settings: Settings, store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    with served(settings) as url, following(url, job_id) as got:
        waits(got, event="trial")
        with store.write() as session:
            control.delete(session, job_id, force=True)
        waits(got, event="end", state="deleted")
        with pytest.raises(ServiceError, match="there is no job"):
            whole(url, job_id)


def test_silence_is_filled_with_comments(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "HEARTBEAT_S", 0.05)
    job_id = add_job(store)
    comments = 0
    with served(settings) as url, httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events") as answer:
        for line in answer.iter_lines():
            comments += line == ":"
            if comments == 5:
                break


def test_a_hundred_streams_of_a_job_take_one_reading_between_them(settings: Settings, store: Store) -> None:
    job_id = add_job(store, trials=3)
    taken = begun(store)
    read: list[str] = []
    count = 100

    async def one(http: httpx.AsyncClient, arrived: Callable[[], None]) -> list[str]:
        ids = []
        async with http.stream("GET", f"/v1/jobs/{job_id}/events", timeout=60) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id: ") and not line.endswith(" 0.0.0.0"):
                    ids.append(line)
                if line == "event: job":
                    arrived()
        return ids

    async def all_of_them(url: str) -> list[list[str]]:
        arrivals = []
        limits = httpx.Limits(max_connections=count + 1)
        async with httpx.AsyncClient(base_url=url, limits=limits) as http, asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(http, lambda: arrivals.append(0))) for _ in range(count)]
            while len(arrivals) < count:
                await asyncio.sleep(0.05)
            await asyncio.sleep(2 * feeds.POLL_S)
            read.clear()
            await asyncio.to_thread(report, store, taken, 1)
            shown = await http.get(f"/v1/jobs/{job_id}/dashboard")  # there is room for others beside them
            assert shown.status_code == 200
            await asyncio.sleep(3 * feeds.POLL_S)
            seen = len(read)
            await asyncio.to_thread(cancel, store, job_id)
        assert 1 <= seen <= 5
        return [task.result() for task in tasks]

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if "FROM epochs JOIN trials" in statement:
            read.append(statement)

    running = server(settings)
    sock = listen("127.0.0.1", 0)
    state = running.config.app.state  # type: ignore[union-attr]
    engine = state.parts.store.engine
    listening.listen(engine, "before_cursor_execute", note)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
    thread.start()
    found = asyncio.run(all_of_them(f"http://127.0.0.1:{sock.getsockname()[1]}"))
    until(lambda: state.feeds.open == 0, "the end of all streams", 10)
    running.should_exit = True
    thread.join(timeout=30)
    assert {tuple(ids) for ids in found} == {tuple(found[0])}
    assert len(found[0]) >= 4


def test_a_service_with_open_streams_stops_at_once(tmp_path: Path) -> None:
    settings = processes.settings_in(tmp_path)
    store = processes.open_store(settings)
    job_id = add_job(store, trials=1)
    with processes.serve(settings, tmp_path / "log", workers=0) as service:
        url = processes.url_in(tmp_path / "log")
        with httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events", timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: job"
            service.send_signal(signal.SIGINT)
            assert "event: end" not in list(lines)  # it closes, and whoever wants to comes back
        assert service.wait(timeout=8) == 0  # less than ANSWERS_S
    store.close()
