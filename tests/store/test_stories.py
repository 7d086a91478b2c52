"""What reports and pictures are told of a job is what its rows say."""

import pytest

from nas.errors import InvalidInput, NotFound
from nas.store import stories
from nas.store.session import Store
from nas.store.states import TrialState
from tests.support import add_job, add_queued, candidate, finish, propose, report, run_trial, take


def test_a_job_without_trials_has_a_story_of_nothing(store: Store) -> None:
    job_id = add_job(store, name="new")
    with store.read() as session:
        story = stories.read(session, job_id)
    assert (story.job_id, story.name, story.state, story.best, story.verdict) == (job_id, "new", "queued", None, None)
    assert (story.curves.items, story.points.items, story.incumbents.items) == ((), (), ())
    assert (story.data.name, story.data.task, story.data.image) == ("squares", "single_label", (1, 8, 8))
    assert story.spent.elapsed_s == 0


def test_a_story_has_the_trials_the_best_one_and_the_curves_of_the_search(store: Store) -> None:
    job_id = add_job(store, objectives=["accuracy", "macs"])
    run_trial(store, 0.5)
    best = run_trial(store, 0.8)
    stopped = take(store)
    propose(store, stopped, 30)
    report(store, stopped, 1, 0.2)
    finish(store, stopped, TrialState.PRUNED)
    add_queued(store, job_id, 1)
    report(store, take(store), 1, 0.9)  # a retraining, whose curve is none of the search
    with store.read() as session:
        story = stories.read(session, job_id)
        other = stories.read_points(session, job_id, "number", "params")
    assert story.best is not None
    assert (story.best.trial, story.best.accuracy) == (1, 0.8)
    assert story.best.candidate == candidate(best.trial_id).to_json()
    assert story.spent.trials == (
        ("search", "complete", 2),
        ("search", "pruned", 1),
        ("finalist", "running", 1),
    )
    assert (story.spent.search_epochs, story.spent.final_epochs, story.spent.train_s) == (7, 1, 16.0)
    assert {curve.trial: curve.state for curve in story.curves.items} == {0: "complete", 1: "complete", 2: "pruned"}
    assert [curve.points for curve in story.curves.items if curve.trial == 1] == [((1, 0.8), (2, 0.8), (3, 0.8))]
    assert (story.curves.total, story.curves.best) == (3, 1)
    assert (story.points.x, story.points.y, story.points.best) == ("macs", "accuracy", 1)
    assert [(trial, score) for trial, _, score in story.incumbents.items] == [(0, 0.5), (1, 0.8)]
    assert {(point.trial, point.x) for point in other.items} == {(0, 0.0), (1, 1.0), (2, 2.0)}


def test_what_there_is_not_is_said(store: Store) -> None:
    job_id = add_job(store)
    with store.read() as session:
        for read in (stories.read, stories.read_curves, stories.read_points, stories.read_incumbents):
            with pytest.raises(NotFound):
                read(session, "nobody")
        with pytest.raises(InvalidInput):
            stories.read_points(session, job_id, "colour")
