"""The images: what a linter of Dockerfiles, and an operator, would look for."""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.deploy.dockerfile import ROOT, Stage, command, last, program, read, shell, whole

DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = read(DOCKERFILE)
IMAGES = ("api", "worker", "ray", "backup")
HADOLINT = program("hadolint")

# --- rules, each yielding what breaks it


def _unpinned(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (stage.base for stage in stages.values() if stage.base not in stages and ":" not in stage.base)


def _latest(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (stage.base for stage in stages.values() if stage.base.endswith(":latest"))


def _root_at_the_end(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (name for name in _images(stages) if (last(stages, name, "USER") or "root").split(":")[0] in ("root", "0"))


def _named_user(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (user for stage in stages.values() for user in stage.all("USER") if not re.fullmatch(r"\d+(:\d+)?", user))


def _unpinned_apt(stages: Mapping[str, Stage]) -> Iterator[str]:
    for run in _runs(stages):
        for found in re.findall(r"apt-get install ([^&;|]*)", run):
            yield from (word for word in found.split() if not word.startswith("-") and "=" not in word)


def _unpinned_pip(stages: Mapping[str, Stage]) -> Iterator[str]:
    pinned = ("--constraint", "--requirement", "==", ".whl")
    for run in _runs(stages):
        found = re.findall(r"pip (?:--python \S+ )?install [^&;|]*", run)
        yield from (part for part in found if not any(word in part for word in pinned))


def _pip_cache(stages: Mapping[str, Stage]) -> Iterator[str]:
    for stage in stages.values():
        for run in stage.all("RUN"):
            if re.search(r"pip (--python \S+ )?install", run) and not re.search("no-cache-dir|type=cache", run):
                yield run


def _added(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (value for stage in stages.values() for value in stage.all("ADD"))


def _shell_form(stages: Mapping[str, Stage]) -> Iterator[str]:
    for stage in stages.values():
        for value in stage.all("CMD") + stage.all("ENTRYPOINT"):
            if not value.startswith("["):
                yield value


def _unsafe_pipe(stages: Mapping[str, Stage]) -> Iterator[str]:
    for stage in stages.values():
        if not any("pipefail" in value for value in stage.all("SHELL")):
            yield from (run for run in stage.all("RUN") if re.search(r"[^|]\|[^|]", run))


def _relative_folder(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (path for stage in stages.values() for path in stage.all("WORKDIR") if not path.startswith(("/", "$")))


def _unwatched(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (name for name in _images(stages) if last(stages, name, "HEALTHCHECK") is None)


def _build_tools(stages: Mapping[str, Stage]) -> Iterator[str]:
    tools = r"\b(apt-get|gcc|g\+\+|make|build-essential|cmake|git|curl|wget)\b"
    for name in _images(stages):
        yield from (
            found.value for found in whole(stages, name) if found.name == "RUN" and re.search(tools, found.value)
        )


def _secrets(stages: Mapping[str, Stage]) -> Iterator[str]:
    for stage in stages.values():
        named = stage.all("ENV") + stage.all("ARG")
        yield from (value for value in named if re.search(r"(?i)password|secret|token|api_?key", value))


def _hosts(stages: Mapping[str, Stage]) -> Iterator[str]:
    for stage in stages.values():
        yield from (found.value for found in stage.instructions if "://" in found.value)
        if "." in stage.base.split("/")[0].split(":")[0]:
            yield stage.base


def _arguments_that_stay(stages: Mapping[str, Stage]) -> Iterator[str]:
    return (
        f"{name}: {found.value}" for name in _images(stages) for found in whole(stages, name) if found.name == "ARG"
    )


Rule = Callable[[Mapping[str, Stage]], Iterator[str]]

RULES: Mapping[str, tuple[str, Rule, str]] = {
    "DL3006": ("base images have a tag", _unpinned, "FROM python\nUSER 1"),
    "DL3007": ("which is not latest", _latest, "FROM python:latest\nUSER 1"),
    "DL3002": ("the last user is not root", _root_at_the_end, "FROM python:3.11.15\nUSER root"),
    "DL3066": ("users are numbers, which any host knows", _named_user, "FROM python:3.11.15\nUSER nas"),
    "DL3008": ("Debian's packages are pinned", _unpinned_apt, "FROM python:3.11.15\nRUN apt-get install -y tini"),
    "DL3013": ("so are Python's", _unpinned_pip, "FROM python:3.11.15\nRUN pip install --no-cache-dir numpy"),
    "DL3042": ("pip leaves no cache behind", _pip_cache, "FROM python:3.11.15\nRUN pip install numpy==2.0.0"),
    "DL3020": ("files are copied, not added", _added, "FROM python:3.11.15\nADD nas /nas"),
    "DL3025": ("commands have the exec form", _shell_form, "FROM python:3.11.15\nCMD nas serve"),
    "DL4006": ("a pipe fails with its first part", _unsafe_pipe, "FROM python:3.11.15\nRUN ls | wc -l > /n"),
    "DL3000": ("WORKDIR is absolute", _relative_folder, "FROM python:3.11.15\nWORKDIR src"),
    "health": ("each image says how it is checked", _unwatched, "FROM python:3.11.15 AS api"),
    "tools": ("no image has build tools", _build_tools, "FROM python:3.11.15 AS api\nRUN apt-get install -y gcc=1"),
    "secrets": ("no secret goes in", _secrets, "FROM python:3.11.15\nARG API_TOKEN"),
    "hosts": ("no registry is named", _hosts, "FROM registry.example.org/python:3.11.15"),
    "arguments": (
        "no image keeps a build argument",
        _arguments_that_stay,
        "FROM python:3.11.15 AS api\nARG PIP_INDEX_URL",
    ),
}
"""Rule → what it says, what breaks it, and a Dockerfile that does. DL…: hadolint's own."""


@pytest.mark.parametrize("rule", RULES)
def test_the_images_keep_the_rule(rule: str) -> None:
    says, breaks, _ = RULES[rule]
    assert list(breaks(STAGES)) == [], says


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_finds_what_it_is_for(rule: str) -> None:
    says, breaks, bad = RULES[rule]
    assert list(breaks(read(bad))) != [], says


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed for this platform")
def test_hadolint_finds_nothing_here_and_what_our_rules_find_elsewhere() -> None:
    assert _hadolint(DOCKERFILE) == ""
    for rule, (_, _, bad) in RULES.items():
        assert not rule.startswith("DL") or rule in _hadolint(bad), rule


# --- what the images are made of


def test_only_the_images_of_workers_have_torch_and_only_ones_with_ray_have_ray() -> None:
    extras = {name: set(re.findall(r"\.\[([^\]]*)\]", " ".join(stage.all("RUN")))) for name, stage in STAGES.items()}
    assert extras["api-packages"] == {"api,postgres,s3,otel"}
    assert extras["worker-packages"] == {"worker,postgres,s3,otel"}
    assert extras["ray-packages"] == {"ray"}
    assert {name: _venv(name) for name in IMAGES} == {
        "api": "api-packages",
        "backup": "api-packages",
        "worker": "worker-packages",
        "ray": "worker-packages",
    }


def test_large_layers_come_before_the_program_and_are_shared() -> None:
    for name in IMAGES:
        steps = [found.value for found in whole(STAGES, name) if found.name in ("RUN", "COPY")]
        program = next(index for index, step in enumerate(steps) if "from=program" in step)
        packages = next(index for index, step in enumerate(steps) if "-packages /opt/nas" in step)
        assert packages < program, name
    assert STAGES["worker"].base == STAGES["ray"].base == "worker-runtime"


def test_what_is_copied_is_there_and_let_in_and_nothing_else_is_let_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {line.removeprefix("!") for line in rules if line.startswith("!")}
    copied = set()
    for stage in STAGES.values():
        for value in stage.all("COPY"):
            if "--from=" not in value:
                words = [word for word in value.split() if not word.startswith("--")]
                copied |= {word.rstrip("/") for word in words[:-1]}
    assert copied == let_in
    assert all((ROOT / path).exists() for path in copied)


def test_commands_and_health_checks_are_programs_of_the_image() -> None:
    own = {path.name for path in (ROOT / "deploy" / "bin").iterdir()}
    for name in IMAGES:
        health = last(STAGES, name, "HEALTHCHECK")
        assert health is not None
        checks = [] if health == "NONE" else [command(health)]
        for words in [command(last(STAGES, name, "CMD") or ""), *checks]:
            assert words[0] in {*own, "nas"}, words
    for path in (ROOT / "deploy" / "bin").iterdir():
        assert path.stat().st_mode & 0o111, f"{path} is not executable"


def test_all_images_stop_at_a_term_signal_and_run_as_the_same_user() -> None:
    assert {last(STAGES, name, "STOPSIGNAL") for name in IMAGES} == {"SIGTERM"}
    assert {last(STAGES, name, "USER") for name in IMAGES} == {"10001:10001"}
    made = next(run for run in _runs(STAGES) if "useradd" in run)
    assert "--uid 10001" in made
    assert "--gid 10001" in made


def _images(stages: Mapping[str, Stage]) -> list[str]:
    """The stages that are kept: those of the Dockerfile that have names of images, or the last one."""
    return [name for name in stages if name in IMAGES] or [list(stages)[-1]]


def _runs(stages: Mapping[str, Stage]) -> list[str]:
    return [shell(run) for stage in stages.values() for run in stage.all("RUN")]


def _venv(name: str) -> str:
    steps = [found.value for found in whole(STAGES, name) if found.name == "COPY"]
    return next(match[1] for step in steps if (match := re.match(r"--from=(\S+) /opt/nas /opt/nas", step)))


def _hadolint(text: str) -> str:
    assert HADOLINT is not None
    ran = subprocess.run([HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True, check=False)
    return ran.stdout
