"""TensorBoard logs, read back by TensorBoard's own reader."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas.model import Network, build_network
from nas.space import CellSpace, Shape
from nas.train.board import Board, grid
from nas.train.epoch import EpochResult

SPACE = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1, shape=Shape(channels=4, cells=3))
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def result(epoch: int) -> EpochResult:
    return EpochResult(epoch, 2.0 / epoch, 3.0 / epoch, epoch / 10, 0.1, 1.5, {"accuracy": epoch / 10, "top5": 0.5})


def network() -> Network:
    torch.manual_seed(0)
    return build_network(SPACE.sample(np.random.default_rng(0)), in_channels=3, outputs=4)


def read(content: bytes, folder: Path) -> EventAccumulator:
    folder.mkdir()
    (folder / "events.out.tfevents.1.nas").write_bytes(content)
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def logged(epochs: range) -> list[bytes]:
    """A part of the log for each epoch."""
    made, parts = network(), []
    with Board() as board:
        for epoch in epochs:
            board.log(result(epoch), made, IMAGES)
            parts.append(board.take())
    return parts


def test_scalars_histograms_kernels_feature_maps_and_graph_are_there(tmp_path: Path) -> None:
    found = read(b"".join(logged(range(1, 3))), tmp_path / "log")
    assert [(event.step, event.value) for event in found.Scalars("loss/train")] == [(1, 2.0), (2, 1.0)]
    assert found.Scalars("metrics/top5")[0].value == 0.5
    assert {"lr", "seconds", "loss/validation", "score/validation"} <= set(found.Tags()["scalars"])
    weights = {f"weights/{name}" for name, parameter in network().named_parameters() if parameter.ndim > 1}
    assert set(found.Tags()["histograms"]) == weights
    assert found.Histograms("weights/classifier.weight")[0].histogram_value.num == 4 * network().classifier.in_features
    images = set(found.Tags()["images"])
    assert {"first_layer/kernels", "feature_maps/stem", "feature_maps/cells.0", "feature_maps/cells.2"} <= images
    assert found.Tags()["graph"]


def test_the_logs_of_an_interrupted_training_and_its_resumption_are_one(tmp_path: Path) -> None:
    # The first attempt logged a third epoch that was never reported, and the second one did it again.
    parts = logged(range(1, 4))[:2] + logged(range(3, 6))
    found = read(b"".join(parts), tmp_path / "log")
    assert [event.step for event in found.Scalars("lr")] == [1, 2, 3, 4, 5]


def test_looking_leaves_the_network_as_it_was() -> None:
    made = network().train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with Board() as board:
        board.log(result(1), made, IMAGES)
    assert made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert not any(module._forward_hooks for module in made.modules())


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (4, 2, 2), (5, 2, 3), (16, 4, 4)])
def test_a_grid_holds_every_image_scaled_by_itself(count: int, rows: int, columns: int) -> None:
    images = torch.rand(count, 3, 5, 7, generator=torch.Generator().manual_seed(count)) * 9 - 4
    sheet = grid(images)
    assert sheet.shape == (3, rows * 6 - 1, columns * 8 - 1)
    for index, image in enumerate(images):
        top, left = index // columns * 6, index % columns * 8
        expected = (image - image.min()) / (image.max() - image.min())
        assert torch.allclose(sheet[:, top : top + 5, left : left + 7], expected)
    assert grid(torch.full((1, 1, 2, 2), 7.0)).max() == 0
