"""`nas gc`: deletes the files that nobody needs, and names those that are missing."""

import re
from typing import Annotated, Final

import typer
from rich.console import Console

from nas.data.found import count_text
from nas.errors import SettingsError
from nas.settings import Settings

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Letter → seconds."""

out = Console(soft_wrap=False)


def collect(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only look, and delete nothing")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(help="leave younger files alone: 90s, 30m, 2h, 1d; default: an hour, or more if leases are long"),
    ] = None,
) -> None:
    """Delete files that no job and no data set needs, and name those that are missing.

    A running service does it every hour; it is safe beside one, and beside workers. With --older-than below a lease's
    length nothing may run: the file of a result could be taken just before the result is recorded.

    Example: `nas gc --dry-run`
    """
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
    for file in found.orphans:
        _tell(file.name, f"nobody needs it, {file.size_bytes:,} bytes")
    for file in found.unfinished:
        _tell(file.name, f"left by a process that was killed, {file.size_bytes:,} bytes")
    for row in found.dangling:
        _tell(row.sha256, f"missing: {row.of}")
    count = len(found.orphans) + len(found.unfinished)
    done = "to delete" if dry_run else "deleted"
    checkpoints = f", {found.checkpoints} checkpoints of ended trials" if found.checkpoints else ""
    first = f"{count_text(count, 'file')}{checkpoints} {done}: {found.size_bytes:,} bytes"
    out.print(f"{first}; {count_text(found.kept, 'file')} left", highlight=False)
    if found.dangling:
        out.print(f"{count_text(len(found.dangling), 'file')} missing; restore from a backup", highlight=False)


def _tell(name: str, what: str) -> None:
    out.print(f"{name}  {what}", highlight=False, soft_wrap=True)  # a name is copied whole


def seconds(text: str) -> float:
    """The seconds of `90s`, `30m`, `2h` or `1d`. Raises SettingsError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text.strip(), re.ASCII)
    if match is None:
        raise SettingsError(f"--older-than is {text!r}; it has to be a number and s, m, h or d, such as 90s, 2h or 1d")
    return float(match[1]) * UNITS[match[2]]
