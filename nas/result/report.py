"""The last step of a job: choose by validation, read test once, say what it means, publish the winner."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from nas.data.images import ImageSet
from nas.errors import Stopped
from nas.result.agreement import agreement
from nas.result.publish import About, Retrained, make_package, outputs_on_test, publish
from nas.result.scores import scores
from nas.result.story import Story
from nas.result.verdict import Scored, verdict
from nas.spec import JobSpec
from nas.train.tasks import SCORE

__all__ = ["About", "Report", "Retrained", "choose_winner", "make_package", "make_report"]

Outputs: TypeAlias = dict[int, Float32[npt.NDArray[np.float32], "images outputs"]]
"""Number of a retraining → what its network says of the test images."""


@dataclass(frozen=True, eq=False, slots=True)
class Report:
    """What a finished job hands over."""

    verdict: dict[str, Any]
    package: bytes
    winner_digest: str


def choose_winner(finalists: Sequence[Retrained]) -> str:
    """The digest of the finalist with the best mean validation accuracy over its seeds; ties go to the smaller one."""

    def merit(digest: str) -> tuple[float, int]:
        runs = [run for run in finalists if run.digest == digest]
        return float(np.mean([run.validation_accuracy for run in runs])), -runs[0].params

    return max(sorted({run.digest for run in finalists}), key=merit)


def make_report(
    finalists: Sequence[Retrained],
    controls: Sequence[Retrained],
    references: Sequence[Retrained],
    data: ImageSet,
    *,
    spec: JobSpec,
    about: About,
    should_stop: Callable[[], bool],
    supernet: Sequence[tuple[str, float]] | None = None,
    story: Story | None = None,
) -> Report:
    """Chooses, scores, judges, packages and verifies.

    The winner and the seed whose weights are shipped are chosen by validation; the test split is read here, once,
    for the winner, the controls and the reference.

    Args:
        finalists, controls, references: all retrainings.
        data: of the job.
        spec: of the job, with the epochs that were planned.
        about: the job.
        should_stop: asked again and again.
        supernet: (digest, score) of what a one-shot search handed over; the verdict then says how far its order held.
        story: of the job, for the package's report.html.

    Raises:
        VerificationFailed: the package does not reproduce its score; there is no report then.
        Stopped: `should_stop` said so.
    """
    winner = choose_winner(finalists)
    runs = [run for run in finalists if run.digest == winner]
    shipped = max(runs, key=lambda run: (run.validation_accuracy, -run.seed_index))
    outputs = {run.trial: outputs_on_test(run, data) for run in (*runs, *controls, *references)}
    if should_stop():
        raise Stopped
    found = verdict(
        _scored(runs, outputs, data),
        [_scored([run for run in controls if run.digest == digest], outputs, data) for digest in _digests(controls)],
        _scored(references, outputs, data),
        seed=about.seed,
        metric=SCORE[data.task],
        transfer=spec.transfer is not None,
    )
    if supernet is not None:
        found["supernet"] = agreement(supernet, finalists)
        found["text"] += f" {found['supernet'].pop('text')}"
    made = publish(
        shipped,
        outputs[shipped.trial],
        {"verdict": found},
        data,
        spec=spec,
        about=about,
        should_stop=should_stop,
        story=story,
    )
    shown = {"trial": shipped.trial, "accuracy": made.accuracy, "metrics": made.metrics} | asdict(made.verified)
    return Report(found | {"shipped": shown}, made.content, winner)


def _digests(runs: Sequence[Retrained]) -> list[str]:
    return list(dict.fromkeys(run.digest for run in runs))


def _scored(runs: Sequence[Retrained], outputs: Outputs, data: ImageSet) -> Scored:
    stacked = np.stack([outputs[run.trial] for run in runs])
    return Scored(runs[0].trial, runs[0].params, scores(data.task, stacked, data.labels[data.test]), len(data.test))
