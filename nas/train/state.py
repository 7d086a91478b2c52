"""What changes while a network is trained: its weights, the optimizer, averages, and what the scores have been."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim

from nas.train.averaging import Average
from nas.train.checkpoint import Checkpoint, put_like
from nas.train.recipe import Recipe
from nas.train.schedules import Stage, Watch


@dataclass(eq=False, slots=True)
class State:
    """Of one training.

    The result of an epoch is the average over its last epochs (`swa`) once there is one, else the exponential average
    (`ema`) where the recipe wants one, else the network as it is trained. That is what is validated and, at the end,
    what the network is left with; with early stopping it is the result of the best epoch (Goodfellow et al. 2016,
    algorithm 7.1).

    Attributes:
        epoch: epochs done.
        watch: over the scores.
        best: the result of the best epoch, as a state_dict; only with early stopping.
    """

    network: nn.Module
    optimizer: optim.Optimizer
    scaler: torch.amp.GradScaler
    recipe: Recipe
    averages: dict[str, Average]
    epoch: int = 0
    watch: Watch = field(default_factory=Watch)
    best: dict[str, Tensor] | None = None

    @classmethod
    def begin(
        cls, network: nn.Module, optimizer: optim.Optimizer, scaler: torch.amp.GradScaler, recipe: Recipe
    ) -> "State":
        """Of a training before its first step."""
        averages = {"ema": Average(network, recipe.ema)} if recipe.ema else {}
        if recipe.swa:
            averages["swa"] = Average(network, None)
        return cls(network, optimizer, scaler, recipe, averages)

    @property
    def stopped_early(self) -> bool:
        """Whether the scores have not improved for as long as the recipe waits."""
        return self.recipe.early_stop is not None and self.watch.stale >= self.recipe.early_stop

    @property
    def averaging_epochs(self) -> bool:
        """Whether the result is an average over epochs, whose batch-norm statistics have to be measured."""
        return "swa" in self.averages and self.averages["swa"].count > 0

    def before_epoch(self) -> None:
        """At a rung: scores are compared, and weights averaged, within a stage; the average over steps goes on."""
        if self.epoch in self.recipe.rungs:
            self.watch = self.watch.in_next_stage()
            if "swa" in self.averages:
                self.averages["swa"] = Average(self.network, None)

    def after_step(self) -> None:
        """Takes the weights after a step of the optimizer into the average over steps."""
        if "ema" in self.averages:
            self.averages["ema"].update()

    def after_steps(self) -> None:
        """Takes the weights after the last step of an epoch into the average over epochs, if it is late enough."""
        if self.epoch >= Stage.of(self.recipe, self.epoch).swa_start:
            self.averages["swa"].update()

    @contextmanager
    def result(self) -> Iterator[None]:
        """The network is the result of the epoch for as long as this lasts."""
        average = self._average()
        with average.shown() if average is not None else nullcontext():
            yield

    def after_epoch(self, score: float) -> None:
        """Notes what the result of the epoch scored."""
        before = self.watch.best
        self.epoch += 1
        self.watch = self.watch.after(score, self.recipe.patience)
        if self.recipe.early_stop is not None and self.watch.best != before:
            self.best = self._result()

    def end(self) -> None:
        """Leaves the network as the result of the training."""
        self.network.load_state_dict(self.best or self._result())

    def checkpoint(self) -> Checkpoint:
        """A snapshot that later steps do not change."""
        networks = {name: average.state for name, average in self.averages.items()}
        facts: dict[str, Any] = {
            "watch": asdict(self.watch),
            "counts": {name: average.count for name, average in self.averages.items()},
            "scaler": self.scaler.state_dict(),
        }
        best = {"best": self.best} if self.best is not None else {}
        return Checkpoint.take(self.epoch, self.network, self.optimizer, networks | best, facts)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Puts a snapshot of the same training back."""
        checkpoint.restore(self.network, self.optimizer)
        own = self.network.state_dict()
        networks = {
            which: {name: put_like(tensor, own[name]) for name, tensor in state.items()}
            for which, state in checkpoint.networks.items()
        }
        self.epoch = checkpoint.epoch
        self.best = networks.get("best")
        for name, average in self.averages.items():
            average.count = checkpoint.facts.get("counts", {}).get(name, 0)
            average.state = networks.get(name, {})
        self.watch = Watch(**checkpoint.facts.get("watch", {}))
        if checkpoint.facts.get("scaler"):
            self.scaler.load_state_dict(checkpoint.facts["scaler"])

    def _average(self) -> Average | None:
        """The average that is the result now."""
        return next(
            (self.averages[name] for name in ("swa", "ema") if name in self.averages and self.averages[name].count),
            None,
        )

    def _result(self) -> dict[str, Tensor]:
        average = self._average()
        state = average.state if average is not None else self.network.state_dict()
        return {name: tensor.detach().clone() for name, tensor in state.items()}
