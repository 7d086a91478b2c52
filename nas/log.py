"""The log: lines for people or JSON for machines, each with the ids of what it is about.

Ids are set where the work begins (a request, a trial) and are in every line until it ends, whichever module writes it.
Whatever a line quotes, it stays one line: nobody can forge another by what they send.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

IDS: Final = ("request_id", "owner", "job_id", "trial", "attempt", "worker")
"""What a line can be about. A key is none of them."""

CHATTY: Final = ("alembic", "botocore", "httpx", "onnx_ir", "onnxscript", "optuna", "torch.onnx")
"""Libraries of which only warnings are of interest."""

_IDS: ContextVar[Mapping[str, object]] = ContextVar("ids", default=MappingProxyType({}))

_ESCAPES: Final = {
    number: f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
    for number in (*range(32), *range(127, 160), 0x2028, 0x2029)
    if number != ord("\t")
} | {ord("\n"): "\\n", ord("\r"): "\\r"}


def setup(level: str, format: str) -> None:
    """Sends the log of this process to standard error.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        format: `text`, or `json`: one object a line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if format == "json" else Text())
    logging.basicConfig(level=level, handlers=[handler])
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Names what the lines of this thread or task are about, while the block runs."""
    unknown = set(ids) - set(IDS)
    if unknown:
        raise TypeError(f"{sorted(unknown)} are no ids of a line; there are {', '.join(IDS)}")
    token = _IDS.set({**_IDS.get(), **ids})
    try:
        yield
    finally:
        _IDS.reset(token)


def current(name: str) -> object | None:
    """An id of what this thread or task is about; None if it is about no such thing."""
    return _IDS.get().get(name)


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its ids; an exception with its traceback in a field of its own."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line |= _IDS.get()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)  # ASCII: control characters and line ends of all kinds are escaped


class Text(logging.Formatter):
    """A line for people, with the ids at its end; the lines of a traceback follow it, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(process)d] %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class names it
        """The line itself."""
        ids = " ".join(f"{name}={value}" for name, value in _IDS.get().items())
        return f"{super().formatMessage(record)}{f' ({ids})' if ids else ''}".translate(_ESCAPES)

    def formatException(self, ei: object) -> str:  # noqa: N802
        """A traceback."""
        return self._indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """A stack."""
        return self._indented(super().formatStack(stack_info))

    @staticmethod
    def _indented(text: str) -> str:
        return "\n".join(f"    {line.translate(_ESCAPES)}" for line in text.split("\n"))
