"""A client of a service."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, Unpack

from nas.client import calls
from nas.client.answers import DatasetInfo, Estimate, JobSummary, StrategyInfo
from nas.client.job import Job
from nas.client.sending import Sender
from nas.client.spec import Fields, file_of, name_of, spec_of
from nas.client.values import Jobs

DEFAULT_URL: Final = "http://127.0.0.1:8000"


@dataclass(eq=False, slots=True)
class Client:
    """Talks to one service. Every method may raise ServiceError, in the service's own words, and NoService.

    Attributes:
        url: where it is.
        key: an API key, if it asks for one; sent with every request, and shown nowhere. The environment is not read:
            pass os.environ["NAS_API_KEY"] where the key is there.
    """

    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)
    _sender: Sender = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sender = Sender(self.url, self.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections; `with` does that by itself."""
        self._sender.http.close()

    def search(
        self,
        spec: Mapping[str, Any] | None = None,
        /,
        *,
        dataset: str | Path | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Job:
        """Asks for a search and returns its job.

            job = client.search(dataset="digits", budget={"trials": 20})

        Args:
            spec: the job as one mapping; `dataset` and other fields replace what it says.
            dataset: name of a data set; or the Path of a zip, .npz or Parquet file, which is uploaded first and
                called as the file is.
            idempotency_key: with the same one there is one job, however often it is asked for; by default a new one.
            fields: of the job; what is left out has a default that suits the data.
        """
        made = self._sender.send(calls.create(self._asked(spec, dataset, fields), idempotency_key))
        return self.job(made["id"])

    def estimate(
        self,
        spec: Mapping[str, Any] | None = None,
        /,
        *,
        dataset: str | Path | None = None,
        **fields: Unpack[Fields],
    ) -> Estimate:
        """How large a search would be, and about how long it would take; nothing is started. See search."""
        return self._sender.send(calls.estimate(self._asked(spec, dataset, fields)))

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self._sender, self._sender.send(calls.job(job_id)))

    def jobs(self, *, state: str | Sequence[str] = (), q: str | None = None, limit: int | None = None) -> Jobs[Job]:
        """Jobs, newest first.

        Args:
            state: only these.
            q: text in the id, name, data set or strategy.
            limit: how many at the most; None: all.
        """
        found: list[JobSummary] = []
        cursor = None
        while True:
            size = calls.PAGE if limit is None else min(calls.PAGE, limit - len(found))
            page = self._sender.send(calls.jobs(state, q, cursor, size))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None or len(found) == limit:
                return Jobs(found, lambda summary: Job(self._sender, summary))

    def strategies(self) -> list[StrategyInfo]:
        """How candidates can be chosen, each way with the JSON schema of its options."""
        return self._sender.send(calls.strategies())

    def add_dataset(
        self,
        path: str | Path,
        name: str | None = None,
        size: int | None = None,
        seed: int | None = None,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> DatasetInfo:
        """Uploads a data set and returns what the service has made of it; the file is sent as it is read.

        Args:
            path: a zip of class folders, an .npz, or a Parquet file.
            name: what jobs will call it; by default as the file is called.
            size: side that images are scaled to; by default the service chooses.
            seed: of the split, where the file has none.
            sent: told the bytes of each piece that is sent.

        Raises:
            InvalidInput: it is a folder.
            OSError: the file cannot be read.
        """
        source = file_of(path)
        with Counted(source, sent) as file:
            return self._sender.send(calls.add_dataset(file, source.name, name or name_of(source), size, seed))

    def datasets(self) -> list[DatasetInfo]:
        """All data sets by name, the built-in ones as well."""
        return self._sender.send(calls.datasets())

    def dataset(self, name: str) -> DatasetInfo:
        """A data set."""
        return self._sender.send(calls.dataset(name))

    def delete_dataset(self, name: str) -> None:
        """Deletes a data set that no job refers to."""
        self._sender.send(calls.delete_dataset(name))

    def _asked(self, spec: Mapping[str, Any] | None, dataset: str | Path | None, fields: Fields) -> dict[str, Any]:
        if isinstance(dataset, Path):
            dataset = self.add_dataset(dataset)["name"]
        return spec_of(spec, dataset, fields)


class Counted(io.FileIO):
    """A file that tells how much of it has been read."""

    def __init__(self, path: Path, seen: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._seen = seen

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        chunk = super().read(size) or b""
        self._seen(len(chunk))
        return chunk
