"""The commands of the images and services, run as they stand there, in a fresh environment, on a real PostgreSQL.

No container runs here. What is different from one: paths, host names and ports. What the workers' images install takes
minutes; their commands run with what the tests themselves have.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from tests import s3
from tests.deploy.compose import SECRETS, services
from tests.deploy.dockerfile import ROOT, Stage, last, read, shell
from tests.postgres import Server, server
from tests.processes import TINY, until

pytestmark = pytest.mark.timeout(900)  # on a machine that does much else besides

STAGES = read((ROOT / "Dockerfile").read_text())
DEVELOPMENT = Path(sys.executable).parent


@dataclass(frozen=True)
class Installed:
    """What stands for images: an environment made by the Dockerfile's own commands.

    Attributes:
        api: the programs of the image api.
        postgresql: those that the image backup has besides.
        scratch: for what is written.
    """

    api: Path
    postgresql: Path
    scratch: Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The RUN instructions of the stages that make up api and backup, each path in a folder of its own."""
    folder = tmp_path_factory.mktemp("images")
    for stage in ("program", "api-packages", "postgresql-programs"):
        source = folder / stage
        source.mkdir()
        for copied in [*STAGES["sources"].all("COPY"), *STAGES[stage].all("COPY")]:
            *names, _ = copied.split()
            for name in names:
                _copy(ROOT / name, source / name)
        _build(STAGES[stage], source, folder)
    _build(STAGES["api"], folder, folder)
    bin_folder = folder / "opt" / "nas" / "bin"
    for path in (ROOT / "deploy" / "bin").iterdir():
        shutil.copy(path, bin_folder)
    backup = STAGES["backup"].all("ENV")[0].removeprefix("PATH=").split(":")[0]
    return Installed(bin_folder, folder / backup.lstrip("/"), folder)


@pytest.fixture(scope="module")
def outside() -> Iterator[dict[str, str]]:
    """What the services db and object-store are: variables that lead to them."""
    with server() as postgresql, s3.bucket(there=False) as url:
        for statement in ("CREATE ROLE nas SUPERUSER LOGIN", "CREATE DATABASE nas OWNER nas"):
            _execute(postgresql, statement)
        yield {
            "NAS_DATABASE_URL": _as_nas(postgresql, "nas"),
            "NAS_ARTIFACTS_URL": url,
            "AWS_ENDPOINT_URL": s3.endpoint(),
            "empty": _as_nas(postgresql, "postgres"),
        }


def test_the_image_of_the_api_has_no_torch_and_nothing_missing(installed: Installed) -> None:
    python = installed.api / "python"
    listed = subprocess.run(
        [DEVELOPMENT / "pip", "--python", python, "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    versions = dict(line.split("==") for line in listed.stdout.split())
    assert versions["nas-service"]
    assert not {"torch", "ray", "optuna", "pip"} & versions.keys()
    assert {"onnxruntime", "matplotlib"} <= versions.keys()  # it shows images to finished models, and draws figures
    assert not [name for name in versions if name.startswith("nvidia")]
    pinned = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    ours = {name.lower(): version for name, version in versions.items() if name != "nas-service"}
    assert {name: version for name, version in ours.items() if pinned.get(name, version) != version} == {}
    subprocess.run([DEVELOPMENT / "pip", "--python", python, "check"], check=True, capture_output=True)


def test_from_the_first_start_to_a_trial_a_backup_and_its_restoration(
    installed: Installed, outside: Mapping[str, str], tmp_path: Path
) -> None:
    def run(service: str, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(word) for word in words or services()[service]["command"]],
            env=_environment(installed, service, outside) | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    # before everything else, and any number of times
    assert [run("bucket").stdout.split(": ")[1] for _ in range(2)] == ["made\n", "there already\n"]
    assert "→" in run("migrate").stdout
    assert "nothing to do" in run("migrate").stdout

    # without a key the API refuses to be reached by others, and says how to make one
    refused = run("api")
    assert refused.returncode == 2
    assert "nas keys create" in refused.stderr
    key = run("api", "nas", "keys", "create", "--owner", "ada").stdout.strip()

    port = free_port()
    with _started(installed, "api", outside, tmp_path / "api", {"8000": str(port)}) as api:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url), "an API that answers", 60)
        healthy = run("api", "nas-health", "api", f"{url}/readyz")
        assert (healthy.returncode, healthy.stderr) == (0, "")
        assert httpx.get(f"{url}/v1/jobs").status_code == 401
        headers = {"Authorization": f"Bearer {key}"}
        made = httpx.post(f"{url}/v1/jobs", json=TINY, headers=headers, timeout=60)
        assert made.status_code == 201, made.text
        job = f"{url}/v1/jobs/{made.json()['id']}"

        def running() -> Any:
            return httpx.get(f"{job}/dashboard", headers=headers).json()["counts"].get("running")

        assert run("worker", "nas-health", "worker").returncode == 1
        with _started(installed, "worker", outside, tmp_path / "worker", {}) as worker:
            until(running, "a trial that runs", 60)
            healthy = run("worker", "nas-health", "worker")
            assert (healthy.returncode, healthy.stderr) == (0, "")
            worker.send_signal(_stop_signal("worker"))
            assert worker.wait(60) == 0, (tmp_path / "worker").read_text()
        assert not running()

        copied = run("backup", "nas", "backup", str(tmp_path / "backups" / "nas"))
        assert copied.returncode == 0, copied.stderr
        api.send_signal(_stop_signal("api"))
        assert api.wait(30) == 0

    restored = run("backup", "nas", "restore", str(tmp_path / "backups" / "nas"), NAS_DATABASE_URL=outside["empty"])
    assert restored.returncode == 0, restored.stderr
    assert "ada" in run("api", "nas", "keys", "list", NAS_DATABASE_URL=outside["empty"]).stdout
    assert run("api", "nas-health", "api", f"http://127.0.0.1:{port}/readyz").returncode == 1


def test_health_checks_say_what_they_can_do(installed: Installed) -> None:
    asked = subprocess.run([installed.api / "nas-health", "database"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (2, "nas-health: say api, api URL, or worker\n")


def _build(stage: Stage, source: Path, folder: Path) -> None:
    """Runs the RUN instructions of a stage, with the root in another folder."""
    environment = {**os.environ, "PATH": f"{DEVELOPMENT}:{os.environ['PATH']}", "PIP_NO_COMPILE": "1"}  # half the time
    for run in stage.all("RUN"):
        words = shell(run)
        for path in ("/opt/", "/dist", "/packages"):
            words = words.replace(f" {path}", f" {folder}{path}")
        done = subprocess.run(
            ["/bin/sh", "-c", words], cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _environment(installed: Installed, service: str, outside: Mapping[str, str]) -> dict[str, str]:
    """What a container of the service has: nothing of ours but what it is told."""
    home = installed.scratch / f"home-{service}"
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    workers = services()[service]["build"]["target"] not in ("api", "backup")
    programs = [ROOT / "deploy" / "bin", DEVELOPMENT] if workers else [installed.api]
    programs += [installed.postgresql] if service == "backup" else []
    told: dict[str, str] = services({**SECRETS, **outside})[service]["environment"]
    return {
        **told,
        "PATH": os.pathsep.join([*map(str, programs), "/usr/local/bin:/usr/bin:/bin"]),
        "HOME": str(home),
        "NAS_HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def _started(
    installed: Installed, service: str, outside: Mapping[str, str], log: Path, instead: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """The service's command, with some of its words replaced; killed in the end."""
    words: Sequence[str] = [instead.get(word, word) for word in services()[service]["command"]]
    environment = _environment(installed, service, outside)
    found = shutil.which(words[0], path=environment["PATH"])
    assert found is not None
    with log.open("wb") as output:
        process = subprocess.Popen(
            [found, *words[1:]], env=environment, cwd=log.parent, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _stop_signal(target: str) -> signal.Signals:
    return signal.Signals[last(STAGES, target, "STOPSIGNAL") or ""]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _as_nas(postgresql: Server, database: str) -> str:
    return postgresql.url(database).replace("postgres@", "nas@")


def _execute(postgresql: Server, statement: str) -> None:
    engine = create_engine(postgresql.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
