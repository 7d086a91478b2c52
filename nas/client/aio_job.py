"""A job as a Python object, for programs that go on while the service answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nas.client import calls, patience, shows
from nas.client.answers import Dashboard, JobDetail, JobHead, LogLines, Pareto, TrialDetail, TrialSummary
from nas.client.errors import NoService, ServiceError
from nas.client.frames import trials_frame
from nas.client.looks import Look, look_at
from nas.client.patience import Absence
from nas.client.seen import PICTURES, PICTURES_S, STARTING_S, Image, Seen, budget_of, file_at, image_file
from nas.client.sending import AsyncSender
from nas.client.studies import export_study, study_of
from nas.client.values import Best, Figure
from nas.errors import NasError

if TYPE_CHECKING:
    import optuna
    import pandas


class AsyncJob(Seen):
    """A job of a service: nas.client.Job, with `await`. `state` is as it was last seen."""

    def __init__(self, sender: AsyncSender, summary: JobHead) -> None:
        super().__init__(sender.url, summary)
        self._sender = sender

    @property
    def state(self) -> str:
        """Its state as it was last seen; `await job.refresh()` looks again."""
        return self._summary["state"]

    async def refresh(self) -> Self:
        """Looks at it again, and returns it."""
        await self.dashboard()
        return self

    async def details(self) -> JobDetail:
        """The job with its whole spec, defaults filled in."""
        return await self._sender.send(calls.job(self.id))

    async def dashboard(self) -> Dashboard:
        """All there is to see of it; what has not changed since the last time is not sent again."""
        return self._see(await self._sender.send(calls.dashboard(self.id)))

    async def watch(self) -> Self:
        """Shows its progress until it has ended: a bar with an ETA in a terminal, a live figure in a notebook.

        Whoever cancels the watching leaves the job running. A service that is started again is waited for.
        """
        with shows.here(f"job {self.id}", self.url) as show:
            try:
                await shows.follow_async(self.looks(pictures=show.pictures), show)
            except (KeyboardInterrupt, asyncio.CancelledError):
                show.say(self._left_alone())
                raise
        return self

    def looks(self, *, pictures: bool = False) -> Callable[[], Awaitable[Look]]:
        """What can be awaited again and again for how the job is; while the service is away, it waits.

        Args:
            pictures: whether the looks have pictures.
        """
        began, absence = time.monotonic(), Absence()
        drawn: tuple[tuple[str, bytes], ...] = ()
        drawn_s = float("-inf")

        async def look() -> Look:
            nonlocal drawn, drawn_s
            while True:
                try:
                    shown = await self.dashboard()
                    break
                except (NoService, ServiceError) as error:
                    if not absence.bearable(error):
                        raise
                await asyncio.sleep(patience.RECONNECT_S)
            absence.over()
            seen = look_at(shown, patient=time.monotonic() - began < STARTING_S)
            if pictures and (seen.done or time.monotonic() - drawn_s >= PICTURES_S):
                drawn, drawn_s = tuple([drawing async for drawing in self._pictures()]), time.monotonic()
            return seen.with_pictures(drawn)

        return look

    async def wait(self, timeout_s: float | None = None) -> Self:
        """Waits until it has ended, however it has. Raises TimeoutError if it has not by then."""
        until, look = None if timeout_s is None else time.monotonic() + timeout_s, self.looks()
        while not (seen := await look()).done:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"job {self.id} is {seen.state} after {timeout_s:g} s: {seen.figures}")
            await asyncio.sleep(shows.POLL_S)
        return self

    def events(self, after: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """What happens in it, until it has ended. See Job.events."""
        return self._sender.events(calls.events_path(self.id), after)

    async def trials(
        self, *, state: str | Sequence[str] = (), phase: str | Sequence[str] = (), sort: str = "number"
    ) -> "pandas.DataFrame":
        """All its trials as a frame. See Job.trials."""
        return trials_frame(await self.trial_list(state=state, phase=phase, sort=sort))

    async def trial_list(
        self, *, state: str | Sequence[str] = (), phase: str | Sequence[str] = (), sort: str = "number"
    ) -> list[TrialSummary]:
        """The same as plain values."""
        found: list[TrialSummary] = []
        cursor = None
        while True:
            page = await self._sender.send(calls.trials(self.id, state, phase, sort, cursor))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def trial(self, number: int) -> TrialDetail:
        """A trial with its learning curve, and with what went wrong on the way."""
        return await self._sender.send(calls.trial(self.id, number))

    async def logs(self, number: int) -> LogLines:
        """What a trial has logged: its newest lines."""
        return await self._sender.send(calls.logs(self.id, number))

    async def best(self) -> Best:
        """The best network so far, in the end the winner."""
        return Best.of(await self._sender.send(calls.best(self.id)))

    async def pareto(self) -> Pareto:
        """The networks that no other one is as good as in all objectives."""
        return await self._sender.send(calls.pareto(self.id))

    async def figure(self, name: str, *, theme: str = "light", x: str | None = None, y: str | None = None) -> Figure:
        """A picture of it. See Job.figure."""
        svg, png = await asyncio.gather(
            *(
                self._sender.send(calls.figure(self.id, name, ending, {"theme": theme, "x": x, "y": y}))
                for ending in ("svg", "png")
            )
        )
        return Figure(name, svg.decode(), png)

    async def report(self, path: str | Path = "report.html") -> Path:
        """Writes its report, one page of HTML that needs nothing else, to a file or into a folder."""
        return await self._sender.fetch(calls.report_path(self.id), file_at(path, "report.html"))

    async def download(self, path: str | Path = "model.zip", *, trial: int | None = None) -> Path:
        """Writes its model.zip to a file or into a folder. See Job.download."""
        return await self._sender.fetch(calls.model_path(self.id, trial), file_at(path, "model.zip"))

    async def tensorboard(self, path: str | Path = "logs.zip") -> Path:
        """Writes a zip of its TensorBoard logs to a file or into a folder."""
        return await self._sender.fetch(calls.logs_path(self.id), file_at(path, "logs.zip"))

    async def study(self) -> "optuna.Study":
        """Its trials as an Optuna study in memory. Raises NoPackage if Optuna is not installed."""
        pages = [await self._sender.send(calls.study(self.id, None))]
        while (cursor := pages[-1]["next_cursor"]) is not None:
            pages.append(await self._sender.send(calls.study(self.id, cursor)))
        return await asyncio.to_thread(study_of, pages, f"nas-{self.id}")

    async def export(self, optuna_url: str, study_name: str | None = None, *, replace: bool = False) -> str:
        """Copies its study into an Optuna storage, which optuna-dashboard opens. See Job.export."""
        study, name = await self.study(), study_name or f"nas-{self.id}"
        return await asyncio.to_thread(export_study, study, optuna_url, name, replace=replace)

    async def pause(self) -> Self:
        """Lets it rest where it is."""
        return await self._take(calls.control(self.id, "pause"))

    async def resume(self) -> Self:
        """Lets it go on exactly where it was."""
        return await self._take(calls.control(self.id, "resume"))

    async def cancel(self) -> Self:
        """Cancels it, and what is left of it."""
        return await self._take(calls.control(self.id, "cancel"))

    async def extend(
        self,
        *,
        trials: int | None = None,
        total_epochs: int | None = None,
        seconds: float | None = None,
        target: float | None = None,
        idempotency_key: str | None = None,
    ) -> Self:
        """Raises its budget to these values; one that has ended searches on."""
        budget = {"trials": trials, "total_epochs": total_epochs, "seconds": seconds, "target": target}
        return await self._take(calls.control(self.id, "extend", budget_of(budget), idempotency_key))

    async def clone(self, *, idempotency_key: str | None = None, **changes: Any) -> "AsyncJob":
        """Asks for a job like this one, but for the fields in `changes`; of objects, only the fields named there."""
        made = await self._sender.send(calls.clone(self.id, changes, idempotency_key))
        found = await self._sender.send(calls.job(made["id"]))
        return AsyncJob(self._sender, found)

    async def change(self, **changes: Any) -> Self:
        """Gives it another `name` or `priority`."""
        return await self._take(calls.change(self.id, changes))

    async def delete(self, *, force: bool = False) -> None:
        """Deletes it with its files; one that has not ended by `force` only."""
        await self._sender.send(calls.delete(self.id, force=force))

    async def retrain(self, number: int) -> int:
        """Asks for a trial's network to be retrained; returns the number of the trial that does it."""
        return await self._sender.send(calls.retrain(self.id, number))

    async def predict(self, image: Image) -> dict[str, float]:
        """What its model says of an image: class → probability, the likeliest first; of a regression target → value."""
        return await self._sender.send(calls.predict(self.id, *image_file(image)))

    async def _take(self, call: calls.Call[JobDetail]) -> Self:
        found = await self._sender.send(call)
        self._summary, self._dashboard = found, None
        return self

    async def _pictures(self) -> AsyncIterator[tuple[str, bytes]]:
        """Those that there is something to draw for."""
        for name, says in PICTURES.items():
            try:
                yield says, await self._sender.send(calls.figure(self.id, name, "svg", {"theme": "light"}))
            except NasError:
                continue
