"""What Ray's schedulers read of a job's rows, and what is written where a trial goes on as another one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import LeaseLost
from nas.spec import JobSpec
from nas.store import files, lineage
from nas.store.artifacts import ArtifactStore
from nas.store.audit import audit
from nas.store.cache import note_key
from nas.store.claims import Claim
from nas.store.feed import BEGINNING, since
from nas.store.history import Replay
from nas.store.lineage import Past
from nas.store.session import Store
from nas.store.states import TrialState
from nas.store.tables import Epoch
from nas.store.trials import Twin
from tests.support import (
    SPACE,
    add_job,
    candidate,
    expire,
    finish,
    hand_back,
    job_of,
    propose,
    report,
    reserve,
    stored,
    trial_of,
)
from tests.support import take as take_any

PBT: dict[str, Any] = {"engine": "ray", "scheduler": {"method": "pbt"}, "recipe": {"lr": {"low": 0.01, "high": 0.3}}}


def begun(store: Store, index: int, *accuracies: float) -> Claim:
    """A running search trial that has done so many epochs."""
    found = reserve(store)
    assert found is not None
    propose(store, found, index)
    for number, accuracy in enumerate(accuracies, start=1):
        report(store, found, number, accuracy)
    return found


def test_what_trials_scored_at_some_epochs_is_read_by_their_numbers(store: Store) -> None:
    job_id = add_job(store, epochs=4)
    whole = begun(store, 0, 0.1, 0.2, 0.3, 0.4)
    finish(store, whole)
    pruned = begun(store, 1, 0.5, 0.6)
    finish(store, pruned, TrialState.PRUNED)
    running = begun(store, 2, 0.7, 0.8, 0.9)
    begun(store, 3)
    with store.read() as session:
        found = lineage.pasts(session, job_id, (2, 4))
        assert lineage.pasts(session, job_id, ()) == []
    assert found == [
        Past(whole.trial_id, 4, True, ((2, 0.2), (4, 0.4))),
        Past(pruned.trial_id, 2, True, ((2, 0.6),)),
        Past(running.trial_id, 3, False, ((2, 0.8),)),
    ]


def take_over(store: Store, claim: Claim, donor: Claim, index: int) -> tuple[Claim, str | None]:
    """Goes on as the donor with the recipe of that index."""
    changed = replace(candidate(0), recipe=(("lr", index / 100),))
    with store.write() as session:
        return lineage.take_over(session, claim, donor, changed, SPACE.digest(changed), stored(f"taken {index}"))


def test_a_trial_that_takes_over_is_another_one_from_then_on_and_says_whose_it_was(
    store: Store, tmp_path: Path
) -> None:
    job_id = add_job(store, epochs=4)
    donor, claim = begun(store, 0, 0.8, 0.9), begun(store, 1, 0.1, 0.2)
    with store.write() as session:
        note_key(session, replace(claim, epoch=0), "what it began as")
    before = job_of(store, job_id).version
    taken, replaced = take_over(store, claim, donor, 5)
    assert replaced == stored(f"{claim.trial_id}.2").sha256
    row, other = trial_of(store, claim.trial_id), trial_of(store, donor.trial_id)
    changed = replace(candidate(0), recipe=(("lr", 0.05),))
    assert taken == replace(claim, candidate=changed, epoch=2)
    assert (row.candidate, row.digest) == (changed.to_json(), SPACE.digest(changed))
    assert (row.params, row.macs) == (other.params, other.macs) == (1000, 5000)
    assert (row.state, row.epoch, row.accuracy, row.cache_key) == (TrialState.RUNNING, 2, 0.2, None)
    assert row.changed == job_of(store, job_id).version == before + 1
    with store.read() as session:
        assert files.artifact(session, claim.trial_id, "checkpoint") == stored("taken 5").sha256
        assert files.artifact(session, donor.trial_id, "checkpoint") == stored(f"{donor.trial_id}.2").sha256
        notes = [(session.get_one(Epoch, (claim.trial_id, number)).metrics or {}) for number in (1, 2)]
        assert [note.get(lineage.TAKEN_OVER) for note in notes] == [None, donor.number]
        assert (session.get_one(Epoch, (donor.trial_id, 2)).metrics or {}).get(lineage.TAKEN_OVER) is None
        shown = since(session, job_id, BEGINNING, 100)
    assert shown is not None
    assert [event.data["params"] for event in shown.events if event.name == "trial"][-1] == 1000
    report(store, taken, 3, 0.95)
    report(store, taken, 4, 0.96)
    finish(store, taken)
    assert [found for found in audit(store, ArtifactStore(f"file://{tmp_path}")) if not found.startswith("file ")] == []


def test_strategies_see_the_candidate_that_a_trial_has_now(store: Store) -> None:
    job_id = add_job(store, epochs=4)
    spec = JobSpec.model_validate(job_of(store, job_id).spec | PBT)
    donor, claim = begun(store, 0, 0.8), begun(store, 1, 0.1)
    replay = Replay(spec)
    with store.read() as session:
        assert [seen.candidate for seen in replay.read(session, job_id)] == [candidate(0), candidate(1)]
    taken, _ = take_over(store, claim, donor, 5)
    report(store, taken, 2, 0.9)
    finish(store, taken, TrialState.PRUNED)
    with store.read() as session:
        seen = replay.read(session, job_id)
        assert [observation.candidate for observation in seen] == [candidate(0), taken.candidate]
        assert len(replay.digests) == 2


def test_a_candidate_that_the_job_has_already_is_not_taken_over(store: Store) -> None:
    add_job(store, epochs=4)
    donor, one, other = begun(store, 0, 0.8), begun(store, 1, 0.1), begun(store, 2, 0.2)
    take_over(store, one, donor, 5)
    with pytest.raises(Twin):
        take_over(store, other, donor, 5)
    row = trial_of(store, other.trial_id)
    assert row.candidate == candidate(2).to_json()
    with store.read() as session:
        assert files.artifact(session, other.trial_id, "checkpoint") == stored(f"{other.trial_id}.1").sha256
        assert lineage.TAKEN_OVER not in (session.get_one(Epoch, (other.trial_id, 1)).metrics or {})
    assert take_over(store, other, donor, 6)[0].epoch == 1


def test_whoever_has_lost_the_trial_writes_nothing(store: Store) -> None:
    add_job(store, epochs=4)
    donor, claim = begun(store, 0, 0.8), begun(store, 1, 0.1)
    hand_back(store, claim)
    again = take_any(store)
    assert again.trial_id == claim.trial_id
    with pytest.raises(LeaseLost):
        take_over(store, claim, donor, 5)
    assert trial_of(store, claim.trial_id).candidate == candidate(1).to_json()
    expire(store, again.trial_id)
    assert take_over(store, again, donor, 5)[0].epoch == 1  # as long as nobody else has taken it
