"""The log: one line is one event, says what it is about, and cannot be forged."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from nas import log
from nas.log import Json, Text, about

NASTY = "a\nb\r\n2026-01-01 00:00:00,000 ERROR nas [1] forged\x1b[31m\x85\u2028\u2029\x00\x7f"


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of its own, and what it writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter({"json": Json, "text": Text}[request.param]())
    logger = logging.getLogger(f"test.{request.param}")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, stream
    logger.removeHandler(handler)


Lines = tuple[logging.Logger, io.StringIO]
as_json = pytest.mark.parametrize("lines", ["json"], indirect=True)
as_text = pytest.mark.parametrize("lines", ["text"], indirect=True)
both = pytest.mark.parametrize("lines", ["json", "text"], indirect=True)


@as_json
def test_a_line_is_one_object_with_its_time_and_place(lines: Lines) -> None:
    logger, stream = lines
    before = datetime.now(UTC)
    logger.warning("trial %d of %s", 4, "job")
    line = json.loads(stream.getvalue())
    assert line.pop("process") > 0
    moment = datetime.fromisoformat(line.pop("time"))
    assert abs((moment - before).total_seconds()) < 60
    assert moment.utcoffset() is not None
    assert line == {"level": "WARNING", "logger": "test.json", "message": "trial 4 of job"}


@as_json
def test_an_exception_is_a_field(lines: Lines) -> None:
    logger, stream = lines
    try:
        raise ValueError(NASTY)
    except ValueError:
        logger.exception("failed")
    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback")
    assert NASTY in line["exception"]


@as_json
def test_lines_are_about_what_the_work_is_about(lines: Lines) -> None:
    logger, stream = lines
    with about(job_id="j", trial=3, worker="w"):
        logger.info("not shown: the level is WARNING")
        with about(trial=4, attempt=2):
            logger.warning("inner")
            assert log.current("trial") == 4
        logger.warning("outer")
    logger.warning("after")
    inner, outer, after = (json.loads(line) for line in stream.getvalue().splitlines())
    assert {name: inner[name] for name in ("job_id", "trial", "attempt", "worker")} == {
        "job_id": "j",
        "trial": 4,
        "attempt": 2,
        "worker": "w",
    }
    assert outer["trial"] == 3
    assert "attempt" not in outer
    assert not {"job_id", "trial", "worker"} & set(after)
    assert log.current("trial") is None


@as_json
def test_another_thread_is_about_nothing(lines: Lines) -> None:
    logger, stream = lines
    with about(job_id="j"):
        thread = threading.Thread(target=logger.warning, args=("beside",))
        thread.start()
        thread.join()
    assert "job_id" not in json.loads(stream.getvalue())


def test_what_is_no_id_is_refused() -> None:
    with pytest.raises(TypeError, match="key"), about(key="secret"):
        pass


@as_text
def test_the_text_shows_the_ids_at_the_end(lines: Lines) -> None:
    logger, stream = lines
    with about(job_id="j", trial=4):
        logger.warning("ended")
    assert stream.getvalue().endswith("ended (job_id=j trial=4)\n")


@both
def test_nobody_forges_a_line(lines: Lines) -> None:
    logger, stream = lines
    with about(job_id=NASTY):
        logger.warning("the user sent %s", NASTY)
        logger.warning("%s", {"value": NASTY})
    assert len(stream.getvalue().splitlines()) == 2  # which also splits at what only some viewers take for a line's end
    assert not any(ord(character) < 32 for character in stream.getvalue().replace("\n", ""))


@as_text
def test_a_traceback_is_indented_under_its_line(lines: Lines) -> None:
    logger, stream = lines
    try:
        raise ValueError(NASTY)
    except ValueError:
        logger.warning("failed", exc_info=True, stack_info=True)
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith(" failed")
    assert len(rest) > 4
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_process_writes_its_log_to_standard_error(format: str) -> None:
    script = f"""
import logging
from nas.settings import Settings
Settings.read({{"NAS_HOME": "/srv/nas", "NAS_LOG": "INFO", "NAS_LOG_FORMAT": "{format}"}}).log_to_stderr()
logging.getLogger("nas").info("begun")
logging.getLogger("nas").debug("not shown")
logging.getLogger("httpx").info("not shown either")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert (json.loads(line)["message"] if format == "json" else line.rsplit(maxsplit=1)[1]) == "begun"
