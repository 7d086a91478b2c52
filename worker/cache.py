"""A training that its owner has paid for already is taken over, epoch by epoch, instead of being done again."""

import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Final

from nas import plugins
from nas.errors import ArtifactDamaged, Stopped
from nas.plugins import Plugin
from nas.space import Candidate
from nas.store import cache as store_cache
from nas.store import trials
from nas.store.artifacts import Stored
from nas.store.cache import LOGS, Found
from nas.store.claims import Claim
from nas.store.states import Phase
from nas.train.recipe import Recipe
from worker.context import Context
from worker.course import Course

log = logging.getLogger(__name__)

UNUSABLE: Final = (FileNotFoundError, ArtifactDamaged)
"""What reading a file of a trial raises that is not what was stored there, or gone."""


def key_of(context: Context, claim: Claim, candidate: Candidate, recipe: Recipe, seed: int) -> str:
    """The name of all that a training follows from: whoever trains the same has the same.

    The device is not of it: a network that was trained on a GPU need not be trained again on a CPU.
    """
    transfer = claim.spec.transfer
    facts = {
        "version": _version(),
        "candidate": candidate.to_json(),
        "data": context.digest(claim.dataset_id),
        "recipe": recipe.to_json(),
        "seed": seed,
        "source": transfer.weights if transfer is not None and claim.phase != Phase.REFERENCE else None,
        "plugins": _plugins(candidate, recipe),
    }
    return store_cache.key(facts)


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """A training to take over, with the weights that it left, if it was a retraining."""

    found: Found
    weights: bytes | None


def look_up(context: Context, claim: Claim, key: str) -> Source | None:
    """A training with that key whose files are there; the key is written to the trial, for others to find it by.

    A job that wants no cache finds nothing, and a trial whose batch was halved has nothing to find: another worker's
    memory would not have been too small. Raises LeaseLost.
    """
    with context.store.write() as session:
        store_cache.note_key(session, claim, key)
    if not claim.spec.cache or claim.halvings:
        return None
    with context.store.read() as session:
        found = store_cache.find(session, claim, key)
    if found is None:
        return None
    try:
        return Source(found, context.artifacts.get(found.weights.sha256) if found.weights is not None else None)
    except UNUSABLE as error:
        log.warning("the result of trial %s cannot be taken over: %s", found.name, error)
        return None


def replay(context: Context, claim: Claim, source: Source, course: Course) -> Claim | None:
    """Reports the epochs of another training as the trial's own, as far as the trial would have gone.

    They count like trained ones, with the seconds that they took: a search follows the same course with the cache as
    without it, and its budget of epochs lasts as long.

    Returns:
        None if the trial is through: at the end of its training, or where its course ends or pauses it; else the claim
        as it stands now, with epochs that there is no checkpoint of.

    Raises:
        LeaseLost, Stopped: see nas.errors.
    """
    found = source.found
    log.info("job %s trial %d is taken over from %s", claim.job_id, claim.number, found.name)
    with context.store.write() as session:
        store_cache.mark(session, claim, found)
    for result in found.epochs[claim.epoch :]:
        if context.should_stop():
            raise Stopped
        try:
            kept = _kept(context, found.logs[result.epoch]) if claim.spec.tensorboard else None
        except UNUSABLE as error:
            log.warning("the result of trial %s cannot be taken over any further: %s", found.name, error)
            return replace(claim, epoch=result.epoch - 1)
        with context.store.write() as session:
            trials.report(session, claim, result, None, context.settings.lease_s)
            if kept is not None:
                trials.attach(session, claim, f"{LOGS}{result.epoch:04d}", kept)
        if not course.goes_on(result.epoch):
            return None
    return None if found.whole else replace(claim, epoch=len(found.epochs))


def _kept(context: Context, stored: Stored) -> Stored:
    """Stores a file once more, which costs nothing where it is: whoever deletes the first trial may just be at it."""
    return context.artifacts.put(context.artifacts.get(stored.sha256))


def _plugins(candidate: Candidate, recipe: Recipe) -> dict[str, str]:
    """The user's own functions that the training uses, with the code that they are of: it may change."""
    text = json.dumps(candidate.to_json())
    used: Mapping[str, Plugin] = {
        **{name: plugin for name, plugin in plugins.operations().items() if json.dumps(name) in text},
        **{name: plugin for name, plugin in plugins.losses().items() if name == recipe.loss},
    }
    return {name: f"{plugin.origin} {_code(plugin)}" for name, plugin in sorted(used.items())}


@cache
def _version() -> str:
    return version("nas-service")


@cache
def _code(plugin: Plugin) -> str:
    """The sha256 of the file of a user's function; of one without a file, nothing."""
    made = plugin.get()
    try:
        path = inspect.getsourcefile(made if inspect.isroutine(made) or inspect.isclass(made) else type(made))
    except TypeError:  # it is built in
        path = None
    return sha256(Path(path).read_bytes()).hexdigest() if path else ""
