"""`nas migrate`, `nas backup` and `nas restore`: what an administrator does to the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Json
from cli.output import say_json

if TYPE_CHECKING:
    from nas.store.artifacts import ArtifactStore
    from nas.store.session import Store


def migrate(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="change nothing; status 1 if there is work to do")] = False,
    as_json: Json = False,
) -> None:
    """Bring the database to this version's schema. Make a backup first: `nas backup FOLDER`.

    Example: `nas migrate --check || nas migrate`
    """
    from nas.store import migrate as schema

    with _store(context) as store:
        if check:
            found, wanted = schema.revision(store), schema.head()
            if as_json:
                say_json({"database": store.name, "schema": found, "wanted": wanted})
            else:
                typer.echo(f"{store.name}: schema {found or 'none'}, this version's is {wanted}")
            if found != wanted:
                raise typer.Exit(1)
            schema.check_tables(store)
            return
        did = schema.migrate(store)
        if as_json:
            say_json({"database": store.name, "before": did.before, "after": did.after})
        elif did.before == did.after:
            typer.echo(f"{store.name}: schema {did.after} already, nothing to do")
        else:
            typer.echo(f"{store.name}: schema {did.before or 'none'} → {did.after}")


def backup(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="new, or with an earlier backup: what is new is added")
    ],
    as_json: Json = False,
) -> None:
    """Copy the database and all its files into FOLDER, while the service works. PostgreSQL: `pg_dump` is needed.

    Example: `nas backup /backups/nas`, once a day
    """
    from nas.errors import SettingsError
    from nas.store import backup as copies
    from nas.store.migrate import revision

    with _store(context) as store:
        if revision(store) is None:
            raise SettingsError(f"{store.name} has no tables yet; correct NAS_HOME or NAS_DATABASE_URL")
        did = copies.backup(store, _artifacts(context), folder, context.obj)
    if as_json:
        say_json(_told(store.name, did))
    else:
        typer.echo(f"{store.name}: schema {did.schema}, {did.files} files, {did.new} of them new, in {folder}")
    _complain(did.missing)


def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="of a backup")],
    as_json: Json = False,
) -> None:
    """Bring a backup into an empty database and the artifact store. Stop the service before.

    Example: `NAS_HOME=/new/home nas restore /backups/nas`, then `nas migrate` if this version is newer
    """
    from nas.store import backup as copies

    with _store(context) as store:
        did = copies.restore(store, _artifacts(context), folder, context.obj)
    if as_json:
        say_json(_told(store.name, did))
    else:
        typer.echo(f"{store.name}: schema {did.schema}, {did.files} files, {did.new} of them restored")
    _complain(did.missing)


def _told(name: str, did: Any) -> dict[str, Any]:
    return {"database": name, "schema": did.schema, "files": did.files, "new": did.new, "missing": list(did.missing)}


def _complain(missing: tuple[str, ...]) -> None:
    for sha256 in missing:
        typer.echo(f"file {sha256} is missing; `nas doctor --audit` tells more", err=True)
    if missing:
        raise typer.Exit(1)


def _artifacts(context: typer.Context) -> "ArtifactStore":
    from nas.settings import Settings
    from nas.store.artifacts import ArtifactStore

    return ArtifactStore(Settings.read(context.obj).artifacts_url)


@contextmanager
def _store(context: typer.Context) -> Iterator["Store"]:
    """The database of the settings. Raises SettingsError if it does not answer."""
    from nas.settings import Settings
    from nas.store.session import Store, answering

    settings = Settings.read(context.obj)
    settings.log_to_stderr()
    store = Store(settings.database_url)
    try:
        with answering(store):
            yield store
    finally:
        store.close()
