"""How commands reach a service: with the key of NAS_API_KEY, which stands in no argument and in no log."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

if TYPE_CHECKING:
    from nas.client import Client


def connect(context: typer.Context, url: str) -> "Client":
    """A client of the service at a URL, with this environment's key. Raises SettingsError if it is none."""
    from nas.client import Client

    return Client(url, api_key(context.obj))  # the command's main module hands the environment over


def ask(context: typer.Context, url: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
    """What a service answers to a GET: a JSON value, or text. Raises ServiceError, NoService."""
    from nas.client.calls import Call
    from nas.client.sending import Sender

    sender = Sender(url, api_key(context.obj))
    with sender.http:
        return sender.send(Call("GET", path, _content, dict(params or {})))


def job_path(job: str) -> str:
    """Where a job is, whatever somebody has typed as its id. Raises InvalidInput for what leads elsewhere."""
    from nas.client.calls import NO_NAMES
    from nas.errors import InvalidInput

    if job in NO_NAMES:
        raise InvalidInput("JOB", job, "it is the id of a job; `nas jobs` lists them")
    return f"/v1/jobs/{quote(job, safe='')}"


@contextlib.contextmanager
def client_or_own(context: typer.Context, url: str | None) -> Iterator["Client"]:
    """A client of the service at the URL; without one, of a service of one's own that lasts as long as the block."""
    from nas.client import Client

    if url is not None:
        with connect(context, url) as client:
            yield client
        return
    from cli.service import local_service  # FastAPI and SQLAlchemy: a second of imports
    from nas.settings import Settings

    environ = quiet(context)
    settings = Settings.read(environ)
    settings.log_to_stderr()
    key = secrets.token_urlsafe(32)
    with local_service(settings, 0, [], environ, own_key=key) as own, Client(own, key) as client:
        yield client


def use_plugins(context: typer.Context) -> None:
    """Takes in what NAS_PLUGINS names. Raises SettingsError for a module that cannot be imported."""
    from nas import plugins
    from nas.settings import Settings

    plugins.use(*Settings.read(context.obj).plugins)


def quiet(context: typer.Context) -> dict[str, str]:
    """The process's environment, with a log of warnings unless it says otherwise."""
    given: Any = context.obj
    return {"NAS_LOG": "WARNING"} | dict(given)


def api_key(environ: Mapping[str, str]) -> str | None:
    """The key that a service is asked with; None if none is set. Raises SettingsError if it cannot be a key."""
    from nas.errors import SettingsError

    key = environ.get("NAS_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError("NAS_API_KEY is no API key; set it to what `nas keys create` printed")
    return key or None


def _content(answer: Any) -> Any:
    return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
