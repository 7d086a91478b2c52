"""Every request of the API that a client makes, as a plain value: what is sent, and what the answer becomes."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx

from nas.client.answers import (
    BestNetwork,
    Created,
    Dashboard,
    DatasetInfo,
    Estimate,
    JobDetail,
    JobPage,
    LogLines,
    Pareto,
    StrategyInfo,
    StudyPage,
    TrialDetail,
    TrialPage,
)
from nas.client.body import written
from nas.errors import InvalidInput

T = TypeVar("T")
Upload = tuple[str, IO[bytes] | bytes, str]

USUAL_S: Final = 60.0
READING_S: Final = 3600.0
"""How long the service may take to read an upload that it has received, or to fetch a data set."""

PAGE: Final = 500
"""The most that the service puts on a page."""

NO_NAMES: Final = ("", ".", "..")
"""As a part of a URL they lead elsewhere."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request.

    Attributes:
        method, path: of it.
        becomes: makes the answer's value.
        params: of the query; those that are None are left out.
        body: JSON; None: none.
        headers: beside the usual ones.
        form, files: of a multipart body.
        longest_s: how long the answer may take.
        again: whether it may be sent again when its answer was lost.
        kept: whether the answer is kept with its ETag, and asked for only if it has changed.
    """

    method: str
    path: str
    becomes: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Upload] = field(default_factory=dict)
    longest_s: float = USUAL_S
    again: bool = True
    kept: bool = False

    def options(self) -> dict[str, Any]:
        """What httpx calls them. Raises InvalidInput for a body that has a value that JSON has not."""
        options: dict[str, Any] = {
            "params": {name: value for name, value in self.params.items() if value is not None},
            "headers": dict(self.headers),
            "timeout": httpx.Timeout(USUAL_S, read=self.longest_s),
        }
        if self.body is not None:
            options["content"] = written(self.body)
            options["headers"] |= {"Content-Type": "application/json"}
        if self.files:
            options |= {"data": dict(self.form), "files": dict(self.files)}
        return options


def create(spec: Mapping[str, Any], key: str | None) -> Call[Created]:
    """POSTs a job; with the same key there is one, however often it is asked for."""
    # A built-in data set is fetched on its first use, which takes as long as its bytes do.
    return _post("/v1/jobs", key, body=dict(spec), longest_s=READING_S)


def estimate(spec: Mapping[str, Any]) -> Call[Estimate]:
    """What a job would take."""
    return _post("/v1/jobs/estimate", None, body=dict(spec), longest_s=READING_S)


def jobs(states: str | Sequence[str], q: str | None, cursor: str | None, limit: int = PAGE) -> Call[JobPage]:
    """A page of jobs, newest first."""
    params = {"state": _several(states), "q": q or None, "cursor": cursor, "limit": limit}
    return Call("GET", "/v1/jobs", httpx.Response.json, params)


def job(job_id: str) -> Call[JobDetail]:
    """A job with its whole spec."""
    return Call("GET", _job(job_id), httpx.Response.json)


def dashboard(job_id: str) -> Call[Dashboard]:
    """All there is to see of a job."""
    return Call("GET", f"{_job(job_id)}/dashboard", httpx.Response.json, kept=True)


def best(job_id: str) -> Call[BestNetwork]:
    """A job's best network."""
    return Call("GET", f"{_job(job_id)}/best", httpx.Response.json)


def pareto(job_id: str) -> Call[Pareto]:
    """A job's Pareto set."""
    return Call("GET", f"{_job(job_id)}/pareto", httpx.Response.json)


def control(job_id: str, what: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> Call[JobDetail]:
    """Pauses, resumes, cancels or extends a job."""
    return _post(f"{_job(job_id)}/{what}", key, body=None if body is None else dict(body))


def clone(job_id: str, changes: Mapping[str, Any], key: str | None) -> Call[Created]:
    """POSTs a job like another one."""
    return _post(f"{_job(job_id)}/clone", key, body=dict(changes), longest_s=READING_S)


def change(job_id: str, changes: Mapping[str, Any]) -> Call[JobDetail]:
    """Another name or priority."""
    return Call("PATCH", _job(job_id), httpx.Response.json, body=dict(changes))


def delete(job_id: str, *, force: bool) -> Call[None]:
    """Deletes a job."""
    return Call("DELETE", _job(job_id), _nothing, {"force": True if force else None}, again=False)


def trials(
    job_id: str, states: str | Sequence[str], phases: str | Sequence[str], sort: str, cursor: str | None
) -> Call[TrialPage]:
    """A page of a job's trials."""
    wanted = {"state": _several(states), "phase": _several(phases)}
    params = {**wanted, "sort": sort, "cursor": cursor, "limit": PAGE}
    return Call("GET", f"{_job(job_id)}/trials", httpx.Response.json, params)


def trial(job_id: str, number: int) -> Call[TrialDetail]:
    """A trial with its learning curve."""
    return Call("GET", _trial(job_id, number), httpx.Response.json)


def logs(job_id: str, number: int) -> Call[LogLines]:
    """What a trial has logged."""
    return Call("GET", f"{_trial(job_id, number)}/logs", httpx.Response.json)


def retrain(job_id: str, number: int) -> Call[int]:
    """Asks for a trial's network to be retrained; becomes the number of that."""
    return _post(f"{_trial(job_id, number)}/retrain", None, becomes=lambda answer: int(answer.json()["trial"]))


def figure(job_id: str, name: str, ending: str, params: Mapping[str, Any]) -> Call[bytes]:
    """A picture of a job as a file."""
    path = f"{_job(job_id)}/figures/{quote(name, safe='')}.{ending}"
    return Call("GET", path, lambda answer: answer.content, params, kept=True)


def study(job_id: str, cursor: str | None) -> Call[StudyPage]:
    """A page of a job's trials as Optuna knows them."""
    return Call("GET", f"{_job(job_id)}/study", httpx.Response.json, {"cursor": cursor, "limit": PAGE})


def predict(job_id: str, name: str, image: bytes) -> Call[dict[str, float]]:
    """What a job's model says of an image; becomes class → probability, the likeliest first, or target → value."""
    return Call(
        "POST",
        f"{_job(job_id)}/predict",
        _said,
        files={"file": (name, image, "application/octet-stream")},
    )


def strategies() -> Call[list[StrategyInfo]]:
    """How candidates can be chosen."""
    return Call("GET", "/v1/strategies", _items)


def datasets() -> Call[list[DatasetInfo]]:
    """All data sets."""
    return Call("GET", "/v1/datasets", _items)


def dataset(name: str) -> Call[DatasetInfo]:
    """A data set."""
    return Call("GET", _dataset(name), httpx.Response.json)


def delete_dataset(name: str) -> Call[None]:
    """Deletes a data set."""
    return Call("DELETE", _dataset(name), _nothing, again=False)


def add_dataset(file: IO[bytes], file_name: str, name: str, size: int | None, seed: int | None) -> Call[DatasetInfo]:
    """Uploads a data set; the file is sent as it is read."""
    texts = {"name": name, "size": size, "seed": seed}
    return Call(
        "POST",
        "/v1/datasets",
        httpx.Response.json,
        form={field: str(value) for field, value in texts.items() if value is not None},
        files={"file": (file_name, file, "application/octet-stream")},
        longest_s=READING_S,
        again=False,  # the file has been read
    )


def model_path(job_id: str, number: int | None) -> str:
    """Where the model.zip of a job is, or that of one of its trials."""
    return f"{_job(job_id) if number is None else _trial(job_id, number)}/model"


def report_path(job_id: str) -> str:
    """Where a job's report is."""
    return f"{_job(job_id)}/report"


def logs_path(job_id: str) -> str:
    """Where a job's TensorBoard logs are."""
    return f"{_job(job_id)}/tensorboard"


def events_path(job_id: str) -> str:
    """Where a job tells what happens."""
    return f"{_job(job_id)}/events"


def _post(path: str, key: str | None, becomes: Callable[[httpx.Response], Any] | None = None, **more: Any) -> Call[Any]:
    """By its key the service knows a request that it gets again, so that one whose answer was lost is repeated."""
    headers = {"Idempotency-Key": key or secrets.token_hex(16)}
    return Call("POST", path, becomes or httpx.Response.json, headers=headers, **more)


def _several(values: str | Sequence[str]) -> list[str] | None:
    """As a query has them; one value is a list of one."""
    return ([values] if isinstance(values, str) else list(values)) or None


def _items(answer: httpx.Response) -> list[Any]:
    items: list[Any] = answer.json()["items"]
    return items


def _said(answer: httpx.Response) -> dict[str, float]:
    said = answer.json()
    shares = {found["name"]: found["probability"] for found in said["classes"]}
    return shares | {found["name"]: found["value"] for found in said["targets"]}


def _nothing(answer: httpx.Response) -> None:
    del answer


def _job(job_id: str) -> str:
    if not isinstance(job_id, str) or job_id in NO_NAMES:
        raise InvalidInput("job_id", job_id, "it is the id of a job, such as 3cd14fbb6bd3")
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _trial(job_id: str, number: int) -> str:
    return f"{_job(job_id)}/trials/{number}"


def _dataset(name: str) -> str:
    if not isinstance(name, str) or name in NO_NAMES:
        raise InvalidInput("name", name, "it is the name of a data set")
    return f"/v1/datasets/{quote(name, safe='')}"
