"""How fast the service answers, and how much work its database bears: a table of figures, targets, alternatives.

python bench/service.py [--sizes 100 1000 10000 100000] [--backends sqlite postgresql] [--quick] [--out FILE]

For each database a service of its own is started (`nas serve --workers 0`) and asked over HTTP on connections that are
kept alive; PostgreSQL runs with the settings that it comes with. Sections:

- polls: the dashboard of a job with so many trials, with and without If-None-Match, and right after a change.
  Beside it what the plain way costs in this process: all trials of the job read and written as JSON.
- pages: trials of the largest job: in every order, filtered, at the beginning and deep in it.
- crowd: 100 clients poll 50 jobs once a second while 16 workers report twice a second; then without any pause.
- rates: claim, 5 reports and finish, trials a second, beside Optuna's storage; see bench/service_rates.py.

Every answer is checked. State the machine with the figures; on one that does other work they mean little.
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import service_rates
from service_client import Answer, Connection
from service_data import CONTENT, EPOCHS, RUNNING, add_job, database, report_epoch, reporters
from sqlalchemy import select, update

from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from nas.store.claims import Claim
from nas.store.migrate import migrate
from nas.store.session import Store
from nas.store.tables import Job, Trial

SECTIONS = ("polls", "pages", "crowd", "rates")
BODY_BYTES = 32_768
JOBS, CLIENTS, WORKERS = 50, 100, 16
PLAIN_SIZES = 1_000
"""Up to so many trials the plain way is measured; beyond it takes seconds each time."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    what: str
    backend: str
    ours: str
    target: str
    alternative: str = ""
    good: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs, and its database."""

    backend: str
    store: Store
    port: int
    pid: int

    def cpu_ms(self) -> float:
        """That its process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return 1e3 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Sample:
    """Answers, and the CPU time that the service took for them: it tells more than the clock on a busy machine."""

    answers: list[Answer] = field(default_factory=list)
    cpu_ms: float = 0.0

    @contextmanager
    def of(self, service: Service) -> Iterator[Self]:
        """Counts what happens meanwhile."""
        before_ms = service.cpu_ms()
        yield self
        self.cpu_ms += service.cpu_ms() - before_ms


@contextmanager
def serving(backend: str) -> Iterator[Service]:
    """A service without workers on an empty database of its own."""
    with tempfile.TemporaryDirectory() as folder, database(backend, Path(folder)) as url:
        settings = Settings.read({"NAS_HOME": folder, "NAS_DATABASE_URL": url, "NAS_LOG": "WARNING"})
        store = Store(url)
        migrate(store)
        ArtifactStore(settings.artifacts_url).put(CONTENT)
        started = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--port", "0", "--workers", "0"],
            env=dict(os.environ) | settings.to_environ() | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Service(backend, store, _port(started), started.pid)
        finally:
            started.send_signal(signal.SIGINT)
            started.wait()
            store.close()


def _port(started: subprocess.Popen[str]) -> int:
    """Where it says that it listens."""
    assert started.stdout is not None
    for line in started.stdout:
        for word in line.split():
            if word.startswith("http://127.0.0.1:"):
                return int(word.rsplit(":", 1)[1])
    raise RuntimeError(f"the service ended with status {started.wait()}")


# --- the dashboard


def polls(service: Service, sizes: list[int], asks: int) -> list[Row]:
    """The dashboard at every size."""
    rows = []
    for size in sizes:
        job_id = add_job(service.store, size, seed=size)
        found = asyncio.run(_poll(service, job_id, size, asks))
        whole = found["whole"]
        kilobytes = len(whole.answers[0].body) / 1024
        plain = _plain_ms(service.store, job_id) if size <= PLAIN_SIZES else ""
        name = f"dashboard, {size:,} trials"
        target = "p50 < 5, p99 < 25 ms, < 32 KB"
        rows += [
            _timed(f"{name}, {kilobytes:.1f} KB", service, whole, target, plain, 5, 25),
            _timed(f"{name}, 304", service, found["unchanged"], "p50 < 5, p99 < 25 ms", "", 5, 25),
            _timed(f"{name}, changed each time", service, found["changed"], "", "", 1e9, 1e9),
        ]
        assert len(whole.answers[0].body) < BODY_BYTES
    return rows


async def _poll(service: Service, job_id: str, size: int, asks: int) -> dict[str, Sample]:
    path, found = f"/v1/jobs/{job_id}/dashboard", dict[str, Sample]()
    line = await Connection.open(service.port)
    for _ in range(20):
        first = await line.get(path)
    with found.setdefault("whole", Sample()).of(service) as sample:
        sample.answers += [await line.get(path) for _ in range(asks)]
    for answer in sample.answers:
        shown = json.loads(answer.body)
        assert (answer.status, answer.tag) == (200, first.tag)
        assert sum(shown["counts"].values()) == size
        assert len(shown["running"]) == min(size, RUNNING)
    with found.setdefault("unchanged", Sample()).of(service) as sample:
        sample.answers += [await line.get(path, first.tag) for _ in range(asks)]
    assert {(answer.status, answer.body) for answer in sample.answers} == {(304, b"")}
    with found.setdefault("changed", Sample()).of(service) as sample:
        for note in range(asks // 4):
            with service.store.write() as session:
                session.execute(update(Job).where(Job.id == job_id).values(note=str(note), version=Job.version + 1))
            sample.answers.append(await line.get(path, first.tag))
            assert json.loads(sample.answers[-1].body)["job"]["note"] == str(note)
    line.close()
    return found


def _plain_ms(store: Store, job_id: str) -> str:
    """All trials with their candidates, as a study is read and sent."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        with store.read() as session:
            trials = session.scalars(select(Trial).where(Trial.job_id == job_id)).all()
        columns = [column.key for column in Trial.__table__.columns]
        body = json.dumps([{name: getattr(trial, name) for name in columns} for trial in trials], default=str)
        taken.append(1e3 * (time.perf_counter() - began))
    return f"all trials read and sent: {min(taken):.0f} ms, {len(body) / 1024:,.0f} KB"


# --- pages of trials


def pages(service: Service, size: int, asks: int) -> list[Row]:
    """Every order, with and without filters, shallow and deep."""
    job_id = add_job(service.store, size, seed=7)
    with service.store.read() as session:
        columns = (Trial.number, Trial.accuracy, Trial.params, Trial.epoch, Trial.state)
        trials = session.execute(select(*columns).where(Trial.job_id == job_id)).all()
    rows = []
    for kind in ("", "&state=complete", "&state=failed", "&state=complete&state=pruned&phase=search"):
        found = Sample()
        for sort in ("number", "accuracy", "params", "epoch"):
            for sign in ("", "-"):
                asyncio.run(_pages(service, job_id, sign + sort, kind, trials, asks, found))
        name = f"page of 100 of {size:,} trials, 8 orders{', ' + kind[1:] if kind else ''}"
        rows.append(_timed(name, service, found, "p99 < 50 ms", "", 50, 50))
    return rows


async def _pages(
    service: Service, job_id: str, sort: str, kind: str, trials: list[Any], asks: int, found: Sample
) -> None:
    """Pages at places all over the order, each compared with the whole list, sorted here."""
    states = {part.removeprefix("state=") for part in kind.split("&") if part.startswith("state=")}
    key = sort.removeprefix("-")
    expected = sorted(
        (trial for trial in trials if not states or trial.state in states),
        key=lambda trial: (getattr(trial, key) is not None, getattr(trial, key) or 0, trial.number),
        reverse=sort.startswith("-"),
    )
    path, line, places = f"/v1/jobs/{job_id}/trials?sort={sort}{kind}", await Connection.open(service.port), {0: ""}
    cursor = ""
    for begin in range(500, min(len(expected), 10_000), 500):  # leaf through it, to have cursors
        answer = json.loads((await line.get(f"{path}&limit=500{cursor}")).body)
        cursor = f"&cursor={answer['next_cursor']}"
        places[begin] = cursor
    for begin in range(10_000, len(expected), 9_973):  # and those that pages deep in it would have ended with
        last = [sort, getattr(expected[begin - 1], key), expected[begin - 1].number]
        places[begin] = f"&cursor={base64.urlsafe_b64encode(json.dumps(last).encode()).decode()}"
    for begin in random.Random(0).choices(sorted(places), k=asks):
        with found.of(service):
            answer = await line.get(f"{path}&limit=100{places[begin]}")
            found.answers.append(answer)
        numbers = [trial["number"] for trial in json.loads(answer.body)["items"]]
        assert numbers == [trial.number for trial in expected[begin : begin + 100]], (sort, kind, begin)
    line.close()


# --- many clients, and workers that report


def crowd(service: Service, seconds: float) -> list[Row]:
    """Clients that poll while workers report, at the pace of a watched bar, and as fast as they can."""
    job_ids = [add_job(service.store, 200, seed=seed) for seed in range(JOBS)]
    context = multiprocessing.get_context("spawn")
    begun, stop, told = context.Event(), context.Event(), context.Value("i", 0)
    # Not in this process: threads that report would hold up the clients whose wait is measured.
    given = (service.store.url, job_ids[:WORKERS], begun, stop, told)
    workers = context.Process(target=_report, args=given)
    workers.start()
    begun.wait(60)
    rows = []
    try:
        for pause_s, name, limit_ms in ((1.0, "once a second", 100), (0.0, "without a pause", 1e9)):
            before, began = told.value, time.perf_counter()
            with (sample := Sample()).of(service):
                asyncio.run(_clients(service, job_ids, pause_s, seconds, sample.answers))
            taken_s = time.perf_counter() - began
            pace = f"{len(sample.answers) / taken_s:.0f} polls/s, {(told.value - before) / taken_s:.0f} reports/s"
            what = f"{CLIENTS} clients poll {JOBS} jobs {name}, {pace}"
            target = "p99 < 100 ms, no errors" if pause_s else ""
            rows.append(_timed(what, service, sample, target, "", limit_ms, limit_ms))
    finally:
        stop.set()
        workers.join()
    return rows


def _report(url: str, job_ids: list[str], begun: Any, stop: Any, told: Any) -> None:
    """The workers, in a process of their own: each reports an epoch twice a second."""
    store = Store(url)

    def work(claim: Claim) -> None:
        epoch = EPOCHS
        while not stop.wait(0.5 * random.uniform(0.8, 1.2)):
            epoch += 1
            report_epoch(store, claim, epoch)
            with told.get_lock():
                told.value += 1

    threads = [threading.Thread(target=work, args=(claim,)) for claim in reporters(store, job_ids)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    store.close()


async def _clients(service: Service, job_ids: list[str], pause_s: float, seconds: float, found: list[Answer]) -> None:
    end = time.perf_counter() + seconds

    async def client(index: int) -> None:
        line, path, tag = await Connection.open(service.port), f"/v1/jobs/{job_ids[index % JOBS]}/dashboard", ""
        await asyncio.sleep(pause_s * index / CLIENTS)
        while time.perf_counter() < end:
            answer = await line.get(path, tag)
            assert answer.status == (304 if answer.tag == tag else 200), answer
            assert (answer.status == 304) == (not answer.body)
            tag = answer.tag
            found.append(answer)
            await asyncio.sleep(pause_s)
        line.close()

    await asyncio.gather(*(client(index) for index in range(CLIENTS)))


# --- work


def work_rates(backend: str, workers: list[int], seconds: float) -> list[Row]:
    """Claim, 5 reports and finish, beside Optuna."""
    rows = []
    for count in workers:
        ours, optuna = service_rates.rates(backend, count, seconds)
        times = ours.rate / optuna.rate if optuna.rate else float("inf")
        rows.append(
            Row(
                f"claim + 5 reports + finish, {count} workers",
                backend,
                f"{ours.rate:.0f} trials/s, {ours.errors} errors; {times:.1f} times Optuna's",
                f"at least {service_rates.AIM} times Optuna's, no errors",
                f"Optuna: {optuna.rate:.1f} trials/s, {optuna.errors} errors",
                times >= service_rates.AIM and not ours.errors,
            )
        )
    return rows


# --- the table


def _timed(
    what: str, service: Service, sample: Sample, target: str, alternative: str, p50_ms: float, p99_ms: float
) -> Row:
    taken = np.array([answer.taken_ms for answer in sample.answers])
    p50, p90, p99 = np.percentile(taken, (50, 90, 99))
    ours = f"p50 {p50:.1f}, p90 {p90:.1f}, p99 {p99:.1f}, max {taken.max():.1f} ms; {len(taken):,} requests, "
    ours += f"{sample.cpu_ms / len(taken):.1f} ms of its CPU each"
    return Row(what, service.backend, ours, target, alternative, bool(p50 < p50_ms and p99 < p99_ms))


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = ["| what | database | ours | target | reached | alternative |", "|---|---|---|---|---|---|"]
    for row in rows:
        reached = ("yes" if row.good else "NO") if row.target else ""
        lines.append(f"| {row.what} | {row.backend} | {row.ours} | {row.target} | {reached} | {row.alternative} |")
    return "\n".join(lines)


def main() -> int:
    """Measures what was asked for; 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, help="trials; default: 100, 1,000, 10,000 and 100,000")
    parser.add_argument("--backends", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="fewer trials and requests: two minutes")
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args()
    sizes = options.sizes or ([100, 10_000] if options.quick else [100, 1_000, 10_000, 100_000])
    asks, rows = (100, list[Row]()) if options.quick else (400, list[Row]())
    for backend in options.backends:
        with serving(backend) as service:
            if "polls" in options.sections:
                rows += polls(service, sizes, asks)
                print(table(rows), flush=True)
            if "pages" in options.sections:
                rows += pages(service, max(sizes), asks // 4)
            if "crowd" in options.sections:
                rows += crowd(service, 8 if options.quick else 30)
        if "rates" in options.sections:
            rows += work_rates(backend, [1, 8] if options.quick else [1, 8, 32], 3 if options.quick else 8)
        print(table(rows), flush=True)
    if options.out:
        options.out.write_text(table(rows) + "\n")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
