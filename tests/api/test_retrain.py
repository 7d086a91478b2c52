"""Networks of a search taken home over HTTP: the Pareto set, retraining, and the package of one trial."""

from nas.store import trials
from nas.store.retrains import FIRST_NUMBER
from nas.store.states import TrialState
from tests.api.client import ApiClient, problem, retrain, succeed
from tests.support import candidate, digest, finish, report, run_trial, take


def search(api: ApiClient) -> str:
    """A job of two objectives, none of whose three networks beats another one; its id."""
    job_id = api.add_job(objectives=["accuracy", "params"], budget={"trials": 3, "epochs": 1})
    for number in range(3):
        taken = take(api.store)
        with api.store.write() as session:
            trials.set_candidate(session, taken, candidate(number), digest(number), trials.Costs(100 + number, 1))
        report(api.store, taken, 1, accuracy=0.5 + number / 10)
        finish(api.store, taken)
    return job_id


def test_every_member_of_the_pareto_set_can_be_retrained_and_downloaded(api: ApiClient) -> None:
    job_id = search(api)
    front = api.get(f"/v1/jobs/{job_id}/pareto").json()
    assert front["objectives"] == [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "params", "direction": "minimize"},
    ]
    assert [(item["trial"], item["values"]) for item in front["items"]] == [
        (2, {"accuracy": 0.7, "params": 102}),
        (1, {"accuracy": 0.6, "params": 101}),
        (0, {"accuracy": 0.5, "params": 100}),
    ]
    for item in front["items"]:
        assert item["candidate"] == candidate(item["trial"]).to_json()
        assert item["genotype"] == item["candidate"]["genotype"]
        assert set(item["links"]) == {"self", "retrain"}
        assert api.get(item["links"]["self"]).json()["front"] is True
        assert api.post(item["links"]["retrain"]).status_code == 202
        retrain(api, f"PK {item['trial']}".encode())
    for item in api.get(f"/v1/jobs/{job_id}/pareto").json()["items"]:
        assert set(item["links"]) == {"self", "model"}
        assert api.get(item["links"]["model"]).content == f"PK {item['trial']}".encode()


def test_the_set_of_one_objective_is_the_best_network_and_that_of_no_network_is_empty(api: ApiClient) -> None:
    job_id = succeed(api, b"PK of the job")
    [item] = api.get(f"/v1/jobs/{job_id}/pareto").json()["items"]
    assert (item["trial"], item["values"]) == (0, {"accuracy": 0.6})
    assert api.get(item["links"]["model"]).content == b"PK of the job"
    assert api.get(f"/v1/jobs/{api.add_job()}/pareto").json()["items"] == []


def test_a_retraining_is_accepted_and_can_be_followed(api: ApiClient) -> None:
    job_id = search(api)
    answer = api.post(f"/v1/jobs/{job_id}/trials/1/retrain")
    assert answer.status_code == 202
    at = f"/v1/jobs/{job_id}/trials/{FIRST_NUMBER}"
    assert answer.json() == {
        "trial": FIRST_NUMBER,
        "state": "queued",
        "links": {"self": at, "model": f"{at}/model"},
    }
    assert answer.headers["Location"] == at
    shown = api.get(at).json()
    assert (shown["phase"], shown["state"], shown["digest"]) == ("retrain", "queued", digest(1))
    listed = api.get(f"/v1/jobs/{job_id}/trials?phase=retrain").json()["items"]
    assert [item["number"] for item in listed] == [FIRST_NUMBER]
    again = api.post(f"/v1/jobs/{job_id}/trials/1/retrain")
    assert (again.status_code, again.json()) == (202, answer.json())


def test_the_model_of_a_trial_is_sent_once(api: ApiClient) -> None:
    job_id = search(api)
    model = f"/v1/jobs/{job_id}/trials/1/model"
    problem(api.get(model), 409, f"POST /v1/jobs/{job_id}/trials/1/retrain trains it")
    links = api.post(f"/v1/jobs/{job_id}/trials/1/retrain").json()["links"]
    problem(api.get(model), 409, "is queued after 0 of")
    retrain(api, b"PK the package")
    answer = api.get(model)
    assert (answer.status_code, answer.content) == (200, b"PK the package")
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="model-{job_id}-1.zip"'
    again = api.get(model, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert api.get(links["model"]).content == b"PK the package"


def test_what_cannot_be_retrained_is_refused(api: ApiClient) -> None:
    job_id = api.add_job()
    problem(api.post(f"/v1/jobs/{job_id}/trials/0/retrain"), 404, f"job {job_id} has no trial 0")
    taken = take(api.store)
    problem(api.post(f"/v1/jobs/{job_id}/trials/0/retrain"), 409, "has no candidate yet; ask again in a moment")
    finish(api.store, taken, TrialState.FAILED)
    problem(api.post(f"/v1/jobs/{job_id}/trials/0/retrain"), 409, "is failed; it cannot become retrained")
    run_trial(api.store)
    number = api.post(f"/v1/jobs/{job_id}/trials/1/retrain").json()["trial"]
    problem(api.post(f"/v1/jobs/{job_id}/trials/{number}/retrain"), 409, "is of the phase retrain")


def test_a_trial_of_another_job_is_none_of_this_one(api: ApiClient) -> None:
    one, other = search(api), api.add_job()
    assert api.post(f"/v1/jobs/{one}/trials/0/retrain").status_code == 202
    retrain(api, b"PK of the one")
    problem(api.get(f"/v1/jobs/{other}/trials/0/model"), 404, f"job {other} has no trial 0")
    problem(api.get(f"/v1/jobs/{other}/trials/{FIRST_NUMBER}/model"), 404, "has no trial")
