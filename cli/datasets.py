"""`nas datasets`: list, add, show and delete data sets, of a running service or of this machine's own."""

import contextlib
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from cli.connect import connect
from nas.client import Client
from nas.settings import Settings

datasets_app = typer.Typer(
    help="List, add, show and delete data sets: of a running service with --url, else of this machine (NAS_HOME).",
)
out = Console(soft_wrap=False)

Url = Annotated[
    str | None, typer.Option(envvar="NAS_URL", help="a running service; default: this machine's own database and files")
]


@datasets_app.callback(invoke_without_command=True)
def list_datasets(context: typer.Context, url: Url = None) -> None:
    """List the data sets that a search can be asked for."""
    if context.invoked_subcommand is not None:
        return
    table = Table()
    table.add_column("data set", no_wrap=True)  # the one that people copy
    for heading in ("images", "size", "classes", "what it is"):
        table.add_column(heading)
    with _client(context, url) as client:
        for found in client.datasets():
            table.add_row(
                found["name"],
                "" if found["images"] is None else f"{found['images']:,}",
                "" if found["image"] is None else "×".join(str(side) for side in found["image"]),
                "" if found["classes"] is None else str(len(found["classes"])),
                found["summary"],
            )
    out.print(table)


@datasets_app.command()
def add(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(help="a zip, npz, Parquet or tar file, a folder of class folders, a URL, or hf:NAME[:SPLIT]"),
    ],
    name: Annotated[str | None, typer.Option(help="what searches call it; default: from the file's name")] = None,
    size: Annotated[int | None, typer.Option(help="scale images to this side, in pixels")] = None,
    seed: Annotated[int | None, typer.Option(help="of the split into training, validation and test")] = None,
    url: Url = None,
) -> None:
    """Add a data set, for searches to use.

    Example: `nas datasets add photos.zip && nas search photos`
    """
    from cli.sources import default_name, prepare

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    with tempfile.TemporaryDirectory() as scratch, bars:
        path = prepare(source, Path(scratch), _settings(context).max_upload_bytes, bars)
        total = path.stat().st_size
        task = bars.add_task("uploading", total=total)

        def sent(size_bytes: int) -> None:
            bars.advance(task, size_bytes)
            if size_bytes == 0:  # the end of the file
                bars.add_task("the service reads it", total=None)  # how far it is, only the service knows

        with _client(context, url) as client:
            added = client.add_dataset(path, name or default_name(source), size, seed, sent=sent)
    for warning in added["warnings"]:
        out.print(f"[yellow]{warning}[/yellow]", highlight=False, soft_wrap=True)
    splits = ", ".join(f"{count:,} {split}" for split, count in added["splits"].items())
    out.print(f"{added['name']}: {added['summary']} ({splits})", highlight=False, soft_wrap=True)
    out.print(f"search with `nas search {shlex.quote(added['name'])}`", highlight=False, soft_wrap=True)


@datasets_app.command()
def show(context: typer.Context, name: str, url: Url = None) -> None:
    """Print a data set as JSON: its classes and how many images each has, its splits, what was passed over."""
    with _client(context, url) as client:
        out.print_json(data=client.dataset(name))


@datasets_app.command()
def delete(context: typer.Context, name: str, url: Url = None) -> None:
    """Delete a data set that no job refers to, with its file."""
    with _client(context, url) as client:
        client.delete_dataset(name)
    out.print(f"{name} is deleted", highlight=False, soft_wrap=True)


def _environ(context: typer.Context) -> Mapping[str, str]:
    """The process's environment, quiet unless it says otherwise; the command's main module hands it over."""
    given: Any = context.obj
    return {"NAS_LOG": "WARNING"} | dict(given)


def _settings(context: typer.Context) -> Settings:
    return Settings.read(_environ(context))


@contextlib.contextmanager
def _client(context: typer.Context, url: str | None) -> Iterator[Client]:
    """A client of the service at the URL; without one, of a service of one's own that lasts as long as the command."""
    if url is not None:
        with connect(context, url) as client:
            yield client
        return
    from cli.service import local_service  # FastAPI and SQLAlchemy: a second of imports

    settings = _settings(context)
    settings.log_to_stderr()
    key = secrets.token_urlsafe(32)
    with local_service(settings, 0, [], _environ(context), own_key=key) as own, Client(own, key) as client:
        yield client
