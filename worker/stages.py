"""What a worker spends its time on, by stage: kept in the process, and added to the counters every few seconds."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from nas import traces
from nas.log import about
from nas.store import metrics
from nas.store.claims import Claim
from nas.store.session import Store
from nas.store.states import Phase

log = logging.getLogger(__name__)

STAGES: Final = {
    "idle": "nothing to do",
    "screen": "scoring candidates without training them",
    "data": "reading a data set",
    "propose": "choosing a candidate, and measuring what it costs",
    "train": "training and validation",
    "checkpoint": "writing checkpoints",
    "report": "writing epochs to the database",
    "package": "making, exporting and verifying the model",
}
"""stage → what happens in it; `train` is also what no other one is in a trial that trains."""

WORK: Final[dict[Phase, str]] = dict.fromkeys(Phase, "train") | {Phase.SCREENING: "screen", Phase.REPORT: "package"}
"""phase → the stage of its trials."""

FLUSH_S: Final = 10.0
"""So much of a worker's time is missing in the counters when it is killed."""


class Stages:
    """Seconds by stage, and other counts, since the last flush; for one thread.

    A second counts for one stage: the innermost one that is open.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], float] = {}
        self._open: list[str] = []
        self._since = self._flushed = clock()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Counts the block's seconds for a stage, and puts a span around it."""
        if stage not in STAGES:
            raise ValueError(f"{stage!r} is no stage; there are {', '.join(STAGES)}")
        self._settle()
        self._open.append(stage)
        try:
            with traces.span(stage):
                yield
        finally:
            self._settle()
            self._open.pop()

    @contextmanager
    def trial(self, claim: Claim, worker: str) -> Iterator[None]:
        """Counts the seconds of the block for the stage of the trial, which its lines in the log and its span name."""
        ids: dict[str, str | int] = {"job_id": claim.job_id, "trial": claim.number, "attempt": claim.attempt}
        ids["worker"] = worker
        named = {f"nas.{name}": value for name, value in ids.items()} | {"nas.phase": str(claim.phase)}
        with about(**ids), traces.span("trial", named), self.timed(WORK[claim.phase]):
            yield

    def add(self, name: str, label: str, by: float = 1.0) -> None:
        """Counts something else, under a name that api.meters shows."""
        self._counts[name, label] = self._counts.get((name, label), 0.0) + by

    def flush(self, store: Store, after_s: float = FLUSH_S) -> None:
        """Adds what was counted to the counters, unless that was done less than `after_s` ago.

        What cannot be written now is written the next time: nothing depends on it.
        """
        if self._clock() - self._flushed < after_s:
            return
        self._flushed = self._clock()
        self._settle()
        counts, self._counts = self._counts, {}
        try:
            with store.write() as session:
                metrics.count_all(session, counts)
        except SQLAlchemyError as error:
            log.debug("seconds by stage are written later: %s", error)
            for (name, label), by in counts.items():
                self.add(name, label, by)

    def _settle(self) -> None:
        """Counts the time that has passed for the stage that is open."""
        moment = self._clock()
        if self._open:
            self.add("stage_seconds", self._open[-1], moment - self._since)
        self._since = moment
