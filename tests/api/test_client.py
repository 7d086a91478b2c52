"""The Python client, against the app itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nas.client import Client, ServiceError
from nas.settings import Settings
from tests.api.client import ApiClient, attach, log_of, retrain, succeed
from tests.support import take


@pytest.fixture
def client(api: ApiClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Client:
    """nas.client.Client, with the network replaced by the app."""
    client = Client("http://test")

    def request(method: str, url: str, **options: Any) -> Any:
        return api.request(method, url, **options)

    @contextmanager
    def stream(method: str, url: str, **options: Any) -> Iterator[Any]:
        yield api.request(method, url, **options)

    monkeypatch.setattr(client._http, "request", request)
    monkeypatch.setattr(client._http, "stream", stream)
    return client


def test_the_client_does_all_that_the_api_can(api: ApiClient, client: Client, tmp_path: Path) -> None:
    job_id = client.search({"dataset": "squares"})
    assert client.show(job_id)["state"] == "queued"
    assert client.dashboard(job_id)["job"]["id"] == job_id
    assert client.cancel(job_id) == "cancelled"
    assert client.dashboard(job_id)["job"]["state"] == "cancelled"
    assert client.dashboard(job_id) is client.dashboard(job_id)  # not sent again
    done = succeed(api, b"PK the package")
    assert client.best(done)["trial"] == 0
    assert client.download(done, tmp_path / "new" / "model.zip").read_bytes() == b"PK the package"
    logged = client.search({"dataset": "squares", "tensorboard": True})
    with pytest.raises(ServiceError, match="its trials write them"):
        client.download_logs(logged, tmp_path / "logs.zip")
    attach(api, take(api.store), "tensorboard", b"events")
    path = client.download_logs(logged, tmp_path / "logs" / "logs.zip")
    assert list(log_of(path.read_bytes()).values()) == [b"events"]
    assert [item["trial"] for item in client.pareto(done)["items"]] == [0]
    number = client.retrain(done, 1)
    assert client.trial(done, number)["state"] == "queued"
    with pytest.raises(ServiceError, match="is queued after 0 of"):
        client.download(done, tmp_path / "second.zip", 1)
    retrain(api, b"PK of trial 1")
    assert client.download(done, tmp_path / "second.zip", 1).read_bytes() == b"PK of trial 1"
    assert next(item for item in client.strategies() if item["default"])["name"] == "auto"
    for _ in range(59):
        api.add_job()
    assert len({job["id"] for job in client.jobs()}) == 62  # two pages


def test_the_client_raises_the_services_own_words(client: Client) -> None:
    with pytest.raises(ServiceError, match="dataset: 'nope' is not possible: there is no such data set") as caught:
        client.search({"dataset": "nope"})
    assert caught.value.status == 422
    with pytest.raises(ServiceError, match="there is no job 'nope'") as caught:
        client.show("nope")
    assert caught.value.status == 404
