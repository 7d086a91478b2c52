"""Both Python clients against a real service."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import onnx.parser
import pandas
import pytest
from PIL import Image

from nas import AsyncClient, Client
from nas.client import NoService, ServiceError, sending
from nas.client.frames import COLUMNS
from nas.errors import InvalidInput
from nas.result.package import zip_bytes
from nas.store import lines
from nas.store.session import now
from tests.api.served import listening
from tests.client.conftest import Both, Service
from tests.client.jobs import RANDOM, attach, succeed, work
from tests.support import run_trial


def test_a_job_is_asked_for_by_fields_or_by_one_mapping(both: Both) -> None:
    job = both.do(both.client.search(dataset="squares", strategy="random", budget={"trials": 3}, name="mine"))
    spec = both.do(job.details())["spec"]
    assert (job.name, spec["strategy"], spec["budget"]["trials"]) == ("mine", "random", 3)
    same = both.do(both.client.search({"dataset": "squares", "strategy": "tpe", "seed": 7}, strategy="random"))
    spec = both.do(same.details())["spec"]
    assert (spec["strategy"], spec["seed"]) == ("random", 7)
    assert both.do(both.client.job(same.id)).id == same.id
    assert job.url.endswith(f"/jobs/{job.id}")


def test_one_key_makes_one_job(both: Both) -> None:
    first, second = (both.do(both.client.search(RANDOM, idempotency_key="once")) for _ in range(2))
    assert first.id == second.id
    assert len(both.do(both.client.jobs())) == 1


def test_a_file_is_uploaded_and_called_as_it_is(both: Both, folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    np.savez(folder / "my photos.npz", images=images, labels=np.arange(60) % 2)
    job = both.do(both.client.search(dataset=folder / "my photos.npz", strategy="random"))
    assert both.do(job.details())["dataset"] == "my-photos"
    again = both.do(both.client.search(dataset=Path("my photos.npz"), strategy="random"))
    assert again.id != job.id, "the same content may have the name that it has"
    assert both.do(both.client.dataset("my-photos"))["images"] == 60
    assert "my-photos" in [found["name"] for found in both.do(both.client.datasets())]
    with pytest.raises(ServiceError, match=f"{job.id}"):
        both.do(both.client.delete_dataset("my-photos"))
    with pytest.raises(FileNotFoundError):
        both.do(both.client.search(dataset=Path("nothing.zip")))


def test_errors_are_the_services_own_words(both: Both) -> None:
    with pytest.raises(ServiceError, match="dataset: 'nope' is not possible: there is no such data set") as caught:
        both.do(both.client.search(dataset="nope"))
    assert caught.value.status == 422
    with pytest.raises(ServiceError, match="there is no job 'nope'") as caught:
        both.do(both.client.job("nope"))
    assert caught.value.status == 404
    with pytest.raises(ServiceError, match="budgte"):
        both.do(both.client.search(dataset="squares", budgte={"trials": 1}))
    job = both.do(both.client.search(RANDOM))
    for call in (job.best, job.download, lambda: job.figure("curves")):
        with pytest.raises(ServiceError) as caught:
            both.do(call())
        assert caught.value.status == 409, "nothing is there yet"
    with pytest.raises(ServiceError) as caught:
        both.do(job.figure("nope"))
    assert caught.value.status in (404, 422)
    assert "curves" in str(caught.value)


def test_what_could_not_be_sent_is_refused_with_its_mend(both: Both, service: Service, folder: Path) -> None:
    for url in ("localhost:8000", "http://a:b", "ftp://host"):
        with pytest.raises(InvalidInput, match=r"url: .* such as http://127\.0\.0\.1:8000"):
            type(both.client)(url)
    with pytest.raises(InvalidInput, match="nas keys create") as caught:
        type(both.client)(service.url, "a schlüssel")
    assert "schl" not in str(caught.value)
    (folder / "photos.zip").write_bytes(b"")
    (folder / "photos").mkdir()
    job = both.do(both.client.search(RANDOM, priority=np.int64(3), budget={"trials": np.array(4)}))
    found = both.do(job.details())
    assert (found["priority"], found["spec"]["budget"]["trials"]) == (3, 4)
    wrong: dict[str, Callable[[], Any]] = {
        r"dataset='squares'": lambda: both.client.search("squares"),
        r"Path\('photos.zip'\)": lambda: both.client.search(dataset="photos.zip"),
        r"it is a folder": lambda: both.client.search(dataset=Path("photos")),
        r"body: .* finite": lambda: both.client.search(RANDOM, budget={"target": float("nan")}),
        r"body: .* a object in it": lambda: both.client.search(RANDOM, name=object()),
        r"the id of a job": lambda: both.client.job(""),
        r"the name of a data set": lambda: both.client.dataset(".."),
    }
    for mend, ask in wrong.items():
        with pytest.raises(InvalidInput, match=mend):
            both.do(ask())
    with pytest.raises(TypeError, match="axis"):
        both.do(job.figure("pareto", axis="params"))


async def greeting(scope: Any, receive: Any, send: Any) -> None:
    """Another program: it greets whoever asks, but for what it has not."""
    status = 200 if scope["path"].endswith("/jobs") else 502
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<h1>hello</h1>"})


def test_another_program_at_the_url_is_known_as_such(both: Both) -> None:
    with listening(cast(Any, greeting)) as url:
        client = type(both.client)(url)
        with pytest.raises(NoService, match=r"another program answers at http.*/v1/jobs \(200, text/html\)"):
            both.do(client.jobs())
        with pytest.raises(ServiceError, match=r"answers 502 Bad Gateway, and not in this service's words") as caught:
            both.do(client.strategies())
        assert "<" not in str(caught.value)
        both.do(client.close()) if isinstance(client, AsyncClient) else client.close()


def test_a_service_that_is_not_there_is_said_at_once(both: Both) -> None:
    client = type(both.client)("http://127.0.0.1:9")
    with pytest.raises(NoService, match=r"no service answers at http://127\.0\.0\.1:9 .*nas serve"):
        both.do(client.search(RANDOM))
    both.do(client.close()) if isinstance(client, AsyncClient) else client.close()


def test_a_job_is_steered(both: Both) -> None:
    job = both.do(both.client.search(RANDOM))
    assert both.do(job.pause()).state == "paused"
    assert both.do(job.resume()).state == "queued"
    both.do(job.extend(trials=9))
    assert both.do(job.details())["spec"]["budget"]["trials"] == 9
    with pytest.raises(ServiceError, match="at least 9"):
        both.do(job.extend(trials=8))
    copy = both.do(job.clone(seed=5, budget={"trials": 3}))
    spec = both.do(copy.details())["spec"]
    assert (spec["seed"], spec["budget"]["trials"], spec["budget"]["epochs"]) == (5, 3, 3)
    assert both.do(copy.change(name="<i>other</i>", priority=2)).name == "<i>other</i>"
    assert both.do(copy.cancel()).state == "cancelled"
    both.do(copy.delete())
    with pytest.raises(ServiceError, match="cancel it first"):
        both.do(job.delete())
    both.do(job.delete(force=True))
    assert list(both.do(both.client.jobs())) == []


def test_jobs_are_found_by_state_and_text(both: Both) -> None:
    plain = both.do(both.client.search(RANDOM))
    named = both.do(both.client.search(RANDOM, name="special"))
    both.do(plain.cancel())
    assert [job.id for job in both.do(both.client.jobs())] == [named.id, plain.id]
    assert [job.id for job in both.do(both.client.jobs(state="cancelled"))] == [plain.id]
    assert len(both.do(both.client.jobs(state=["cancelled", "queued"]))) == 2
    assert [job.id for job in both.do(both.client.jobs(q="SPECIAL"))] == [named.id]
    assert [job.id for job in both.do(both.client.jobs(limit=1))] == [named.id]


def test_all_pages_of_a_list_are_read(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.client.calls.PAGE", 2)
    for _ in range(5):
        both.do(both.client.search(RANDOM))
    found = both.do(both.client.jobs())
    assert len({job.id for job in found}) == len(found) == 5
    assert len(both.do(both.client.jobs(limit=3))) == 3


def test_what_a_job_found_is_read_and_taken_home(both: Both, service: Service, folder: Path) -> None:
    job = both.do(both.client.search(RANDOM))
    succeed(service, b"PK the package")
    best = both.do(job.best())
    assert (best.trial, best.accuracy, best.test_accuracy) == (1, 0.8, 0.75)
    assert [member["trial"] for member in both.do(job.pareto())["items"]] == [1]
    assert [epoch["epoch"] for epoch in both.do(job.trial(1))["curve"]] == [1, 2, 3]
    (folder / "runs.v1").mkdir()
    places = (None, "new/other.zip", folder, "here", "runs.v1")
    paths = [both.do(job.download() if place is None else job.download(place)) for place in places]
    assert paths == [
        Path("model.zip"),
        Path("new/other.zip"),
        folder / "model.zip",
        Path("here/model.zip"),
        Path("runs.v1/model.zip"),
    ]
    assert {path.read_bytes() for path in paths} == {b"PK the package"}
    number = both.do(job.retrain(0))
    assert both.do(job.trial(number))["state"] == "queued"
    with pytest.raises(ServiceError, match="queued"):
        both.do(job.download("second.zip", trial=0))
    assert both.do(job.refresh()).state == "succeeded"
    assert both.do(job.wait()) is job


def test_a_dashboard_that_has_not_changed_is_not_sent_again(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM))
    first = both.do(job.dashboard())
    assert both.do(job.dashboard()) is first
    run_trial(service.store)
    assert both.do(job.dashboard())["progress"]["trials_finished"] == 1


def test_an_answer_that_others_put_out_while_it_is_asked_for_is_still_known(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "KEPT", 1)
    first, other = (client.search(RANDOM) for _ in range(2))
    shown, ask = first.dashboard(), httpx.Client.request

    def meanwhile(http: httpx.Client, *given: Any, **more: Any) -> httpx.Response:
        answer = ask(http, *given, **more)
        if first.id in given[1]:  # as from another thread
            other.dashboard()
        return answer

    monkeypatch.setattr(httpx.Client, "request", meanwhile)
    assert first.dashboard() is shown


def test_trials_are_a_frame_with_types(both: Both, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.client.calls.PAGE", 3)
    job = both.do(both.client.search(RANDOM))
    empty = both.do(job.trials())
    work(service)
    frame = both.do(job.trials())
    assert list(frame.index) == [0, 1, 2, 3]
    assert list(frame.columns) == list(empty.columns) == list(COLUMNS)
    assert frame.index.name == empty.index.name == "number"
    for name, kind in COLUMNS.items():
        assert str(frame.dtypes[name]) == str(empty.dtypes[name]) == kind
    kinds = {name: str(frame.dtypes[name]) for name in ("params", "accuracy", "state", "front", "finished_at")}
    assert list(kinds.values()) == ["Int64", "float64", "category", "bool", "datetime64[us, UTC]"]
    assert list(frame["state"]) == ["complete", "complete", "pruned", "failed"]
    assert list(frame["accuracy"][:2]) == [0.6, 0.8]
    assert list(frame["params"]) == [found["params"] for found in both.do(job.trial_list())]
    assert (frame["finished_at"] >= frame["started_at"]).all()
    assert frame["accuracy"].idxmax() == both.do(job.best()).trial
    assert list(both.do(job.trials(state="pruned")).index) == [2]
    assert list(both.do(job.trials(state=["complete"], sort="-accuracy")).index) == [1, 0]
    assert isinstance(frame, pandas.DataFrame)


def test_pictures_come_in_two_formats_and_the_report_as_a_page(both: Both, service: Service, folder: Path) -> None:
    job = both.do(both.client.search(RANDOM))
    work(service)
    figure = both.do(job.figure("pareto"))
    assert "<svg" in figure._repr_svg_() == figure.svg
    assert figure.png.startswith(b"\x89PNG")
    assert both.do(job.figure("pareto", theme="dark", x="macs")).svg != figure.svg
    assert figure.save("new/a.svg").read_text() == figure.svg
    assert figure.save(folder / "a.PNG").read_bytes() == figure.png
    with pytest.raises(InvalidInput, match=r"path: 'a\.pdf' .* \.svg or \.png"):
        figure.save("a.pdf")
    assert job.id in both.do(job.report()).read_text()
    assert [path.name for path in sorted(folder.iterdir())] == ["a.PNG", "new", "report.html"]


def test_events_are_told_to_the_end(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM))
    run_trial(service.store)
    both.do(job.cancel())
    events = both.do(job.events())
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2, 3]
    assert (events[-1]["event"], events[-1]["state"]) == ("end", "cancelled")
    place = next(event["id"] for event in events if event["event"] == "epoch")
    assert both.do(job.events(after=place)) == events[events.index(next(e for e in events if e["id"] == place)) + 1 :]


def test_logs_for_tensorboard_are_taken_home(both: Both, service: Service, folder: Path) -> None:
    job = both.do(both.client.search(RANDOM, tensorboard=True))
    with pytest.raises(ServiceError, match="its trials write them"):
        both.do(job.tensorboard())
    attach(service, b"events")
    assert both.do(job.tensorboard(folder)).read_bytes().startswith(b"PK")


def test_waiting_ends_with_the_job_or_says_how_it_is(both: Both) -> None:
    job = both.do(both.client.search(RANDOM))
    with pytest.raises(TimeoutError, match=rf"job {job.id} is queued after 0\.1 s: trials 0/4"):
        both.do(job.wait(timeout_s=0.1))
    threading.Timer(0.5, lambda: httpx.post(f"{both.client.url}/v1/jobs/{job.id}/cancel")).start()
    assert both.do(job.wait(timeout_s=30)).state == "cancelled"


def test_what_a_search_would_take_is_told_and_nothing_begun(both: Both) -> None:
    told = both.do(both.client.estimate(dataset="squares", strategy="random", budget={"trials": 7}))
    assert told["trials"] == 7
    assert 0 < told["seconds"]["low"] <= told["seconds"]["expected"] <= told["seconds"]["high"]
    assert list(both.do(both.client.jobs())) == []
    with pytest.raises(ServiceError, match="no such data set"):
        both.do(both.client.estimate({"dataset": "nope"}))


def test_a_trial_tells_what_it_logged(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM))
    trial = run_trial(service.store)
    with service.store.write() as session:
        lines.add(session, [lines.Said(job.id, 0, trial.attempt, now(session), "INFO", "hello")])
    assert [found["text"] for found in both.do(job.logs(0))["items"]] == ["hello"]
    with pytest.raises(ServiceError, match="has no trial 9"):
        both.do(job.logs(9))


MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
pixels (uint8[n,1,2,2] images) => (float[n,4] logits) {
    whole = Cast<to=1>(images)
    logits = Flatten(whole)
}
"""
"""Its logits are the four pixels of an image."""


def test_a_finished_model_is_tried_on_an_image(both: Both, service: Service, folder: Path) -> None:
    data = {"image": [1, 2, 2], "classes": list("abcd"), "task": "single_label", "value_range": [0, 255]}
    onnx_file = onnx.parser.parse_model(MODEL).SerializeToString()
    package = zip_bytes({"model.onnx": onnx_file, "metrics.json": json.dumps({"data": data}).encode()})
    job = both.do(both.client.search(RANDOM))
    succeed(service, package)
    image = Image.fromarray(np.array([[1, 2], [4, 3]], dtype=np.uint8))
    image.save(folder / "one.png")
    found = both.do(job.predict("one.png"))
    shares = np.exp([4, 3, 2, 1]) / np.exp([4, 3, 2, 1]).sum()
    assert list(found) == ["c", "d", "b", "a"]
    assert list(found.values()) == pytest.approx(shares, abs=1e-5)
    assert both.do(job.predict((folder / "one.png").read_bytes())) == found == both.do(job.predict(image))
    (folder / "notes").write_text("no image")
    with pytest.raises(ServiceError, match="notes"):
        both.do(job.predict(folder / "notes"))
    with pytest.raises(InvalidInput, match="image: 'int' is not possible"):
        both.do(job.predict(7))


def test_strategies_say_which_one_is_usual(both: Both) -> None:
    [usual] = [found["name"] for found in both.do(both.client.strategies()) if found["default"]]
    assert usual == "auto"


def test_an_answer_that_is_lost_is_asked_for_again(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[httpx.TransportError] = [httpx.ReadError("reset"), httpx.ConnectError("refused")]
    http, real, sent = both.client._sender.http, both.client._sender.http.request, []

    def failing(method: str, url: str, **options: Any) -> Any:
        sent.append((method, url))
        if lost:
            raise lost.pop(0)
        return real(method, url, **options)

    monkeypatch.setattr("nas.client.patience.RESTS_S", (0.01, 0.01))
    monkeypatch.setattr(http, "request", failing)
    job = both.do(both.client.search(RANDOM))
    assert [method for method, _ in sent] == ["POST"] * 3 + ["GET"]
    lost += [httpx.ReadError("reset")] * 3
    with pytest.raises(NoService, match="reset"):
        both.do(job.dashboard())
    lost[:] = [httpx.ReadError("reset")]
    with pytest.raises(NoService):
        both.do(job.delete(force=True))
    assert sent[-1][0] == "DELETE", "what cannot be told from a second time is not sent twice"


def test_a_key_is_sent_and_never_shown(service: Service) -> None:
    client = Client(service.url, "secret-key")
    assert "secret-key" not in repr(client) + repr(client._sender)
    assert client._sender.http.headers["Authorization"] == "Bearer secret-key"
    assert "secret-key" not in json.dumps([str(client), str(AsyncClient(service.url, "secret-key"))])
    client.close()
