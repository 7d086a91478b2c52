import json

import pytest
import safetensors
import torch
from safetensors.torch import load, save
from torch import nn, optim

from nas.train.checkpoint import Checkpoint
from tests.train.runs import digits, network, same, state, train


def trained() -> tuple[nn.Module, optim.Optimizer]:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step(model, optimizer)
    return model, optimizer


def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad()
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model.train()(images).square().sum().backward()
    optimizer.step()


def test_a_checkpoint_comes_back_from_its_file() -> None:
    checkpoint = Checkpoint.take(3, *trained())
    again = Checkpoint.from_bytes(checkpoint.to_bytes())
    assert again.epoch == 3
    assert same(again.network, checkpoint.network)
    assert again.optimizer.keys() == checkpoint.optimizer.keys()
    assert all(same(again.optimizer[index], checkpoint.optimizer[index]) for index in checkpoint.optimizer)
    assert any(values["momentum_buffer"].abs().sum() > 0 for values in again.optimizer.values())


def test_a_checkpoint_puts_network_and_optimizer_back_where_they_were() -> None:
    model, optimizer = trained()
    content = Checkpoint.take(1, model, optimizer).to_bytes()
    step(model, optimizer)
    after = state(model)

    other = network(seed=7)
    its_optimizer = optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    Checkpoint.from_bytes(content).restore(other, its_optimizer)
    assert not same(state(other), after)
    step(other, its_optimizer)
    assert same(state(other), after)


def test_averages_and_what_is_no_tensor_come_back_too() -> None:
    model, optimizer = trained()
    networks = {"ema": state(model), "best": state(network(seed=1))}
    facts = {"watch": {"best": 0.1 + 0.2, "stale": 3}, "scaler": {}}
    content = Checkpoint.take(3, model, optimizer, networks, facts).to_bytes()
    again = Checkpoint.from_bytes(content)
    assert again.facts == facts
    assert again.networks.keys() == networks.keys()
    assert all(same(again.networks[name], networks[name]) for name in networks)
    assert same(again.network, state(model))
    assert {name.split(".")[0] for name in load(content)} == {"network", "optimizer", "networks"}


def test_a_checkpoint_of_a_version_without_averages_is_gone_on_from() -> None:
    data = digits(100)
    run = train(network(), *data)
    whole = Checkpoint.from_bytes(run.checkpoints[1])
    tensors = load(run.checkpoints[1])
    older = save(tensors, metadata={"checkpoint": json.dumps({"epoch": 2, "tag": ""})})
    assert Checkpoint.from_bytes(older).facts == {}
    assert train(network(seed=3), *data, resume=Checkpoint.from_bytes(older)).results == run.results[2:]
    assert whole.facts["watch"]["best"] == max(result.validation_accuracy for result in run.results[:2])


def test_training_on_does_not_change_a_checkpoint() -> None:
    model, optimizer = trained()
    checkpoint = Checkpoint.take(1, model, optimizer)
    before = checkpoint.to_bytes()
    step(model, optimizer)
    assert checkpoint.to_bytes() == before
    assert Checkpoint.take(1, model, optimizer).to_bytes() != before


def test_batch_norm_statistics_are_part_of_a_checkpoint() -> None:
    run = train(network(), *digits(100))
    checkpoint = Checkpoint.from_bytes(run.checkpoints[-1])
    counts = [tensor.item() for name, tensor in checkpoint.network.items() if name.endswith("num_batches_tracked")]
    assert set(counts) == {4}  # four epochs of one step each


def test_a_network_before_its_first_step_has_a_checkpoint_too() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    again = Checkpoint.from_bytes(Checkpoint.take(0, model, optimizer).to_bytes())
    assert (again.epoch, again.optimizer) == (0, {})
    again.restore(model, optimizer)


def test_a_tag_makes_files_of_the_same_state_differ() -> None:
    checkpoint = Checkpoint.take(1, *trained())
    contents = [checkpoint.to_bytes(tag) for tag in ("", "trial 1", "trial 2")]
    assert len(set(contents)) == 3
    assert contents[0] == checkpoint.to_bytes()
    assert all(same(Checkpoint.from_bytes(content).network, checkpoint.network) for content in contents)


def test_a_checkpoint_is_a_safetensors_file() -> None:
    tensors = load(Checkpoint.take(1, *trained()).to_bytes())
    assert {name.split(".")[0] for name in tensors} == {"network", "optimizer"}


def test_weights_of_another_shape_are_not_put_into_a_network() -> None:
    checkpoint = Checkpoint.take(1, *trained())
    other = network(cells=2)
    with pytest.raises(RuntimeError):
        checkpoint.restore(other, optim.SGD(other.parameters(), lr=0.1, momentum=0.9))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(save({"weight": torch.zeros(2)}), id="a safetensors file without metadata"),
        pytest.param(save({"weight": torch.zeros(2)}, metadata={"format": "pt"}), id="a safetensors file of weights"),
        pytest.param(save({}), id="a safetensors file of nothing"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"this is a text and no tensors", id="a text"),
        pytest.param((2).to_bytes(8, "little") + b"[]", id="another header"),
        pytest.param(bytes(range(256)), id="bytes"),
        pytest.param(b"\xff" * 100, id="a header longer than the file"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: bytes) -> None:
    with pytest.raises(safetensors.SafetensorError):
        Checkpoint.from_bytes(content)


def test_a_checkpoint_that_was_cut_off_is_refused() -> None:
    content = Checkpoint.take(1, *trained()).to_bytes()
    for length in (len(content) - 1, len(content) // 2, 100, 7):
        with pytest.raises(safetensors.SafetensorError):
            Checkpoint.from_bytes(content[:length])


def test_the_epoch_stands_in_the_header() -> None:
    content = Checkpoint.take(12, *trained()).to_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["checkpoint"])["epoch"] == 12
