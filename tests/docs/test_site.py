"""The documentation builds without a warning, and what it names and points to is there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from api.main import create_app
from cli.main import app
from nas.settings import Settings
from tests.docs.blocks import ROOT

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```(?!python).*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
ROUTE = re.compile(
    r"(?<![\w.])(?:localhost:8000)?(/(?:v1/(?:[\w/{}…$-]|\.\{)+|session|metrics|healthz|readyz|openapi\.json))"
)
VALUE = re.compile(r"\$?\{?[A-Z]+\}?|\d+|…|[0-9a-f]{12}")


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """The words of each command of `nas`, and the options that it has."""
    yield words, {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


def named(page: str) -> Iterator[str]:
    """The commands in the code of a page, without `nas`."""
    for code in CODE.findall((ROOT / page).read_text(encoding="utf-8")):
        for found in re.finditer(
            r"(?:^|[`;(]|&& )(?: *[A-Z_]+=\S+)* *(?:\.venv/bin/)?nas ([^`;&)#\n]+)", code, re.MULTILINE
        ):
            yield found[1]


def test_the_site_builds_with_warnings_as_errors_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").glob("**/*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?(https?://[^" >]+)', page.read_text())
        assert loaded == [], page
    reference = {name: (tmp_path / "site" / "reference" / f"{name}.html").read_text() for name in ("api", "client")}
    assert "/v1/jobs/{job_id}/dashboard" in reference["api"]
    for name in ("Job.state", "Job.watch", "await watch()", "Classifier.export_onnx", "nas.load"):
        assert name in reference["client"]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_points_to_is_there(page: str) -> None:
    path = ROOT / page
    links = [link.partition("#")[0] for link in LINK.findall(path.read_text(encoding="utf-8"))]
    local = [link for link in links if link and "://" not in link and "reference/" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_pages_name_only_commands_and_options_that_there_are() -> None:
    known = dict(commands(get_command(app)))
    wrong = []
    for page in PAGES:
        for text in named(page):
            words = text.split()
            name: tuple[str, ...] = ()
            while words and (*name, words[0]) in known:
                name = (*name, words.pop(0))
            options = [word for word in words if re.fullmatch("--[a-z-]+|-[a-z]", word) and word not in known[name]]
            if not name or options:
                wrong.append(f"{page}: nas {text}")
    assert wrong == []


def test_pages_name_only_routes_that_there_are(tmp_path: Path) -> None:
    paths = create_app(Settings.read({"NAS_HOME": str(tmp_path)})).openapi()["paths"]
    known = {re.sub(r"\{\w+\}", "*", path) for path in paths} | {"/openapi.json"}
    wrong = []
    for page in PAGES:
        for path in ROUTE.findall((ROOT / page).read_text(encoding="utf-8")):
            form = "/".join("*" if VALUE.fullmatch(part) else part for part in path.rstrip("/").split("/"))
            if re.sub(r"\{\w+\}", "*", form) not in known:
                wrong.append(f"{page}: {path}")
    assert wrong == []


def test_the_guide_names_every_command_and_every_route(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    groups = {words[:-1] for words, _ in commands(get_command(app))}
    missing = [words for words, _ in commands(get_command(app)) if f"`nas {' '.join(words)}" not in guide]
    assert set(missing) <= groups
    paths = create_app(Settings.read({"NAS_HOME": str(tmp_path)})).openapi()["paths"]
    shown = {path: path.replace("{job_id}", "JOB").replace("{number}", "N") for path in paths}
    assert [path for path, form in shown.items() if f"{form}`" not in guide] == []


def test_the_result_in_the_readme_is_the_one_in_the_pictures() -> None:
    said = (ROOT / "README.md").read_text(encoding="utf-8").replace("\n> ", " ")
    [(side, points, low, high)] = re.findall(
        r"^ The search .* (better|worse) by ([\d.]+) points, 95 % interval ([-+][\d.]+) to ([-+][\d.]+)\.$",
        said,
        re.MULTILINE,
    )
    drawn = " ".join(re.findall(r">([^<>]+)</text>", (ROOT / "docs/pictures/verdict.svg").read_text(encoding="utf-8")))
    assert f"{points} points {'above' if side == 'better' else 'below'} random" in drawn, (
        "python docs/pictures.py says it"
    )
    assert f"{low} to {high}".replace("-", "−") in drawn
