"""A job's TensorBoard logs as one zip: the same bytes as long as none are added, so that a download can go on."""

import zipfile
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO

from nas.store.artifacts import ArtifactStore
from nas.store.tables import Trial


def write_logs(artifacts: ArtifactStore, logs: Sequence[tuple[Trial, str]], into: BinaryIO) -> None:
    """Writes the logs, a folder a trial.

    Args:
        artifacts: where they are.
        logs: (trial, sha256 of a part), the parts of a trial in their order (nas.store.files.of_kind).
        into: the zip's file.

    Raises:
        ArtifactDamaged: a part is missing, or not what was stored.
    """
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for trial, parts in groupby(logs, key=itemgetter(0)):
            begun = int(trial.created_at.timestamp())
            member = zipfile.ZipInfo(f"{trial.number:05d}-{trial.phase}/events.out.tfevents.{begun}.nas")
            member.compress_type = zipfile.ZIP_DEFLATED  # and its time stays 1980: now would be another file each time
            with archive.open(member, "w") as log:
                for _, sha256 in parts:
                    artifacts.pour(sha256, log)
