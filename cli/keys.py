"""`nas keys`: make, list and revoke the API keys of the service whose database this is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.completion import one_of
from cli.options import Json
from cli.output import say_json, say_table

if TYPE_CHECKING:
    from nas.settings import Settings
    from nas.store.session import Store
    from nas.store.tables import ApiKey

LONGEST_DAYS = 36_500


def create(
    context: typer.Context,
    owner: Annotated[str, typer.Option(help="whose jobs and data sets it gives access to; `local`: those before keys")],
    scope: Annotated[
        str,
        typer.Option(help="read, write, or admin: sees all owners", autocompletion=one_of(("read", "write", "admin"))),
    ] = "write",
    expires: Annotated[str | None, typer.Option(help="90d, or the last day: 2026-12-31; default: never")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it: once, since only its hash is kept. From the first one on the service asks for keys.

    Example: `nas keys create --owner ada --scope write --expires 90d`
    """
    from nas.errors import InvalidInput
    from nas.store import keys

    if scope not in list(keys.Scope):
        raise InvalidInput("scope", scope, f"allowed: {', '.join(keys.Scope)}")
    with _store(context) as store, store.write() as session:
        row, key = keys.create(session, owner, keys.Scope(scope), _end(expires))
    if as_json:
        say_json({"key": key} | _told(row))
        return
    typer.echo(key)
    until = "for ever" if row.expires_at is None else f"until {row.expires_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(f"for {owner} ({scope}), {until}. It is not shown again: set NAS_API_KEY to it, or send it as", err=True)
    typer.echo("Authorization: Bearer KEY", err=True)


def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """List all keys by what may be known of them.

    Example: `nas keys list`
    """
    from nas.store import keys
    from nas.store.session import now

    with _store(context) as store, store.read() as session:
        found, moment = keys.listed(session), now(session)
    if as_json:
        say_json([_told(row) | {"state": _state(row, moment)} for row in found])
        return
    say_table(
        ("prefix", "owner", "scope", "state", "created", "expires", "used"),
        (
            (
                row.prefix,
                row.owner,
                row.scope,
                _state(row, moment),
                *(f"{time:%Y-%m-%d}" if time else "never" for time in (row.created_at, row.expires_at, row.used_at)),
            )
            for row in found
        ),
    )


def revoke(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="as `nas keys list` shows it")],
    as_json: Json = False,
) -> None:
    """Make a key worthless, within a second. The service goes on asking for keys, also if it was the last one.

    Example: `nas keys revoke 1a2b3c4d`
    """
    from nas.store import keys

    with _store(context) as store, store.write() as session:
        row = keys.revoke(session, prefix)
    if as_json:
        say_json(_told(row) | {"state": "revoked"})
    else:
        typer.echo(f"the key {row.prefix} of {row.owner} is revoked")


def states(settings: "Settings") -> tuple[bool, bool]:
    """Whether a service on this database asks for keys, and whether there is one that it takes."""
    from nas.store import keys

    with _open(settings) as store, store.read() as session:
        return keys.required(session), keys.any_active(session)


def _told(row: "ApiKey") -> dict[str, str | None]:
    times = {"created_at": row.created_at, "expires_at": row.expires_at, "used_at": row.used_at}
    shown = {name: None if time is None else time.isoformat() for name, time in times.items()}
    return {"prefix": row.prefix, "owner": row.owner, "scope": row.scope} | shown


def _state(row: "ApiKey", moment: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= moment else "active"


def _end(text: str | None) -> datetime | None:
    """When a key ends: so many days from now, or with the end of a day, in UTC. Raises InvalidInput."""
    from nas.errors import InvalidInput

    if text is None:
        return None
    days = re.fullmatch(r"([0-9]{1,5})d", text.strip())
    if days and 1 <= int(days[1]) <= LONGEST_DAYS:
        return datetime.now(UTC) + timedelta(days=int(days[1]))
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
        return day + timedelta(days=1)
    except (ValueError, OverflowError):
        mend = f"so many days, 1d to {LONGEST_DAYS}d, or the last day, such as 2026-12-31"
        raise InvalidInput("expires", text, mend) from None


@contextmanager
def _store(context: typer.Context) -> Iterator["Store"]:
    """The database of the environment's settings, made if it is an embedded one that is not there yet."""
    from nas.settings import Settings

    environ: Any = context.obj
    settings = Settings.read({"NAS_LOG": "WARNING"} | dict(environ))
    settings.log_to_stderr()
    with _open(settings) as store:
        yield store


@contextmanager
def _open(settings: "Settings") -> Iterator["Store"]:
    from nas.store.migrate import prepare
    from nas.store.session import Store, answering

    store = Store(settings.database_url)
    try:
        with answering(store):
            prepare(store)
            yield store
    finally:
        store.close()
