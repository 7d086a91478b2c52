"""The tutorial, typed as it stands there: its files written, its commands and its Python run in order."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks
from tests.processes import environment, serve, settings_in, url_in

ADDRESS = "http://127.0.0.1:8000"
"""Where the service is in the tutorial."""

JOB = "95be9d5d162f"
"""The id of the reader's first job in the tutorial."""

COMMANDS = {"bash": ["bash", "-e", "-o", "pipefail", "-c"], "python": [sys.executable, "-c"]}


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[tuple[Block, str]]]]:
    """The folder that a reader has in the end, and what each block printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    settings = settings_in(folder / "home")
    printed: list[tuple[Block, str]] = []
    with serve(settings, folder / "serve.log", workers=2):
        url = url_in(folder / "serve.log")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = environment(settings) | {"PATH": path, "NAS_URL": url}
        for block in blocks("tutorial.md"):
            text = block.text.replace(ADDRESS, url).replace(JOB, job_id(printed))
            if block.title:
                (folder / block.title).write_text(text)
            elif block.language in COMMANDS and "nas serve" not in text:
                command = [*COMMANDS[block.language], text]
                done = subprocess.run(
                    command, cwd=folder, env=variables, capture_output=True, text=True, timeout=200, check=False
                )
                assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
                printed.append((block, done.stdout))
        yield folder, printed


def job_id(printed: list[tuple[Block, str]]) -> str:
    """Of the reader's own first job; the tutorial's before there is one."""
    found = [id_[1] for _, output in printed if (id_ := re.search(r"│ (\w{12}) │ my first", output))]
    return found[0] if found else JOB


def said(printed: list[tuple[Block, str]], words: str) -> str:
    """What the first block with these words printed."""
    return next(output for block, output in printed if words in block.text)


def test_the_reader_has_the_model_and_the_figures_that_the_tutorial_promises(
    typed: tuple[Path, list[tuple[Block, str]]],
) -> None:
    folder, printed = typed
    page = (ROOT / "docs" / "tutorial.md").read_text()
    assert "1,797" in said(printed, "nas datasets")
    listed = said(printed, "ls my-model").split()
    for name in ("model.zip", *re.findall(r"`(\w+\.\w+)`", page.partition("## 5.")[2].partition("## 6.")[0])):
        assert name in listed
    assert "accuracy on test" in said(printed, "nas jobs best")
    assert (folder / "pareto.svg").read_text().lstrip().startswith("<")
    assert zipfile.ZipFile(folder / "second.zip").testzip() is None


def test_the_estimate_is_what_the_tutorial_shows(typed: tuple[Path, list[tuple[Block, str]]]) -> None:
    _, printed = typed
    [shown] = [block.text for block in blocks("tutorial.md") if block.text.startswith("data set: digits")]
    assert said(printed, "--check").splitlines()[:4] == shown.splitlines()[:4]


def test_the_model_says_the_same_of_a_digit_from_python_and_on_the_command_line(
    typed: tuple[Path, list[tuple[Block, str]]],
) -> None:
    _, printed = typed
    from_python, from_command = said(printed, "python use.py").strip().rsplit("\n", 1)
    [(name, share), *_] = [line.split() for line in from_python.splitlines()]
    assert name in map(str, range(10))
    assert from_command.startswith(f"digit.png: {name} {share.replace('%', ' %')}")
