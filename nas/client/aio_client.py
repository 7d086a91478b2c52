"""A client for programs that go on while the service answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from nas.client import calls
from nas.client.aio_job import AsyncJob
from nas.client.answers import DatasetInfo, Estimate, JobSummary, StrategyInfo
from nas.client.client import DEFAULT_URL, Counted
from nas.client.sending import AsyncSender
from nas.client.spec import Fields, file_of, name_of, spec_of
from nas.client.values import Jobs


@dataclass(eq=False, slots=True)
class AsyncClient:
    """Talks to one service: nas.Client, with `await` and `async with`.

    Attributes:
        url: where it is.
        key: an API key, if it asks for one; sent with every request, and shown nowhere.
    """

    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)
    _sender: AsyncSender = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sender = AsyncSender(self.url, self.key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections; `async with` does that by itself."""
        await self._sender.http.aclose()

    async def search(
        self,
        spec: Mapping[str, Any] | None = None,
        /,
        *,
        dataset: str | Path | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> AsyncJob:
        """Asks for a search and returns its job. See Client.search."""
        made = await self._sender.send(calls.create(await self._asked(spec, dataset, fields), idempotency_key))
        return await self.job(made["id"])

    async def estimate(
        self,
        spec: Mapping[str, Any] | None = None,
        /,
        *,
        dataset: str | Path | None = None,
        **fields: Unpack[Fields],
    ) -> Estimate:
        """How large a search would be, and about how long it would take; nothing is started."""
        return await self._sender.send(calls.estimate(await self._asked(spec, dataset, fields)))

    async def job(self, job_id: str) -> AsyncJob:
        """A job by its id."""
        found = await self._sender.send(calls.job(job_id))
        return AsyncJob(self._sender, found)

    async def jobs(
        self, *, state: str | Sequence[str] = (), q: str | None = None, limit: int | None = None
    ) -> Jobs[AsyncJob]:
        """Jobs, newest first. See Client.jobs."""
        found: list[JobSummary] = []
        cursor = None
        while True:
            size = calls.PAGE if limit is None else min(calls.PAGE, limit - len(found))
            page = await self._sender.send(calls.jobs(state, q, cursor, size))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None or len(found) == limit:
                return Jobs(found, lambda summary: AsyncJob(self._sender, summary))

    async def strategies(self) -> list[StrategyInfo]:
        """How candidates can be chosen, each way with the JSON schema of its options."""
        return await self._sender.send(calls.strategies())

    async def add_dataset(
        self,
        path: str | Path,
        name: str | None = None,
        size: int | None = None,
        seed: int | None = None,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> DatasetInfo:
        """Uploads a data set and returns what the service has made of it. See Client.add_dataset."""
        source = file_of(path)
        with Counted(source, sent) as file:
            return await self._sender.send(calls.add_dataset(file, source.name, name or name_of(source), size, seed))

    async def datasets(self) -> list[DatasetInfo]:
        """All data sets by name, the built-in ones as well."""
        return await self._sender.send(calls.datasets())

    async def dataset(self, name: str) -> DatasetInfo:
        """A data set."""
        return await self._sender.send(calls.dataset(name))

    async def delete_dataset(self, name: str) -> None:
        """Deletes a data set that no job refers to."""
        await self._sender.send(calls.delete_dataset(name))

    async def _asked(
        self, spec: Mapping[str, Any] | None, dataset: str | Path | None, fields: Fields
    ) -> dict[str, Any]:
        if isinstance(dataset, Path):
            dataset = (await self.add_dataset(dataset))["name"]
        return spec_of(spec, dataset, fields)
