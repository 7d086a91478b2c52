"""How fast a service has trained, read from its newest epochs."""

from sqlalchemy import update

from nas.store import paces
from nas.store.session import Store
from nas.store.tables import Epoch, Job, Trial
from tests.support import add_dataset, add_job, candidate, run_trial


def test_the_newest_trials_of_a_data_set_tell_what_an_epoch_takes(store: Store) -> None:
    job_id = add_job(store, trials=3)
    first, second = run_trial(store), run_trial(store, epochs=2)
    with store.write() as session:
        dataset = session.get_one(Job, job_id).dataset_id
        session.execute(update(Trial).values(device="cpu"))
        session.execute(update(Epoch).where(Epoch.trial_id == first.trial_id).values(seconds=4.0))
    with store.read() as session:
        found = paces.newest(session, {"cpu"}, dataset)
        assert paces.newest(session, {"cpu"}) == found
        assert paces.newest(session, {"gpu"}) == []
        assert paces.newest(session, {"cpu", "gpu"}, dataset) == found
    assert [(pace.epoch_s, pace.epochs) for pace in found] == [(2.0, 2), (4.0, 3)]
    assert found[0].candidate == candidate(second.trial_id)
    assert found[0].facts.shape == (1, 8, 8)
    assert (found[0].facts.train, found[0].facts.validation, found[0].facts.outputs) == (64, 16, 2)
    assert found[0].spec.dataset == "squares"


def test_other_data_sets_and_what_was_taken_over_do_not_count(store: Store) -> None:
    add_job(store, trials=2)
    taken_over, _ = run_trial(store), run_trial(store)
    other = add_dataset(store, "circles")
    with store.write() as session:
        session.execute(update(Trial).values(device="cuda:0"))
        session.execute(update(Trial).where(Trial.id == taken_over.trial_id).values(cached_from="a/1"))
    with store.read() as session:
        assert paces.newest(session, {"gpu"}, other) == []
        assert len(paces.newest(session, {"gpu"})) == 1
        assert paces.newest(session, {"cpu"}) == []


def test_only_so_many_are_read(store: Store) -> None:
    add_job(store, trials=60)
    for _ in range(45):
        run_trial(store, epochs=1)
    with store.write() as session:
        session.execute(update(Trial).values(device="cpu"))
    with store.read() as session:
        found = paces.newest(session, {"cpu"})
    assert len(found) == paces.NEWEST_TRIALS
    assert found[0].candidate == candidate(45)
