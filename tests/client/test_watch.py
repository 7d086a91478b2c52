"""Watching a job: in a terminal, in a notebook, interrupted, and while the service is started again."""

import asyncio
import base64
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from rich.console import Console

from api.main import create_app
from nas import AsyncClient, Client
from nas.client import NoService, patience, shows
from tests.api.served import listening
from tests.client.conftest import Both, Service
from tests.client.jobs import RANDOM, work
from tests.processes import until
from tests.support import run_trial


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a notebook: a shell of IPython that is no terminal's."""
    shell = InteractiveShell.instance()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    yield
    InteractiveShell.clear_instance()


def later(seconds: float, url: str, job_id: str) -> None:
    """Cancels the job after a while."""
    threading.Timer(seconds, lambda: httpx.post(f"{url}/v1/jobs/{job_id}/cancel")).start()


def test_without_a_terminal_lines_are_printed(
    both: Both, service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    job = both.do(both.client.search(RANDOM))
    run_trial(service.store, accuracy=0.5)
    later(0.7, service.url, job.id)
    assert both.do(job.watch()) is job
    assert "cancelled" in repr(job)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert re.match(r" +\d+% searching: trials 1/4, best 50\.00 % on validation, 00:\d\d gone", first)
    assert re.match(r" *\d+% cancelled: trials 1/4, best 50\.00 %", last)


def test_a_notebook_has_one_figure_that_is_drawn_anew(
    both: Both, service: Service, notebook: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.client.job.PICTURES_S", 0.0)
    monkeypatch.setattr("nas.client.aio_job.PICTURES_S", 0.0)
    job = both.do(both.client.search(RANDOM, name="<script>alert(1)</script>"))
    threading.Timer(1.0, lambda: work(service)).start()
    later(3.0, service.url, job.id)
    with capture_output() as captured:
        both.do(job.watch())
    outputs = captured.outputs
    htmls = [output.data["text/html"] for output in outputs]
    assert len({str(output.transient) for output in outputs}) == 1, "all have one display id"
    assert [output.update for output in outputs] == [False] + [True] * (len(outputs) - 1)
    assert "img" not in htmls[0], "there is nothing to draw yet"
    assert "cancelled: trials 4/4" in htmls[-1]
    drawn = re.findall(r'alt="([^"]*)"[^>]*src="data:image/svg\+xml;base64,([^"]*)"', htmls[-1])
    assert len(drawn) == 2
    for says, data in drawn:
        assert says
        assert ElementTree.fromstring(base64.b64decode(data)).tag.endswith("svg")
    assert not any("<script" in text for text in htmls)
    assert htmls == [text for index, text in enumerate(htmls) if not index or text != htmls[index - 1]], "only changes"


def test_a_notebook_that_is_stopped_keeps_the_job_and_says_so(client: Client, notebook: None) -> None:
    job = client.search(RANDOM)
    seen: list[int] = []

    def stop(_: float) -> None:
        seen.append(1)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched, capture_output() as captured:
        patched.setattr("nas.client.shows.time.sleep", stop)
        assert job.watch() is job
    assert seen == [1]
    assert (
        f"job {job.id} goes on; .watch() it again, or stop it with .cancel()" in captured.outputs[-1].data["text/html"]
    )
    assert job.state == "queued"


def test_a_task_that_is_cancelled_leaves_the_job_as_it_is(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    async def watch_and_stop() -> tuple[str, str]:
        async with AsyncClient(service.url) as client:
            job = await client.search(RANDOM)
            watching = asyncio.create_task(job.watch())
            await asyncio.sleep(0.5)
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
            return job.id, (await job.refresh()).state

    job_id, state = asyncio.run(watch_and_stop())
    assert state == "queued"
    assert f"job {job_id} goes on" in capsys.readouterr().out


SCRIPT = """
import sys
import nas
job = nas.Client(sys.argv[1]).job(sys.argv[2])
print("begun", flush=True)
job.watch()
print("after:", job.state)
"""


def test_ctrl_c_ends_the_watching_and_not_the_job(client: Client) -> None:
    job = client.search(RANDOM)
    command = [sys.executable, "-c", SCRIPT, client.url, job.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert "trials 0/4" in process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert f"job {job.id} goes on; .watch() it again" in printed
    assert printed.endswith("after: queued\n")


def test_a_service_that_is_started_again_is_waited_for(
    service: Service, both: Both, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "RECONNECT_S", 0.1)
    monkeypatch.setattr(patience, "RESTS_S", (0.05,))
    with listening(create_app(service.settings)) as url:
        client = type(both.client)(url)
        job = both.do(client.search(RANDOM))
        ended: list[Any] = []
        watching = threading.Thread(target=lambda: ended.append(both.do(job.watch())), daemon=True)
        watching.start()
        until(lambda: "trials 0/4" in capsys.readouterr().out, "a first line")
    time.sleep(1)
    assert watching.is_alive()
    port = int(url.rsplit(":", 1)[1])
    with listening(create_app(service.settings), port):
        httpx.post(f"{url}/v1/jobs/{job.id}/cancel")
        watching.join(30)
    assert (ended, "cancelled" in repr(job)) == ([job], True)
    both.do(client.close())


def test_a_service_that_stays_away_is_given_up(service: Service, both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RECONNECT_S", 0.01)
    monkeypatch.setattr(patience, "RESTS_S", ())
    with listening(create_app(service.settings)) as url:
        client = type(both.client)(url)
        job = both.do(client.search(RANDOM))
    with pytest.raises(NoService, match="no service answers"):
        both.do(job.watch())
    both.do(client.close())


def test_a_job_that_is_deleted_meanwhile_is_told_in_the_services_words(client: Client) -> None:
    job = client.search(RANDOM)
    client.job(job.id).delete(force=True)
    with pytest.raises(Exception, match=f"there is no job '{job.id}'"):
        job.watch()


def test_a_bar_stands_in_a_terminal(client: Client, service: Service, tmp_path: Path) -> None:
    job = client.search(RANDOM)
    run_trial(service.store, accuracy=0.5)
    job.cancel()
    with (
        (tmp_path / "out").open("w") as file,
        shows.terminal(Console(file=file, force_terminal=True, width=120)) as show,
    ):
        assert shows.follow(job.looks(), show).state == "cancelled"
    assert "cancelled \x1b[90m━" in (tmp_path / "out").read_text()
    assert "best 50.00 % on validation" in (tmp_path / "out").read_text()
