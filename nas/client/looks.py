"""What people see of a job at one moment: how far it is, in a fraction and in words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Self

from nas.spec import MAX_TRIALS
from nas.words import named

PHASES: Final = {
    "screening": "scoring candidates without training",
    "supernet": "training the supernet",
    "search": "searching",
    "finalist": "retraining the winner",
    "control": "retraining random controls",
    "reference": "retraining the hand-designed network",
    "report": "scoring, exporting, verifying",
    "done": "done",
}


SOON_S: Final = 5.0
"""What is left below this is not told in seconds: it is an estimate."""


@dataclass(frozen=True, slots=True)
class Look:
    """One moment.

    Attributes:
        fraction: of all there is to do.
        description: what is being done.
        figures: how far it is, in words.
        state: of the job or trial.
        done: whether nothing more will come.
        pictures: SVGs by what they show; for notebooks.
    """

    fraction: float
    description: str
    figures: str
    state: str
    done: bool
    pictures: tuple[tuple[str, bytes], ...] = ()

    def with_pictures(self, pictures: tuple[tuple[str, bytes], ...]) -> Self:
        """The same moment in pictures."""
        return replace(self, pictures=pictures)


def look_at(shown: Mapping[str, Any], *, patient: bool) -> Look:
    """A job, from its dashboard; to the patient, workers that are still being started are not called missing."""
    progress, best, phase = shown["progress"], shown["best"], shown["job"]["phase"]
    figures = _how_far(shown)
    if best and best["accuracy"] is not None:
        figures.append(f"best {named(best['accuracy'], shown['metric'])} on validation")
    if shown["pareto"]:
        figures.append(f"{len(shown['pareto'])} in the Pareto set")
    figures.append(f"{clock(progress['elapsed_s'])} gone")
    if (soon := left(progress["eta_s"])) is not None:
        figures.append(soon)
    if shown["waiting"] and not patient:
        figures.append(f"waiting: {shown['waiting']['text']}")
    state, done = shown["job"]["state"], phase == "done"
    description = state if done and state != "succeeded" else PHASES[phase]
    return Look(progress["fraction"], description, ", ".join(figures), state, done)


def look_at_trial(trial: Mapping[str, Any], waiting: Mapping[str, Any] | None) -> Look:
    """A retraining, and why its job waits if it does."""
    figures = [f"epoch {trial['epoch']}/{trial['epochs']}"]
    if trial["accuracy"] is not None:
        figures.append(f"{named(trial['accuracy'], trial['metric'])} on validation")
    if waiting:
        figures.append(f"waiting: {waiting['text']}")
    state = trial["state"]
    trained = trial["epoch"] >= trial["epochs"] and state == "running"
    description = PHASES["report"] if trained else f"retraining ({state})"
    fraction = trial["epoch"] / max(1, trial["epochs"])
    return Look(fraction, description, ", ".join(figures), state, state not in ("queued", "running"))


def share(look: Look) -> str:
    """How far it is in per cent: 100 only when nothing more will come."""
    return f"{look.fraction if look.done else min(look.fraction, 0.99):4.0%}"


def left(eta_s: float | None) -> str | None:
    """How long it will take yet; None where nobody can tell."""
    if eta_s is None:
        return None
    return "less than a minute left" if eta_s < SOON_S else f"about {clock(eta_s)} left"


def searched(progress: Mapping[str, Any]) -> str:
    """How many trials of the search have ended, of how many if that is limited."""
    unlimited = progress["trials_planned"] >= MAX_TRIALS
    return f"trials {progress['trials_finished']}{'' if unlimited else '/' + str(progress['trials_planned'])}"


def clock(seconds: float) -> str:
    """A duration as people read it."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def _how_far(shown: Mapping[str, Any]) -> list[str]:
    """How far the phase is."""
    progress, name, supernet = shown["progress"], shown["job"]["phase"], shown["supernet"]
    phase = shown["phases"].get(name, {})
    if name == "screening":
        return [f"batches {phase['finished']}/{phase['planned']}"]
    if name == "supernet" and supernet:
        said = [f"epoch {supernet['epoch']}/{supernet['epochs']}"]
        newest = supernet["curve"][-1] if supernet["curve"] else {}
        if newest.get("alpha_entropy") is not None:
            said.append(f"entropy {newest['alpha_entropy']:.2f}")
        if newest.get("skip_share") is not None:
            said.append(f"skip connections {newest['skip_share']:.0%}")
        return said
    figures = [searched(progress)]
    if name == "search" and shown["counts"]["paused"]:
        figures.append(f"{shown['counts']['paused']} paused at rungs")
    if name in ("finalist", "control", "reference"):
        figures.append(f"retrained {phase['finished']}/{phase['planned']}")
    return figures
