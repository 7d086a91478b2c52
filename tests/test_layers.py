"""The rules of the layout: who may import whom, what stays light, and where the environment is read."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIGHT = ("api", "nas.client", "nas.errors", "nas.settings", "nas.space", "nas.spec", "nas.store")
"""What the image of the API holds, which has no torch."""

PACKAGES = ("nas", "api", "worker", "cli")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """What a file imports anywhere in it: modules, and names in modules, which may be modules too."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def breaches(of: tuple[str, ...], never: tuple[str, ...]) -> list[str]:
    """Files of some packages that import what they may not."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if within(module_of(path), *of)
        for name in sorted(imports(path))
        if within(name, *never)
    ]


def test_there_are_sources_to_look_at() -> None:
    names = {module_of(path) for path in SOURCES}
    assert {"nas", "nas.spec", "nas.store.trials", "api.main", "worker.main", "cli.main"} <= names


@pytest.mark.parametrize(
    ("of", "never"),
    [
        (("api",), ("worker", "cli")),
        (("worker",), ("api", "cli")),
        (("nas",), ("api", "worker", "cli")),
        (("nas.space", "nas.search", "nas.model", "nas.train"), ("nas.store",)),
        (LIGHT, ("torch",)),
    ],
)
def test_the_layers_are_kept(of: tuple[str, ...], never: tuple[str, ...]) -> None:
    assert breaches(of, never) == []


def test_a_breach_of_the_layers_would_be_noticed() -> None:
    assert any("imports nas.store" in breach for breach in breaches(("worker",), ("nas.store",)))
    assert any("imports worker.main" in breach for breach in breaches(("cli",), ("worker",)))


def test_the_environment_is_read_where_a_process_begins_and_nowhere_else() -> None:
    found = set()
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb", "putenv"):
                found.add(module_of(path))
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                assert {alias.name for alias in node.names}.isdisjoint({"environ", "getenv"}), path
    # worker.cluster.joining reads nothing there: it sets what Ray Tune reads, and takes it back.
    assert found == {"cli.main", "worker.main", "worker.cluster.joining"}


@pytest.fixture(scope="module")
def fresh() -> dict[str, list[str]]:
    """What the light modules have loaded and made in a fresh interpreter."""
    light = [module for path in SOURCES if within(module := module_of(path), *LIGHT)]
    script = f"""
import gc, importlib, json, sys
for name in {[name for name in light if not within(name, "nas.store.migrations")]!r}:
    importlib.import_module(name)
loaded = sorted({{"torch", "optuna", "onnx", "onnxruntime"}} & set(sys.modules))
import fastapi, httpx, sqlalchemy, sqlalchemy.orm
from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
kinds = (sqlalchemy.Engine, sqlalchemy.orm.Session, fastapi.FastAPI, httpx.Client, Settings, Store, ArtifactStore)
made = [type(found).__name__ for found in gc.get_objects() if type(found) in kinds]
print(json.dumps({{"imported": sorted(sys.modules), "loaded": loaded, "made": made}}))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    assert {"api.main", "nas.spec", "nas.store.trials", "nas.space.space"} <= set(found["imported"])
    return found


def test_the_api_the_space_and_the_store_load_no_torch(fresh: dict[str, list[str]]) -> None:
    assert fresh["loaded"] == []


def test_importing_makes_no_engine_no_app_and_no_client(fresh: dict[str, list[str]]) -> None:
    assert fresh["made"] == []


MAKERS = {"create_engine", "create_app", "FastAPI", "Store", "ArtifactStore", "Session", "Client", "read", "migrate"}


def test_no_module_makes_an_engine_an_app_or_settings_outside_its_functions() -> None:
    """Also in those that load torch, which takes seconds."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in outside_functions(tree_of(path))
        if isinstance(node, ast.Call) and name_of(node.func) in MAKERS
    ]
    assert found == []


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def name_of(function: ast.expr) -> str | None:
    """The last part of what is called."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
