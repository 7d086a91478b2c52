"""POST …/predict: what a finished model says of an image, as `nas predict` says it, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

import nas
from cli.predict import predict_files
from nas.errors import ArtifactDamaged
from nas.result import package
from nas.result import predict as predicting
from nas.result.predict import SESSIONS, Models
from nas.result.reading import read_image
from nas.space import Candidate, CellSpace, Shape
from nas.store.files import package as package_of
from tests.api.client import ApiClient, fault, problem, succeed

SPACE = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=2, shape=Shape(channels=4, cells=3))
CLASSES = ("cat", "dog", "fox")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Of the package of an untrained network whose outputs are far apart; to export it takes seconds."""
    torch.manual_seed(0)
    candidate: Candidate = SPACE.sample(np.random.default_rng(1))
    made = package.empty_classifier(candidate, task="single_label", in_channels=3, outputs=len(CLASSES))
    made.normalise.mean.fill_(50.0)
    made.normalise.std.fill_(10.0)
    return {
        package.GENOTYPE: json.dumps({"candidate": candidate.to_json()}).encode(),
        package.WEIGHTS: package.weights_to_bytes(made),
        package.ONNX: package.onnx_bytes(made, (3, 8, 8)),
    }


def packaged(files: dict[str, bytes], task: str = "single_label", full: int = 255) -> bytes:
    data = {"image": [3, 8, 8], "classes": CLASSES, "task": task, "value_range": [0, full]}
    return package.zip_bytes(files | {package.METRICS: json.dumps({"data": data}).encode()})


@pytest.fixture(scope="module")
def content(files: dict[str, bytes]) -> bytes:
    return packaged(files)


def picture(size: tuple[int, int] = (20, 30), form: str = "PNG", seed: int = 3, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def ask(api: ApiClient, job: str, image: bytes, name: str = "photo.png", **options: Any) -> httpx.Response:
    return api.post(f"/v1/jobs/{job}/predict", files={"file": (name, image)}, **options)


@pytest.mark.parametrize(("task", "full"), [("single_label", 255), ("single_label", 16), ("multi_label", 255)])
def test_it_says_what_nas_predict_says(
    api: ApiClient, tmp_path: Path, files: dict[str, bytes], task: str, full: int
) -> None:
    (tmp_path / "model.zip").write_bytes(packaged(files, task, full))
    job = succeed(api, packaged(files, task, full))
    for form, size in (("PNG", (20, 30)), ("JPEG", (64, 8)), ("GIF", (8, 8))):
        path = tmp_path / "image"
        path.write_bytes(picture(size, form))
        answer = ask(api, job, path.read_bytes())
        assert answer.status_code == 200, answer.text
        said = answer.json()
        [wanted] = predict_files(tmp_path / "model.zip", [path]).values
        named = {row["name"]: row["probability"] for row in said["classes"]}
        assert named == pytest.approx(wanted, abs=1e-4)
        assert (said["task"], said["targets"]) == (task, [])
        assert said["ms"] > 0
        assert list(named.values()) == sorted(named.values(), reverse=True)
        assert (abs(sum(named.values()) - 1) < 1e-6) == (task == "single_label")


def test_of_a_regression_it_says_the_values(api: ApiClient, tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "model.zip").write_bytes(packaged(files))
    (tmp_path / "image").write_bytes(picture())
    network = nas.load(tmp_path / "model.zip")
    with torch.no_grad():
        [wanted] = network(
            torch.from_numpy(np.array(read_image(tmp_path / "image", (3, 8, 8), (0, 255)))[np.newaxis])
        ).tolist()
    said = ask(api, succeed(api, packaged(files, "regression")), picture()).json()
    assert said["classes"] == []
    assert [row["name"] for row in said["targets"]] == list(CLASSES)
    assert [row["value"] for row in said["targets"]] == pytest.approx(wanted, abs=1e-4, rel=1e-4)


def test_before_there_is_a_model_it_says_so(api: ApiClient, content: bytes) -> None:
    job = api.add_job()
    problem(ask(api, job, picture()), 409, "no model to try yet", "queued")
    problem(ask(api, "0123456789ab", picture()), 404)


@pytest.mark.parametrize(
    "image",
    [b"no image", b"", b"PK\x03\x04", picture()[:50], b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x00" * 999],
)
def test_what_is_no_image_is_refused_with_the_mend(api: ApiClient, content: bytes, image: bytes) -> None:
    job = succeed(api, content)
    said = fault(ask(api, job, image, "notes.txt"), "file")
    assert said["value"] == "notes.txt"
    assert "send" in said["mend"]
    assert "labelled" not in said["mend"]
    assert " at 0x" not in said["mend"]
    assert ask(api, job, picture()).status_code == 200


def test_an_image_of_too_many_pixels_or_bytes_is_refused(
    api: ApiClient, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = succeed(api, content)
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 1 << 20
    fault(ask(api, job, bomb.getvalue()), "file", "50,000,000 pixels")
    monkeypatch.setattr("api.limits.PICTURE_BYTES", 5000)
    problem(ask(api, job, picture((100, 100))), 413, "5,000 bytes", "a smaller image")
    assert ask(api, job, picture((10, 10))).status_code == 200


def test_a_photograph_of_more_than_a_megabyte_passes(api: ApiClient, content: bytes) -> None:
    job = succeed(api, content)
    photo = picture((900, 1200))
    assert len(photo) > 3_000_000
    assert ask(api, job, photo).status_code == 200


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"json": {"file": "x"}}, "body"),
        ({"content": b"x", "headers": {"Content-Type": "image/png"}}, "body"),
        ({"files": {"image": ("a.png", b"x")}}, "image"),
        ({"data": {"file": "x"}, "files": {"other": ("a", b"")}}, "file"),
        ({"files": [("file", ("a.png", b"x")), ("file", ("b.png", b"y"))]}, "file"),
        ({}, "body"),
    ],
)
def test_a_form_that_is_another_one_is_refused(
    api: ApiClient, content: bytes, options: dict[str, Any], field: str
) -> None:
    job = succeed(api, content)
    fault(api.post(f"/v1/jobs/{job}/predict", **options), field)


def test_a_key_that_reads_may_try_the_model_of_its_owner(api: ApiClient, content: bytes) -> None:
    ada = api.of("ada")
    job = succeed(ada, content)
    assert ask(api.of("ada", "read"), job, picture()).status_code == 200
    problem(ask(api.of("bob"), job, picture()), 404)
    problem(api.of("ada", "read").post(f"/v1/jobs/{job}/predict/x"), 403)


def test_nothing_is_left_of_an_image(api: ApiClient, content: bytes) -> None:
    job = succeed(api, content)
    for image in (picture(), b"no image"):
        ask(api, job, image)
    assert list((api.parts.settings.home / "uploads").iterdir()) == []


def test_a_package_that_is_missing_or_damaged_is_said_to_be_so(api: ApiClient, content: bytes) -> None:
    problem(ask(api, succeed(api, b"PK zip"), picture()), 503, "no model that runs")
    job = succeed(api, content)
    with api.store.read() as session:
        sha256 = package_of(session, job)
    assert sha256 is not None
    api.artifacts.delete(sha256)
    problem(ask(api, job, picture()), 503, "is missing")


def test_few_models_are_kept_and_each_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "load", lambda sha256, content: object())
    models, read = Models(), list[str]()

    def get(name: str) -> object:
        return models.get(name, lambda: read.append(name) or b"")  # type: ignore[func-returns-value]

    names = [f"model {index}" for index in range(SESSIONS)]
    first = [get(name) for name in names]
    assert [get(name) for name in names] == first
    assert read == names
    get(names[0])
    get("another")
    assert get(names[0]) is first[0]
    get(names[1])
    assert read == [*names, "another", names[1]]
    assert len(models._kept) == SESSIONS


def test_a_model_that_cannot_be_loaded_is_asked_for_again(content: bytes) -> None:
    models = Models()
    with pytest.raises(ArtifactDamaged):
        models.get("a", lambda: b"no package")
    assert models.get("a", lambda: content).classes == CLASSES
