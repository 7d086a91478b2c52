"""Trainings in several ranks at once: threads of this process, which reach each other as processes do."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore

from nas.data.tensors import Batchable
from nas.train.checkpoint import Checkpoint
from nas.train.ranks import Group, Ranks
from nas.train.recipe import Recipe
from nas.train.rendezvous import gloo
from tests.train.runs import Run, state, train

T = TypeVar("T")


def in_ranks(world: int, act: Callable[[Ranks], T]) -> list[T]:
    """What `act` gives in each rank, in their order; an error of one is the error of all."""
    store = HashStore()

    def one(rank: int) -> T:
        group: Group = gloo(store, rank, world, timedelta(seconds=30))
        return act(Ranks(rank, world, group))

    with ThreadPoolExecutor(world) as pool:
        return [found.result() for found in [pool.submit(one, rank) for rank in range(world)]]


def train_in_ranks(
    world: int,
    make: Callable[[], nn.Module],
    data: tuple[Batchable, Batchable],
    recipe: Recipe,
    *,
    resume: bytes | None = None,
    **more: Any,
) -> list[tuple[Run, dict[str, Tensor]]]:
    """(what each rank reported, the weights it has at the end), of networks that begin alike."""

    models = [make() for _ in range(world)]  # here: torch's own generator belongs to all threads

    def act(ranks: Ranks) -> tuple[Run, dict[str, Tensor]]:
        model = models[ranks.rank]
        checkpoint = Checkpoint.from_bytes(resume) if resume is not None else None
        return train(model, *data, recipe, ranks=ranks, resume=checkpoint, **more), state(model)

    return in_ranks(world, act)
