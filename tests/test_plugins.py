"""What a user adds in Python without touching the project."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

import nas
from nas import plugins
from nas.errors import GenotypeError, SettingsError
from nas.search import simulate
from nas.space import CategoricalSpace, Cell, Edge
from nas.space.operations import OPERATIONS, known_operations
from nas.spec import JobSpec, SpaceSpec
from nas.train.tasks import allowed_losses

Write = Callable[[str, str], None]

GOOD = """
def build(channels, stride):
    return ("built", channels, stride)

OPERATIONS = {"my_op": build}
LOSSES = {"my_loss": lambda logits, targets: 0.0}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module that can be imported; what is used of it is forgotten after the test."""
    monkeypatch.setattr(plugins, "_used", {table: {} for table in plugins.GROUPS})
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_the_operations_and_losses_of_a_module_can_be_named(write: Write) -> None:
    write("lab_ops", GOOD)
    nas.use("lab_ops")
    assert known_operations().keys() - OPERATIONS.keys() == {"my_op"}
    assert known_operations()["my_op"] == "from module lab_ops"
    assert plugins.operations()["my_op"].get()(8, 2) == ("built", 8, 2)
    assert plugins.losses()["my_loss"].get()(None, None) == 0.0
    assert Cell(((Edge("my_op", 0),),), (2,)).nodes[0][0].op == "my_op"
    assert SpaceSpec.model_validate({"ops": ["my_op", "skip_connect"]}).ops == ("my_op", "skip_connect")
    assert "my_loss" in allowed_losses("regression")


MINE = """
import numpy as np

class Near:
    def propose(self, space, history, seed):
        rng = np.random.default_rng(seed)
        return next(space.neighbours(history[-1].candidate)) if history else space.sample(rng)

class Lost:
    def propose(self, space, history, seed):
        return "somewhere"

STRATEGIES = {"near": Near, "lost": Lost}
"""


def test_a_strategy_of_the_users_own_is_asked_like_any_other(write: Write) -> None:
    write("lab_strategies", MINE)
    body = {"dataset": "digits", "strategy": "near"}
    with pytest.raises(ValidationError, match="allowed: auto"):
        JobSpec.model_validate(body)
    nas.use("lab_strategies")
    assert JobSpec.model_validate(body).strategy == "near"
    with pytest.raises(ValidationError, match="population"):
        JobSpec.model_validate(body | {"options": {"population": 3}})
    space = CategoricalSpace({"edge": ("a", "b", "c"), "other": ("d", "e")})
    found = simulate("near", space, lambda net, epochs: (0.5, 1.0), budget=4, pruning="none")
    first, *others = [observation.candidate for observation in found.history]
    assert others[0] == next(space.neighbours(first))
    with pytest.raises(TypeError, match=r"Lost\.propose returned 'somewhere', which is no candidate of the space"):
        simulate("lost", space, lambda net, epochs: (0.5, 1.0), budget=4)


def test_without_a_module_there_is_nothing_of_the_user(write: Write) -> None:
    plugins.use()
    assert not plugins.operations()
    assert not plugins.losses()
    with pytest.raises(GenotypeError):
        Cell(((Edge("my_op", 0),),), (2,))


def test_a_module_that_is_named_twice_changes_nothing_the_second_time(write: Write) -> None:
    write("lab_ops", GOOD)
    plugins.use("lab_ops", "lab_ops")
    before = plugins.operations()["my_op"].get()
    plugins.use("lab_ops")
    assert plugins.operations()["my_op"].get() is before
    assert list(plugins.operations()) == ["my_op"]


def test_every_function_of_a_table_is_its_own(write: Write) -> None:
    write("lab_ops", "OPERATIONS = {name: (lambda *_, name=name: name) for name in ('one', 'two', 'three')}")
    plugins.use("lab_ops")
    assert [plugin.get()(8, 1) for plugin in plugins.operations().values()] == ["one", "two", "three"]


def test_modules_may_hold_one_table_only_and_add_up(write: Write) -> None:
    write("lab_ops", "OPERATIONS = {'my_op': print}")
    write("lab_losses", "LOSSES = {'my_loss': print}")
    write("lab_more", "OPERATIONS = {'my_other_op': print}")
    plugins.use("lab_ops", "lab_losses", "lab_more")
    assert set(plugins.operations()) == {"my_op", "my_other_op"}
    assert set(plugins.losses()) == {"my_loss"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "import no_such_module",
            r"'lab_bad' cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("def", r"'lab_bad' cannot be imported: SyntaxError"),
        ("1 / 0", r"'lab_bad' cannot be imported: ZeroDivisionError: division by zero"),
        ("", r"'lab_bad' has none of OPERATIONS, LOSSES, STRATEGIES"),
        ("operations = {}", r"'lab_bad' has none of OPERATIONS, LOSSES, STRATEGIES"),
        ("OPERATIONS = None", r"lab_bad\.OPERATIONS has to be a mapping of names to functions"),
        ("OPERATIONS = [print]", r"lab_bad\.OPERATIONS has to be a mapping of names to functions"),
        ("LOSSES = {'my_loss': 3}", r"lab_bad\.LOSSES has to be a mapping of names to functions"),
        ("OPERATIONS = {3: print}", r"module lab_bad: 3 is no name for one of OPERATIONS; use letters, digits"),
        ("OPERATIONS = {'my op': print}", r"module lab_bad: 'my op' is no name for one of OPERATIONS"),
        ("LOSSES = {'': print}", r"module lab_bad: '' is no name for one of LOSSES"),
        ("OPERATIONS = {'none': print}", r"OPERATIONS called 'none' comes with the project; choose another name"),
        ("OPERATIONS = {'group_conv_5x5': print}", r"OPERATIONS called 'group_conv_5x5' comes with the project"),
        ("LOSSES = {'default': print}", r"LOSSES called 'default' comes with the project; choose another name"),
        ("STRATEGIES = {'tpe': print}", r"STRATEGIES called 'tpe' comes with the project; choose another name"),
        ("LOSSES = {'huber': print}", r"LOSSES called 'huber' comes with the project; choose another name"),
    ],
)
def test_a_module_that_is_no_plugin_is_refused_by_what_is_wrong_with_it(write: Write, text: str, says: str) -> None:
    write("lab_bad", text)
    with pytest.raises(SettingsError, match=says):
        plugins.use("lab_bad")
    assert not plugins.operations()
    assert not plugins.losses()


def test_a_module_that_is_not_there_is_refused_by_its_name(write: Write) -> None:
    for name in ("lab_that_is_nowhere", ".relative", ""):
        with pytest.raises(SettingsError, match=r"NAS_PLUGINS: .* cannot be imported"):
            plugins.use(name)


def test_of_a_module_with_a_mistake_nothing_is_taken_over(write: Write) -> None:
    write("lab_good", "OPERATIONS = {'my_op': print}")
    write("lab_bad", "OPERATIONS = {'my_other_op': print}; LOSSES = {'my loss': print}")
    with pytest.raises(SettingsError):
        plugins.use("lab_good", "lab_bad")
    assert list(plugins.operations()) == ["my_op"]


def test_two_modules_cannot_have_the_same_name_for_what_they_add(write: Write) -> None:
    write("lab_one", "OPERATIONS = {'my_op': print}")
    write("lab_two", "OPERATIONS = {'my_op': repr}; LOSSES = {'my_op': repr}")
    plugins.use("lab_one")
    with pytest.raises(SettingsError, match="module lab_two: 'my_op' of OPERATIONS is taken by module lab_one"):
        plugins.use("lab_two")
    assert plugins.operations()["my_op"].get() is print
    assert not plugins.losses()


def run(folder: Path, program: str) -> str:
    """What a program prints that finds its packages in the folder, too."""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    return done.stdout if done.returncode == 0 else done.stderr


def install(folder: Path, entry_points: str) -> None:
    """A distribution as pip would install it, with a module that leaves a mark when it is imported."""
    (folder / "lab_package.py").write_text(
        "print('imported')\ndef build(channels, stride):\n    return channels, stride\n"
    )
    info = folder / "lab_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_an_entry_point_gives_its_name_and_is_imported_when_it_is_used(tmp_path: Path) -> None:
    install(tmp_path, "[nas.operations]\nlab_op = lab_package:build\n[nas.losses]\nlab_loss = lab_package:build\n")
    program = """
from nas import plugins
from nas.space.operations import known_operations
print(known_operations()["lab_op"], list(plugins.operations()), list(plugins.losses()))
print(plugins.operations()["lab_op"].get()(8, 2))
"""
    assert run(tmp_path, program).splitlines() == [
        "from entry point lab_package:build ['lab_op'] ['lab_loss']",
        "imported",
        "(8, 2)",
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("skip_connect", "'skip_connect' comes with the project; choose another name"),
        ("lab-op", "'lab-op' is no name for one of OPERATIONS"),
    ],
)
def test_an_entry_point_with_a_name_that_cannot_be_is_told_at_the_start(tmp_path: Path, name: str, says: str) -> None:
    install(tmp_path, f"[nas.operations]\n{name} = lab_package:build\n")
    error = run(tmp_path, "from nas import plugins; plugins.use()")
    assert "SettingsError: entry point lab_package:build: " in error
    assert says in error
    assert "imported" not in error
