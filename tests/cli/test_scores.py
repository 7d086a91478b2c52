"""A regression's score is R²: no command calls it accuracy, or says it in percent."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from cli import watch
from cli.live import picture
from nas.client import Client, looks
from nas.result.package import zip_bytes
from nas.settings import Settings
from nas.store import trials
from nas.store.session import Store
from nas.store.states import TrialState
from tests.cli.test_live import DASHBOARD
from tests.support import candidate, digest, report, reserve

Nas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def regression(service: tuple[Client, Settings], tmp_path: Path) -> str:
    """A job on a data set of one target, of which a trial has ended far below 0; its id."""
    client, settings = service
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "heights.npz", images=images, labels=np.linspace(0, 1, 60)[:, None])
    job = client.search(
        dataset=tmp_path / "heights.npz",
        strategy="random",
        pruning="none",
        objectives=["accuracy", "params"],
        budget={"trials": 2, "epochs": 1},
    ).id
    store = Store(settings.database_url)
    taken = reserve(store)
    assert taken is not None
    with store.write() as session:
        trials.set_candidate(session, taken, candidate(0), digest(0), trials.Costs(1000, 1))
    report(store, taken, 1, -0.1234)
    with store.write() as session:
        trials.finish(session, taken, TrialState.COMPLETE)
    store.close()
    return job


def test_what_a_service_tells_of_a_regression(
    service: tuple[Client, Settings], nas: Nas, regression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command, says in (
        (("list",), r"R² -0\.123 "),
        (("show", regression), r"-0\.123 .*best trials +R² +after 0 +-0\.123"),
        (("trials", regression), r" R² ┃.* -0\.123 "),
        (("trial", regression, "0"), r"R² on validation: -0\.123 .* R² +┃.* -0\.123 "),
        (("best", regression), r"R² on validation: -0\.123 "),
        (("pareto", regression), r" R² ┃ params ┃.* -0\.123 │ +1,000 │"),
    ):
        status, out, _ = nas("jobs", *command)
        assert status == 0
        assert re.search(says, " ".join(out.split()) + " "), command
        assert " %" not in out
        assert "accuracy" not in out
    monkeypatch.setattr("nas.client.Job.predict", lambda *_: {"height": 0.25, "width": 0.5})
    assert nas("jobs", "predict", regression, "x.png")[1] == "x.png: height 0.25, width 0.5\n"
    service[0].job(regression).delete(force=True)


def test_what_a_terminal_shows_of_a_running_regression() -> None:
    console = Console(file=io.StringIO(), width=130, color_system=None)
    running = [one | {"accuracy": -0.5} for one in DASHBOARD["running"]]
    shown = DASHBOARD | {"metric": "r2", "running": running}
    console.print(picture(shown, 130))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "best R² 0.900 on validation, " in looks.look_at(shown, patient=True).figures
    for said in ("0.900 ", "0.550 ", "R²", "-0.500"):
        assert said in text
    for wrong in (" %", "accuracy"):
        assert wrong not in text


@pytest.mark.parametrize(
    ("task", "test", "these"),
    [
        ("single_label", "test accuracy 98.24 %, 95 % interval 97.00 % to 99.00 %,", "weights 97.50 % on test"),
        ("multi_label", "test mean average precision 98.24 %, 95 %", "weights mAP 97.50 % on test"),
        ("regression", "test R² 0.982, 95 % interval 0.970 to 0.990,", "weights R² 0.975 on test"),
    ],
)
def test_what_was_found_is_said_as_its_task_says_it(task: str, test: str, these: str, tmp_path: Path) -> None:
    verdict = {
        "winner": {"mean": 0.98244, "low": 0.97, "high": 0.99, "n": 3},
        "shipped": {"onnx_difference": 1e-7},
        "test_images": 50,
        "text": "",
    }
    metrics = {"accuracy": 0.975, "params": 1, "macs": 2, "verdict": verdict, "data": {"task": task}}
    shape = {"candidate": candidate(0).to_json(), "genotype": {}}
    package = tmp_path / "model.zip"
    package.write_bytes(
        zip_bytes({"metrics.json": json.dumps(metrics).encode(), "genotype.json": json.dumps(shape).encode()})
    )
    phases = {name: {"finished": 1} for name in ("finalist", "control", "reference")}
    progress: dict[str, Any] = {"elapsed_s": 1.0, "trials_finished": 1}
    console = Console(file=io.StringIO(), width=200)
    watch.summarise({"verdict": verdict, "progress": progress, "phases": phases}, package, console)
    watch.summarise_alone(package, console)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert test in said
    assert said.count(these) == 2
