"""The service that bench/chaos.py torments: real processes, which are started again when they were killed."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from nas.settings import Settings
from tests.postgres import Server

LEASE_S = 3.0
HERE = Path(__file__).parent
FULL_BYTES = 64 << 20
"""Of the small disk that the files are on, where one can be made."""


@dataclass(eq=False)
class Service:
    """An API, workers and a database in a folder.

    Attributes:
        folder: of everything.
        backend: sqlite or postgresql.
        workers: how many.
        small_disk: whether the folder's `home` is a disk of its own, which can really be full.
    """

    folder: Path
    backend: str
    workers: int
    small_disk: bool
    server: Server | None = None
    port: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    frozen: dict[str, float] = field(default_factory=dict)
    later: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.faults.mkdir()
        if self.backend == "postgresql":
            self.server = Server(self.folder / "pg")
            self.server.start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        subprocess.run([sys.executable, "-m", "cli", "migrate"], env=self._environ(), check=True, capture_output=True)

    @property
    def home(self) -> Path:
        """Of files, and of the embedded database."""
        return self.folder / "home"

    @property
    def faults(self) -> Path:
        """Whose files say what is wrong with the disk."""
        return self.folder / "faults"

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        """What all processes are started with."""
        return Settings.read(
            {
                "NAS_HOME": str(self.home),
                "NAS_DATABASE_URL": self.server.url() if self.server else "",
                "NAS_LEASE_SECONDS": str(LEASE_S),
                "NAS_RATE_PER_MINUTE": "0",
                "NAS_PLUGINS": "faults",
            }
        )

    @property
    def names(self) -> list[str]:
        """Of the processes that should run."""
        return ["api", *(f"worker-{index}" for index in range(self.workers))]

    def keep(self) -> None:
        """Starts what does not run, and ends what was to last only so long."""
        for name in self.names:
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                self._start(name)
        for name, until in list(self.frozen.items()):
            if time.monotonic() >= until:
                self.thaw(name)
        for until, what in list(self.later):
            if time.monotonic() >= until:
                self.later.remove((until, what))
                self._undo(what)

    def freeze(self, name: str, seconds: float) -> None:
        """Stops a process, as a machine that swaps would."""
        self.processes[name].send_signal(signal.SIGSTOP)
        self.frozen[name] = time.monotonic() + seconds

    def thaw(self, name: str) -> None:
        """Lets it go on."""
        del self.frozen[name]
        if self.processes[name].poll() is None:
            self.processes[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        """kill -9; whoever is frozen dies as well."""
        self.frozen.pop(name, None)
        self.processes[name].kill()
        self.processes[name].wait()

    def fill_disk(self, seconds: float) -> None:
        """Leaves no room for files for a while."""
        if self.small_disk:
            with (self.home / "ballast").open("wb", buffering=0) as ballast:
                try:
                    while True:
                        ballast.write(bytes(1 << 16))
                except OSError:
                    pass
        else:
            (self.faults / "full").touch()
        self.later.append((time.monotonic() + seconds, "full"))

    def slow_disk(self, seconds: float) -> None:
        """Makes every file take half a second for a while."""
        (self.faults / "slow").touch()
        self.later.append((time.monotonic() + seconds, "slow"))

    def end_database(self, how: str, seconds: float) -> None:
        """Stops, crashes or kills PostgreSQL, and starts it again after a while."""
        assert self.server is not None
        if not any(what == "database" for _, what in self.later):
            {"stop": self.server.stop, "crash": self.server.crash, "kill": self.server.kill}[how]()
            self.later.append((time.monotonic() + seconds, "database"))

    def calm(self) -> None:
        """Undoes everything that is still wrong."""
        for name in list(self.frozen):
            self.thaw(name)
        for _, what in self.later:
            self._undo(what)
        self.later.clear()

    def close(self) -> None:
        """Ends all processes, in good order where they take the chance."""
        self.calm()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.server is not None:
            self.server.crash()

    def log(self, name: str) -> Path:
        """Of a process and its successors."""
        return self.folder / f"{name}.log"

    def _undo(self, what: str) -> None:
        if what == "database":
            assert self.server is not None
            self.server.start()
        elif what == "full" and self.small_disk:
            (self.home / "ballast").unlink(missing_ok=True)
        else:
            (self.faults / what).unlink(missing_ok=True)

    def _start(self, name: str) -> None:
        serve = ["-m", "cli", "serve", "--port", str(self.port), "--workers", "0"]
        command = serve if name == "api" else ["-m", "worker.main", "--device", "cpu"]
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environ(self) -> dict[str, str]:
        ours = {"OMP_NUM_THREADS": "1", "CHAOS_FAULTS": str(self.faults), "PYTHONPATH": str(HERE)}
        return {**os.environ, **self.settings.to_environ(), **ours}


def do(service: Service, action: str, rng: random.Random) -> str:
    """One thing that goes wrong; what it was."""
    worker = f"worker-{rng.randrange(service.workers)}"
    short_s, long_s = rng.uniform(0.2, 2.0), LEASE_S + rng.uniform(0.5, 3.0)
    match action:
        case "kill worker":
            service.kill(worker)
            return f"kill -9 {worker}"
        case "kill all workers":
            for name in service.names[1:]:
                service.kill(name)
            return "kill -9 all workers"
        case "freeze worker":
            service.freeze(worker, long_s)
            return f"SIGSTOP {worker} for {long_s:.1f} s"
        case "kill api":
            service.kill("api")
            return "kill -9 api"
        case "freeze api":
            service.freeze("api", short_s)
            return f"SIGSTOP api for {short_s:.1f} s"
        case "full disk":
            service.fill_disk(short_s + 1)
            return f"the disk is full for {short_s + 1:.1f} s"
        case "slow disk":
            service.slow_disk(long_s)
            return f"the disk is slow for {long_s:.1f} s"
        case "kill connection":
            assert service.server is not None
            service.server.kill_one(rng.randrange(1000))
            return "kill -9 one of PostgreSQL's processes"
        case _:
            how = action.removesuffix(" database")
            service.end_database(how, short_s)
            return f"PostgreSQL: {how}, away for {short_s:.1f} s"


ACTIONS = ("kill worker", "freeze worker", "kill api", "freeze api", "full disk", "slow disk", "kill all workers")
"""What can go wrong on every database."""

POSTGRESQL = ("stop database", "crash database", "kill database", "kill connection")
"""What can go wrong besides where there is a server."""


def small_disk(folder: Path) -> bool:
    """Makes a small disk of a folder, if this process may; in a mount namespace of its own it ends with it."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    size = f"size={FULL_BYTES}"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=False, capture_output=True)  # noqa: S607
    return made.returncode == 0
