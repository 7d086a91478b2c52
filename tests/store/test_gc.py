"""Files go when the last row that refers to them has gone, and no sooner, whatever happens in between."""

import os
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from nas.errors import ArtifactsAway
from nas.store import gc, trials
from nas.store.artifacts import ArtifactStore, Stored
from nas.store.claims import Claim
from nas.store.files import record
from nas.store.session import Store
from nas.store.states import TrialState
from nas.store.tables import Artifact, Dataset, Job, Trial
from tests.s3 import bucket
from tests.support import LONG_AGO, add_job, finish, take, together

OLD_S = -60.0
"""Nothing is too young."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def artifacts(folder: Path) -> ArtifactStore:
    return ArtifactStore(str(folder))


def there(artifacts: ArtifactStore) -> set[str]:
    return {file.name for name in artifacts.folders() for file in artifacts.listed(name)}


def attach(store: Store, claim: Claim, kind: str, stored: Stored) -> None:
    with store.write() as session:
        trials.attach(session, claim, kind, stored)


def put_all(store: Store, artifacts: ArtifactStore) -> dict[str, str]:
    """Files that rows refer to, each in its way, and one that none does: what → sha256."""
    claim = take(store)
    found = {}
    for kind in ("weights", "checkpoint", "package", "tensorboard-0001"):
        stored = artifacts.put(kind.encode())
        attach(store, claim, kind, stored)
        found[kind] = stored.sha256
    found["dataset"] = artifacts.put(b"images").sha256
    found["transfer"] = artifacts.put(b"what a job starts from").sha256
    found["orphan"] = artifacts.put(b"orphan").sha256
    with store.write() as session:
        session.execute(update(Dataset).values(sha256=found["dataset"]))
        job = session.get_one(Job, claim.job_id)
        job.spec = job.spec | {"transfer": {"job": "0" * 12, "candidate": {}, "weights": found["transfer"]}}
    return found


# --- what is forgotten


def test_only_what_no_row_refers_to_is_deleted(store: Store, artifacts: ArtifactStore) -> None:
    add_job(store)
    found = put_all(store, artifacts)
    assert gc.forget(store, artifacts, [*found.values(), "0" * 64]) == 1
    assert there(artifacts) == set(found.values()) - {found["orphan"]}


def test_a_shared_file_goes_with_the_last_row(store: Store, artifacts: ArtifactStore) -> None:
    add_job(store, trials=5, epochs=2)
    stored = artifacts.put(b"weights")
    claims = [take(store), take(store)]
    for claim in claims:
        attach(store, claim, "weights", stored)
    for claim, left in zip(claims, ({stored.sha256}, set()), strict=True):
        with store.write() as session:
            session.execute(delete(Artifact).where(Artifact.trial_id == claim.trial_id))
        gc.forget(store, artifacts, [stored.sha256])
        assert there(artifacts) == left


def test_more_files_than_one_batch_are_forgotten(store: Store, artifacts: ArtifactStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(gc, "BATCH", 3)
    found = [artifacts.put(bytes([number])).sha256 for number in range(10)]
    assert gc.forget(store, artifacts, found) == 10
    assert there(artifacts) == set()


def before_second_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Acts when files were set aside, just before the rows are read again."""
    referred = gc.referred
    calls: list[Any] = []

    def watched(session: Any, sha256s: Any) -> set[str]:
        calls.append(sha256s)
        if len(calls) == 2:
            act()
        return referred(session, sha256s)

    monkeypatch.setattr(gc, "referred", watched)


def test_a_file_whose_row_comes_while_it_is_deleted_stays(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_job(store)
    claim = take(store)
    stored, other = artifacts.put(b"weights"), artifacts.put(b"other")
    before_second_look(monkeypatch, lambda: attach(store, claim, "weights", stored))
    assert gc.forget(store, artifacts, [stored.sha256, other.sha256]) == 1
    assert artifacts.get(stored.sha256) == b"weights"
    assert there(artifacts) == {stored.sha256}


def test_a_file_that_is_stored_again_while_it_is_deleted_stays(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = artifacts.put(b"weights")
    before_second_look(monkeypatch, lambda: artifacts.put(b"weights"))
    gc.forget(store, artifacts, [stored.sha256])
    assert artifacts.get(stored.sha256) == b"weights"
    assert there(artifacts) == {stored.sha256}


def test_a_deletion_that_cannot_end_takes_nothing(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {artifacts.put(content).sha256 for content in (b"a", b"b")}

    def fail() -> None:
        raise RuntimeError("the database is away")

    with monkeypatch.context() as patched:
        before_second_look(patched, fail)
        with pytest.raises(RuntimeError, match="is away"):
            gc.forget(store, artifacts, found)
    assert there(artifacts) == found


def test_a_store_that_is_away_leaves_the_files_to_a_later_collection(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = artifacts.put(b"weights").sha256

    def away(*_: object) -> bool:
        raise ArtifactsAway("not now")

    with monkeypatch.context() as patched:
        patched.setattr(ArtifactStore, "set_aside", away)
        assert gc.forget(store, artifacts, [name]) == 0
    assert there(artifacts) == {name}
    gc.collect(store, artifacts, older_than_s=OLD_S)
    assert there(artifacts) == set()


def test_writers_and_deleters_of_one_file_lose_nothing(store: Store, artifacts: ArtifactStore) -> None:
    """Trials that leave the same weights, stored twice as workers do, while others delete what is unneeded."""
    add_job(store, trials=50, epochs=2)
    claims = [take(store) for _ in range(16)]
    weights = sha256(b"weights").hexdigest()

    def work(index: int) -> None:
        for claim in claims[index * 4 : index * 4 + 4] if index < 4 else ():
            stored = artifacts.put(b"weights")
            attach(store, claim, "weights", stored)
            artifacts.put(b"weights")
            assert artifacts.get(weights) == b"weights"
            with store.write() as session:
                session.execute(delete(Artifact).where(Artifact.trial_id == claim.trial_id))
            gc.forget(store, artifacts, [weights])
            attach(store, claim, "weights", artifacts.put(b"weights"))
            artifacts.put(b"weights")
        if index >= 4:
            for _ in range(20):
                gc.forget(store, artifacts, [weights])

    together(6, work)
    assert artifacts.get(weights) == b"weights"
    assert there(artifacts) == {weights}


# --- what is collected


@pytest.fixture(params=["file", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    if request.param == "file":
        yield ArtifactStore(str(tmp_path / "artifacts"))
    else:
        with bucket() as url:
            yield ArtifactStore(url)


def test_a_collection_deletes_what_nobody_needs(store: Store, anywhere: ArtifactStore) -> None:
    add_job(store)
    found = put_all(store, anywhere)
    assert anywhere.set_aside(anywhere.put(b"left by a collection that was killed").sha256)
    for dry_run in (True, False):
        before = there(anywhere)
        seen = gc.collect(store, anywhere, older_than_s=OLD_S, dry_run=dry_run)
        assert [file.name for file in seen.orphans] == [found["orphan"]]
        assert [file.size_bytes for file in seen.unfinished] == [len(b"left by a collection that was killed")]
        assert seen.size_bytes == len(b"orphan") + len(b"left by a collection that was killed")
        assert seen.kept == 6
        assert (seen.checkpoints, seen.dangling) == (0, ())
        assert there(anywhere) == (before if dry_run else set(found.values()) - {found["orphan"]})
    assert gc.collect(store, anywhere, older_than_s=OLD_S) == gc.Collection((), (), 0, (), 6)


def test_what_is_young_is_not_collected(store: Store, artifacts: ArtifactStore, folder: Path) -> None:
    young, old = artifacts.put(b"young").sha256, artifacts.put(b"old").sha256
    half = folder / young[:2] / f".{young}.0123456789abcdef"
    half.write_bytes(b"half")
    hour = time.time() - 3601
    os.utime(folder / old[:2] / old, (hour, hour))
    seen = gc.collect(store, artifacts)
    assert ([file.name for file in seen.orphans], seen.unfinished, seen.kept) == ([old], (), 2)
    assert there(artifacts) == {young, half.name}
    os.utime(half, (hour, hour))
    assert [file.size_bytes for file in gc.collect(store, artifacts).unfinished] == [4]
    assert there(artifacts) == {young}


@pytest.mark.parametrize(("lease_s", "grace_s"), [(30.0, 3600.0), (3600.0, 9000.0), (86_400.0, 174_600.0)])
def test_whoever_may_still_write_a_row_is_waited_for(lease_s: float, grace_s: float) -> None:
    assert gc.grace_s(lease_s) == grace_s


def test_a_needed_file_that_a_killed_collection_has_set_aside_is_put_back(
    store: Store, artifacts: ArtifactStore
) -> None:
    add_job(store)
    stored = artifacts.put(b"weights")
    attach(store, take(store), "weights", stored)
    artifacts.set_aside(stored.sha256)
    seen = gc.collect(store, artifacts, older_than_s=OLD_S)
    assert (seen.orphans, seen.unfinished) == ((), ())
    assert stored.sha256 not in [row.sha256 for row in seen.dangling]
    assert artifacts.get(stored.sha256) == b"weights"
    artifacts.set_aside(stored.sha256)
    artifacts.put(b"weights")  # by someone else
    assert len(gc.collect(store, artifacts, older_than_s=OLD_S).unfinished) == 1
    assert there(artifacts) == {stored.sha256}


def test_rows_without_a_file_are_told_and_kept(store: Store, artifacts: ArtifactStore) -> None:
    job_id = add_job(store)
    found = put_all(store, artifacts)
    for what in ("weights", "dataset", "transfer"):
        artifacts.delete(found[what])
    seen = gc.collect(store, artifacts, older_than_s=OLD_S)
    told = {row.sha256: row.of for row in seen.dangling}
    assert told == {
        found["weights"]: f"weights of trial 0 of job {job_id}",
        found["dataset"]: "data set 'squares'",
        found["transfer"]: f"weights that job {job_id} starts from",
    }
    assert gc.collect(store, artifacts, older_than_s=OLD_S).dangling == seen.dangling


def test_checkpoints_of_trials_that_have_ended_are_forgotten(store: Store, artifacts: ArtifactStore) -> None:
    add_job(store, trials=5, epochs=3)
    stored = {}
    claims = {name: take(store) for name in ("ended", "running", "new")}
    for name, claim in claims.items():
        stored[name] = artifacts.put(name.encode()).sha256
        attach(store, claim, "checkpoint", Stored(stored[name], 5))
    for name in ("ended", "new"):
        finish(store, claims[name], TrialState.FAILED)
        attach_to_ended(store, claims[name], Stored(stored[name], 5))
    with store.write() as session:
        session.get_one(Trial, claims["ended"].trial_id).finished_at = LONG_AGO
    assert gc.collect(store, artifacts, dry_run=True).checkpoints == 1
    assert there(artifacts) == set(stored.values())
    assert gc.collect(store, artifacts).checkpoints == 1
    assert there(artifacts) == {stored["running"], stored["new"]}
    assert gc.collect(store, artifacts).checkpoints == 0


def attach_to_ended(store: Store, claim: Claim, stored: Stored) -> None:
    """What is left where a job was cancelled while its trial was reporting."""
    with store.write() as session:
        record(session, claim.trial_id, "checkpoint", stored)


def test_what_is_no_file_of_the_store_is_left_alone(store: Store, artifacts: ArtifactStore, folder: Path) -> None:
    artifacts.check()
    strange = folder / "ab" / "readme"
    strange.parent.mkdir()
    strange.write_bytes(b"someone's")
    (folder / "readme").write_bytes(b"someone's")
    os.utime(strange, (0, 0))
    assert gc.collect(store, artifacts, older_than_s=OLD_S).orphans == ()
    assert strange.exists()
    assert (folder / "readme").exists()
