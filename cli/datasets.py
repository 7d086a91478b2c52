"""`nas datasets`: list, add, show and delete data sets, of a running service or of this machine's own."""

import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli.connect import client_or_own, quiet
from cli.options import DatasetName, Json, OwnUrl
from cli.output import notes, say, say_json, say_table


def list_by_default(context: typer.Context, as_json: Json = False, url: OwnUrl = None) -> None:
    """Without a command of its own, `nas datasets` is `nas datasets list`."""
    if context.invoked_subcommand is None:
        list_datasets(context, as_json, url)


def list_datasets(context: typer.Context, as_json: Json = False, url: OwnUrl = None) -> None:
    """List the data sets that a search can be asked for.

    Example: `nas datasets list`
    """
    with client_or_own(context, url) as client:
        found = client.datasets()
    if as_json:
        say_json(found)
        return
    say_table(
        ("data set", "images", "size", "classes", "what it is"),
        (
            (
                one["name"],
                None if one["images"] is None else f"{one['images']:,}",
                None if one["image"] is None else "×".join(str(side) for side in one["image"]),
                None if one["classes"] is None else len(one["classes"]),
                one["summary"],
            )
            for one in found
        ),
    )


def add(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="a zip, npz, Parquet or tar file, a folder of class folders, a URL, or hf:NAME[:SPLIT]",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="what searches call it; default: from the file's name")] = None,
    size: Annotated[int | None, typer.Option(help="scale images to this side, in pixels; default: as they are")] = None,
    seed: Annotated[int | None, typer.Option(help="of the split into training, validation and test")] = None,
    as_json: Json = False,
    url: OwnUrl = None,
) -> None:
    """Add a data set, for searches to use.

    Example: `nas datasets add photos.zip && nas search photos`
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from cli.sources import default_name, prepare
    from nas.settings import Settings

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=notes)
    with tempfile.TemporaryDirectory() as scratch, bars:
        path = prepare(source, Path(scratch), Settings.read(quiet(context)).max_upload_bytes, bars)
        total = path.stat().st_size
        task = bars.add_task("uploading", total=total)

        def sent(size_bytes: int) -> None:
            bars.advance(task, size_bytes)
            if size_bytes == 0:  # the end of the file
                bars.add_task("the service reads it", total=None)  # how far it is, only the service knows

        with client_or_own(context, url) as client:
            added = client.add_dataset(path, name or default_name(source), size, seed, sent=sent)
    if as_json:
        say_json(added)
        return
    for warning in added["warnings"] or ():
        say(warning)
    splits = ", ".join(f"{count:,} {split}" for split, count in (added["splits"] or {}).items())
    say(f"{added['name']}: {added['summary']} ({splits})")
    say(f"search with `nas search {shlex.quote(added['name'])}`")


def show(context: typer.Context, name: DatasetName, as_json: Json = False, url: OwnUrl = None) -> None:
    """Print a data set as JSON: its classes and how many images each has, its splits, what was passed over.

    Example: `nas datasets show digits`
    """
    del as_json  # it is JSON in any case
    with client_or_own(context, url) as client:
        say_json(client.dataset(name))


def delete(context: typer.Context, name: DatasetName, as_json: Json = False, url: OwnUrl = None) -> None:
    """Delete a data set that no job refers to, with its file.

    Example: `nas datasets delete photos`
    """
    with client_or_own(context, url) as client:
        client.delete_dataset(name)
    if as_json:
        say_json({"deleted": name})
    else:
        say(f"{name} is deleted")
