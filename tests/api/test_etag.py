"""What a poll may rely on: a tag changes whenever the answer does, everywhere alike; an answer is never large."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from api import dashboards
from api.main import create_app
from cli.service import listen
from nas.settings import Settings
from nas.store import workers
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Epoch, Incumbent, Job, Tally, Trial
from tests.api.client import ApiClient, calling
from tests.support import LEASE_S, LONG_AGO, candidate, finish, propose, report, run_trial, take

CLOCK = ("elapsed_s", "eta_s", "fraction")


def poll(api: ApiClient, job_id: str, known: str = "") -> tuple[int, str]:
    answer = api.get(f"/v1/jobs/{job_id}/dashboard", headers={"If-None-Match": known} if known else {})
    return answer.status_code, str(answer.headers["ETag"])


def timeless(api: ApiClient, job_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    return shown | {"progress": {name: value for name, value in shown["progress"].items() if name not in CLOCK}}


def at_work(api: ApiClient) -> str:
    """A job with a bit of everything: two complete trials, one that runs, one that failed; its id."""
    job_id = api.add_job(objectives=["accuracy", "params"], budget={"trials": 10, "epochs": 3})
    for accuracy in (0.5, 0.7):
        run_trial(api.store, accuracy)
    running = take(api.store, "ada")
    propose(api.store, running, 50)
    report(api.store, running, 1)
    finish(api.store, take(api.store), TrialState.FAILED)
    return job_id


VISIBLE: dict[str, Any] = {
    "name": update(Job).values(name="another"),
    "priority": update(Job).values(priority=7),
    "state": update(Job).values(state=JobState.FINALIZING),
    "reason": update(Job).values(reason="why"),
    "note": update(Job).values(note="by the way"),
    "reasons": update(Job).values(reasons={"lost": [0, 1]}),
    "cached": update(Job).values(cached=1),
    "verdict": update(Job).values(verdict={"text": "won"}),
    "a larger budget": update(Job).values(trials_planned=20),
    "the best": update(Job).values(best_trial=0),
    "a start": update(Job).values(started_at=LONG_AGO),
    "an end": update(Job).values(finished_at=LONG_AGO),
    "a count": update(Tally).where(Tally.phase == Phase.SEARCH, Tally.state == TrialState.PRUNED).values(count=1),
    "a plan": update(Tally).where(Tally.phase == Phase.RETRAIN, Tally.state == TrialState.PRUNED).values(count=1),
    "an epoch": update(Trial).where(Trial.state == TrialState.RUNNING).values(epoch=2),
    "an accuracy": update(Trial).where(Trial.state == TrialState.RUNNING).values(accuracy=0.9),
    "a worker": update(Trial).where(Trial.state == TrialState.RUNNING).values(owner="bob"),
    "another running trial": update(Trial).where(Trial.number == 0).values(state=TrialState.RUNNING),
    "the best one's size": update(Trial).where(Trial.number == 0).values(macs=1),
    "the best one's candidate": update(Trial).where(Trial.number == 0).values(candidate=candidate(99).to_json()),
    "a member of the front": update(Trial).where(Trial.number == 0).values(front=False),
    "an incumbent": insert(Incumbent).values(number=9, at_s=9.0, accuracy=0.9),
}
"""What someone can see → a change of it."""


def change(api: ApiClient, job_id: str, what: Any) -> None:
    """As all that writes does: with the job's version."""
    with api.store.write() as session:
        session.execute(what.values(job_id=job_id) if what.is_insert else what)
        session.execute(update(Job).values(version=Job.version + 1))


def test_whatever_changes_changes_the_tag_in_every_process(api: ApiClient, settings: Settings) -> None:
    job_id = at_work(api)
    _, known = poll(api, job_id)
    with calling(create_app(settings)) as other:
        assert poll(other, job_id, known) == (304, known)
        for name, what in VISIBLE.items():
            before = timeless(api, job_id)
            change(api, job_id, what)
            status, tag = poll(other, job_id, known)
            assert (status, tag != known) == (200, True), name
            assert poll(api, job_id, tag) == (304, tag)
            assert timeless(api, job_id) == timeless(other, job_id) != before
            known = tag
    with calling(create_app(settings)) as restarted:
        assert poll(restarted, job_id, known) == (304, known)


def test_a_change_that_nobody_sees_keeps_the_tag(api: ApiClient) -> None:
    job_id = at_work(api)
    _, known = poll(api, job_id)
    change(api, job_id, update(Job).values(served_at=LONG_AGO))
    assert poll(api, job_id, known) == (304, known)


def test_what_a_job_waits_for_is_in_its_tag(api: ApiClient) -> None:
    job_id = api.add_job()
    tags = [poll(api, job_id)[1]]
    for name in ("ada", "bob"):
        with api.store.write() as session:
            workers.register(session, name, "cpu")
        tags.append(poll(api, job_id)[1])
    with api.store.write() as session:
        for name in ("ada", "bob"):
            workers.unregister(session, name)
    tags.append(poll(api, job_id)[1])
    assert tags[0] == tags[3] != tags[1] == tags[2]


def test_why_a_job_waits_is_in_its_tag(api: ApiClient) -> None:
    job_id = api.add_job(device="gpu")
    tags = [poll(api, job_id)[1]]
    with api.store.write() as session:
        workers.register(session, "ada", "cpu")
    tags.append(poll(api, job_id)[1])
    assert tags[0] != tags[1]
    assert timeless(api, job_id)["waiting"]["reason"] == "no_gpu_worker"


def test_of_more_jobs_than_are_kept_each_has_its_own_answer(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "KEPT", 2)
    job_ids = [api.add_job(name=str(index)) for index in range(5)]
    kept = dashboards.Dashboards()
    for _ in range(2):
        for index, job_id in enumerate(job_ids):
            answer = kept.answer(api.store, job_id, LEASE_S, None)
            assert json.loads(bytes(answer.body))["job"]["name"] == str(index)
            assert len(kept) <= 2


def test_an_answer_is_never_older_than_the_question(api: ApiClient) -> None:
    """Clients that poll together while a worker reports: whoever asks after a report sees it."""
    job_id = api.add_job(budget={"trials": 1, "epochs": 30})
    taken = take(api.store)
    propose(api.store, taken, 0)
    reported = 0

    def watch(_: int) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        while not seen or seen[-1][1] < 12:
            before = reported
            seen.append((before, api.get(f"/v1/jobs/{job_id}/dashboard").json()["running"][0]["epoch"]))
        return seen

    with ThreadPoolExecutor(4) as pool:
        watching = [pool.submit(watch, index) for index in range(4)]
        for number in range(1, 13):
            report(api.store, taken, number)
            reported = number
        for seen in watching:
            pairs = seen.result(timeout=60)
            assert all(shown >= before for before, shown in pairs)
            assert [shown for _, shown in pairs] == sorted(shown for _, shown in pairs)


# --- size


def crowded(api: ApiClient) -> str:
    """A job with as much to show as there can be, all at once; its id."""
    objectives = ["accuracy", "params", "macs", "latency_ms", "memory_mb"]
    job_id = api.add_job(
        name="𝔫" * 200, strategy="darts", objectives=objectives, budget={"trials": 9000}, options={"epochs": 900}
    )
    genotype = candidate(0).to_json()["genotype"]
    large = candidate(0).to_json()
    large["genotype"]["normal"]["nodes"][0] = [["sep_conv_3x3", 0]] * 3000  # a start that somebody made
    metrics = {"alpha_entropy": 1.0123456789012345, "skip_share": 1 / 3, "genotype": genotype}
    row = {
        "job_id": job_id,
        "phase": Phase.SEARCH,
        "epochs": 1000,
        "epoch": 999,
        "accuracy": 0.9283333420753479,
        "params": 2**31 - 1,
        "macs": 2**52,
        "latency_ms": 1234.567890123,
        "memory_mb": 12345.67890123,
        "owner": "w" * 64,
        "created_at": LONG_AGO,
        "candidate": large,
    }
    epoch = {"train_loss": 1.0, "validation_loss": 1.0, "lr": 0.1, "seconds": 1.0, "job_id": job_id}
    network = {"n": 20, "trial": 1_000_000, "params": 10**8, "accuracies": [0.9283333420753479] * 20}
    with api.store.write() as session:
        session.execute(
            insert(Trial),
            [
                row | {"number": number, "state": TrialState.RUNNING if number % 2 else TrialState.COMPLETE}
                for number in range(5000, 5400)
            ],
        )
        session.execute(update(Trial).where(Trial.number >= 5000).values(front=True))
        shown = (TrialState.RUNNING, TrialState.COMPLETE)
        session.execute(update(Tally).where(Tally.phase == Phase.SEARCH, Tally.state.in_(shown)).values(count=200))
        supernet = session.scalars(select(Trial).where(Trial.phase == Phase.SUPERNET)).one()
        session.execute(
            insert(Epoch),
            [
                epoch | {"trial_id": supernet.id, "epoch": number, "validation_accuracy": 1 / 3, "metrics": metrics}
                for number in range(1, 301)
            ],
        )
        session.execute(
            insert(Incumbent),
            [
                {"job_id": job_id, "number": number, "at_s": 1e6 + number / 7, "accuracy": number / 7e4}
                for number in range(5000, 5400)
            ],
        )
        session.execute(
            update(Job).values(
                state=JobState.RUNNING,
                started_at=LONG_AGO,
                best_trial=5000,
                note="𝔫" * 50_000,
                reason="\x01" * 50_000,
                verdict={"text": "ü" * 1500, "shipped": {"accuracy": 0.5}, "controls": {"networks": [network] * 20}},
                version=Job.version + 1,
            )
        )
    return job_id


def test_however_much_there_is_to_show_the_answer_is_small(api: ApiClient) -> None:
    job_id = crowded(api)
    answer = api.get(f"/v1/jobs/{job_id}/dashboard")
    assert answer.status_code == 200
    assert len(answer.content) < 32_768
    shown = answer.json()
    # of each list there is something, and of each the part that is worth most
    assert shown["incumbents"][-1]["trial"] == 5399
    assert shown["supernet"]["curve"][-1]["epoch"] == 300
    assert shown["supernet"]["curve"][-1]["genotype"] is not None
    assert [found["genotype"] for found in shown["supernet"]["curve"][:-1]] == [None] * (
        len(shown["supernet"]["curve"]) - 1
    )
    assert shown["running"]
    assert shown["pareto"]
    assert (shown["best"]["trial"], shown["best"]["candidate"], shown["best"]["genotype"]) == (5000, None, None)
    assert shown["verdict"]["controls"]["networks"][19]["n"] == 20
    assert shown["job"]["note"].startswith("𝔫")
    assert poll(api, job_id, answer.headers["ETag"])[0] == 304
    # and all of it is elsewhere
    assert len(api.get(f"/v1/jobs/{job_id}/best").json()["candidate"]["genotype"]["normal"]["nodes"][0]) == 3000
    assert len(api.get(f"/v1/jobs/{job_id}").json()["note"]) == 50_000
    assert len(api.get(f"/v1/jobs/{job_id}/trials?state=running&limit=500").json()["items"]) == 200


def test_what_fits_is_shown_whole(api: ApiClient) -> None:
    job_id = at_work(api)
    row = {"job_id": job_id, "phase": Phase.SEARCH, "state": TrialState.RUNNING, "epochs": 3, "created_at": LONG_AGO}
    with api.store.write() as session:
        session.execute(insert(Trial), [row | {"number": number} for number in range(100, 199)])
        found = [{"job_id": job_id, "number": number, "at_s": number, "accuracy": 0.9} for number in range(100, 160)]
        session.execute(insert(Incumbent), found)
        session.execute(update(Job).values(version=Job.version + 1))
    shown = timeless(api, job_id)
    assert (len(shown["running"]), len(shown["incumbents"])) == (100, 62)
    assert len(json.dumps(shown)) < 32_768


def test_the_head_of_an_answer_does_not_wait_for_its_body() -> None:
    """They are sent apart; without this a client hears of the second after 40 ms only."""
    with listen("127.0.0.1", 0) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client
