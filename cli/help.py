"""`nas help`: the help of a command, and what the exit statuses say."""

import contextlib
import io
from typing import Annotated, Any

import typer

from cli.exits import EXITS
from cli.options import Json
from cli.output import say, say_json


def show_help(
    context: typer.Context,
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND...]", help="a command, such as `jobs watch`; or `exits`: the exit statuses"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the help of a command, or what the exit statuses say.

    Example: `nas help jobs watch`

    Example: `nas help exits`
    """
    if topic == ["exits"]:
        if as_json:
            say_json({str(status): text for status, text in EXITS.items()})
            return
        for status, text in EXITS.items():
            say(f"{status:3}  {text}")
        return
    found: Any = context.find_root()
    for name in topic or ():
        command = found.command.get_command(found, name) if hasattr(found.command, "get_command") else None
        if command is None:
            from nas.errors import NotFound

            raise NotFound(f"there is no command {' '.join(topic or ())!r}; `nas --help` lists them")
        found = type(found)(command, info_name=name, parent=found)
    with contextlib.redirect_stdout(io.StringIO()) as written:
        found.command.get_help(found)  # which prints it
    if as_json:
        say_json({"command": found.command_path, "help": written.getvalue().strip("\n")})
    else:
        found.command.get_help(found)
