"""docker-compose.yml, as an operator reads it: what starts when, what is open to whom, what happens to what is kept."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.service import ANSWERS_S
from cli.workers import STOP_S
from nas.settings import Settings
from tests.deploy.compose import FILE, SECRETS, VARIABLE, MissingError, example, services, whole
from tests.deploy.dockerfile import ROOT, command, last, program, read

SERVICES = services()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ONCE = {"bucket", "migrate", "backup"}
RAY = {name for name in SERVICES if name.startswith("ray-")}
CLIENT = program("docker-compose")

Service = Mapping[str, Any]

RULES: Mapping[str, tuple[Callable[[Service], bool], set[str]]] = {
    "an init process reaps and passes signals on": (lambda it: it.get("init") is True, set()),
    "the root file system is read-only": (lambda it: it.get("read_only") is True, RAY),
    "no capability but those that are named": (lambda it: it.get("cap_drop") == ["ALL"], set()),
    "only the database gets some back": (lambda it: "cap_add" not in it, {"db"}),
    "nothing gains privileges": (lambda it: it.get("security_opt") == ["no-new-privileges:true"], set()),
    "nothing is privileged": (lambda it: not it.get("privileged") and "devices" not in it, set()),
    "logs do not fill the disk": (lambda it: it["logging"]["options"]["max-size"] == "10m", set()),
    "what stays is started again": (lambda it: it.get("restart") == "unless-stopped", ONCE),
    "what stays is checked": (lambda it: "test" in it.get("healthcheck", {}), ONCE),
    "any number of it can run": (lambda it: "container_name" not in it, set()),
    "ports are open to this machine only": (
        lambda it: all(port.startswith("127.0.0.1:") for port in it.get("ports", [])),
        set(),
    ),
    "only the API has any": (lambda it: "ports" not in it, {"api"}),
    "no network but those that are named": (lambda it: "networks" in it and "network_mode" not in it, set()),
    "nothing of the host is mounted": (
        lambda it: not any(str(volume).startswith((".", "/var/run", "~")) for volume in it.get("volumes", [])),
        set(),
    ),
}
"""What holds for every service, and for which it need not."""


@pytest.mark.parametrize("says", RULES)
def test_every_service_keeps_the_rule(says: str) -> None:
    keeps, excepted = RULES[says]
    assert {name for name, service in SERVICES.items() if not keeps(service)} <= excepted


def test_nothing_starts_without_passwords() -> None:
    for name in SECRETS:
        given = {key: value for key, value in SECRETS.items() if key != name}
        if name == "RAY_AUTH_TOKEN":  # Ray itself refuses to start: tests/deploy/test_ray_commands.py
            assert services(given)["ray-head"]["environment"]["RAY_AUTH_MODE"] == "token"
            continue
        for missing in (given, {**given, name: ""}):
            with pytest.raises(MissingError, match=name):
                services(missing)


@pytest.mark.skipif(CLIENT is None, reason="docker-compose is not installed for this platform")
def test_docker_compose_reads_it_as_these_tests_do(tmp_path: Path) -> None:
    read_by_it = json.loads(_config(tmp_path, SECRETS, "--profile", "*", "--format", "json").stdout)["services"]
    assert read_by_it.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        theirs = read_by_it[name]
        for key in ("command", "image", "init", "cap_drop", "security_opt", "restart", "profiles", "tmpfs"):
            assert theirs.get(key) == (service.get(key) or None), (name, key)
        assert {key: str(value) for key, value in theirs["environment"].items()} == service["environment"], name
        assert theirs.get("read_only", False) == service.get("read_only", False)
        assert set(theirs["networks"]) == set(service["networks"])
        assert theirs.get("healthcheck", {}).get("test") == service.get("healthcheck", {}).get("test")
        needs = {other: how["condition"] for other, how in theirs.get("depends_on", {}).items()}
        assert needs == {other: how["condition"] for other, how in service.get("depends_on", {}).items()}


@pytest.mark.skipif(CLIENT is None, reason="docker-compose is not installed for this platform")
def test_docker_compose_refuses_what_has_no_passwords_and_takes_each_profile(tmp_path: Path) -> None:
    refused = _config(tmp_path, {}, "--quiet")
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD is missing a value: set it in .env" in refused.stderr
    for profiles, more in {
        (): set(),
        ("gpu",): {"worker-gpu"},
        ("ray",): {"ray-head", "ray-worker", "ray-driver"},
        ("ray", "ray-gpu"): {"ray-head", "ray-worker", "ray-driver", "ray-worker-gpu"},
        ("tools",): {"backup"},
    }.items():
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        listed = _config(tmp_path, SECRETS, *chosen, "--services")
        assert listed.returncode == 0, listed.stderr
        assert set(listed.stdout.split()) == {"db", "object-store", "bucket", "migrate", "api", "worker"} | more


# --- starting and stopping


def test_the_database_is_migrated_and_the_bucket_made_before_anybody_uses_them() -> None:
    done = "service_completed_successfully"
    for name in ("api", "worker", "worker-gpu", "ray-driver"):
        needs = {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()}
        assert (needs["migrate"], needs["bucket"]) == (done, done), name
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert SERVICES["bucket"]["depends_on"] == {"object-store": {"condition": "service_healthy"}}
    assert "migrate" not in SERVICES["backup"]["depends_on"]  # it restores into an empty database
    assert {
        name for name in ONCE if "unless" in SERVICES[name]["restart"] or "always" in SERVICES[name]["restart"]
    } == set()


def test_what_a_service_needs_is_started_with_its_profile() -> None:
    for name, service in SERVICES.items():
        for other in service.get("depends_on", {}):
            own, others = set(service.get("profiles", [])), set(SERVICES[other].get("profiles", []))
            assert not others or own <= others or name == "ray-worker-gpu", (name, other)


def test_a_worker_has_nothing_that_only_one_of_them_can_have() -> None:
    for name in ("worker", "worker-gpu", "ray-worker"):
        service = SERVICES[name]
        assert not {"container_name", "hostname", "ports", "network_mode"} & service.keys(), name
        assert all(":" not in volume for volume in service.get("volumes", [])), "a volume that they would share"


def test_everything_has_the_time_that_it_takes_to_stop() -> None:
    grace = {name: int(service.get("stop_grace_period", "10s").removesuffix("s")) for name, service in SERVICES.items()}
    assert min(grace[name] for name in ("worker", "worker-gpu", "ray-driver")) > 2 * STOP_S
    assert grace["api"] > ANSWERS_S
    assert min(grace[name] for name in RAY) > 30  # Ray drains a node for that long
    assert grace["db"] >= 60


def test_health_checks_and_commands_are_the_images_own() -> None:
    stages = read((ROOT / "Dockerfile").read_text())
    for name in ("api", "worker", "backup", "ray-driver"):
        service = SERVICES[name]
        target = service["build"]["target"]
        assert service["command"] == command(last(stages, target, "CMD") or ""), name
        health = last(stages, target, "HEALTHCHECK") or ""
        if health != "NONE":
            assert service["healthcheck"]["test"] == ["CMD", *command(health)], name
    assert {service["build"]["target"] for service in OURS.values()} <= stages.keys()


def test_services_with_an_image_in_common_build_it_in_the_same_way() -> None:
    ways: dict[str, Any] = {}
    for service in OURS.values():
        assert ways.setdefault(service["image"], service["build"]) == service["build"]
    others = {name: service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert {name: bool(re.fullmatch(r"[\w./-]+:v?\d+\.\d+.*", image)) for name, image in others.items()} == {
        "db": True,
        "object-store": True,
    }


# --- who reaches what


def test_only_those_who_need_the_database_reach_it() -> None:
    networks = whole()["networks"]
    assert networks["database"]["internal"] is True
    near = {name for name, service in SERVICES.items() if "database" in service["networks"]}
    assert near == {"db", "migrate", "api", "worker", "worker-gpu", "ray-driver", "backup"}
    for name in RAY - {"ray-driver"}:
        assert not {"NAS_DATABASE_URL", "PGPASSWORD"} & SERVICES[name]["environment"].keys(), name
        assert SERVICES[name]["networks"] == ["cluster"]
    assert SERVICES["db"]["networks"] == ["database"]


def test_ray_is_behind_its_token_and_shows_no_dashboard() -> None:
    for name in RAY:
        environment = SERVICES[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"] == SECRETS["RAY_AUTH_TOKEN"]
    assert "--include-dashboard=false" in SERVICES["ray-head"]["command"]


def test_gpus_are_reserved_where_they_are_used() -> None:
    for name in ("worker-gpu", "ray-worker-gpu"):
        (device,) = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        assert "compute" in SERVICES[name]["environment"]["NVIDIA_DRIVER_CAPABILITIES"]
    one = services({**SECRETS, "GPUS": "1"})["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert one["count"] == "1"


def test_what_is_kept_is_in_volumes_with_names() -> None:
    named = {name: [v for v in service.get("volumes", []) if ":" in v] for name, service in SERVICES.items()}
    assert {name: volumes for name, volumes in named.items() if volumes} == {
        "db": ["database:/var/lib/postgresql"],
        "object-store": ["objects:/data"],
        "api": ["home:/var/lib/nas"],
        "backup": ["backups:/backups"],
    }
    assert set(whole()["volumes"]) == {"database", "objects", "home", "backups"}


# --- variables


def test_every_variable_is_one_that_somebody_reads() -> None:
    ours = Settings.read({}).to_environ().keys()
    known = {"PGPASSWORD", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    known |= {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ROTATION_MAX_BYTES", "NVIDIA_DRIVER_CAPABILITIES"}
    for name, service in OURS.items():
        assert service["environment"].keys() - known <= ours, name
        Settings.read(service["environment"])


def test_every_setting_can_be_set() -> None:
    images = {word.partition("=")[0] for word in re.findall(r"\w+=\S*", (ROOT / "Dockerfile").read_text())}
    ours = set(Settings.read({}).to_environ())
    assert ours - images - {"NAS_DATA"} <= example().keys()
    assert ours - images - {"NAS_DATA"} <= set().union(*(service["environment"] for service in OURS.values()))


def test_the_example_has_every_variable_with_its_default_and_no_secret() -> None:
    used = {match[1]: match for match in VARIABLE.finditer(FILE.read_text())}
    assert example().keys() == used.keys()
    assert {name for name in SECRETS if example()[name]} == set()
    for name, match in used.items():
        if match[3] and "?" not in match[2]:
            assert example()[name] == match[3], name


def test_the_example_as_it_is_starts_nothing_and_says_how_to_go_on() -> None:
    with pytest.raises(MissingError, match=r"POSTGRES_PASSWORD: set it in \.env"):
        services({name: value for name, value in example().items() if not value})


def _config(folder: Path, variables: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`docker compose config`, with an .env of these variables; it needs no engine."""
    assert CLIENT is not None
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
    options = [word for word in arguments if word not in ("--services", "--quiet", "--format", "json")]
    output = [word for word in arguments if word not in options]
    return subprocess.run(
        [CLIENT, "--file", FILE, "--env-file", folder / ".env", *options, "config", *output],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
