"""What figures are drawn from, over HTTP: small answers, tags that hold while nothing changes, errors that help."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api import kept
from api.figure_schemas import TimelineView
from api.main import create_app
from bench.service_data import add_job as add_large_job
from nas.settings import Settings
from nas.store.figures import timeline
from nas.store.tables import Job, Trial
from tests.api.client import ApiClient, calling, fault, problem, succeed
from tests.store.cost import reading, selects
from tests.store.scattered import add_incumbents, scatter
from tests.support import candidate, propose, report, take

NAMES = ("curves", "points", "timeline", "evolution")


def shown(api: ApiClient, job_id: str, path: str) -> dict[str, Any]:
    answer = api.get(f"/v1/jobs/{job_id}/{path}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def trials(api: ApiClient, job_id: str) -> dict[int, Trial]:
    with api.store.read() as session:
        return {row.number: row for row in session.scalars(select(Trial).where(Trial.job_id == job_id))}


@pytest.fixture
def crowd(api: ApiClient) -> str:
    """A job with trials of every kind; its id."""
    job_id = api.add_job()
    scatter(api.store, job_id, 60)
    return job_id


# --- what they say


def test_curves_are_those_of_the_trials(api: ApiClient, crowd: str) -> None:
    answer = shown(api, crowd, "curves")
    rows = trials(api, crowd)
    assert answer["metric"] == "accuracy"
    assert answer["total"] == answer["shown"] == len(answer["items"]) > 30
    for item in answer["items"]:
        assert set(item) == {"trial", "phase", "state", "points"}
        assert (item["phase"], item["state"]) == ("search", rows[item["trial"]].state)
        detail = shown(api, crowd, f"trials/{item['trial']}")
        curve = [(row["epoch"], pytest.approx(row["validation_accuracy"], rel=1e-5)) for row in detail["curve"]]
        assert list(map(tuple, item["points"])) == curve
    few = shown(api, crowd, "curves?limit=7")
    assert (few["total"], few["shown"], len(few["items"])) == (answer["total"], 7, 7)
    both = shown(api, crowd, "curves?phase=finalist&phase=search")
    assert {item["phase"] for item in both["items"]} == {"finalist", "search"}


def test_points_are_pairs_of_the_trials_values(api: ApiClient, crowd: str) -> None:
    rows = trials(api, crowd)
    for x, y in (("params", "accuracy"), ("latency_ms", "epoch"), ("macs", "number")):
        answer = shown(api, crowd, f"points?x={x}&y={y}")
        assert (answer["x"], answer["y"], answer["shown"]) == (x, y, len(answer["items"]))
        assert answer["total"] == answer["shown"]
        assert answer["total"] + answer["without"] == sum(row.phase == "search" for row in rows.values())
        assert answer["best"] in [item[0] for item in shown(api, crowd, "points?limit=1")["items"]]
        for trial, at_x, at_y, state, front in answer["items"]:
            row = rows[trial]
            assert (state, front) == (row.state, row.front)
            assert at_x == pytest.approx(getattr(row, x), rel=1e-5)
            assert at_y == pytest.approx(getattr(row, y), rel=1e-5)
    usual = shown(api, crowd, "points")
    assert (usual["x"], usual["y"]) == ("params", "accuracy")
    assert all(type(item[1]) is int for item in usual["items"])  # and not 17.0


def test_the_timeline_has_aware_times(api: ApiClient, crowd: str) -> None:
    answer = shown(api, crowd, "timeline")
    rows = trials(api, crowd)
    assert answer["total"] == answer["shown"] == len(answer["items"])
    for item in answer["items"]:
        row = rows[item["trial"]]
        assert (item["worker"], item["phase"], item["state"]) == (row.owner, row.phase, row.state)
        for text, moment in ((item["start"], row.started_at), (item["end"], row.finished_at)):
            assert (text is None) == (moment is None)
            if moment is not None:
                found = datetime.fromisoformat(text)
                assert found.tzinfo is not None
                assert abs((found - moment.astimezone(UTC)).total_seconds()) <= 0.001
    assert answer["workers"] == list(dict.fromkeys(item["worker"] for item in answer["items"]))


def test_the_evolution_tells_what_changed(api: ApiClient) -> None:
    job_id = api.add_job()
    add_incumbents(api.store, job_id, 3)
    answer = shown(api, job_id, "evolution")
    assert (answer["total"], answer["shown"]) == (3, 3)
    first, *later = answer["items"]
    assert first["changes"] is None
    for before, item in zip(answer["items"], later, strict=False):
        assert item["candidate"] == candidate(item["trial"]).to_json()
        assert item["genotype"] == item["candidate"]["genotype"]
        for kind in ("normal", "reduce"):
            edges, change = edges_of(before["genotype"][kind]), item["changes"][kind]
            for edge in change["removed"]:
                edges.remove(edge)
            assert sorted(edges + change["added"]) == sorted(edges_of(item["genotype"][kind]))
            assert not set(change["added"]) & set(change["removed"])


def edges_of(cell: dict[str, Any]) -> list[str]:
    inner = [
        f"{op}: node {source} → node {node}" for node, edges in enumerate(cell["nodes"], 2) for op, source in edges
    ]
    return inner + [f"concat: node {source} → output" for source in cell["concat"]]


@pytest.mark.parametrize("found", ["large", "layers", "strange"])
def test_what_cannot_be_compared_or_shown_is_left_out(api: ApiClient, found: str) -> None:
    job_id = api.add_job()
    add_incumbents(api.store, job_id, 2)
    genotype = candidate(0).to_json()["genotype"]
    if found == "large":
        genotype["normal"]["nodes"][0] = [["sep_conv_3x3", 0]] * 3000
    elif found == "strange":
        genotype["normal"]["nodes"][0] = [["op_of_a_plugin", 0]]
    new = {"layers": [["conv", 16, 3, False]]} if found == "layers" else {"genotype": genotype}
    with api.store.write() as session:
        session.execute(update(Trial).where(Trial.job_id == job_id, Trial.number == 1).values(candidate=new))
    last = shown(api, job_id, "evolution")["items"][1]
    assert last["changes"] is None
    assert last["candidate"] == (None if found == "large" else new)
    assert last["genotype"] == (genotype if found == "strange" else None)


@pytest.mark.parametrize("path", NAMES)
def test_a_new_job_has_empty_figures(api: ApiClient, path: str) -> None:
    answer = shown(api, api.add_job(), path)
    assert (answer["total"], answer["shown"], answer["items"]) == (0, 0, [])


@pytest.mark.parametrize("path", NAMES)
def test_a_job_that_has_ended_has_figures(api: ApiClient, path: str) -> None:
    assert shown(api, succeed(api), path)["items"]


# --- what is refused


def test_axes_that_there_are_not_are_named(api: ApiClient, crowd: str) -> None:
    fault(api.get(f"/v1/jobs/{crowd}/points?x=size"), "x", "allowed: accuracy, params, macs, latency_ms, memory_mb")
    fault(api.get(f"/v1/jobs/{crowd}/points?y=_id"), "y", "allowed: accuracy")
    fault(api.get(f"/v1/jobs/{crowd}/points?x=macs&y=macs"), "y", "x is macs as well", "take another one")


@pytest.mark.parametrize("path", ["curves?limit=0", "curves?limit=501", "points?limit=2001", "timeline?limit=1001"])
def test_a_limit_out_of_bounds_is_named(api: ApiClient, crowd: str, path: str) -> None:
    fault(api.get(f"/v1/jobs/{crowd}/{path}"), "limit")


def test_anothers_job_has_no_figures(api: ApiClient) -> None:
    ada, bob, root = api.of("ada"), api.of("bob"), api.of("root", "admin")
    job_id = ada.add_job()
    scatter(api.store, job_id, 20)
    for name in NAMES:
        for person in (ada, root):
            assert person.get(f"/v1/jobs/{job_id}/{name}").status_code == 200
            problem(person.get(f"/v1/jobs/0123456789ab/{name}"), 404, "there is no job")
        problem(bob.get(f"/v1/jobs/{job_id}/{name}"), 404, f"there is no job '{job_id}'")
        problem(bob.get(f"/v1/jobs/{job_id}/{name}", headers={"If-None-Match": "*"}), 404)


# --- polls


def test_a_poll_to_which_nothing_is_new_costs_one_question(api: ApiClient, settings: Settings, crowd: str) -> None:
    for name in NAMES:
        path = f"/v1/jobs/{crowd}/{name}"
        tag = api.get(path).headers["ETag"]
        with reading(api.store) as statements:
            answer = api.get(path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert len(about_jobs(statements)) == 1
        with reading(api.store) as statements:
            assert api.get(path).status_code == 200
        assert len(about_jobs(statements)) == 1
        with calling(create_app(settings)) as other:  # another process knows the same tag
            assert other.get(path, headers={"If-None-Match": tag}).status_code == 304


def about_jobs(statements: list[tuple[str, Any]]) -> list[str]:
    """All questions but those about keys, which are asked once in a second whatever comes."""
    return [asked for asked, _ in selects(statements) if "api_keys" not in asked]


def test_what_changes_is_shown_at_once(api: ApiClient) -> None:
    job_id = api.add_job()
    taken = take(api.store)
    propose(api.store, taken, 0)
    tags: list[str] = []
    for number in (1, 2, 3):
        report(api.store, taken, number, number / 4)
        answer = api.get(f"/v1/jobs/{job_id}/curves", headers={"If-None-Match": ", ".join(tags)})
        assert answer.json()["items"][0]["points"][-1] == [number, number / 4]
        tags.append(answer.headers["ETag"])
    assert len(set(tags)) == 3


def test_each_question_has_an_answer_of_its_own(api: ApiClient, crowd: str) -> None:
    other = api.add_job()
    paths = (
        "curves",
        "curves?limit=5",
        "curves?phase=finalist",
        "points",
        "points?x=macs",
        "points?limit=9",
        "timeline",
    )
    answers = {path: shown(api, crowd, path) for path in paths}
    assert len({json.dumps(answer) for answer in answers.values()}) == len(paths)
    assert {path: shown(api, crowd, path) for path in paths} == answers
    scatter(api.store, other, 60, seed=1)  # as many changes as there were in the first one
    for path in paths:
        assert shown(api, other, path) != answers[path]


def test_a_job_restored_from_an_older_copy_is_read_again(api: ApiClient, crowd: str) -> None:
    before = shown(api, crowd, "curves")
    with api.store.write() as session:  # another history that has come to the same version
        session.execute(update(Trial).where(Trial.job_id == crowd).values(epoch=0))
        session.execute(update(Job).where(Job.id == crowd).values(search_epochs=Job.search_epochs + 1))
    assert shown(api, crowd, "curves") != before


def test_no_more_answers_are_kept_than_there_is_room_for(
    api: ApiClient, crowd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT", 2)
    answers = kept.KeptAnswers()

    def ask(limit: int) -> int:
        def read(session: Session) -> TimelineView:
            return TimelineView.of(timeline(session, crowd, limit))

        body = answers.answer(api.store, crowd, ("timeline", limit), read, None).body
        return len(json.loads(bytes(body))["items"])

    for limit in (1, 2, 3, 1, 4):
        assert ask(limit) == limit
        assert len(answers) <= 2


def test_of_thousands_of_trials_every_answer_is_small(api: ApiClient) -> None:
    job_id = add_large_job(api.store, 2_500)
    for path in (*NAMES, "curves?limit=500", "points?x=macs&y=number"):
        answer = api.get(f"/v1/jobs/{job_id}/{path}")
        assert answer.status_code == 200
        assert len(answer.content) < 200_000, path
    whole = shown(api, job_id, "points?x=macs&y=number")
    assert (whole["total"], whole["shown"]) == (2500, 2000)
    front = {row.number for row in trials(api, job_id).values() if row.front}
    assert front <= {item[0] for item in whole["items"] if item[4]}
