"""A backup, where files change while it is made."""

import os
from collections.abc import Callable
from pathlib import Path

from nas.store import trials
from nas.store.artifacts import ArtifactStore
from nas.store.backup import backup
from nas.store.session import Store
from tests import postgres
from tests.support import LEASE_S, add_dataset, add_job, epoch, propose, reserve


class Busy(ArtifactStore):
    """Files of a service in which something happens once, as a file has just been copied."""

    happens: Callable[[], None]

    def fetch(self, sha256: str, path: Path) -> None:
        super().fetch(sha256, path)
        happens, self.happens = self.happens, lambda: None
        happens()


def test_a_checkpoint_that_is_replaced_on_the_way_is_not_counted(store: Store, tmp_path: Path) -> None:
    add_dataset(store)
    add_job(store)
    claim = reserve(store)
    assert claim is not None
    propose(store, claim, 0)
    artifacts = Busy(str(tmp_path / "artifacts"))

    def save(number: int) -> None:
        checkpoint = artifacts.put(f"after epoch {number}".encode())
        with store.write() as session:
            trials.report(session, claim, epoch(number), checkpoint, LEASE_S)

    save(1)
    artifacts.happens = lambda: save(2)
    found = backup(store, artifacts, tmp_path / "copy", {"PATH": f"{postgres.BIN}:{os.environ['PATH']}"})
    assert (found.files, found.new) == (2, 1)
