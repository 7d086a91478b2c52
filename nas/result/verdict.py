"""Whether the search was worth it: the winner against random controls and a hand-designed network, with intervals.

Every interval is a 95 % percentile bootstrap (Efron, Tibshirani 1993) over what varies: the test images, the seeds of
each network, and, for the controls as a group, the random networks. Small groups are drawn one short of their size
(Rao, Wu 1988), because drawing three of three seeds would show only two thirds of their variance. All networks share
the drawn images, so that the difference is paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from nas.result.controls import WINDOW
from nas.result.scores import Scores
from nas.words import NAMES, ahead, bare, is_share, score

REPLICATES = 2000
LEVELS = (2.5, 97.5)


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """A network's retrainings on the test split.

    Attributes:
        trial: number of its first retraining, which names it.
        params: its parameters.
        scores: of its retrainings.
        images: of the test split.
    """

    trial: int
    params: int
    scores: Scores
    images: int

    @property
    def accuracy(self) -> float:
        """Mean score over seeds; accuracy where classes are told apart."""
        return float(self.scores.plain.mean())

    @property
    def seeds(self) -> int:
        """How many retrainings there are."""
        return len(self.scores.plain)


def verdict(
    winner: Scored,
    controls: Sequence[Scored],
    reference: Scored,
    *,
    seed: int,
    metric: str = "accuracy",
    transfer: bool = False,
) -> dict[str, Any]:
    """Says whether the search beat random, by how much, and how sure that is.

    Args:
        winner, controls, reference: on the same test images.
        seed: of the bootstrap.
        metric: the task's score (nas.train.tasks.SCORE).
        transfer: whether all but the reference are fine-tunings of one model.

    Returns:
        `winner`, `controls`, `reference` as {mean, low, high, n} of the score on test, n retrainings each; `difference`
        (winner minus the mean control) and `reference_difference` as {mean, low, high}; `best_control`;
        `beats_random`, true if the whole interval of the difference is above zero; and `text`, all of it in words.
    """
    rng = np.random.default_rng(seed)
    images = winner.images
    weights = _draw_images(images, rng)
    ours = _draw_seeds(winner, weights, rng)
    each = [_draw_seeds(control, weights, rng) for control in controls]
    theirs = _draw(np.stack(each), rng)
    hand = _draw_seeds(reference, weights, rng)
    best = max(range(len(controls)), key=lambda index: controls[index].accuracy)
    found: dict[str, Any] = {
        "winner": _interval(winner.accuracy, ours) | _size(winner),
        "controls": _interval(float(np.mean([control.accuracy for control in controls])), theirs)
        | {
            "n": sum(control.seeds for control in controls),
            "networks": [_size(control) for control in controls],
        },
        "difference": _interval(winner.accuracy - float(np.mean([c.accuracy for c in controls])), ours - theirs),
        "best_control": _interval(controls[best].accuracy, each[best]) | _size(controls[best]),
        "reference": _interval(reference.accuracy, hand) | _size(reference),
        "reference_difference": _interval(winner.accuracy - reference.accuracy, ours - hand),
        "score": NAMES[metric],
        "test_images": images,
    }
    found["beats_random"] = found["difference"]["low"] > 0
    found["text"] = _text(found, winner, controls, metric, transfer)
    return found


def _draw_images(images: int, rng: np.random.Generator) -> Float[npt.NDArray[np.float64], "replicates images"]:
    """How much each image weighs in each replicate: how often it was drawn with replacement, over their number."""
    drawn = rng.integers(images, size=(REPLICATES, images)) + images * np.arange(REPLICATES)[:, np.newaxis]
    counts = np.bincount(drawn.ravel(), minlength=REPLICATES * images)
    return counts.reshape(REPLICATES, images) / images


def _draw_seeds(
    scored: Scored, weights: Float[npt.NDArray[np.float64], "replicates images"], rng: np.random.Generator
) -> Float[npt.NDArray[np.float64], " replicates"]:
    return _draw(scored.scores.drawn(weights), rng)


def _draw(
    values: Float[npt.NDArray[np.float64], "members replicates"], rng: np.random.Generator
) -> Float[npt.NDArray[np.float64], " replicates"]:
    """The mean of members drawn with replacement, one fewer than there are; another draw for every replicate."""
    members, replicates = values.shape
    drawn = rng.integers(members, size=(max(1, members - 1), replicates))
    means: npt.NDArray[np.float64] = np.take_along_axis(values, drawn, axis=0).mean(axis=0)
    return means


def _interval(mean: float, replicates: Float[npt.NDArray[np.float64], " replicates"]) -> dict[str, float]:
    low, high = np.percentile(replicates, LEVELS)
    return {"mean": mean, "low": float(low), "high": float(high)}


def _size(scored: Scored) -> dict[str, Any]:
    return {
        "n": scored.seeds,
        "trial": scored.trial,
        "params": scored.params,
        "accuracies": [float(found) for found in scored.scores.plain],
    }


def _text(found: dict[str, Any], winner: Scored, controls: Sequence[Scored], metric: str, transfer: bool) -> str:
    difference, seeds = found["difference"], winner.seeds
    noun = "" if metric == "accuracy" else f" of {NAMES[metric]}"
    opponents = (
        f"{_count(len(controls), 'random fine-tuning')} of the same model"
        if transfer
        else f"{_count(len(controls), 'random network')} of the same space and about the same size, retrained alike"
    )
    figures = f"{_said(found['winner'], metric)}{noun} against {_said(found['controls'], metric)} of {opponents}"
    points = " points" if is_share(metric) else ""
    by = f"{bare(abs(difference['mean']), metric)}{points}, 95 % interval {_ahead(difference, metric)}"
    if difference["low"] > 0:
        first = f"The search beat random on the test split: {figures}; better by {by}."
    elif difference["high"] < 0:
        first = f"The search lost to random on the test split: {figures}; worse by {by}."
    else:
        sides = "better" if difference["mean"] > 0 else "worse" if difference["mean"] < 0 else "apart"
        first = (
            f"The search won nothing that can be told from luck: {figures}; {sides} by {by}. "
            f"{_count(seeds, 'seed')} and {found['test_images']} test images cannot tell the two apart."
        )
    sentences = [first, _against_reference(found, metric)]
    outside = sum(abs(control.params - winner.params) > WINDOW * winner.params for control in controls)
    if outside:
        sentences.append(
            f"The space holds too few networks of the winner's size: {outside} of {len(controls)} controls differ from "
            f"its parameters by more than {WINDOW:.0%}."
        )
    if seeds == 1:
        sentences.append("With one seed the intervals leave out how much training itself varies.")
    return " ".join(sentences)


def _against_reference(found: dict[str, Any], metric: str) -> str:
    difference = found["reference_difference"]
    if difference["low"] > 0:
        relation = "which the winner beats"
    elif difference["high"] < 0:
        relation = "which beats the winner"
    else:
        relation = "which cannot be told from the winner"
    return (
        f"A plain hand-designed residual network of {found['reference']['params']:,} parameters "
        f"(the winner has {found['winner']['params']:,}) reaches {_said(found['reference'], metric)}, {relation} "
        f"({_ahead(difference, metric)}{' points' if is_share(metric) else ''})."
    )


def _said(interval: dict[str, float], metric: str) -> str:
    """A score with its interval."""
    return f"{score(interval['mean'], metric)} ({bare(interval['low'], metric)} to {bare(interval['high'], metric)})"


def _ahead(interval: dict[str, float], metric: str) -> str:
    return f"{ahead(interval['low'], metric)} to {ahead(interval['high'], metric)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
