"""What a trial's page shows beside its curve: its log, and where its time went."""

from datetime import UTC, datetime

from sqlalchemy import update

from nas.store import lines, trials
from nas.store.lines import Said
from nas.store.states import TrialState
from nas.store.tables import Trial
from tests.api.client import ApiClient, problem
from tests.support import take


def test_a_trials_log_is_shown_to_whose_it_is(api: ApiClient) -> None:
    api, other = api.of("bob"), api.of("ada")
    job = api.add_job()
    claim = take(api.store)
    url = f"/v1/jobs/{job}/trials/{claim.number}/logs"
    assert api.get(url).json() == {"items": [], "cut": False}
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    with api.store.write() as session:
        lines.add(session, [Said(job, claim.number, 1, at, "WARNING", "<b>begun</b>")])
    [line] = api.get(url).json()["items"]
    assert line == {"at": "2026-01-02T03:04:05Z", "attempt": 1, "level": "WARNING", "text": "<b>begun</b>"}
    assert api.get(f"/v1/jobs/{job}/trials/{claim.number}").json()["links"]["logs"] == url
    problem(api.get(f"/v1/jobs/{job}/trials/7/logs"), 404, "no trial 7")
    problem(other.get(url), 404)


def test_a_log_that_was_cut_says_so(api: ApiClient) -> None:
    job = api.add_job()
    claim = take(api.store)
    said = [Said(job, claim.number, 1, datetime.now(UTC), "INFO", str(index)) for index in range(lines.KEPT + 3)]
    with api.store.write() as session:
        lines.add(session, said)
    shown = api.get(f"/v1/jobs/{job}/trials/{claim.number}/logs").json()
    assert shown["cut"] is True
    assert [line["text"] for line in shown["items"]] == [str(index) for index in range(3, lines.KEPT + 3)]


def test_a_trial_tells_where_its_time_went(api: ApiClient) -> None:
    job = api.add_job()
    claim = take(api.store)
    url = f"/v1/jobs/{job}/trials/{claim.number}"
    shown = api.get(url).json()
    assert (shown["spent"], shown["waited_s"]) == (None, 0.0)
    spent = {"prepare": 1.0, "train": 2.5, "validate": 0.5, "write": 0.25, "other": 0.0}
    with api.store.write() as session:
        trials.finish(session, claim, TrialState.COMPLETE, spent=spent)
        created = Trial.created_at
        session.execute(update(Trial).where(Trial.id == claim.trial_id).values(created_at=created, started_at=None))
    shown = api.get(url).json()
    assert (shown["spent"], shown["waited_s"]) == (spent, None)
