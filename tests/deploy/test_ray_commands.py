"""The commands of the Ray profile, run as they stand in docker-compose.yml: head, node, health check and driver.

What is different from containers: one machine for all, so the head has another name and port, and a folder of its own.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests import s3
from tests.deploy.compose import SECRETS, services
from tests.deploy.dockerfile import ROOT
from tests.deploy.test_commands import free_port
from tests.processes import until
from tests.support import own_postgresql

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(900)  # on a machine that does much else besides

DEVELOPMENT = Path(sys.executable).parent


class Cluster:
    """Starts what the services of the profile start, on one machine."""

    def __init__(self, folder: Path, more: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self._more = more

    def words(self, service: str, key: str = "command") -> list[str]:
        """The command of a service, or of its health check."""
        found = services()[service]
        words = found["command"] if key == "command" else found["healthcheck"]["test"][1:]
        return [self._here(word) for word in words]

    def environment(self, service: str, **more: str) -> dict[str, str]:
        """What the service's container is told."""
        told = services({**SECRETS, **self._more})[service]["environment"]
        home = self.folder / service
        home.mkdir(exist_ok=True)
        own = {
            "PATH": f"{ROOT / 'deploy' / 'bin'}:{DEVELOPMENT}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "NAS_HOME": str(home),
            "RAY_TMPDIR": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        return {name: self._here(value) for name, value in told.items()} | own | more

    @contextmanager
    def started(self, service: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The service's command in a process group of its own, with a log of its name; killed in the end."""
        with (self.folder / f"{service}.log").open("wb") as log:
            process = subprocess.Popen(
                self.words(service),
                env=self.environment(service),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, words: list[str], service: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command where the service runs."""
        environment = self.environment(service, **more)
        return subprocess.run(
            words, env=environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60
        )

    def log(self, service: str) -> str:
        """What the service has printed."""
        return (self.folder / f"{service}.log").read_text()

    def end(self) -> None:
        """Kills what has outlived its command: all processes that name the folder."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def _here(self, text: str) -> str:
        text = re.sub(r"^--port=6379$", f"--port={self.port}", text)
        return text.replace("ray-head:6379", f"127.0.0.1:{self.port}")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="nas-", ignore_cleanup_errors=True) as folder, s3.bucket() as url:
        database = own_postgresql(Path(folder))
        more = {"NAS_DATABASE_URL": database, "NAS_ARTIFACTS_URL": url, "AWS_ENDPOINT_URL": s3.endpoint()}
        made = Cluster(Path(folder), more)
        try:
            yield made
        finally:
            made.end()


def test_head_node_and_driver_start_are_healthy_and_stop(cluster: Cluster) -> None:
    refused = cluster.run(cluster.words("ray-head"), "ray-head", RAY_AUTH_TOKEN="")
    assert refused.returncode != 0
    assert "no authentication token was found" in refused.stderr

    with cluster.started("ray-head"):
        until(lambda: "will now block forever" in cluster.log("ray-head"), "the head", 60)
        healthy = cluster.run(cluster.words("ray-head", "healthcheck"), "ray-head")
        assert (healthy.returncode, healthy.stderr) == (0, "")
        with cluster.started("ray-worker"), cluster.started("ray-driver") as driver:
            until(lambda: "will now block forever" in cluster.log("ray-worker"), "the node", 60)
            check = cluster.words("ray-driver", "healthcheck")
            until(lambda: " on cpu" in cluster.log("ray-driver"), "the driver's worker", 90)
            assert _cpus(cluster) == [0.0, 0.0, 2.0]  # head, driver, node
            healthy = cluster.run(check, "ray-driver")
            assert (healthy.returncode, healthy.stderr) == (0, "")

            driver.send_signal(signal.SIGTERM)
            assert driver.wait(60) == 0, cluster.log("ray-driver")
            assert cluster.run(check, "ray-driver").returncode == 1  # it has said good-bye to the database
    assert cluster.run(["timeout", "5", *cluster.words("ray-head", "healthcheck")], "ray-head").returncode != 0


def test_a_driver_whose_node_ends_ends_too(tmp_path: Path) -> None:
    """Whatever stands for Ray and for the worker: the script that ties them together."""
    programs = {
        "ray": "exec sleep 3",
        "python": "exit 0",
        "nas": "trap 'echo given back; exit 0' TERM; while :; do sleep 0.1; done",
    }
    status, said = _driver(tmp_path, programs)
    assert (status, said) == (1, "given back\n")


def test_a_driver_whose_worker_fails_fails_with_its_status(tmp_path: Path) -> None:
    programs = {"ray": "exec sleep 60", "python": "exit 0", "nas": "exit 2"}
    status, _ = _driver(tmp_path, programs)
    assert status == 2


def test_the_options_that_kuberay_makes_of_our_file_are_ones_of_ray_start() -> None:
    from ray.scripts.scripts import start

    cluster = next(iter(yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())))["spec"]
    groups = [(["--head"], cluster["headGroupSpec"])]
    groups += [(["--address=nas-head-svc:6379"], group) for group in cluster["workerGroupSpecs"]]
    for first, group in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        made = {"metrics-export-port": "8080", "memory": str(int(limits["memory"].removesuffix("Gi")) << 30)}
        made |= {"num-cpus": limits["cpu"], "num-gpus": limits.get("nvidia.com/gpu", "0")} | group["rayStartParams"]
        # as the operator writes them: what is true stands alone
        words = [f"--{name}" if value == "true" else f"--{name}={value}" for name, value in made.items()]
        parsed = start.make_context("ray start", [*first, *words]).params
        assert parsed["block"] is parsed["disable_usage_stats"] is True
        assert parsed["num_cpus"] == int(made["num-cpus"])


def _driver(folder: Path, programs: Mapping[str, str]) -> tuple[int, str]:
    for name, script in programs.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
    ran = subprocess.run(
        [ROOT / "deploy" / "bin" / "nas-ray-driver"],
        env={"PATH": f"{folder}:/usr/bin:/bin", "NAS_RAY_ADDRESS": "ray-head:6379"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return ran.returncode, ran.stdout


def _cpus(cluster: Cluster) -> list[float]:
    """The CPUs of the nodes that are alive, as a driver sees them."""
    program = (
        "import os, ray; ray.init(os.environ['NAS_RAY_ADDRESS'], log_to_driver=False); "
        "print(*sorted(node['Resources'].get('CPU', 0.0) for node in ray.nodes() if node['Alive']))"
    )
    asked = cluster.run(["python", "-c", program], "ray-driver")
    assert asked.returncode == 0, asked.stderr
    return [float(word) for word in asked.stdout.split()]
