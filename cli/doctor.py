"""`nas doctor`: a table of what was found, and what to mend."""

import contextlib
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.options import Json
from cli.output import say_json

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    context: typer.Context,
    as_json: Json = False,
    audit: Annotated[bool, typer.Option("--audit", help="compare every row and read every file as well")] = False,
) -> None:
    """Look at database, files, devices, versions and workers, and say what to mend. Status 1 if there is a problem.

    Example: `nas doctor --audit`
    """
    from nas.doctor import examine  # SQLAlchemy: half a second of imports
    from nas.errors import SettingsError
    from nas.finding import Finding, Status
    from nas.settings import Settings

    console = Console()
    try:
        settings = Settings.read(context.obj)
        with contextlib.nullcontext() if as_json else console.status("looking at everything"):
            found = list(examine(settings, deep=audit))
    except SettingsError as error:
        found = [Finding("settings", Status.PROBLEM, str(error), "correct the variable")]
    if as_json:
        say_json([finding.to_json() for finding in found])
    else:
        table = Table("about", "status", "found", box=None, pad_edge=False)
        for finding in found:
            mend = f"\n→ {finding.mend}" if finding.mend else ""
            table.add_row(finding.about, f"[{COLOURS[finding.status]}]{finding.status}[/]", escape(finding.text + mend))
        console.print(table, highlight=False)
    if any(finding.status == Status.PROBLEM for finding in found):
        raise typer.Exit(1)
