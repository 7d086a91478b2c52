"""docs/deployment.md: its commands name services, profiles, variables and images that there are."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import SECRETS, example, services
from tests.deploy.dockerfile import ROOT, program

GUIDE = (ROOT / "docs" / "deployment.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("docker compose ")
]
SERVICES = services()
CLIENT = program("docker-compose")


def test_its_commands_name_services_and_profiles_that_there_are() -> None:
    assert len(COMMANDS) > 8
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])} | {"'*'"}
    for line in COMMANDS:
        assert set(re.findall(r"--profile (\S+)", line)) <= profiles, line
        assert set(re.findall(r"--scale ([\w-]+)=", line)) <= SERVICES.keys(), line
        for words in re.findall(r" (?:run --rm|exec|stop) (.*)", line):
            first = words.split()[0]
            assert first in SERVICES, line


def test_its_table_has_every_service_with_its_image() -> None:
    rows = [row.split("|")[1:3] for row in GUIDE.splitlines() if row.startswith("| `")]
    named = {name: image.strip(" `") for names, image in rows for name in re.findall(r"`([\w-]+)`", names)}
    assert named.keys() | {"ray-worker-gpu"} == SERVICES.keys()
    for name, image in named.items():
        assert SERVICES[name]["image"].removesuffix(":latest") == image, name


def test_every_variable_that_it_mentions_is_one() -> None:
    mentioned = set(
        re.findall(r"`((?:NAS|RAY|WORKER|API|GPU|CPU|GPUS|PUBLISH|POSTGRES|S3|AWS|PIP|BACKUPS)_?[A-Z_]*)[`=]", GUIDE)
    )
    told = set().union(*(service["environment"] for service in SERVICES.values()))
    assert mentioned - example().keys() - told == {"NAS_API_KEY"}  # of a client
    assert len(mentioned) > 10


@pytest.mark.skipif(CLIENT is None, reason="docker-compose is not installed for this platform")
def test_its_override_leaves_database_and_object_store_out(tmp_path: Path) -> None:
    assert CLIENT is not None
    (override,) = re.findall(r"```yaml\n(services:.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "override.yml").write_text(override)
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in SECRETS.items()))
    listed = subprocess.run(
        [
            *(CLIENT, "--file", ROOT / "docker-compose.yml", "--file", tmp_path / "override.yml"),
            *("--env-file", tmp_path / ".env", "--profile", "tools", "config", "--services"),
        ],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.split()) == {"api", "worker", "migrate", "bucket", "backup"}
