"""`nas gc`: deletes the files that nobody needs, and names those that are missing."""

import re
from typing import Annotated, Final

import typer

from cli.options import Json
from cli.output import say, say_json

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Letter → seconds."""


def collect(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only look, and delete nothing")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(help="leave younger files alone: 90s, 30m, 2h, 1d; default: an hour, or more if leases are long"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete files that no job and no data set needs, and name those that are missing.

    A running service does it every hour; it is safe beside one, and beside workers. With --older-than below a lease's
    length nothing may run: the file of a result could be taken just before the result is recorded.

    Example: `nas gc --dry-run`
    """
    from nas.data.found import count_text
    from nas.settings import Settings
    from nas.store import gc  # SQLAlchemy: imports that other commands do not need
    from nas.store.artifacts import ArtifactStore
    from nas.store.migrate import check_schema
    from nas.store.session import Store

    settings = Settings.read(context.obj)
    age_s = gc.grace_s(settings.lease_s) if older_than is None else seconds(older_than)
    store = Store(settings.database_url)
    try:
        check_schema(store)
        found = gc.collect(store, ArtifactStore(settings.artifacts_url), older_than_s=age_s, dry_run=dry_run)
    finally:
        store.close()
    count = len(found.orphans) + len(found.unfinished)
    if as_json:
        say_json(
            {
                "dry_run": dry_run,
                "files": [file.name for file in (*found.orphans, *found.unfinished)],
                "size_bytes": found.size_bytes,
                "checkpoints": found.checkpoints,
                "kept": found.kept,
                "missing": [row.sha256 for row in found.dangling],
            }
        )
        return
    for file in found.orphans:
        _tell(file.name, f"nobody needs it, {file.size_bytes:,} bytes")
    for file in found.unfinished:
        _tell(file.name, f"left by a process that was killed, {file.size_bytes:,} bytes")
    for row in found.dangling:
        _tell(row.sha256, f"missing: {row.of}")
    done = "to delete" if dry_run else "deleted"
    checkpoints = f", {found.checkpoints} checkpoints of ended trials" if found.checkpoints else ""
    first = f"{count_text(count, 'file')}{checkpoints} {done}: {found.size_bytes:,} bytes"
    say(f"{first}; {count_text(found.kept, 'file')} left")
    if found.dangling:
        say(f"{count_text(len(found.dangling), 'file')} missing; restore from a backup")


def _tell(name: str, what: str) -> None:
    say(f"{name}  {what}")  # a name is copied whole


def seconds(text: str) -> float:
    """The seconds of `90s`, `30m`, `2h` or `1d`. Raises SettingsError."""
    from nas.errors import SettingsError

    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text.strip(), re.ASCII)
    if match is None:
        raise SettingsError(f"--older-than is {text!r}; it has to be a number and s, m, h or d, such as 90s, 2h or 1d")
    return float(match[1]) * UNITS[match[2]]
