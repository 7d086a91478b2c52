"""A job as a Python object."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nas.client import calls, patience, shows
from nas.client.answers import Dashboard, JobDetail, JobHead, LogLines, Pareto, TrialDetail, TrialSummary
from nas.client.errors import NoService, ServiceError
from nas.client.frames import trials_frame
from nas.client.looks import Look, look_at
from nas.client.patience import Absence
from nas.client.seen import PICTURES, PICTURES_S, STARTING_S, Image, Seen, budget_of, file_at, image_file
from nas.client.sending import Sender
from nas.client.studies import export_study, study_of
from nas.client.values import Best, Figure
from nas.errors import NasError

if TYPE_CHECKING:
    import optuna
    import pandas


class Job(Seen):
    """A job of a service. Every method may raise ServiceError, in the service's own words, and NoService.

    Clients make them: see Client.search, Client.job and Client.jobs.
    """

    def __init__(self, sender: Sender, summary: JobHead) -> None:
        super().__init__(sender.url, summary)
        self._sender = sender

    @property
    def state(self) -> str:
        """Its state now; the service is asked."""
        return self.dashboard()["job"]["state"]

    def refresh(self) -> Self:
        """Looks at it again, and returns it."""
        self.dashboard()
        return self

    def details(self) -> JobDetail:
        """The job with its whole spec, defaults filled in."""
        return self._sender.send(calls.job(self.id))

    def dashboard(self) -> Dashboard:
        """All there is to see of it; what has not changed since the last time is not sent again."""
        return self._see(self._sender.send(calls.dashboard(self.id)))

    def watch(self) -> Self:
        """Shows its progress until it has ended: a bar with an ETA in a terminal, a live figure in a notebook.

        An interrupt (Ctrl-C, or a notebook's stop button) ends the watching only, and says so. A service that is
        started again is waited for.
        """
        with shows.here(f"job {self.id}", self.url) as show:
            try:
                shows.follow(self.looks(pictures=show.pictures), show)
            except KeyboardInterrupt:
                show.say(self._left_alone())
        return self

    def looks(self, *, pictures: bool = False) -> Callable[[], Look]:
        """What can be asked again and again how the job is; while the service is away, it waits.

        Args:
            pictures: whether the looks have pictures.
        """
        began, absence = time.monotonic(), Absence()
        drawn: tuple[tuple[str, bytes], ...] = ()
        drawn_s = float("-inf")

        def look() -> Look:
            nonlocal drawn, drawn_s
            while True:
                try:
                    shown = self.dashboard()
                    break
                except (NoService, ServiceError) as error:
                    if not absence.bearable(error):
                        raise
                time.sleep(patience.RECONNECT_S)
            absence.over()
            seen = look_at(shown, patient=time.monotonic() - began < STARTING_S)
            if pictures and (seen.done or time.monotonic() - drawn_s >= PICTURES_S):
                drawn, drawn_s = tuple(self._pictures()), time.monotonic()
            return seen.with_pictures(drawn)

        return look

    def wait(self, timeout_s: float | None = None) -> Self:
        """Waits until it has ended, however it has. Raises TimeoutError if it has not by then."""
        until, look = None if timeout_s is None else time.monotonic() + timeout_s, self.looks()
        while not (seen := look()).done:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"job {self.id} is {seen.state} after {timeout_s:g} s: {seen.figures}")
            time.sleep(shows.POLL_S)
        return self

    def events(self, after: str | None = None) -> Iterator[dict[str, Any]]:
        """What happens in it, until it has ended: each event with its `event` (epoch, trial, job, reset, end).

        A connection that is lost, also while the service is started again, is taken up where it was.

        Args:
            after: `id` of the last event that is known; `now` leaves out the past; None: from the beginning.
        """
        return self._sender.events(calls.events_path(self.id), after)

    def trials(
        self, *, state: str | Sequence[str] = (), phase: str | Sequence[str] = (), sort: str = "number"
    ) -> "pandas.DataFrame":
        """All its trials as a frame, one row each, the number as the index; retrainings have phases of their own.

        Args:
            state, phase: only these.
            sort: a column, with a minus in front for the largest first.

        Raises:
            NoPackage: pandas is not installed; trial_list needs none.
        """
        return trials_frame(self.trial_list(state=state, phase=phase, sort=sort))

    def trial_list(
        self, *, state: str | Sequence[str] = (), phase: str | Sequence[str] = (), sort: str = "number"
    ) -> list[TrialSummary]:
        """The same as plain values."""
        found: list[TrialSummary] = []
        cursor = None
        while True:
            page = self._sender.send(calls.trials(self.id, state, phase, sort, cursor))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def trial(self, number: int) -> TrialDetail:
        """A trial with its learning curve, and with what went wrong on the way."""
        return self._sender.send(calls.trial(self.id, number))

    def logs(self, number: int) -> LogLines:
        """What a trial has logged: its newest lines."""
        return self._sender.send(calls.logs(self.id, number))

    def best(self) -> Best:
        """The best network so far, in the end the winner."""
        return Best.of(self._sender.send(calls.best(self.id)))

    def pareto(self) -> Pareto:
        """The networks that no other one is as good as in all objectives."""
        return self._sender.send(calls.pareto(self.id))

    def figure(self, name: str, *, theme: str = "light", x: str | None = None, y: str | None = None) -> Figure:
        """A picture of it, for a notebook to show or to be saved.

        Args:
            name: curves, pareto, cells, verdict or incumbents.
            theme: light or dark.
            x, y: axes of pareto, such as params, macs, latency_ms, accuracy; None: as the job's objectives are.
        """
        svg, png = (
            self._sender.send(calls.figure(self.id, name, ending, {"theme": theme, "x": x, "y": y}))
            for ending in ("svg", "png")
        )
        return Figure(name, svg.decode(), png)

    def report(self, path: str | Path = "report.html") -> Path:
        """Writes its report, one page of HTML that needs nothing else, to a file or into a folder."""
        return self._sender.fetch(calls.report_path(self.id), file_at(path, "report.html"))

    def download(self, path: str | Path = "model.zip", *, trial: int | None = None) -> Path:
        """Writes its model.zip to a file or into a folder, and returns where it is; nas.load reads it.

        Args:
            path: of the file, or of a folder.
            trial: number of one that was retrained; None: the winner.
        """
        return self._sender.fetch(calls.model_path(self.id, trial), file_at(path, "model.zip"))

    def tensorboard(self, path: str | Path = "logs.zip") -> Path:
        """Writes a zip of its TensorBoard logs to a file or into a folder."""
        return self._sender.fetch(calls.logs_path(self.id), file_at(path, "logs.zip"))

    def study(self) -> "optuna.Study":
        """Its trials as an Optuna study in memory. Raises NoPackage if Optuna is not installed."""
        pages = [self._sender.send(calls.study(self.id, None))]
        while (cursor := pages[-1]["next_cursor"]) is not None:
            pages.append(self._sender.send(calls.study(self.id, cursor)))
        return study_of(pages, f"nas-{self.id}")

    def export(self, optuna_url: str, study_name: str | None = None, *, replace: bool = False) -> str:
        """Copies its study into an Optuna storage, which optuna-dashboard opens; returns the study's name there.

        Args:
            optuna_url: of the storage, such as sqlite:///study.db.
            study_name: there; by default nas- and the id.
            replace: whether a study that has the name is deleted first.

        Raises:
            InvalidInput: a study has that name, or the database is another program's.
            NoPackage: Optuna is not installed.
        """
        return export_study(self.study(), optuna_url, study_name or f"nas-{self.id}", replace=replace)

    def pause(self) -> Self:
        """Lets it rest where it is."""
        return self._take(calls.control(self.id, "pause"))

    def resume(self) -> Self:
        """Lets it go on exactly where it was."""
        return self._take(calls.control(self.id, "resume"))

    def cancel(self) -> Self:
        """Cancels it, and what is left of it."""
        return self._take(calls.control(self.id, "cancel"))

    def extend(
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
        return self._take(calls.control(self.id, "extend", budget_of(budget), idempotency_key))

    def clone(self, *, idempotency_key: str | None = None, **changes: Any) -> "Job":
        """Asks for a job like this one, but for the fields in `changes`; of objects, only the fields named there."""
        made = self._sender.send(calls.clone(self.id, changes, idempotency_key))
        return Job(self._sender, self._sender.send(calls.job(made["id"])))

    def change(self, **changes: Any) -> Self:
        """Gives it another `name` or `priority`."""
        return self._take(calls.change(self.id, changes))

    def delete(self, *, force: bool = False) -> None:
        """Deletes it with its files; one that has not ended by `force` only."""
        self._sender.send(calls.delete(self.id, force=force))

    def retrain(self, number: int) -> int:
        """Asks for a trial's network to be retrained; returns the number of the trial that does it."""
        return self._sender.send(calls.retrain(self.id, number))

    def predict(self, image: Image) -> dict[str, float]:
        """What its model says of an image: class → probability, the likeliest first; of a regression target → value."""
        return self._sender.send(calls.predict(self.id, *image_file(image)))

    def _take(self, call: calls.Call[JobDetail]) -> Self:
        self._summary, self._dashboard = self._sender.send(call), None
        return self

    def _pictures(self) -> Iterator[tuple[str, bytes]]:
        """Those that there is something to draw for."""
        for name, says in PICTURES.items():
            try:
                yield says, self._sender.send(calls.figure(self.id, name, "svg", {"theme": "light"}))
            except NasError:
                continue

    def _repr_html_(self) -> str:
        with contextlib.suppress(NasError):  # what was last seen is better than nothing
            self.dashboard()
        return super()._repr_html_()
