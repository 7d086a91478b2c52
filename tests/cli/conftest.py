"""A real service without workers, and the command against it."""

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from cli.main import run
from cli.service import local_service
from nas.client import Client, Job
from nas.client.answers import Dashboard
from nas.settings import Settings


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Settings]]:
    """A real service on the loopback without workers, and a client of it."""
    settings = Settings.read({"NAS_HOME": str(tmp_path_factory.mktemp("home")), "NAS_LOG": "ERROR"})
    with local_service(settings, 0, [], os.environ) as url, Client(url) as client:
        yield client, settings


@pytest.fixture
def nas(
    service: tuple[Client, Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`nas ARGUMENTS --url …` in this process; (status, output, errors). What it would watch, it cancels."""

    def cancelled(job: Job, console: object) -> Dashboard:
        return job.cancel().dashboard()

    def run_it(*arguments: str) -> tuple[int, str, str]:
        status = 0
        monkeypatch.setattr("cli.watch.watch", cancelled)
        monkeypatch.setattr(sys, "argv", ["nas", *arguments, "--url", service[0].url])
        try:
            run()
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_it
