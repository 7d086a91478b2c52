"""The training loop."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float, UInt8
from torch import Tensor, nn, optim

from nas.data.tensors import Batchable, Normalise, random_shift
from nas.errors import Diverged, Stopped
from nas.seeds import derive
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe

EVALUATION_BATCH = 512


OnEpoch = Callable[[EpochResult, Callable[[], Checkpoint]], bool]
"""(result, take a checkpoint) → whether to go on."""


def fit(
    network: nn.Module,
    train: Batchable,
    validation: Batchable,
    recipe: Recipe,
    *,
    seed: int,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
    resume: Checkpoint | None = None,
) -> None:
    """Trains the network in place, on the device of the data, with a validation after every epoch.

    The same arguments give the same numbers on one machine with one thread, also when the training was interrupted
    and resumed. Validation leaves the network as it was (no gradients, no batch-norm statistics).

    Args:
        network: normalised images [N, C, H, W] → logits [N, classes].
        train, validation: the splits, on the training device.
        recipe: how to train.
        seed: of the order and the augmentation of the training images.
        on_epoch: called after every epoch; training ends early when it answers False.
        should_stop: asked before every step.
        resume: a checkpoint of the same training to go on from.

    Raises:
        Diverged: the loss is not finite.
        Stopped: `should_stop` said so; what the current epoch had done is lost.
    """
    device = train.labels.device
    normalise = Normalise.of(train.images).to(device)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
    optimizer = optim.SGD(_groups(network, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=True)
    if resume is not None:
        resume.restore(network, optimizer)

    steps_an_epoch = max(1, len(train) // recipe.batch_size)
    for epoch in range(resume.epoch if resume else 0, recipe.epochs):
        began = time.perf_counter()
        generator = torch.Generator().manual_seed(derive(seed, "epoch", epoch))
        order = torch.randperm(len(train), generator=generator).to(device)
        total = torch.zeros((), device=device)
        network.train()
        for index in range(steps_an_epoch):
            if should_stop():
                raise Stopped
            lr = _set_lr(
                optimizer, recipe.learning_rate(epoch * steps_an_epoch + index, recipe.epochs * steps_an_epoch)
            )
            batch = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
            images = random_shift(normalise(train.images[batch]), recipe.shift, generator)
            with _autocast(device):
                logits = network(images.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), train.labels[batch], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimizer.step()
            total += loss.detach()

        train_loss = total.item() / steps_an_epoch
        with _autocast(device):
            validation_loss, accuracy = evaluate(network, normalise, validation)
        # The last step may be the one that broke the network, and only validation sees that.
        for shown in (train_loss, validation_loss):
            if not math.isfinite(shown):
                raise Diverged(epoch + 1, shown)
        seconds = time.perf_counter() - began
        result = EpochResult(epoch + 1, train_loss, validation_loss, accuracy, lr, seconds)
        if not on_epoch(result, lambda done=epoch + 1: Checkpoint.take(done, network, optimizer)):  # type: ignore[misc]
            return


def evaluate(network: nn.Module, normalise: Normalise, data: Batchable) -> tuple[float, float]:
    """(mean cross entropy, accuracy) of the network, which is left in evaluation mode."""
    logits = predict(nn.Sequential(normalise, network), data.images)
    accuracy = (logits.argmax(dim=1) == data.labels).double().mean().item()
    return F.cross_entropy(logits, data.labels).item(), accuracy


@torch.no_grad()
def predict(network: nn.Module, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
    """Logits in float32 for images as the data set holds them; the network is left in evaluation mode."""
    network.eval()
    return torch.cat([network(batch).float() for batch in torch.split(images, EVALUATION_BATCH)])


def _groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only: it would pull batch norm's scales and all biases for nothing."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _set_lr(optimizer: optim.Optimizer, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def _autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on CUDA, where it is what the matrix units are for; float32 on a CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
