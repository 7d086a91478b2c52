"""A Python client of the API. Errors are the server's own words."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from nas.errors import NasError

DEFAULT_URL = "http://127.0.0.1:8000"

READING_S: Final = 3600.0
"""How long the service may take to read an upload that it has received, or to fetch a data set."""


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
    """

    url: str = DEFAULT_URL
    _http: httpx.Client = field(init=False)
    _dashboards: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._http = httpx.Client(base_url=self.url, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def search(self, spec: dict[str, Any]) -> str:
        """POSTs a job and returns its id. Raises ServiceError if something in it is not possible, NoService."""
        # A built-in data set is fetched on its first use, which takes as long as its bytes do.
        patient = httpx.Timeout(60, read=READING_S)
        created: str = self._request("POST", "/v1/jobs", json=spec, timeout=patient).json()["id"]
        return created

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
        state: str = self._request("POST", f"/v1/jobs/{job_id}/cancel").json()["state"]
        return state

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
        trial: int = self._request("POST", f"/v1/jobs/{job_id}/trials/{number}/retrain").json()["trial"]
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
        content = self._request("GET", url).content
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise NoService(
                f"no service answers at {self.url} ({error}); start one with `nas serve`, or name another with --url"
            ) from error
        if answer.is_error:
            raise ServiceError(answer.status_code, _words(answer))
        return answer


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
