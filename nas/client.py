"""A Python client of the API. Errors are the server's own words."""

import io
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from nas import sse
from nas.errors import NasError
from nas.fetching import fetch

DEFAULT_URL = "http://127.0.0.1:8000"

READING_S: Final = 3600.0
"""How long the service may take to read an upload that it has received, or to fetch a data set."""

RESTS_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a request whose answer was lost is sent again."""

SILENCE_S: Final = 45.0
"""A stream of events that is silent for three of the service's heartbeats is lost."""

RECONNECT_S: Final = 2.0
RECONNECTIONS: Final = 30
"""So often a lost stream of events is asked for again, at that distance, before it is given up."""


class ServiceError(NasError):
    """The service refused a request; the message is its own, and names what to mend."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoService(NasError):  # noqa: N818 - named by what is wrong
    """Nothing answers at the URL: start the service, or name another URL."""


@dataclass(eq=False, slots=True)
class Client:
    """Talks to one service.

    Attributes:
        url: where it is.
        key: an API key, if it asks for one; sent with every request, and shown nowhere.
    """

    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)
    _http: httpx.Client = field(init=False)
    _dashboards: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def search(self, spec: dict[str, Any], *, idempotency_key: str | None = None) -> str:
        """POSTs a job and returns its id. Raises ServiceError if something in it is not possible, NoService.

        Args:
            spec: the job.
            idempotency_key: with the same one there is one job, however often it is asked for; by default a new one.
        """
        return self._ask("/v1/jobs", spec, idempotency_key)

    def jobs(self) -> Iterator[dict[str, Any]]:
        """All jobs, newest first. Raises NoService."""
        cursor = None
        while True:
            page = self._request("GET", "/v1/jobs", params={"cursor": cursor} if cursor else {}).json()
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def dashboard(self, job_id: str) -> dict[str, Any]:
        """The job's dashboard; asked with the last answer's ETag. Raises ServiceError, NoService."""
        tag, known = self._dashboards.get(job_id, ("", {}))
        headers = {"If-None-Match": tag} if tag else {}
        answer = self._request("GET", f"/v1/jobs/{job_id}/dashboard", headers=headers)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return known
        shown: dict[str, Any] = answer.json()
        self._dashboards[job_id] = answer.headers["ETag"], shown
        return shown

    def events(self, job_id: str, after: str | None = None) -> Iterator[dict[str, Any]]:
        """What happens in the job, until it has ended: each event with its `event` (epoch, trial, job, reset, end).

        A connection that is lost, also while the service is started again, is taken up where it was.

        Args:
            job_id: of it.
            after: `id` of the last event that is known; `now` leaves out the past; None: from the beginning.

        Raises:
            ServiceError: there is no such job, or no such place in it.
            NoService: nothing answers; once something has, nothing has answered for a minute.
        """
        tries = RECONNECTIONS
        while True:
            try:
                for message in self._messages(job_id, after):
                    tries, after = 0, message.id or after
                    if message.data:
                        yield {"event": message.event, "id": message.id} | json.loads(message.data)
                    if message.event == "end":
                        return
            except NoService:
                tries += 1
                if tries >= RECONNECTIONS:
                    raise
            time.sleep(RECONNECT_S)

    def _messages(self, job_id: str, after: str | None) -> Iterator[sse.Message]:
        """What one connection brings, until it is lost. Raises ServiceError, NoService if it has brought nothing."""
        headers = {"Last-Event-ID": after} if after else {}
        patient = httpx.Timeout(10, read=SILENCE_S)
        begun = False
        try:
            with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=patient) as answer:
                if answer.is_error:
                    answer.read()
                    if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                        raise NoService(f"{self.url} answers {answer.status_code}: {_words(answer)}")
                    raise ServiceError(answer.status_code, _words(answer))
                for message in sse.messages(answer.iter_lines()):
                    begun = True
                    yield message
        except httpx.TransportError as error:
            if not begun:
                raise self._silent(error) from error

    def best(self, job_id: str) -> dict[str, Any]:
        """The job's best network. Raises ServiceError, NoService."""
        best: dict[str, Any] = self._request("GET", f"/v1/jobs/{job_id}/best").json()
        return best

    def show(self, job_id: str) -> dict[str, Any]:
        """The job with its whole spec. Raises ServiceError, NoService."""
        job: dict[str, Any] = self._request("GET", f"/v1/jobs/{job_id}").json()
        return job

    def cancel(self, job_id: str) -> str:
        """Cancels the job and returns its state. Raises ServiceError, NoService."""
        return self._control(job_id, "cancel")

    def pause(self, job_id: str) -> str:
        """Pauses the job and returns its state. Raises ServiceError, NoService."""
        return self._control(job_id, "pause")

    def resume(self, job_id: str) -> str:
        """Lets a paused job go on and returns its state. Raises ServiceError, NoService."""
        return self._control(job_id, "resume")

    def extend(self, job_id: str, budget: dict[str, Any], *, idempotency_key: str | None = None) -> str:
        """Raises the job's `trials`, `total_epochs`, `seconds` or `target`, and returns its state.

        Raises:
            ServiceError: a value is not above the old one, or not possible.
            NoService: nothing answers.
        """
        return self._control(job_id, "extend", budget, idempotency_key)

    def clone(self, job_id: str, changes: dict[str, Any] | None = None, *, idempotency_key: str | None = None) -> str:
        """Asks for a job like that one, but for the fields in `changes`; returns its id. Raises as search does."""
        return self._ask(f"/v1/jobs/{job_id}/clone", changes or {}, idempotency_key)

    def change(self, job_id: str, **changes: Any) -> dict[str, Any]:
        """Gives the job another `name` or `priority`, and returns it. Raises ServiceError, NoService."""
        job: dict[str, Any] = self._request("PATCH", f"/v1/jobs/{job_id}", json=changes).json()
        return job

    def delete(self, job_id: str, *, force: bool = False) -> None:
        """Deletes the job with its files; one that has not ended by `force` only. Raises ServiceError, NoService."""
        self._request("DELETE", f"/v1/jobs/{job_id}", params={"force": True} if force else {})

    def pareto(self, job_id: str) -> dict[str, Any]:
        """The job's Pareto set. Raises ServiceError, NoService."""
        front: dict[str, Any] = self._request("GET", f"/v1/jobs/{job_id}/pareto").json()
        return front

    def trial(self, job_id: str, number: int) -> dict[str, Any]:
        """A trial with its learning curve. Raises ServiceError, NoService."""
        shown: dict[str, Any] = self._request("GET", f"/v1/jobs/{job_id}/trials/{number}").json()
        return shown

    def retrain(self, job_id: str, number: int) -> int:
        """Asks for a trial's network to be retrained; returns the number of that. Raises ServiceError, NoService."""
        trial: int = self._post(f"/v1/jobs/{job_id}/trials/{number}/retrain").json()["trial"]
        return trial

    def download(self, job_id: str, path: Path, trial: int | None = None) -> Path:
        """Writes the model.zip of a job, or of one of its trials, to a path.

        Raises:
            ServiceError: there is none yet; it says how to get one.
            NoService: nothing answers.
        """
        of_trial = "" if trial is None else f"/trials/{trial}"
        return self._fetch(f"/v1/jobs/{job_id}{of_trial}/model", path)

    def download_logs(self, job_id: str, path: Path) -> Path:
        """Writes a zip of the job's TensorBoard logs to a path. Raises ServiceError if it has none, NoService."""
        return self._fetch(f"/v1/jobs/{job_id}/tensorboard", path)

    def strategies(self) -> list[dict[str, Any]]:
        """How candidates can be chosen, each way with the JSON schema of its options. Raises NoService."""
        items: list[dict[str, Any]] = self._request("GET", "/v1/strategies").json()["items"]
        return items

    def add_dataset(
        self,
        path: Path,
        name: str,
        size: int | None = None,
        seed: int | None = None,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Uploads a data set and returns what the service has made of it; the file is sent as it is read.

        Args:
            path: a zip of class folders, an .npz, or a Parquet file.
            name: what jobs will call it.
            size: side that images are scaled to; by default the service chooses.
            seed: of the split, where the file has none.
            sent: told the bytes of each piece that is sent.

        Raises:
            ServiceError: the file or a value is not possible, or another data set has the name.
            NoService: nothing answers.
            OSError: the file cannot be read.
        """
        texts = {"name": name, "size": size, "seed": seed}
        with _Watched(path, sent) as file:
            added: dict[str, Any] = self._request(
                "POST",
                "/v1/datasets",
                data={field: str(value) for field, value in texts.items() if value is not None},
                files={"file": (path.name, file, "application/octet-stream")},
                timeout=httpx.Timeout(60, read=READING_S),
            ).json()
        return added

    def datasets(self) -> list[dict[str, Any]]:
        """All data sets by name, the built-in ones as well. Raises NoService."""
        items: list[dict[str, Any]] = self._request("GET", "/v1/datasets").json()["items"]
        return items

    def dataset(self, name: str) -> dict[str, Any]:
        """A data set. Raises ServiceError, NoService."""
        shown: dict[str, Any] = self._request("GET", _dataset(name)).json()
        return shown

    def delete_dataset(self, name: str) -> None:
        """Deletes a data set that no job refers to. Raises ServiceError, NoService."""
        self._request("DELETE", _dataset(name))

    def _fetch(self, url: str, path: Path) -> Path:
        try:
            fetch(self._http, url, path, lambda answer: ServiceError(answer.status_code, _words(answer)))
        except httpx.TransportError as error:
            raise self._silent(error) from error
        return path

    def _ask(self, path: str, body: dict[str, Any], key: str | None) -> str:
        # A built-in data set is fetched on its first use, which takes as long as its bytes do.
        patient = httpx.Timeout(60, read=READING_S)
        created: str = self._post(path, key, json=body, timeout=patient).json()["id"]
        return created

    def _control(self, job_id: str, what: str, body: dict[str, Any] | None = None, key: str | None = None) -> str:
        state: str = self._post(f"/v1/jobs/{job_id}/{what}", key, **({} if body is None else {"json": body})).json()[
            "state"
        ]
        return state

    def _post(self, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        """By its key the service knows a request that it gets again, so that one whose answer was lost is repeated."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        rests_s, sent = iter(RESTS_S), False
        while True:
            try:
                return self._request("POST", path, headers=headers, **options)
            except NoService as error:
                sent = sent or not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
                rest_s = next(rests_s, None)
                if rest_s is None or not sent:
                    raise
            time.sleep(rest_s)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._silent(error) from error
        if answer.is_error:
            raise ServiceError(answer.status_code, _words(answer))
        return answer

    def _silent(self, error: httpx.TransportError) -> NoService:
        mend = "start one with `nas serve`, or name another with --url"
        return NoService(f"no service answers at {self.url} ({error}); {mend}")


class _Watched(io.FileIO):
    """A file that tells how much of it has been read."""

    def __init__(self, path: Path, seen: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._seen = seen

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size) or b""
        self._seen(len(chunk))
        return chunk


def _dataset(name: str) -> str:
    return f"/v1/datasets/{quote(name, safe='')}"


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}: {answer.text[:200]}"
