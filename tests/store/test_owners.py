"""What belongs to whom, and how much of it."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from nas.errors import Conflict, InvalidInput, NotFound, TooLarge
from nas.spec import JobSpec
from nas.store import datasets, jobs, owners, trials
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.tables import PUBLIC, Dataset, Job
from tests.support import add_job, random_images, stored, take


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


def test_owners_may_use_the_same_name_for_different_images(store: Store, artifacts: ArtifactStore) -> None:
    mine = datasets.add(store, artifacts, "photos", random_images(8), "ada")
    theirs = datasets.add(store, artifacts, "photos", random_images(8, seed=1), "bob")
    assert mine.digest != theirs.digest
    assert datasets.ensure(store, artifacts, "photos", owner="ada").id == mine.id
    assert datasets.ensure(store, artifacts, "photos", owner="bob").id == theirs.id
    with pytest.raises(Conflict):
        datasets.add(store, artifacts, "photos", random_images(8, seed=2), "ada")


def test_what_an_owner_has_does_not_exist_for_another(store: Store, artifacts: ArtifactStore) -> None:
    datasets.add(store, artifacts, "secret", random_images(8), "ada")
    datasets.ensure(store, artifacts, "digits", owner="ada")
    with store.read() as session:
        assert datasets.find(session, "secret", "bob") is None
        assert [row.name for row in datasets.listed(session, "bob")] == ["digits"]
        assert [row.name for row in datasets.listed(session, "ada")] == ["digits", "secret"]
        assert [row.owner for row in datasets.listed(session)] == [PUBLIC, "ada"]
    with pytest.raises(NotFound):
        datasets.delete(store, artifacts, "secret", "bob")
    for name in ("secret", "nope"):
        with pytest.raises(InvalidInput) as caught:
            datasets.ensure(store, artifacts, name, owner="bob")
        assert str(caught.value).replace(name, "") == (
            "dataset: '' is not possible: there is no such data set; allowed: "
            "cifar10, cifar100, digits, fashion_mnist, mnist"
        )


def test_deleting_one_owners_images_keeps_the_same_images_of_another(store: Store, artifacts: ArtifactStore) -> None:
    mine = datasets.add(store, artifacts, "photos", random_images(8), "ada")
    datasets.add(store, artifacts, "images", random_images(8), "bob")
    datasets.delete(store, artifacts, "photos", "ada")
    assert artifacts.exists(mine.sha256)
    datasets.delete(store, artifacts, "images", "bob")
    assert not artifacts.exists(mine.sha256)


def test_what_is_stored_is_counted_for_whom_it_is(store: Store, artifacts: ArtifactStore) -> None:
    first = datasets.add(store, artifacts, "a", random_images(8), "ada")
    second = datasets.add(store, artifacts, "b", random_images(16), "ada")
    datasets.add(store, artifacts, "a", random_images(32), "bob")
    datasets.ensure(store, artifacts, "digits", owner="ada")  # everyone's: nobody pays for it
    job = add_job(store)
    with store.write() as session:
        session.get_one(Job, job).owner = "ada"
        assert owners.owner_of(session, job) == "ada"
        assert owners.owner_of(session, "nope") is None
    claim = take(store)
    with store.write() as session:
        trials.attach(session, claim, "weights", stored("x" * 1000))
        trials.attach(session, claim, "package", stored("y" * 234))
    used = (first.size_bytes or 0) + (second.size_bytes or 0) + 1234
    with store.read() as session:
        assert owners.stored_bytes(session, "ada") == used
        assert owners.stored_bytes(session, "nobody") == 0
        owners.check_room(session, "ada", 0)
        owners.check_room(session, "ada", used + 1)
        owners.check_room(session, "ada", used + 10, more_bytes=10)
        for most, more in ((used, 0), (used - 1, 0), (used + 10, 11)):
            with pytest.raises(TooLarge, match=rf"ada has {used:,} of {most:,} bytes stored.*DELETE /v1/datasets/NAME"):
                owners.check_room(session, "ada", most, more)


def test_images_that_are_too_many_leave_nothing_behind(store: Store, artifacts: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        datasets.offer(store, artifacts, "big", random_images(8), owner="ada", max_stored_bytes=1000)
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Dataset)) == 0
    datasets.offer(store, artifacts, "big", random_images(8), owner="ada", max_stored_bytes=1_000_000)


def test_jobs_have_the_owner_that_asked_for_them(store: Store) -> None:
    job = add_job(store)
    with store.write() as session:
        first = session.get_one(Job, job)
        again = jobs.create(session, _spec(first), session.get_one(Dataset, first.dataset_id), "ada").id
    with store.read() as session:
        assert [owners.owner_of(session, each) for each in (job, again)] == ["local", "ada"]


def _spec(job: Job) -> JobSpec:
    return JobSpec.model_validate(job.spec)
