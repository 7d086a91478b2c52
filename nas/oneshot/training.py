"""The training of a supernet: its weights on one half of the training split, the architecture on the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn, optim

from nas.data.augment import augment
from nas.data.images import ImageSet
from nas.data.tensors import Batchable, Normalise
from nas.errors import Stopped
from nas.model.chance import own_noise, reseed, seeded
from nas.oneshot.discretise import Strengths
from nas.oneshot.gradients import first_order, momentum_and_decay, second_order
from nas.oneshot.methods import KINDS, METHODS, Architecture, Draw, Method, temperature
from nas.oneshot.mixing import Mixing
from nas.oneshot.plan import Plan
from nas.oneshot.supernet import Supernet
from nas.seeds import derive
from nas.space import CellSpace, Genotype, Shape
from nas.train.checkpoint import Checkpoint, put_like
from nas.train.initialisation import initialise
from nas.train.losses import Objective, penalty
from nas.train.optimizers import build_optimizer, set_lr, update, weight_names
from nas.train.precision import autocast, scaler
from nas.train.recipe import Recipe
from nas.train.schedules import learning_rate

ARCH_BETAS, ARCH_DECAY = (0.5, 0.999), 1e-3
"""Of Adam for the architecture's parameters (Liu et al. 2019, section 3.1.2)."""


def halves(train: Batchable, method: str, seed: int) -> tuple[Batchable, Batchable]:
    """(images that the weights learn from, those that the architecture learns from): disjoint halves of train.

    A method whose architecture does not learn has all for its weights, and nothing else.
    """
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derive(seed, "halves")))
    middle = len(train) // 2 if METHODS[method].learns else len(train)
    first, second = (part.to(train.labels.device) for part in (order[:middle], order[middle:]))
    return Batchable(train.images[first], train.labels[first]), Batchable(train.images[second], train.labels[second])


@dataclass(eq=False, slots=True)
class Training:
    """What there is of a search between two epochs.

    Attributes:
        space: the candidates.
        recipe: of the supernet's weights. It has no averages, no early stopping, and every batch is a step.
        seed: of everything random.
        device: where it happens.
        genotypes: what each epoch would have chosen; as many as epochs are done.
    """

    space: CellSpace
    recipe: Recipe
    plan: Plan
    method: Method
    seed: int
    device: torch.device
    supernet: Supernet
    architecture: Architecture
    normalise: Normalise
    objective: Objective
    outputs: int
    weights_half: Batchable
    alphas_half: Batchable
    optimizer: optim.Optimizer
    arch_optimizer: optim.Adam
    genotypes: list[Genotype] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        space: CellSpace,
        shape: Shape,
        data: ImageSet,
        recipe: Recipe,
        plan: Plan,
        *,
        seed: int,
        device: torch.device,
    ) -> "Training":
        """Before the first epoch. `shape` is the supernet's.

        Raises:
            GenotypeError, InvalidInput: an operation that cannot be built; a loss that is none for the task.
        """
        method = METHODS[plan.method]
        with seeded(seed):  # drawn on the CPU, the same on every device
            supernet = Supernet(
                space.ops, space.nodes, shape, in_channels=data.shape[0], outputs=data.outputs, share=plan.share
            )
            initialise(supernet, recipe, torch.Generator().manual_seed(derive(seed, "initialise")))
        generator = torch.Generator().manual_seed(derive(seed, "alphas"))
        architecture = Architecture(len(space.ops), space.nodes, generator, normalises=method.normalises)
        if not method.learns:
            nn.init.zeros_(architecture.alphas["normal"])
            nn.init.zeros_(architecture.alphas["reduce"])
        supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        architecture.to(device)
        train = Batchable.of(data, "train", device)
        weights_half, alphas_half = halves(train, plan.method, seed)
        if recipe.precision == "float16" or plan.second_order:
            # Two optimizers cannot share a loss scale, and differences of losses need all digits.
            recipe = recipe.model_copy(update={"precision": "float32" if plan.second_order else "auto"})
        return cls(
            space=space,
            recipe=recipe,
            plan=plan,
            method=method,
            seed=seed,
            device=device,
            supernet=supernet,
            architecture=architecture,
            normalise=Normalise.of(train.images).to(device),
            objective=Objective.of(recipe, data.task, train.labels, data.outputs),
            outputs=data.outputs,
            weights_half=weights_half,
            alphas_half=alphas_half,
            optimizer=build_optimizer(supernet, recipe),
            arch_optimizer=optim.Adam(
                architecture.parameters(), plan.arch_lr, betas=ARCH_BETAS, weight_decay=ARCH_DECAY
            ),
        )

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.genotypes)

    @property
    def temperature(self) -> float:
        """Of the epoch to come."""
        return temperature(min(self.epoch, self.recipe.epochs - 1), self.recipe.epochs)

    def shares(self) -> Strengths:
        """Of the operations on every edge."""
        return self._table(self.architecture.shares)

    def edge_shares(self) -> Strengths | None:
        """Of the edges into each node, [edges] of each kind; None where all count 1."""
        return self._table(self.architecture.edge_shares) if self.method.normalises else None

    def strengths(self) -> Strengths:
        """What operations are chosen by."""
        return self._table(self.architecture.strengths)

    def draw(self, generator: torch.Generator) -> Draw:
        """What a mixing may depend on now."""
        return Draw(self.architecture, self.space, self.temperature, generator, self.device)

    def run_epoch(self, should_stop: Callable[[], bool]) -> tuple[float, float]:
        """Trains for an epoch; (mean loss of the weights' steps, learning rate of the last one).

        The architecture takes a step before each step of the weights, once it is warm (Liu et al. 2019, algorithm 1).

        Raises:
            Stopped: `should_stop`, asked before every batch, said so; what the epoch had done is lost.
        """
        recipe, epoch = self.recipe, self.epoch
        decaying = weight_names(self.supernet)
        weights = [parameter for name, parameter in self.supernet.named_parameters() if name in decaying]
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        one_scale = scaler("float32", self.device)
        learns = self.method.learns and epoch >= self.plan.warm_up
        generator = torch.Generator().manual_seed(derive(self.seed, "epoch", epoch))
        draw = self.draw(generator)
        steps = steps_an_epoch(len(self.weights_half), recipe)
        total, lr = torch.zeros((), device=self.device), 0.0
        with own_noise(self.device) as chance:
            reseed(chance, derive(self.seed, "network", epoch))  # for what users' operations may draw
            self.supernet.train()
            batches = self._batches(self.weights_half, steps, generator)
            others = self._batches(self.alphas_half, steps, generator) if learns else iter(())
            for step in range(steps):
                if should_stop():
                    raise Stopped
                lr = set_lr(self.optimizer, learning_rate(recipe, epoch * steps + step, steps))
                images, aims = next(batches)
                if learns:
                    self._step_architecture(next(others), (images, aims), draw, trained, lr)
                self.optimizer.zero_grad()
                loss = self._loss(images, aims, self.method.training(draw).detached())
                minimised: Tensor = loss + penalty(weights, recipe.l1, recipe.l2)
                minimised.backward()  # type: ignore[no-untyped-call]
                update(self.optimizer, one_scale, recipe, trained, weights)
                total += loss.detach()
        return total.item() / steps, lr

    def checkpoint(self) -> Checkpoint:
        """A snapshot that later steps do not change."""
        adam = {
            f"{index}.{name}": value
            for index, values in self.arch_optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        facts = {"genotypes": [genotype.to_json() for genotype in self.genotypes]}
        return Checkpoint.take(self.epoch, self._whole(), self.optimizer, {"adam": adam} if adam else {}, facts)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Puts a snapshot of the same search back."""
        checkpoint.restore(self._whole(), self.optimizer)
        self.genotypes = [Genotype.from_json(genotype) for genotype in checkpoint.facts["genotypes"]]
        parameters = list(self.architecture.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in checkpoint.networks.get("adam", {}).items():
            index, name = key.split(".")
            put = tensor.clone() if name == "step" else put_like(tensor, parameters[int(index)])
            state.setdefault(int(index), {})[name] = put
        self.arch_optimizer.load_state_dict(self.arch_optimizer.state_dict() | {"state": state})

    def _whole(self) -> nn.Module:
        return nn.ModuleDict({"supernet": self.supernet, "architecture": self.architecture})

    def _table(self, of: Callable[[str], Tensor]) -> Strengths:
        return {kind: np.asarray(of(kind).detach().double().cpu()) for kind in KINDS}

    def _step_architecture(
        self,
        batch: tuple[Tensor, Tensor],
        weights_batch: tuple[Tensor, Tensor],
        draw: Draw,
        trained: list[nn.Parameter],
        lr: float,
    ) -> None:
        parameters = list(self.architecture.parameters())

        def loss() -> Tensor:
            return self._loss(*batch, self.method.training(draw))

        if self.plan.second_order:
            gradients = second_order(
                parameters,
                trained,
                loss,
                lambda: self._loss(*weights_batch, self.method.training(draw)),
                lr=lr,
                pull=momentum_and_decay(self.optimizer, self.recipe.momentum),
            )
        else:
            gradients = first_order(parameters, loss)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.arch_optimizer.step()

    def _loss(self, images: Float[Tensor, "n c h w"], aims: Tensor, mixing: Mixing) -> Float[Tensor, ""]:
        pixels = images.shape[2] * images.shape[3]
        with autocast(self.recipe.precision, self.device, pixels=pixels):
            outputs = self.supernet(images, mixing)
        return self.objective.training(outputs.float(), aims).mean()

    def _batches(
        self, data: Batchable, steps: int, generator: torch.Generator
    ) -> Iterator[tuple[Float[Tensor, "n c h w"], Tensor]]:
        """Augmented batches in a random order."""
        targets, size = self.objective.targets(data.labels), self.recipe.batch_size
        order = torch.randperm(len(data), generator=generator).to(self.device)
        for step in range(steps):
            batch = order[step * size : (step + 1) * size]
            images, aims = augment(
                self.normalise(data.images[batch]), targets[batch], self.recipe, generator, outputs=self.outputs
            )
            yield images.contiguous(memory_format=torch.channels_last), aims


def steps_an_epoch(images: int, recipe: Recipe) -> int:
    """Steps that an epoch of so many images has: those that make no whole batch wait for the next epoch."""
    return max(1, images // recipe.batch_size)
