"""The training loop."""

import math
import time
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nas.data.augment import augment
from nas.data.tensors import Batchable, Normalise
from nas.errors import Diverged, Stopped
from nas.model.base import Network
from nas.model.chance import Noise, own_noise, reseed
from nas.seeds import derive
from nas.train.averaging import refit_batch_norms
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.graphs import make_step, prepare
from nas.train.losses import Objective, outputs_of, penalty
from nas.train.metrics import measure
from nas.train.optimizers import build_optimizer, freezing, set_lr, update, weight_names
from nas.train.precision import autocast, scaler
from nas.train.ranks import ALONE, Ranks
from nas.train.recipe import Recipe
from nas.train.schedules import learning_rate
from nas.train.state import State
from nas.train.tasks import SCORE

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
    task: str = "single_label",
    kept: frozenset[str] = frozenset(),
    frozen: frozenset[str] = frozenset(),
    ranks: Ranks = ALONE,
) -> None:
    """Trains the network in place, on the device of the data, with a validation after every epoch.

    What is validated is what the network is left with: the averaged weights where the recipe averages, and with early
    stopping those of the best epoch (see State). Validation changes nothing of the training.

    The same arguments give the same numbers on one machine with one thread, also when the training was interrupted
    and resumed, and whatever else is random in the process.

    Args:
        network: normalised images [N, C, H, W] → outputs [N, K]: logits, or standardised targets of a regression.
        train, validation: the splits, on the training device. Images that make no whole batch wait for the next epoch.
        recipe: how to train.
        seed: of the order of the training images, their augmentation, and what is random in the network.
        on_epoch: called after every epoch; training ends early when it answers False.
        should_stop: asked before every batch.
        resume: a checkpoint of the same training to go on from.
        task: what the labels are, see nas.train.tasks.
        kept: names of parameters that were taken over from another network, which learn at kept_lr × lr.
        frozen: names of parameters that stay as they are; the statistics of their batch norms stay too.
        ranks: which of several processes this is that train together; all get the same arguments (see parallel).

    Raises:
        Diverged: the loss is not finite.
        InvalidInput: the recipe's loss is none for the task, its precision none for the device, or it freezes all.
        Stopped: `should_stop` said so; what the current epoch had done is lost.
    """
    device = train.labels.device
    normalise = Normalise.of(train.images).to(device)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
    ranks.unite(network)
    outputs = predict(nn.Sequential(normalise, network), train.images[:1]).shape[1]
    objective = Objective.of(recipe, task, train.labels, outputs)
    targets = objective.targets(train.labels)
    optimizer = build_optimizer(network, recipe, kept=kept, frozen=frozen)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    decaying = weight_names(network) - frozen
    weights = [parameter for name, parameter in network.named_parameters() if name in decaying]
    state = State.begin(network, optimizer, scaler(recipe.precision, device), recipe)
    captured = ranks.world == 1 and prepare(network, optimizer, recipe, state.scaler, device)
    if resume is not None:
        state.resume(resume)

    pixels = train.images.shape[2] * train.images.shape[3]
    size = min(recipe.batch_size, len(train))
    mine, part = ranks.rows(size), ranks.share(size)

    def learn(images: Float[Tensor, "n c h w"], aims: Tensor, together: int = 1) -> Tensor:
        """Adds the gradient of a batch out of `together`; this process's part of its loss."""
        with autocast(recipe.precision, device, pixels=pixels):
            heads = outputs_of(network, images.contiguous(memory_format=torch.channels_last))
        losses = [share * part * objective.training(outputs.float(), aims).mean() for share, outputs in heads]
        minimised = sum(losses[1:], losses[0]) + penalty(weights, recipe.l1 / ranks.world, recipe.l2 / ranks.world)
        state.scaler.scale(minimised / together).backward()  # type: ignore[no-untyped-call]
        return losses[0]

    def step_on() -> None:
        ranks.add_up_gradients(trained)
        update(optimizer, state.scaler, recipe, trained, weights)

    def whole(images: Float[Tensor, "n c h w"], aims: Tensor) -> Tensor:
        """A step of a single batch; its loss."""
        optimizer.zero_grad()
        loss = learn(images, aims)
        step_on()
        return loss

    batches = max(1, len(train) // recipe.batch_size)
    steps_an_epoch = math.ceil(batches / recipe.accumulate)
    with freezing(network, frozen) as still, own_noise(device) as chance:
        noise = Noise(chance, size, mine.start)
        one_step = make_step(whole, device=device, capture=captured, generator=chance)
        while state.epoch < recipe.epochs and not state.stopped_early:
            began = time.perf_counter()
            state.before_epoch()
            # Dropout draws on the device, all else from a generator that gives the same on every device.
            reseed(chance, derive(seed, "network", state.epoch), part=ranks.rank)
            generator = torch.Generator().manual_seed(derive(seed, "epoch", state.epoch))
            order = torch.randperm(len(train), generator=generator).to(device)
            total = torch.zeros((), device=device)
            _train_mode(network, still, state.epoch / recipe.epochs, noise)
            for step in range(steps_an_epoch):
                done = state.epoch * steps_an_epoch + step
                lr = set_lr(optimizer, learning_rate(recipe, done, steps_an_epoch, state.watch.reductions))
                together = range(step * recipe.accumulate, min(batches, (step + 1) * recipe.accumulate))
                if recipe.accumulate > 1:
                    optimizer.zero_grad()
                for index in together:
                    if should_stop():
                        raise Stopped
                    batch = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
                    images = normalise(train.images[batch])
                    images, aims = augment(images, targets[batch], recipe, generator, outputs=outputs)
                    images, aims = images[mine], aims[mine]
                    if recipe.accumulate == 1:
                        total += one_step(images, aims)
                    else:
                        total += learn(images, aims, len(together)).detach()
                if recipe.accumulate > 1:
                    step_on()
                state.after_step()
            state.after_steps()
            ranks.add_up(total)
            train_loss = total.item() / batches  # waits for the device: what follows is the time of validation
            trained_s = time.perf_counter() - began

            # On a CPU in float32, as the package will be scored.
            shown_in = recipe.precision if device.type == "cuda" else "float32"
            with state.result(), autocast(shown_in, device, pixels=pixels):
                if state.averaging_epochs:
                    seen = torch.split(order[: batches * recipe.batch_size], recipe.batch_size)
                    refit_batch_norms(network, (normalise(train.images[batch[mine]]) for batch in seen), still)
                validation_loss, metrics = evaluate(network, normalise, validation, objective, ranks)
            # The last step may be the one that broke the network, and only validation sees that.
            for shown in (train_loss, validation_loss):
                if not math.isfinite(shown):
                    raise Diverged(state.epoch + 1, shown)
            score = metrics[SCORE[task]]
            state.after_epoch(score)
            seconds = time.perf_counter() - began
            result = EpochResult(
                state.epoch, train_loss, validation_loss, score, lr, seconds, metrics, validation_s=seconds - trained_s
            )
            if not on_epoch(result, state.checkpoint):
                break
    state.end()


def evaluate(
    network: nn.Module, normalise: Normalise, data: Batchable, objective: Objective, ranks: Ranks = ALONE
) -> tuple[float, dict[str, float]]:
    """(mean loss, metrics) of the network, which is left in evaluation mode."""
    mine = predict(nn.Sequential(normalise, network), data.images[ranks.rows(len(data))])
    found = ranks.joined(mine, len(data))
    loss = objective.validation(found, objective.targets(data.labels)).mean().item()
    return loss, measure(objective.task, objective.in_units(found), data.labels)


@torch.no_grad()
def predict(network: nn.Module, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """Outputs in float32 for images as the data set holds them; the network is left in evaluation mode."""
    network.eval()
    return torch.cat([network(batch).float() for batch in torch.split(images, EVALUATION_BATCH)])


def _train_mode(network: nn.Module, still: Sequence[nn.Module], progress: float, noise: Noise) -> None:
    network.train()
    for norm in still:
        norm.eval()
    if isinstance(network, Network):
        network.set_progress(progress)
        network.noise = noise
