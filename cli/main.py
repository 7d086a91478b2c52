"""The `nas` command: every command by name. What one needs is imported when it runs, so that help is quick."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import catalog, database, datasets, jobs, keys, model, results, searching, serving, trials
from cli.doctor import doctor
from cli.exits import message_of, status_of
from cli.gc import collect
from cli.help import show_help
from cli.output import say, say_json
from cli.plain import PlainCommand, PlainGroup
from cli.words import as_commands

Commands = Mapping[str, Callable[..., None]]

PANELS: Final[Mapping[str, Commands]] = {
    "Search": {"search": searching.search, "open": jobs.open_job},
    "Models": {"predict": model.predict, "export": results.export},
    "What there is to choose from": {
        "strategies": catalog.strategies,
        "operations": catalog.operations,
        "genotypes": catalog.genotypes,
    },
    "Service": {
        "serve": serving.serve,
        "worker": serving.worker,
        "health": catalog.health,
        "metrics": catalog.metrics,
        "problem": catalog.problem,
        "doctor": doctor,
        "gc": collect,
        "migrate": database.migrate,
        "backup": database.backup,
        "restore": database.restore,
    },
    "Help": {"help": show_help},
}
"""Panel of `nas --help` → command → function."""

JOBS: Final[Commands] = {
    "list": jobs.list_jobs,
    "show": jobs.show,
    "watch": jobs.watch_job,
    "pause": jobs.pause,
    "resume": jobs.resume,
    "cancel": jobs.cancel,
    "extend": jobs.extend,
    "clone": jobs.clone,
    "rename": jobs.rename,
    "priority": jobs.priority,
    "delete": jobs.delete,
    "trials": trials.trials,
    "trial": trials.trial,
    "best": trials.best,
    "pareto": trials.pareto,
    "retrain": trials.retrain,
    "download": results.download,
    "predict": results.predict,
    "figure": results.figure,
    "report": results.report,
    "logs": results.logs,
    "events": results.events,
    "data": results.data,
}
DATASETS: Final[Commands] = {
    "list": datasets.list_datasets,
    "add": datasets.add,
    "show": datasets.show,
    "delete": datasets.delete,
}
KEYS: Final[Commands] = {
    "create": keys.create,
    "list": keys.list_keys,
    "revoke": keys.revoke,
    "whoami": catalog.whoami,
}
MODEL: Final[Commands] = {"info": model.info, "onnx": model.onnx, "torch": model.torch}

SETTINGS: Final = """\
Settings are environment variables: NAS_URL and NAS_API_KEY (a running service), NAS_HOME (database and files, ~/.nas),
NAS_DATABASE_URL, NAS_ARTIFACTS_URL, NAS_DATA (files of built-in data sets), NAS_MAX_UPLOAD_BYTES, NAS_PLUGINS (modules
with operations, losses and strategies of your own), NAS_LEASE_SECONDS (30), NAS_LOG (DEBUG, INFO, WARNING, ERROR).

Scripts: with --json also an error is one JSON object on stdout, and the exit status tells its kind: `nas help exits`.
"""


def _app() -> typer.Typer:
    made = typer.Typer(
        name="nas",
        cls=PlainGroup,
        no_args_is_help=True,
        context_settings={"obj": os.environ, "help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="Search for a small, accurate network for your images, and get the trained, verified model.\n\n"
        "`nas search digits` does everything on this machine. For a service that stays: `nas serve`, and in another "
        "terminal `nas search digits --url http://127.0.0.1:8000`.",
        epilog=SETTINGS,
    )
    made.callback()(_options)
    for panel, commands in PANELS.items():
        for name, function in commands.items():
            made.command(name, cls=PlainCommand, rich_help_panel=panel)(function)
    groups: Mapping[str, tuple[str, Commands, Callable[..., None] | None]] = {
        "jobs": ("Search", JOBS, jobs.list_by_default),
        "model": ("Models", MODEL, None),
        "datasets": ("What there is to choose from", DATASETS, datasets.list_by_default),
        "keys": ("Service", KEYS, None),
    }
    for name, (panel, commands, callback) in groups.items():
        made.add_typer(_group(name, commands, callback), name=name, rich_help_panel=panel)
    return made


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"nas {version('nas-service')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """What `nas` itself can be told."""


def _group(name: str, commands: Commands, callback: Callable[..., None] | None) -> typer.Typer:
    """A command with commands of its own; the callback is what it does without one."""
    group = typer.Typer(
        cls=PlainGroup, no_args_is_help=callback is None, rich_markup_mode="markdown", help=GROUPS[name]
    )
    if callback is not None:
        group.callback(invoke_without_command=True)(callback)
    for own, function in commands.items():
        # -5 is a priority, and no option
        settings: dict[str, Any] = {"ignore_unknown_options": True} if own == "priority" else {}
        group.command(own, cls=PlainCommand, context_settings=settings)(function)
    return group


GROUPS: Final = {
    "jobs": "List, watch, steer and download the jobs of a running service; without a command: list them.",
    "model": "Tell what a downloaded model is, and export it as ONNX or with torch.export.",
    "datasets": "List, add, show and delete data sets, of a running service (--url) or of this machine (NAS_HOME).",
    "keys": "Make, list and revoke API keys, where the database is (NAS_DATABASE_URL); tell whose key one has.",
}
"""What commands with commands of their own are for."""

app = _app()


def run() -> None:
    """The entry point: an error that a person can mend is one line, and the exit status tells its kind.

    With --json it is one JSON object on stdout as well.
    """
    as_json = "--json" in sys.argv[1:]
    if os.environ.get("NAS_PLUGINS"):  # they may stand where the command is typed, as the modules of `python -m` may
        sys.path.append(str(Path.cwd()))
    try:
        done = app(prog_name="nas", standalone_mode=not as_json)  # the name also for `python -m cli`
    except Exception as error:
        status = status_of(error)
        if status is None:
            raise
        words = as_commands(message_of(error))
        sys.stderr.write(f"nas: {words}\n")
        if as_json:
            say_json({"error": words, "kind": type(error).__name__, "status": status})
        sys.exit(status)
    sys.exit(done if isinstance(done, int) else 0)
