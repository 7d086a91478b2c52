"""`nas doctor`: a table of what was found, and what to mend."""

import contextlib
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.errors import SettingsError
from nas.finding import Finding, Status
from nas.settings import Settings

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="compare every row and read every file as well")] = False,
) -> None:
    """Look at database, files, devices, versions and workers, and say what to mend. Status 1 if there is a problem."""
    from nas.doctor import examine  # SQLAlchemy: half a second of imports

    console = Console()
    try:
        settings = Settings.read(context.obj)
        with contextlib.nullcontext() if as_json else console.status("looking at everything"):
            found = list(examine(settings, deep=audit))
    except SettingsError as error:
        found = [Finding("settings", Status.PROBLEM, str(error), "correct the variable")]
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in found], indent=2))
    else:
        table = Table("about", "status", "found", box=None, pad_edge=False)
        for finding in found:
            mend = f"\n→ {finding.mend}" if finding.mend else ""
            table.add_row(finding.about, f"[{COLOURS[finding.status]}]{finding.status}[/]", escape(finding.text + mend))
        console.print(table, highlight=False)
    if any(finding.status == Status.PROBLEM for finding in found):
        raise typer.Exit(1)
