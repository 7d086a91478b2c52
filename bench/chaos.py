"""Everything that can go wrong does, for some minutes; then the service has to have lost nothing.

python bench/chaos.py [--minutes 10] [--seed 0] [--backend postgresql|sqlite] [--workers 4]

A real service (API, workers, a PostgreSQL server of its own) runs small real jobs, which users create, pause, resume,
cancel, extend, delete and watch, while at random, but by a seed, its processes are killed or frozen for longer than a
lease, its database is stopped, crashed and killed, and its disk is full or slow. Then all is left to settle, and every
row and file is compared (nas.store.audit). Prints what was done and every violation; status 1 if there is one.

The disk is really full where this process may mount one (as root): the artifact store's, and SQLite's with it.
Elsewhere the processes are told so whenever they store a file; that is also how the disk is slow. PostgreSQL's own disk
is left alone.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # for what it shares with the tests

from chaos_client import Users
from chaos_service import ACTIONS, POSTGRESQL, Service, do, small_disk
from sqlalchemy import select

from nas.store.artifacts import ArtifactStore
from nas.store.audit import audit
from nas.store.session import Store
from nas.store.states import Reason
from nas.store.tables import Job, Trial

ISOLATED = "--isolated"
"""Whether it runs in a mount namespace of its own already."""


def main() -> int:
    """Runs it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--open-jobs", type=int, default=3, help="that users have at a time")
    parser.add_argument("--settle", type=float, default=300.0, help="seconds until every job has to have ended")
    parser.add_argument(ISOLATED, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.isolated and os.geteuid() == 0 and shutil.which("unshare"):
        probe = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)  # noqa: S607
        if probe.returncode == 0:
            os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv, ISOLATED])  # noqa: S606, S607
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        real = options.isolated and small_disk(Path(folder) / "home")
        print(
            f"{options.backend}, {options.workers} workers, seed {options.seed}, {options.minutes:g} minutes; "
            f"the full disk is {'a real one' if real else 'pretended'}, the slow one is pretended",
            flush=True,
        )
        try:
            service = Service(Path(folder), options.backend, options.workers, real)
            try:
                violations = torment(service, options)
            finally:
                service.close()
        finally:
            if real:
                subprocess.run(["umount", Path(folder) / "home"], check=False)  # noqa: S607
    for violation in violations:
        print(f"VIOLATION: {violation}")
    print(f"{len(violations)} violations")
    return 1 if violations else 0


def torment(service: Service, options: argparse.Namespace) -> list[str]:
    """All of it; the violations."""
    rng = random.Random(options.seed)
    possible = ACTIONS + (POSTGRESQL if service.backend == "postgresql" else ())
    users = Users(service.url, options.seed, options.open_jobs)
    service.keep()
    if not users.begin(120):
        return [f"the service did not start: {service.log('api').read_text()[-3000:]}"]
    begun, done = time.monotonic(), Counter[str]()
    queue = rng.sample(possible, len(possible))  # each of them once, and then as it comes
    after = begun + 2
    while (now := time.monotonic()) < begun + options.minutes * 60:
        if now >= after:
            action = queue.pop() if queue else rng.choice(possible)
            print(f"{now - begun:6.1f} s  {do(service, action, rng)}", flush=True)
            done[action] += 1
            after = time.monotonic() + rng.uniform(1.0, 4.0)
        service.keep()
        time.sleep(0.1)
    service.calm()
    users.stop()
    print(f"{time.monotonic() - begun:6.1f} s  all is well again; waiting for the jobs to end", flush=True)
    states = users.settle(options.settle, service.keep)
    print(f"{time.monotonic() - begun:6.1f} s  " + ", ".join(f"{n} {what}" for what, n in sorted(done.items())))
    print(f"answers: {dict(sorted(users.answers.items()))}; jobs: {dict(Counter(states.values()))}")
    return [*users.violations, *judge(service, users)]


def judge(service: Service, users: Users) -> list[str]:
    """What the rows, the files and the logs say."""
    store = Store(service.settings.database_url)
    found = audit(store, ArtifactStore(service.settings.artifacts_url), settled=True)
    with store.read() as session:
        there = set(session.scalars(select(Job.id)))
        reasons = Counter(str(reason) for reason in session.scalars(select(Trial.reason)) if reason)
        errors = session.execute(
            select(Trial.job_id, Trial.number, Trial.error).where(Trial.reason == Reason.ERROR)
        ).all()
        count = len(session.scalars(select(Trial.id)).all())
    store.close()
    print(f"{count} trials; ended early: {dict(sorted(reasons.items()))}")
    found += [
        f"job {job_id} was answered for, and is not there" for job_id in sorted(users.jobs - users.deleted - there)
    ]
    found += [f"job {job_id} was never answered for, and is there" for job_id in sorted(there - users.jobs)]
    found += [f"trial {number} of job {job_id} ended with an error: {text}" for job_id, number, text in errors]
    for name in service.names:
        text = service.log(name).read_text()
        for match in list(re.finditer(r"^Traceback", text, re.MULTILINE))[:2]:
            found.append(f"{name} logged {text[max(0, match.start() - 400) : match.start() + 3000]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
