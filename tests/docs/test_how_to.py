"""The code of the how-to pages runs as it stands there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas import plugins
from nas.search.catalog import strategies
from tests.docs.blocks import blocks


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the modules of a page; what is used of them is forgotten after the test."""
    monkeypatch.setattr(plugins, "_used", {table: {} for table in plugins.GROUPS})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def write(page: str, folder: Path) -> list[str]:
    """Writes the files of a page and returns the Python blocks that are none."""
    rest = []
    for block in blocks(f"how-to/{page}.md"):
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language == "python":
            rest.append(block.text)
    return rest


def test_the_operations_of_the_page_build_and_train(written: Path) -> None:
    assert not write("own-operation", written)
    typed = [sys.executable, "-P", "-m", "cli", "operations", "--json"]
    environ = os.environ | {"NAS_PLUGINS": "my_operations", "NAS_HOME": str(written)}
    listed = subprocess.run(typed, cwd=written, env=environ, capture_output=True, check=True, timeout=60).stdout
    assert {"blur", "squeeze"} <= {found["name"] for found in json.loads(listed)}
    nas.use("my_operations")
    normal = "[('blur', 0), ('squeeze', 1)]"
    text = f"Genotype(normal={normal}, normal_concat=[2], reduce={normal}, reduce_concat=[2])"
    network = nas.build(nas.space.from_text(text), channels=8, cells=3, in_channels=1, classes=4)
    loss = network(torch.zeros(2, 1, 8, 8)).sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_loss_on_the_page_is_the_focal_loss_for_classes_and_for_mixtures(written: Path) -> None:
    assert not write("own-loss", written)
    nas.use("my_losses")
    focal = plugins.losses()["focal"].get()
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = [-((1 - shares[row, label]) ** 2) * np.log(shares[row, label]) for row, label in enumerate((0, 2))]
    targets = torch.tensor([0, 2])
    np.testing.assert_allclose(focal(logits, targets), expected, rtol=1e-6)
    mixed = torch.nn.functional.one_hot(targets, 3).float()
    np.testing.assert_allclose(focal(logits, mixed), expected, rtol=1e-6)


def test_the_strategy_of_the_page_climbs_in_the_example_of_the_page(written: Path) -> None:
    [example] = write("own-strategy", written)
    names: dict[str, object] = {}
    exec(compile(example, "own-strategy.md", "exec"), names)  # noqa: S102 - what readers run
    found = names["found"]
    assert strategies()["climb"].make(None).own.__class__.__name__ == "Climb"  # type: ignore[attr-defined]
    assert getattr(found, "best_score", 0.0) > 0.9


def test_published_cells_build_as_the_page_says(written: Path) -> None:
    *_, last = write("phone-onnx", written)
    names: dict[str, torch.nn.Module] = {}
    exec(compile(last, "phone-onnx.md", "exec"), names)  # noqa: S102 - what readers run
    assert names["untrained"](torch.zeros(1, 3, 32, 32)).shape == (1, 10)
