"""Makes the pictures of the documentation: screenshots of a service with a few jobs, and the figures of a report.

    python docs/pictures.py [--url URL --job ID]

Without a URL it starts a service of its own in a temporary folder, which takes a few minutes on two cores. With one,
only what can be seen of that finished job is made. demo.svg and cells.svg come from `make demo`: see bench/picture.py.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from nas import Client
from nas.client import Job

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")

JOB: dict[str, Any] = {
    "dataset": "digits",
    "name": "digits, small and accurate",
    "objectives": ["accuracy", "params"],
    "budget": {"trials": 24, "epochs": 6, "parallel": 1},  # so that it finds the same each time
    "final": {"epochs": 12},
    "seed": 1,
}
OTHERS: tuple[dict[str, Any], ...] = (
    {"dataset": "digits", "name": "one supernet", "strategy": "darts"},
    {
        "dataset": "digits",
        "name": "with its recipe",
        "strategy": "tpe",
        "recipe": {"optimizer": {"choices": ["sgd", "adamw"]}},
    },
)
"""What is in the list of jobs besides."""

SHOWN = ("Verdict", "Best architecture", "Learning curves", "Trade-offs")
"""The sections of a job's page that its picture is made of; the page itself has them all."""

WORKERS = 2
SETTLED_MS = 2000


@dataclass(frozen=True, slots=True)
class Frame:
    """How large a window is, in CSS pixels, and the pixels that the picture has for each."""

    width: int
    height: int
    scale: float = 1.0


DESK, WIDE, PHONE = Frame(1280, 860), Frame(1920, 1000, 0.75), Frame(390, 844, 1.5)


def main() -> None:
    """Makes them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--job")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        found = os.environ.get("NAS_CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=found if Path(found).exists() else None, args=list(FLAGS))
        if options.url:
            finished(browser, Client(options.url).job(options.job))
        else:
            with serving() as url:
                everything(browser, Client(url))
        browser.close()


def everything(browser: Browser, client: Client) -> None:
    """All pictures, of a service that has nothing to do yet."""
    while client.estimate(dataset="digits")["workers"] < WORKERS:
        time.sleep(1)
    shoot(browser, f"{client.url}/new", "new", DESK, choose)
    job = client.search(JOB)
    while job.dashboard()["progress"]["trials_finished"] < JOB["budget"]["trials"] // 3:
        time.sleep(1)
    shoot(browser, job.url, "running", DESK)
    job.wait()
    finished(browser, job)
    others = [client.search(other) for other in OTHERS]
    while not others[0].dashboard()["progress"]["fraction"]:
        time.sleep(1)
    shoot(browser, f"{client.url}/", "jobs", Frame(1280, 480))
    for other in others:
        other.cancel()


def finished(browser: Browser, job: Job) -> None:
    """What there is to see of a finished job."""
    shoot(browser, job.url, "job", WIDE, leave_shown)
    shoot(browser, job.url, "phone", PHONE)
    for name in ("verdict", "pareto", "curves"):
        job.figure(name).save(PICTURES / f"{name}.svg")
    print((job.best().verdict or {}).get("text"))  # noqa: T201 - what the README says below the picture


def shoot(browser: Browser, url: str, name: str, frame: Frame, prepare: Callable[[Page], None] | None = None) -> None:
    """Writes what a page looks like once it has come to rest; the whole of it where it is the job's."""
    size = {"width": frame.width, "height": frame.height}
    page = browser.new_page(viewport=size, device_scale_factor=frame.scale, color_scheme="light")  # type: ignore[arg-type]
    page.goto(url)
    page.locator("main h1").first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    if prepare is not None:
        prepare(page)
        page.wait_for_timeout(SETTLED_MS)
    save(page.screenshot(full_page=prepare is leave_shown), name)
    page.close()


def choose(page: Page) -> None:
    """Chooses a data set in the form, which then tells what the search would take."""
    page.get_by_label("Data set", exact=True).select_option("digits")


def leave_shown(page: Page) -> None:
    """Takes all sections but SHOWN of a job's page away, and what the last incumbent has changed."""
    page.evaluate(
        """names => {
            for (const section of document.querySelectorAll(".job > section, .job > .jumps")) {
                const heading = section.querySelector("h1, h2");
                if (heading?.tagName !== "H1" && !names.includes(heading?.textContent)) section.style.display = "none";
            }
        }""",
        list(SHOWN),
    )
    for name in SHOWN:  # what is not in sight is not asked for
        page.get_by_role("heading", name=name).scroll_into_view_if_needed()
        page.wait_for_timeout(SETTLED_MS)
    page.get_by_label("Mark what changed").uncheck()
    page.evaluate("scrollTo(0, 0)")


def save(png: bytes, name: str) -> None:
    """Writes a screenshot as small as it can be told without another colour."""
    Image.open(io.BytesIO(png)).convert("RGB").save(PICTURES / f"{name}.png", optimize=True)


@contextmanager
def serving() -> Iterator[str]:
    """A service with WORKERS, in a folder of its own."""
    command = [sys.executable, "-m", "cli", "serve", "--port", "0", "--workers", str(WORKERS), "--json"]
    with TemporaryDirectory() as home, (Path(home) / "serve.log").open("w+") as log:
        variables = os.environ | {"NAS_HOME": home}
        with subprocess.Popen(command, env=variables, stderr=log, stdout=subprocess.PIPE, text=True) as service:
            line = service.stdout.readline() if service.stdout else ""
            if not line:
                log.seek(0)
                raise SystemExit(f"nas serve did not start:\n{log.read()}")
            try:
                yield json.loads(line)["url"]
            finally:
                service.terminate()


if __name__ == "__main__":
    main()
