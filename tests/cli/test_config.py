"""`nas search FILE`: what files can say, what wins over them, and where a mistake stands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.asked import ask_for
from cli.config import read
from cli.example import example
from nas.client import Client
from nas.errors import InvalidInput, UserError
from nas.settings import Settings
from nas.spec import JobSpec

Nas = Callable[..., tuple[int, str, str]]

JOB: dict[str, Any] = {
    "dataset": "digits",
    "strategy": "random",
    "recipe": {"lr": 0.001, "optimizer": {"choices": ["adamw", "sgd"]}},
    "budget": {"trials": 3, "epochs": 1},
}
YAML = """\
# a comment
dataset: digits
strategy: random
recipe:
  lr: 1e-3
  optimizer: {choices: [adamw, sgd]}
budget:
  trials: 3
  epochs: 1
"""
TOML = """\
dataset = "digits"
strategy = "random"

[recipe]
lr = 1e-3
optimizer = {choices = ["adamw", "sgd"]}

[budget]
trials = 3
epochs = 1
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a file and returns its path."""

    def written(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return written


Write = Callable[[str, str], str]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("job.yaml", YAML, 8),
        ("job.yml", YAML, 8),
        ("job.toml", TOML, 9),
        ("job.json", json.dumps(JOB, indent=2), 14),
        ("job.json", json.dumps(JOB, indent="\t"), 14),
    ],
)
def test_the_same_job_in_every_format_and_the_lines_of_its_fields(
    write: Write, name: str, text: str, line: int
) -> None:
    path = write(name, text)
    config = read(Path(path))
    assert config.spec == JOB
    assert text.splitlines()[line - 1].strip().strip('"').startswith("trials")
    assert config.place("budget.trials: 3 is not possible") == f"{path}:{line}"
    assert config.place("budget.trials.deeper: no") == f"{path}:{line}"
    assert config.place("space.cells: 99 is not possible") is None


def test_yaml_has_words_and_numbers_as_json_has_them(write: Write) -> None:
    found = read(
        Path(write("job.yaml", "name: 2026-01-31\nseed: 7\nrecipe: {lr: 1e-3, l1: 1.5, l2: .5}\ncache: false"))
    )
    assert found.spec == {
        "name": "2026-01-31",
        "seed": 7,
        "recipe": {"lr": 0.001, "l1": 1.5, "l2": 0.5},
        "cache": False,
    }


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "dataset: digits\nbudget: {trials: 3", "a.yaml:2"),
        ("a.yaml", "dataset: digits\nseed: 1\nseed: 2\n", "a.yaml:3' is not possible: seed stands there twice"),
        ("a.yaml", "- digits\n", "mapping of fields"),
        ("a.yaml", "dataset: !!python/object:os.system x", "a.yaml:1"),
        ("a.json", '{"dataset": "digits",\n "seed": }', "a.json:2"),
        ("a.json", '{"dataset": "digits", "seed": NaN}', "NaN"),
        (
            "a.json",
            '{"dataset": "digits",\n\t"seed": 1,\n\t"seed": 2}',
            "a.json:3' is not possible: seed stands there twice",
        ),
        ("a.json", '{"budget": {"trials": 1,\n"trials": 2}}', "budget.trials stands there twice, first on line 1"),
        ("a.toml", "dataset = 'digits'\nseed = \n", "a.toml:2"),
        ("a.toml", "[budget]\ntrials = 3\n[budget]\n", "a.toml:3"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(write: Write, name: str, text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(Path(write(name, text)))
    assert says in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_make_one() -> None:
    with pytest.raises(InvalidInput, match="nas search --example"):
        read(Path("nothing.yaml"))


def test_options_win_over_the_file_and_set_wins_over_options(write: Write) -> None:
    path = write("job.yaml", YAML)
    asked = ask_for(path, None, {"budget": {"trials": 5}, "strategy": "evolution"}, ["budget.epochs=9"])
    assert asked.spec["budget"] == {"trials": 5, "epochs": 9}
    assert asked.spec["strategy"] == "evolution"
    assert asked.spec["recipe"] == JOB["recipe"]
    assert read(Path(path)).spec == JOB
    assert ask_for(path, "cifar10", {}, ()).spec["dataset"] == "cifar10"
    assert ask_for("digits", None, {}, ()).spec == {"dataset": "digits"}
    with pytest.raises(UserError, match="name a data set"):
        ask_for(None, None, {}, ())


def test_a_data_set_is_a_path_where_it_looks_like_one_beside_the_file_that_names_it(
    write: Write, tmp_path: Path
) -> None:
    path = write("job.yaml", "dataset: photos.zip\n")
    assert ask_for(path, None, {}, ()).upload == str(tmp_path / "photos.zip")
    assert ask_for("./photos", None, {}, ()).upload == "photos"
    assert ask_for("hf:cifar10", None, {}, ()).upload == "hf:cifar10"
    assert ask_for(path, "digits", {}, ()).upload is None
    assert ask_for("photos", None, {}, ()).upload is None


def test_the_example_names_every_field_and_is_a_job_as_it_stands(write: Write) -> None:
    text = example()
    spec = read(Path(write("job.yaml", text))).spec
    assert JobSpec.model_validate(spec).dataset == "digits"
    opened = [line[2:] if line.startswith("# ") and "`" not in line else line for line in text.splitlines()]
    for name in JobSpec.model_fields:
        assert any(line.startswith(f"{name}:") for line in opened), name
    assert max(map(len, text.splitlines())) <= 140


def test_a_block_of_the_example_can_be_taken_in_as_it_is(write: Write) -> None:
    lines = example().splitlines()
    begin = lines.index("# budget:")
    block = [line.removeprefix("# ").removeprefix("#") for line in lines[begin : lines.index("", begin)]]
    spec = read(Path(write("job.yaml", "\n".join(["dataset: digits", *block])))).spec
    assert JobSpec.model_validate(spec).budget.trials == spec["budget"]["trials"] == 24


# --- the command


def test_a_file_is_searched_or_only_checked(service: tuple[Client, Settings], nas: Nas, write: Write) -> None:
    path = write("job.yaml", YAML)
    status, out, _ = nas("search", path, "--check", "--trials", "7")
    assert (status, "training: 7 trials" in out, len(service[0].jobs())) == (0, True, 0)
    assert json.loads(nas("search", path, "--check", "--json")[1])["trials"] == 3
    status, out, _ = nas("search", path, "--no-wait", "--json")
    job = service[0].job(json.loads(out)["job"])
    assert (status, job.details()["spec"]["budget"]["trials"], job.state) == (0, 3, "queued")
    job.delete(force=True)
    status, out, _ = nas("search", path, "--json")
    assert (status, json.loads(out)["state"]) == (1, "cancelled")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("dataset: digits\nspace:\n  cells: 99\n", 3, "space.cells"),
        ("dataset: digits\nbudgte:\n  trials: 3\n", 2, "there is no such field; allowed: dataset, "),
        ("dataset: digits\n\nstrategy: nonsense\n", 3, "strategy: 'nonsense'"),
        ("dataset: digits\nspace:\n  ops:\n    - skip_connect\n    - nonsense\n", 3, "space.ops"),
    ],
)
def test_the_services_words_come_with_file_and_line(nas: Nas, write: Write, text: str, line: int, says: str) -> None:
    path = write("job.yaml", text)
    status, _, err = nas("search", path)
    assert status == 2
    assert err.startswith(f"nas: {path}:{line}: ")
    assert says in err


def test_a_data_set_of_a_file_is_uploaded_once(service: tuple[Client, Settings], nas: Nas, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "shapes.npz", images=images, labels=np.arange(60) % 2)
    path = tmp_path / "job.toml"
    path.write_text('dataset = "shapes.npz"\nstrategy = "random"\n')
    for says in ("data set shapes is added", "data set shapes is there already"):
        status, out, err = nas("search", str(path), "--no-wait", "--json")
        assert (status, says in err) == (0, True), err
        job = service[0].job(json.loads(out)["job"])
        assert job.details()["dataset"] == "shapes"
        job.delete(force=True)
