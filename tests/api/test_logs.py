"""TensorBoard logs over HTTP."""

import re
import tempfile
from pathlib import Path

import pytest

from nas.store import trials
from tests.api.client import ApiClient, attach, log_of, problem
from tests.support import run_trial, stored, take


def test_the_logs_are_a_zip_of_one_folder_a_trial(api: ApiClient) -> None:
    job_id = api.add_job(tensorboard=True, budget={"trials": 3, "epochs": 3})
    other = run_trial(api.store)
    first, second = take(api.store), take(api.store)
    attach(api, second, "tensorboard-0001", b"second")
    attach(api, first, "tensorboard-0010", b"st")
    attach(api, first, "tensorboard-0002", b"r")
    attach(api, first, "tensorboard-0001", b"fi")
    attach(api, first, "weights", b"something else")
    answer = api.get(f"/v1/jobs/{job_id}/tensorboard")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="logs-{job_id}.zip"'
    logs = log_of(answer.content)
    assert list(logs.values()) == [b"first", b"second"]  # by number; none of the first trial, which wrote none
    assert other.number == 0
    assert [name.split("/")[0] for name in logs] == ["00001-search", "00002-search"]
    for name in logs:
        assert re.fullmatch(r"[^/]+/events\.out\.tfevents\.\d+\.nas", name)


def test_logs_that_are_not_there_say_why(api: ApiClient) -> None:
    without, asked = api.add_job(), api.add_job(tensorboard=True)
    url = "/v1/jobs/{}/tensorboard"
    problem(api.get(url.format(without)), 409, f"job {without} has no TensorBoard logs", "without tensorboard: true")
    problem(api.get(url.format(asked)), 409, f"job {asked} has no TensorBoard logs", "its trials write them")


def test_a_log_whose_file_is_lost_leaves_no_temporary_file_behind(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job_id = api.add_job(tensorboard=True)
    taken = take(api.store)
    with api.store.write() as session:
        trials.attach(session, taken, "tensorboard", stored("lost"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert api.get(f"/v1/jobs/{job_id}/tensorboard").status_code == 503  # as with a model whose file is lost
    assert not list(tmp_path.glob("nas-logs-*"))
