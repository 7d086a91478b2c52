"""What a trial asks of the machine that carries it out, and what comes back: values, which know no database.

A trial's work is cut in three. `prepare` chooses the candidate and writes it down, `carry_out` trains on whatever
machine there is, and `conclude` writes the trial's end. The first and the last need the database; the one between
them needs the images and the artifact store. Our workers do all three, one after the other (worker.step); for a Ray
job the driver does the first and the last, and the cluster's nodes the one between (worker.cluster).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
from torch import Tensor

from nas.data.images import ImageSet
from nas.result.report import About, Retrained
from nas.result.story import Story
from nas.store.artifacts import ArtifactStore, Stored
from nas.store.claims import Claim
from nas.store.states import Phase
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult

OnEpoch = Callable[[EpochResult, Callable[[], Checkpoint], bytes | None], bool]
"""(result, take a checkpoint, the epoch's TensorBoard log if the job wants them) → whether to go on."""

TOGETHER: Final = frozenset({Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE, Phase.RETRAIN})
"""Phases whose networks may be trained by several devices at once."""


@dataclass(frozen=True, eq=False, slots=True)
class Packing:
    """What the package of a single retraining needs to know.

    Attributes:
        run: the retraining without its weights; its accuracy is that of the epochs there are.
        accuracies: of the epochs that earlier attempts have done.
        searched: number of the search trial that it retrains.
        about: the job.
    """

    run: Retrained
    accuracies: tuple[float, ...]
    searched: int
    about: About


@dataclass(frozen=True, eq=False, slots=True)
class Reporting:
    """What the report of a job is made of.

    Attributes:
        runs: phase → its retrainings, without their weights.
        weights: number of a retraining → sha256 of its weights.
        epochs: that they were trained for.
        about: the job.
        supernet: (digest, score) of what a supernet handed over, if there was one.
        story: of the job, for the page in its package.
    """

    runs: Mapping[Phase, tuple[Retrained, ...]]
    weights: Mapping[int, str]
    epochs: int
    about: About
    supernet: tuple[tuple[str, float], ...] | None
    story: Story


@dataclass(frozen=True, eq=False, slots=True)
class Order:
    """A trial to be carried out.

    Attributes:
        claim: the trial; one that trains has its candidate.
        resume: sha256 of the checkpoint to go on from, after `claim.epoch` epochs.
        weights: of the trained network, where its training was taken over from another trial.
        packing: of a retraining that gets a package of its own.
        reporting: of a report.
    """

    claim: Claim
    resume: str | None = None
    weights: Stored | None = None
    packing: Packing | None = None
    reporting: Reporting | None = None

    def __str__(self) -> str:
        """The trial and its attempt, for names of folders and lines of logs."""
        return f"{self.claim.number:06d}-{self.claim.attempt}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nobody can change it


@dataclass(frozen=True, eq=False, slots=True)
class Machine:
    """What a machine has for a trial.

    Attributes:
        data: the job's images.
        artifacts: where it leaves files, and finds those of earlier trials.
        device: to train on.
        source: sha256 → the network that a transfer starts from.
        on_epoch: called after every epoch; the training ends where it answers False.
        should_stop: asked before every batch.
    """

    data: ImageSet
    artifacts: ArtifactStore
    device: torch.device
    source: Callable[[str], Mapping[str, Tensor]]
    on_epoch: OnEpoch
    should_stop: Callable[[], bool]


def tag_of(claim: Claim) -> str:
    """What makes a trial's checkpoint a file of its own: two jobs may train the same network.

    Deleting the file of one of them must not hit the other's.
    """
    return f"{claim.trial_id}.{claim.attempt}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial leaves that was carried out; its epochs are reported as they are done.

    Attributes:
        weights: of a retraining.
        package: of a retraining that was asked for, or of the job.
        candidates: that a screening or a supernet found.
        note: what there is to say of them.
        best_epoch: whether the network has the weights of its best epoch, which is what it is judged by then.
        verdict: of the job, by a report.
        winner: its digest.
        peak_bytes: of the device's memory that it was found to hold, where anybody looked.
    """

    weights: Stored | None = None
    package: Stored | None = None
    candidates: Stored | None = None
    note: str | None = None
    best_epoch: bool = False
    verdict: dict[str, Any] | None = None
    winner: str | None = None
    peak_bytes: int | None = None
