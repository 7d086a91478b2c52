"""The logs of trials: what is logged while a trial is at work is kept with it, for people to read beside its curve.

Lines are gathered in memory, and written a few seconds later by another thread than the one that trains. Nothing
depends on them: what cannot be written is written the next time, and at worst never.
"""

import logging
import threading
from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nas.log import current
from nas.store import lines
from nas.store.lines import Said
from nas.store.session import Store
from worker.telling import detail

log = logging.getLogger(__name__)

AWAY: Final = (OperationalError, InterfaceError, PoolTimeout)
"""The database does not answer."""

WAITING: Final = 10_000
"""Lines that wait to be written at the most; the oldest ones give way."""

AT_ONCE: Final = 500
"""Lines that are written in one transaction."""

_ITSELF: Final = ("sqlalchemy", __name__)
"""Whose lines are about the writing of lines."""


class Journal(logging.Handler):
    """Gathers the lines that are about a trial (nas.log.about), from any thread that says so, while the block runs.

    Lines of INFO and above are gathered, whatever of them is shown on standard error.

    Args:
        store: where they go.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(logging.INFO)
        self._store = store
        self._waiting: deque[Said] = deque(maxlen=WAITING)
        self._writing = threading.Lock()
        self._levels: list[tuple[logging.Handler | logging.Logger, int]] = []

    def __enter__(self) -> Self:
        root = logging.getLogger()
        shown = root.getEffectiveLevel()
        self._levels = [(root, root.level)]
        if shown > logging.INFO:
            for handler in root.handlers:
                self._levels.append((handler, handler.level))
                handler.setLevel(max(handler.level, root.level))
            root.setLevel(logging.INFO)
        root.addHandler(self)
        if shown >= logging.INFO:  # or the log of the process would be made of epochs
            detail.addHandler(self)
            detail.propagate = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detail.propagate = True
        for logger in (logging.getLogger(), detail):
            logger.removeHandler(self)
        for named, level in self._levels:
            named.setLevel(level)
        self.write()
        self.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line, if it is about a trial."""
        job_id, number, attempt = current("job_id"), current("trial"), current("attempt")
        if not (isinstance(job_id, str) and isinstance(number, int) and isinstance(attempt, int)):
            return
        if record.name.startswith(_ITSELF):
            return
        try:
            text = record.getMessage()
            if record.exc_info:
                text = f"{text}\n{_PLAIN.formatException(record.exc_info)}"
        except Exception:  # a line that is itself at fault must not end what it tells of
            text = str(record.msg)
        at = datetime.fromtimestamp(record.created, UTC)
        self._waiting.append(Said(job_id, number, attempt, at, record.levelname[:10], text))

    def write(self) -> None:
        """Writes what waits, unless the database is away. Raises nothing."""
        with self._writing:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                try:
                    with self._store.write() as session:
                        lines.add(session, taken)
                except AWAY:
                    room = WAITING - len(self._waiting)
                    self._waiting.extendleft(reversed(taken[-room:] if room else []))
                    return
                except Exception as error:  # these lines are at fault: without them the next ones can be written
                    log.debug("%d lines of trials are not kept: %s", len(taken), error)


_PLAIN: Final = logging.Formatter()
