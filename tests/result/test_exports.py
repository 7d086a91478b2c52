"""What a loaded model can do: name what it sees, and become a file of other programs that computes the same."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from nas.errors import InvalidInput, VerificationFailed
from nas.result import package
from nas.result.package import Classifier
from nas.space import Candidate, CellSpace, Shape
from nas.space.operations import DEFAULT_OPERATIONS
from nas.train.loop import predict

SPACE = CellSpace(DEFAULT_OPERATIONS, nodes=2, shape=Shape(channels=4, cells=3))
CLASSES = ("cat", "dog", "fox")


def made(task: str = "single_label", candidate: Candidate | None = None) -> Classifier:
    """An untrained classifier whose outputs are far apart."""
    torch.manual_seed(0)
    found = package.empty_classifier(
        candidate or SPACE.sample(np.random.default_rng(1)), task=task, in_channels=3, outputs=3
    )
    found.normalise.mean.fill_(100.0)
    found.normalise.std.fill_(50.0)
    found.task, found.classes, found.image = task, CLASSES, (3, 8, 8)
    found.metrics = {"data": {"value_range": [0, 255]}}
    return found


@pytest.fixture(scope="module")
def model() -> Classifier:
    return made()


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


def test_an_onnx_file_computes_what_the_network_does_for_any_number_of_images(
    model: Classifier, tmp_path: Path
) -> None:
    path = model.export_onnx(tmp_path / "new" / "model.onnx")
    assert path == tmp_path / "new" / "model.onnx"
    session = onnxruntime.InferenceSession(path)
    for count in (1, 2, 9):
        [found] = session.run(["logits"], {"images": pixels(count)})
        with torch.no_grad():
            wanted = model(torch.from_numpy(pixels(count))).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_a_torch_program_computes_what_the_network_does_for_any_number_of_images(
    model: Classifier, tmp_path: Path
) -> None:
    path = model.export_torch(str(tmp_path))
    assert path == tmp_path / "model.pt2"
    network = torch.export.load(path).module()
    for count in (1, 2, 9):
        images = torch.from_numpy(pixels(count))
        with torch.no_grad():
            torch.testing.assert_close(network(images), model(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_a_file_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    model = made()
    monkeypatch.setattr("nas.result.exports.predict", lambda network, images: predict(network, images) + 1e-2)
    path = tmp_path / f"model.{ending}"
    path.write_bytes(b"older")
    with pytest.raises(VerificationFailed, match=r"differ from the network's by .*more than 1e-04"):
        model.export_onnx(path) if ending == "onnx" else model.export_torch(path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(path.name, b"older")]


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    model = made().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.export_torch(tmp_path / "model.pt2")
    model.predict(pixels(2))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_images_are_named_by_what_is_likeliest(model: Classifier, tmp_path: Path) -> None:
    images = pixels(4)
    found = model.predict(images)
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).softmax(dim=1)
    for row, probabilities in zip(found, wanted.tolist(), strict=True):
        assert sum(row.values()) == pytest.approx(1)
        assert list(row.values()) == sorted(row.values(), reverse=True)
        assert [row[name] for name in CLASSES] == pytest.approx(probabilities, abs=1e-6)
    assert model.predict(torch.from_numpy(images)) == found
    path = tmp_path / "one.png"
    Image.fromarray(images[0].transpose(1, 2, 0)).save(path)
    assert model.predict(path) == model.predict(str(path)) == model.predict([path])[0]
    assert model.predict(path) == pytest.approx(found[0], abs=1e-6)
    assert model.predict([]) == []


def test_labels_have_their_own_probabilities_and_targets_their_values() -> None:
    images = pixels(2)
    labels, targets = made("multi_label"), made("regression")
    with torch.no_grad():
        logits = labels(torch.from_numpy(images)).double()
        values = targets(torch.from_numpy(images)).double()
    for row, wanted in zip(labels.predict(images), logits.sigmoid().tolist(), strict=True):
        assert [row[name] for name in CLASSES] == pytest.approx(wanted)
    for row, wanted in zip(targets.predict(images), values.tolist(), strict=True):
        assert list(row) == list(CLASSES)
        assert list(row.values()) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((2, 3, 8, 8)), r"float64 \[2, 3, 8, 8\].*uint8 \[N, 3, 8, 8\]"),
        (np.zeros((2, 1, 8, 8), dtype=np.uint8), r"uint8 \[2, 1, 8, 8\]"),
        (np.zeros((3, 8, 8), dtype=np.uint8), r"uint8 \[3, 8, 8\]"),
    ],
)
def test_pixels_of_another_shape_are_refused_with_the_right_one(
    model: Classifier, images: np.ndarray, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        model.predict(images)


def test_what_is_no_image_is_refused_by_its_name(model: Classifier, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        model.predict(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError):
        model.predict(tmp_path / "nothing.png")
