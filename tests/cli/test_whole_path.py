"""The whole path, as users walk it: `nas serve` and the API, `nas search`, the package outside the project."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import nas
from cli.main import run
from cli.service import local_service
from nas.client import Client
from nas.errors import InvalidInput
from nas.space import from_text
from tests.processes import SLOW, TINY, alive, children_of, environment, serve, settings_in, until, url_in

Command = Callable[..., str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of `nas search digits` for a tiny job, and what the command printed."""
    home = tmp_path_factory.mktemp("home")
    space = [f"--op={name}" for name in TINY["space"]["ops"]]
    command = [sys.executable, "-m", "cli", "search", "digits", "--out", str(home / "model"), "--workers", "2", *space]
    command += "--nodes 2 --channels 4 --cells 3 --trials 3 --epochs 2 --finalists 2 --controls 2".split()
    command += "--final-epochs 2 --seeds 2 --seed 7".split()
    done = subprocess.run(
        command, env=environment(settings_in(home)), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "model", done.stdout


@pytest.fixture
def nas_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`nas ARGUMENTS` in this process; what it prints."""

    def run_it(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        try:
            run()
        except SystemExit as ended:
            if ended.code:
                raise
        return capsys.readouterr().out

    return run_it


def read(package: Path, name: str) -> Any:
    with zipfile.ZipFile(package) as archive:
        return json.loads(archive.read(name))


def test_search_prints_what_was_found(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    words = " ".join(printed.split())
    metrics, shape = read(folder / "model.zip", "metrics.json"), read(folder / "model.zip", "genotype.json")
    assert f"{metrics['params']:,} parameters" in words
    assert f"{metrics['verdict']['winner']['mean'] * 100:.2f} %, 95 % interval" in words
    assert "random networks" in words
    assert "hand-designed residual network" in words
    assert "".join(shape["darts"].split()) in "".join(printed.split())
    assert "left" in words


def test_the_onnx_file_scores_the_reported_accuracy_without_the_project(finished: tuple[Path, str]) -> None:
    package = finished[0] / "model.zip"
    metrics = read(package, "metrics.json")
    digits = load_digits()
    chosen = metrics["data"]["test_indices"]
    images = digits.images[chosen].astype(np.uint8)[:, np.newaxis]
    with zipfile.ZipFile(package) as archive:
        session = onnxruntime.InferenceSession(archive.read("model.onnx"))
    [logits] = session.run(None, {session.get_inputs()[0].name: images})
    assert logits.shape == (360, 10)
    assert float((logits.argmax(axis=1) == digits.target[chosen]).mean()) == metrics["accuracy"]
    [single] = session.run(None, {session.get_inputs()[0].name: images[:1]})
    np.testing.assert_allclose(single, logits[:1], atol=1e-4)


def test_load_gives_the_network_that_the_onnx_file_holds(finished: tuple[Path, str]) -> None:
    package = finished[0] / "model.zip"
    network = nas.load(package)
    images = np.random.default_rng(0).integers(0, 17, (5, 1, 8, 8), dtype=np.uint8)
    with zipfile.ZipFile(package) as archive:
        session = onnxruntime.InferenceSession(archive.read("model.onnx"))
    [theirs] = session.run(None, {"images": images})
    with torch.no_grad():
        ours = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert not network.training
    assert network.classes == tuple("0123456789")
    assert sum(p.numel() for p in network.network.parameters()) == read(package, "metrics.json")["params"]


def test_the_package_holds_what_it_promises(finished: tuple[Path, str]) -> None:
    package = finished[0] / "model.zip"
    with zipfile.ZipFile(package) as archive:
        assert sorted(archive.namelist()) == [
            "cells.svg",
            "genotype.json",
            "metrics.json",
            "model.onnx",
            "model_card.md",
            "report.html",
            "weights.safetensors",
        ]
        ElementTree.parse(io.BytesIO(archive.read("cells.svg")))
        card = archive.read("model_card.md").decode()
    metrics, shape = read(package, "metrics.json"), read(package, "genotype.json")
    assert f"{metrics['accuracy'] * 100:.2f} %" in card
    assert metrics["verdict"]["text"] in card
    genotype = from_text(shape["darts"])
    assert genotype.to_json() == shape["genotype"]
    verdict = metrics["verdict"]
    assert verdict["winner"]["n"] == 2
    assert verdict["controls"]["n"] == 4
    assert len(metrics["data"]["digest"]) == 64
    for group in ("winner", "controls", "difference", "best_control", "reference"):
        assert verdict[group]["low"] <= verdict[group]["mean"] <= verdict[group]["high"]
    assert metrics["accuracy"] in verdict["winner"]["accuracies"]
    assert verdict["beats_random"] == (verdict["difference"]["low"] > 0)


def test_predict_names_the_digit_of_a_picture(finished: tuple[Path, str], tmp_path: Path) -> None:
    package = finished[0] / "model.zip"
    digits = load_digits()
    network = nas.load(package)
    raw = digits.images[:3].astype(np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(raw[:, np.newaxis])).argmax(dim=1).tolist()
    paths = []
    for index, image in enumerate(raw):
        scale = 1 if index == 0 else 255 / 16  # as the data holds it, and as a person would save it
        path = tmp_path / f"{index}.png"
        Image.fromarray((image * scale).round().astype(np.uint8)).save(path)
        paths.append(str(path))
    command = [sys.executable, "-m", "cli", "predict", str(package), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.strip().splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines] == [str(digit) for digit in expected]
    assert all("%" in line for line in lines)


@pytest.mark.parametrize("unpacked", [False, True])
def test_the_model_tells_what_it_is_and_is_exported_again(
    finished: tuple[Path, str], tmp_path: Path, nas_command: Command, unpacked: bool
) -> None:
    """From the zip, and from the folder that it was unpacked into."""
    package = finished[0] / "model.zip"
    model = str(finished[0] if unpacked else package)
    assert json.loads(nas_command("model", "info", model, "--json"))["metrics"] == read(package, "metrics.json")
    assert f"nas predict {model}" in " ".join(nas_command("model", "info", model).split())
    images = np.random.default_rng(0).integers(0, 17, (2, 1, 8, 8), dtype=np.uint8)
    with torch.no_grad():
        expected = nas.load(model)(torch.from_numpy(images)).numpy()
    if unpacked:
        told = nas_command("model", "torch", model, "--json", "-o", str(tmp_path / "again.pt2"))
        program = torch.export.load(json.loads(told)["path"]).module()
        np.testing.assert_allclose(program(torch.from_numpy(images)).detach().numpy(), expected, atol=1e-4)
    else:
        told = nas_command("model", "onnx", model, "--json", "-o", str(tmp_path / "again.onnx"))
        session = onnxruntime.InferenceSession(json.loads(told)["path"])
        np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, atol=1e-4)


def test_a_folder_without_a_model_is_refused_and_a_model_is_no_job(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], nas_command: Command
) -> None:
    with pytest.raises(InvalidInput, match="folder that one was unpacked into"):
        nas.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        nas.load(tmp_path / "nothing")
    for arguments, says in (
        (["model", "info", str(tmp_path)], "it is no package"),
        (["export", str(finished[0]), "--optuna", "sqlite://"], f"`nas model onnx {finished[0]}` exports a model"),
    ):
        with pytest.raises(SystemExit):
            nas_command(*arguments)
        assert says in capsys.readouterr().err


def test_a_finished_job_is_asked_and_downloaded_from_its_service(
    finished: tuple[Path, str], tmp_path: Path, nas_command: Command
) -> None:
    settings = settings_in(finished[0].parent)
    path = tmp_path / "digit.png"
    Image.fromarray((load_digits().images[0] * 255 / 16).round().astype(np.uint8)).save(path)
    expected = nas.load(finished[0]).predict(path)
    with local_service(settings, 0, [], environment(settings)) as url, Client(url) as client:
        job = client.jobs()[0].id
        said = json.loads(nas_command("jobs", "predict", job, str(path), "--json", "--url", url))
        line = nas_command("jobs", "predict", job, str(path), "--top", "1", "--url", url)
        told = json.loads(nas_command("jobs", "download", job, "--json", "-o", str(tmp_path / "got"), "--url", url))
    assert said[str(path)] == pytest.approx(expected, abs=1e-4)
    likeliest = max(expected, key=lambda name: expected[name])
    assert line == f"{path}: {likeliest} {expected[likeliest] * 100:.1f} %\n"
    assert told == {"job": job, "trial": None, "package": str(tmp_path / "got" / "model.zip")}
    assert (tmp_path / "got" / "model.zip").read_bytes() == (finished[0] / "model.zip").read_bytes()


def test_predict_says_what_is_wrong_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "model.zip"
    bad.write_bytes(b"PK not a zip")
    monkeypatch.setattr(sys, "argv", ["nas", "predict", str(bad), str(bad)])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert "model.zip of this service" in printed
    assert "Traceback" not in printed


def test_ctrl_c_of_the_service_gives_trials_back_and_the_next_start_goes_on(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log = tmp_path / "serve.log"
    with serve(settings, log) as service, Client(url_in(log)) as client:
        job = client.search(SLOW)
        until(lambda: any(trial["epoch"] >= 2 for trial in job.dashboard()["running"]), "two epochs")
        workers = children_of(service.pid)
        assert len(workers) == 1
        os.killpg(service.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
        assert service.wait(15) == 0
    assert not any(alive(pid) for pid in workers)
    again = tmp_path / "again.log"
    with serve(settings, again), Client(url_in(again)) as client:
        job = client.job(job.id)
        shown = job.dashboard()
        assert shown["counts"]["running"] + shown["counts"]["queued"] == 1
        until(lambda: job.dashboard()["phases"]["search"]["finished"] == 1, "the trial's end")
        trial = job.trial(0)
    assert trial["attempt"] == 2
    assert [epoch["epoch"] for epoch in trial["curve"]] == list(range(1, SLOW["budget"]["epochs"] + 1))


def test_after_kill_9_of_the_whole_service_the_job_goes_on(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, lease_s=2)
    log = tmp_path / "serve.log"
    with serve(settings, log) as service, Client(url_in(log)) as client:
        job = client.search(SLOW)
        until(lambda: any(trial["epoch"] >= 2 for trial in job.dashboard()["running"]), "two epochs")
        [orphan] = children_of(service.pid)
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        until(lambda: not alive(orphan), "the end of the worker whose service was killed", seconds=15)
    again = tmp_path / "again.log"
    with serve(settings, again), Client(url_in(again)) as client:
        job = client.job(job.id)
        until(lambda: job.dashboard()["phases"]["search"]["finished"] == 1, "the trial's end")


def test_a_worker_that_dies_is_replaced_by_the_service(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, lease_s=2)
    log = tmp_path / "serve.log"
    with serve(settings, log) as service, Client(url_in(log)) as client:
        job = client.search(SLOW)
        until(lambda: job.dashboard()["running"], "a running trial")
        [first] = children_of(service.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: [pid for pid in children_of(service.pid) if pid != first], "another worker")
        until(lambda: job.dashboard()["phases"]["search"]["finished"] == 1, "the trial's end")
