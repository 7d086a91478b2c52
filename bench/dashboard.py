"""How soon the pages of a large job can be used, and how smoothly they scroll, in a real Chromium.

python bench/dashboard.py [--sizes 100 10000] [--widths 360 1280 2560] [--visits 5] [--alternative optuna-dashboard]

A service of its own (`nas serve --workers 0`) has a job at work with so many trials. Beside it optuna-dashboard, if the
command is found, shows the same trials, which `nas export` has copied for it. Every visit is one of a browser that has
never been there; each figure is the median of the visits. Columns:

- usable: from the address to the page with its state, its buttons and its first picture; of optuna-dashboard to its
  first picture, for its buttons come before there is anything to see.
- again: the same, of a browser that was there before.
- quiet: to when nothing has been asked for, for half a second.
- sent, busy: what came over the wire, and how long the page's own thread worked until then.
- frame, longest: while it is scrolled from top to bottom, the median interval between two frames and the longest task.

State the machine with the figures; on one that does other work they mean little.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from service_data import add_job

from nas import Client
from nas.settings import Settings
from nas.store.migrate import migrate
from nas.store.session import Store

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
HEIGHT = 800
OURS = (".job-head [role=group] button", "figure canvas, figure svg, .chart canvas, .chart svg")
THEIRS = (".js-plotly-plot .plot-container svg",)
QUIET_MS = 500
WAIT_MS = 120_000

NOTED = """(signs) => {
  const there = (sign) => [...document.querySelectorAll(sign)].some((each) => each.getBoundingClientRect().width > 0);
  const look = () => signs.every(there) ? (window.usable = performance.now()) : requestAnimationFrame(look);
  look();
}"""
"""Looks at every frame: what drives the browser asks at longer and longer intervals, up to half a second."""

TOLD = """() => new Promise((done) => {
  const look = () => window.usable === undefined ? setTimeout(look, 20) : done(window.usable);
  look();
})"""

SCROLL = """async () => {
  const longest = [];
  const seen = new PerformanceObserver((list) => longest.push(...list.getEntries().map((entry) => entry.duration)));
  seen.observe({ type: "longtask" });
  const frames = [];
  let last = performance.now();
  const end = document.documentElement.scrollHeight;
  for (let y = 0; y < end; y += 40) {
    scrollTo(0, y);
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  await new Promise((done) => setTimeout(done, 100));
  seen.disconnect();
  frames.sort((a, b) => a - b);
  return [frames[Math.floor(frames.length / 2)], Math.max(0, ...longest)];
}"""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit has measured; its fields are the columns of the table."""

    usable_ms: float
    again_ms: float
    quiet_ms: float
    sent_kb: float
    busy_ms: float
    frame_ms: float
    longest_ms: float


def visit(browser: Browser, url: str, width: int, signs: tuple[str, ...]) -> Visit:
    """Goes to a page and down to its end."""
    context = browser.new_context(viewport={"width": width, "height": HEIGHT})
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        wire.send("Performance.enable")
        sent: list[float] = []
        wire.on("Network.loadingFinished", lambda event: sent.append(event["encodedDataLength"]))
        page.add_init_script(f"({NOTED})({json.dumps(signs)})")
        usable_ms = _usable_ms(page, url)
        quiet_ms = _quiet_ms(page)
        metrics = {entry["name"]: entry["value"] for entry in wire.send("Performance.getMetrics")["metrics"]}
        kilobytes, busy_ms = sum(sent) / 1024, 1e3 * metrics["TaskDuration"]
        frame_ms, longest_ms = page.evaluate(SCROLL)
        again_ms = _usable_ms(page, url)
        return Visit(usable_ms, again_ms, quiet_ms, kilobytes, busy_ms, frame_ms, longest_ms)
    finally:
        context.close()


def _usable_ms(page: Page, url: str) -> float:
    page.goto(url, wait_until="commit")
    return float(page.evaluate(TOLD))


def _quiet_ms(page: Page) -> float:
    """When what was asked for last had come; a page that listens for news is never done with that."""
    last: float = -1.0
    while True:
        found: float = page.evaluate(
            "Math.max(0, ...performance.getEntriesByType('resource').map((entry) => entry.responseEnd))"
        )
        if found == last:
            return found
        last = found
        page.wait_for_timeout(QUIET_MS)


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[str]:
    """A server's process; yields the address that it prints."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield next(found[0] for line in process.stdout if (found := re.search(r"http://[\w.]+:\d+", line)))
        finally:
            process.send_signal(signal.SIGINT)


@contextmanager
def ours(folder: Path, size: int) -> Iterator[tuple[str, str]]:
    """A service with a job of so many trials; yields its URL and the job."""
    settings = Settings.read({"NAS_HOME": str(folder), "NAS_LOG": "WARNING"})
    store = Store(settings.database_url)
    migrate(store)
    job = add_job(store, size)
    store.close()
    environment = dict(os.environ) | settings.to_environ() | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "cli", "serve", "--port", "0", "--workers", "0"]
    with _started(command, environment) as url:
        yield url, job


@contextmanager
def theirs(program: str, storage: str) -> Iterator[str]:
    """optuna-dashboard on a storage; yields the page of its first study."""
    command = [program, storage, "--port", "8089"]
    with _started(command, dict(os.environ) | {"PYTHONUNBUFFERED": "1"}) as url:
        yield f"{url}/dashboard/studies/1"


def measured(browser: Browser, url: str, widths: list[int], visits: int, signs: tuple[str, ...]) -> Iterator[str]:
    """A line a width."""
    visit(browser, url, widths[0], signs)  # the server reads its code and the database's pages
    for width in widths:
        found = [visit(browser, url, width, signs) for _ in range(visits)]
        medians = [statistics.median(getattr(each, column.name) for each in found) for column in fields(Visit)]
        yield f"{width:>6}" + "".join(f"{value:>12,.0f}" for value in medians)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--widths", type=int, nargs="+", default=[360, 1280, 2560])
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--alternative", default="optuna-dashboard", help="its command; left out if it is not found")
    options = parser.parse_args()
    program = shutil.which(options.alternative)
    head = f"{'':<18}{'trials':>7}{'width':>6}" + "".join(f"{each.name:>12}" for each in fields(Visit))
    print(head, flush=True)
    found = os.environ.get("NAS_CHROMIUM", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found if Path(found).exists() else None, args=list(FLAGS))
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                with ours(folder, size) as (url, job):
                    for line in measured(browser, f"{url}/jobs/{job}", options.widths, options.visits, OURS):
                        print(f"{'ours':<18}{size:>7}{line}", flush=True)
                    if program is not None:
                        Client(url).job(job).export(f"sqlite:///{folder}/optuna.db")
                if program is not None:
                    with theirs(program, f"sqlite:///{folder}/optuna.db") as page:
                        for line in measured(browser, page, options.widths, options.visits, THEIRS):
                            print(f"{'optuna-dashboard':<18}{size:>7}{line}", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
