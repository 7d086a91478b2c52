"""What the documentation is built with: the reference is written from the code itself, and so is never out of date."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

import reference_http
import reference_python
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from reference_http import cell


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the reference."""
    for name, write in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=write()))
    return files


def cli() -> str:
    """Every command with its help."""
    from typer.main import get_command

    from cli.exits import EXITS
    from cli.main import app

    lines = [
        "# Command line",
        "",
        "Every command, as `nas COMMAND --help` has it. All take `--help`, and all "
        "take `--json`: JSON and nothing else on the standard output. Those with `--url` talk to a running service; "
        "`NAS_URL` and `NAS_API_KEY` in the environment say which, and by which key. "
        "`nas --install-completion` teaches the shell the commands, options and values.",
        "",
        "| exit status | what it says |",
        "| --- | --- |",
        *(f"| {status} | {cell(text)} |" for status, text in EXITS.items()),
    ]
    for words, command in commands(("nas",), get_command(app)):
        if len(words) > 1:
            lines += ["", f"{'#' * len(words)} `{' '.join(words)}`", "", *_command(words, command)]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """The environment variables, from the class that reads them."""
    from nas.settings import Settings

    home = "/NAS_HOME"
    variables = Settings.read({"NAS_HOME": home}).to_environ()
    meanings = dict(reference_python.entries(Settings.__doc__ or "", "Attributes"))
    names = [field.name for field in dataclasses.fields(Settings)]
    lines = [
        "# Settings",
        "",
        "Environment variables, which every process of one installation has to agree on. One that is not set, or is "
        "empty, has its default; an impossible value is refused with a sentence that names it.",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, (variable, default) in zip(names, variables.items(), strict=True):
        shown = f"`{default.replace(home, '~/.nas')}`" if default else ""
        lines.append(f"| `{variable}` | {shown} | {cell(meanings[name])} |")
    lines += [
        "",
        "Commands that talk to a running service read `NAS_URL`, where it is, and `NAS_API_KEY`. Behind a proxy the "
        "API reads `FORWARDED_ALLOW_IPS`: see [Operating the service](../operations.md#behind-a-proxy).",
    ]
    return "\n".join(lines) + "\n"


PAGES: Final = {
    "job": reference_http.job,
    "api": reference_http.api,
    "cli": cli,
    "client": reference_python.client,
    "settings": settings,
}
"""Page of the reference → what writes it."""


VALUE: Final = re.compile(r"<(?:list\[)?(str|int|float|path)(?: range)?\]?>", re.IGNORECASE)
KINDS: Final = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "path": "PATH"}
"""What an option takes, in words."""


def commands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all that are below it, by the words that call them."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from commands((*words, name), inner)


def _command(words: tuple[str, ...], command: Any) -> Iterator[str]:
    import typer

    context = typer.Context(command, info_name=" ".join(words))
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    yield from (inspect.cleandoc(command.help or ""), "", "```text", usage, "```", "")
    records = [record for one in command.params if (record := one.get_help_record(context)) is not None]
    rows = [(names, text) for names, text in records if names != "--json"]
    if rows:
        yield from ("| option | meaning |", "| --- | --- |")
    for names, text in rows:
        yield f"| `{_shown(names)}` | {cell(text)} |"


def _shown(names: str) -> str:
    """An option and what it takes; an argument."""
    if not names.startswith("-"):
        return VALUE.sub("", names).strip().replace("|", "/")
    return VALUE.sub(lambda found: KINDS[found[1].lower()], names).replace("|", "/")
