"""What a trial will take of its device, and what earlier ones were found to take."""

from typing import Final

import torch

from nas.data.images import ImageSet
from nas.model.training_memory import TrainingMemory, training_memory
from nas.space import Candidate
from nas.store import peaks
from nas.store.session import Store
from nas.store.states import Phase
from nas.train.optimizers import slots_of
from nas.train.precision import value_bytes
from nas.train.recipe import Recipe
from worker.admission import Learned, Need
from worker.orders import Order
from worker.train import halved, recipe_of

TRAINS: Final = frozenset({Phase.SEARCH, Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE, Phase.RETRAIN})
"""Phases that train a candidate; a supernet has no formula, and the others take nothing worth counting."""


def need_of(order: Order, data: ImageSet, device: torch.device) -> Need | None:
    """What a trial will take of the device; None if it is not worth counting."""
    claim = order.claim
    if claim.phase not in TRAINS:
        return Need(None) if claim.phase == Phase.SUPERNET else None
    if claim.candidate is None or order.weights is not None:
        return None
    recipe = recipe_of(claim, claim.candidate, data)
    memory = memory_of(claim.candidate, recipe, data.shape, data.outputs, device)
    seen = len(data.train) + len(data.validation)
    data_bytes = seen * (data.images[0].nbytes + data.labels[:1].nbytes)
    if memory is None:
        return Need(None, data=str(claim.dataset_id), data_bytes=data_bytes)
    # What the steps before a capture took stays cached, beside the memory of the graph itself.
    spare = memory.saved if device.type == "cuda" and recipe.accumulate == 1 else 0
    return Need(memory.peak_bytes, spare, str(claim.dataset_id), data_bytes, alone=claim.alone)


def memory_of(
    candidate: Candidate, recipe: Recipe, image: tuple[int, int, int], outputs: int, device: torch.device
) -> TrainingMemory | None:
    """The prediction for a training; see nas.model.training_memory."""
    averages = bool(recipe.ema) + bool(recipe.swa)
    return training_memory(
        candidate,
        image=image,
        outputs=outputs,
        batch_size=recipe.batch_size,
        value_bytes=value_bytes(recipe.precision, device, image[1] * image[2]),
        slots=slots_of(recipe),
        copies=averages + bool(averages) + (recipe.early_stop is not None),  # an average is shown beside the network
    )


def learn(learned: Learned, store: Store, device: torch.device) -> None:
    """Learns from the newest trials of all workers on devices of that kind."""
    with store.read() as session:
        found = peaks.measured(session, device.type)
    for each in reversed(found):
        spec = each.spec
        candidate = Candidate.from_json(each.candidate, spec.space.shape())
        recipe = spec.recipe_for(candidate, each.image, epochs=each.epochs, images=each.images)
        memory = memory_of(candidate, halved(recipe, each.halvings), each.image, each.outputs, device)
        if memory is not None:
            learned.add(each.peak_bytes, memory.peak_bytes)
