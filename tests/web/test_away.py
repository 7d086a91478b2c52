"""What goes wrong is told, and passes: a service that is away, a cut network, what fails, what is not there."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from nas.settings import Settings
from nas.store.session import Store
from nas.store.states import JobState, Reason, TrialState
from nas.store.tables import Job
from tests.processes import add_job, open_store, process, settings_in, until
from tests.support import finish, report, run_trial, take
from tests.web.browser import accessible, keep, visit

MARK = "() => { window.marker = 1; window.first = document.querySelector('.job'); }"
SAME = "() => window.marker === 1 && window.first.isConnected"
LOST = "ERR_|Failed to load resource|failed: "
RAISED = 'Traceback (most recent call last):\n  File "net.py", line 7\nValueError: <b>no</b> such size: é\n'


@dataclass(frozen=True)
class Service:
    settings: Settings
    store: Store
    url: str

    @contextmanager
    def up(self) -> Iterator[None]:
        """The service in a process of its own, which is killed at the end."""
        command = ["-m", "cli", "serve", "--port", self.url.rpartition(":")[2], "--workers", "0"]
        with process(command, self.settings, self.settings.home / "log"):
            until(self._answers, "an answer of the service")
            yield

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = settings_in(tmp_path_factory.mktemp("away"))
    store = open_store(settings)
    yield Service(settings, store, f"http://127.0.0.1:{port}")
    store.close()


@pytest.fixture(scope="module")
def up(service: Service) -> Iterator[Service]:
    with service.up():
        yield service


def begun(service: Service) -> str:
    """A job with a trial that is complete and room for more."""
    with service.store.write() as session:
        session.execute(update(Job).values(state=JobState.CANCELLED))  # those of the tests before this one
    job = add_job(service.settings, service.store, {"dataset": "digits", "strategy": "random", "pruning": "none"})
    run_trial(service.store)
    return job


def look_at(page: Page, job: str) -> None:
    """Opens the job's page, and marks it: SAME tells whether it is still that page."""
    page.goto(f"/jobs/{job}")
    page.locator(".job-head button", has_text="Pause").wait_for()
    page.evaluate(MARK)


def has_trials(page: Page, count: int) -> None:
    page.locator("table.trials").scroll_into_view_if_needed()
    expect(page.locator("table.trials tbody tr")).to_have_count(count)


def test_a_service_that_comes_back_is_noticed_without_a_reload(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as (page, watch):
        watch.expect(LOST)
        with service.up():
            job = begun(service)
            look_at(page, job)
            expect(page.locator("#connection")).to_have_text("● live")
            has_trials(page, 1)
        expect(page.locator("#connection")).to_contain_text("lost")
        keep(page, "lost")
        with service.up():
            expect(page.locator("#connection")).to_have_text("● live")
            run_trial(service.store)
            has_trials(page, 2)
            assert page.evaluate(SAME)


def test_a_cut_network_is_told_and_what_was_missed_is_caught_up_on(up: Service, browser: Browser) -> None:
    with visit(browser, up.url) as (page, watch):
        watch.expect(LOST)
        job = begun(up)
        look_at(page, job)
        has_trials(page, 1)
        page.context.set_offline(True)
        run_trial(up.store)
        page.evaluate("document.dispatchEvent(new CustomEvent('job-changed'))")  # as a button does
        expect(page.locator("#connection")).to_contain_text("lost")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#notices")).to_contain_text("does not answer")
        page.context.set_offline(False)
        expect(page.locator("#connection")).to_have_text("● live")
        has_trials(page, 2)
        assert page.evaluate(SAME)


def test_a_failed_job_says_why_and_shows_the_traceback(up: Service, browser: Browser) -> None:
    with visit(browser, up.url) as (page, watch):
        watch.expect("status of 404")  # the picture of what is not there
        job = begun(up)
        claim = take(up.store)
        report(up.store, claim, 1)
        finish(up.store, claim, TrialState.FAILED, reason=Reason.ERROR, error=RAISED)
        look_at(page, job)
        page.get_by_role("heading", name="What went wrong").scroll_into_view_if_needed()
        page.get_by_text("Trial 1: error").click()
        expect(page.get_by_label("Traceback of trial 1")).to_have_text(RAISED, use_inner_text=True)
        assert page.locator("main pre b").count() == 0
        assert accessible(page) == []
        keep(page, "failed")
        page.goto("/jobs/nonesuch")
        expect(page.get_by_role("alert")).to_contain_text("There is no such thing here")
        expect(page.get_by_role("alert")).to_contain_text("nonesuch")
        assert accessible(page) == []
        keep(page, "missing")
        page.get_by_role("link", name="All jobs").click()
        expect(page.get_by_role("link", name=job)).to_be_visible()


def test_a_data_set_that_is_refused_says_what_to_mend(up: Service, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "notes.zip").write_bytes(b"no archive at all")
    with visit(browser, up.url) as (page, watch):
        watch.expect("status of 422")
        page.goto("/datasets")
        page.locator("input[type=file]").set_input_files(tmp_path / "notes.zip")
        page.get_by_label("Call it").fill("notes")
        page.get_by_role("button", name="Upload", exact=True).click()
        expect(page.locator(".upload [role=alert]")).to_contain_text("notes.zip")
        assert accessible(page) == []
        keep(page, "data-set-refused")
