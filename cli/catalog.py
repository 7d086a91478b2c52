"""`nas strategies`, `operations`, `genotypes`, `health` …: what a service can do, and how it is."""

from typing import Annotated, Any, Final

import typer

from cli.completion import complete_strategies
from cli.connect import ask, use_plugins
from cli.options import DEFAULT_URL, Json, Url
from cli.output import say, say_json, say_table

Installed = Annotated[
    str | None, typer.Option(envvar="NAS_URL", help="a running service; default: what is installed here")
]

HERE: Final = {"strategies": "list_strategies", "operations": "list_operations", "genotypes": "list_genotypes"}
"""List → the function of api.routes.catalog that makes it, where no service is asked."""


def strategies(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="show the options of this one", autocompletion=complete_strategies),
    ] = None,
    as_json: Json = False,
    url: Installed = None,
) -> None:
    """List how candidates can be chosen, or the options of one way.

    Example: `nas strategies evolution`, then `nas search digits --strategy evolution --set options.population=50`
    """
    from cli.strategies import list_strategies, named, show_options

    found = _items(context, "strategies", url)
    if as_json:
        say_json(found if name is None else named(found, name))
    elif name is None:
        list_strategies(found)
    else:
        show_options(found, name)


def operations(context: typer.Context, as_json: Json = False, url: Installed = None) -> None:
    """List what an edge of a cell can be; your own operations (NAS_PLUGINS) are among them.

    Example: `nas operations`, then `nas search digits --op sep_conv_3x3 --op skip_connect`
    """
    found = _items(context, "operations", url)
    if as_json:
        say_json(found)
    else:
        say_table(("operation", "what it is"), ((one["name"], one["summary"]) for one in found))


def genotypes(context: typer.Context, as_json: Json = False, url: Installed = None) -> None:
    """List published genotypes, to start a search from.

    Example: `nas genotypes`, then `nas search digits --start DARTS_V2`
    """
    found = _items(context, "genotypes", url)
    if as_json:
        say_json(found)
    else:
        say_table(("genotype", "source"), ((one["name"], one["source"]) for one in found))


def health(context: typer.Context, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Ask a service whether it is alive and ready. The status is 0 if it is, 1 if it is not ready, 3 if none answers.

    Example: `nas health || echo "look at the service"`
    """
    alive, ready = (ask(context, url, path) for path in ("/healthz", "/readyz"))
    if as_json:
        say_json({"alive": alive, "ready": ready})
    else:
        say(f"{url} is alive and ready")


def metrics(context: typer.Context, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Print a service's metrics in the text format of Prometheus.

    Example: `nas metrics | grep nas_`
    """
    found = ask(context, url, "/metrics")
    if as_json:
        say_json({"metrics": found.splitlines()})
    else:
        say(found.rstrip("\n"))


def problem(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="the last part of the `type` in an answer that is an error")
    ],
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Explain a kind of error of the API.

    Example: `nas problem not-ready`
    """
    from urllib.parse import quote

    found = ask(context, url, f"/problems/{quote(name, safe='')}")
    if as_json:
        say_json(found)
        return
    for heading, text in found.items():
        say(f"{heading}: {text}")


def whoami(context: typer.Context, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Tell whom a service takes you for, by the key of NAS_API_KEY.

    Example: `NAS_API_KEY=… nas keys whoami`
    """
    found = ask(context, url, "/session")
    if found["required"]:
        from nas.errors import Unauthorized

        raise Unauthorized(
            "this service asks for an API key: set NAS_API_KEY; `nas keys create` makes one, where the service runs"
        )
    if as_json:
        say_json(found)
    else:
        say(f"{found['owner']} ({found['scope']})")


def _items(context: typer.Context, what: str, url: str | None) -> list[dict[str, Any]]:
    if url is not None:
        items: list[dict[str, Any]] = ask(context, url, f"/v1/{what}")["items"]
        return items
    from api.routes import catalog  # FastAPI: a second of imports

    use_plugins(context)

    listed = getattr(catalog, HERE[what])()
    here: list[dict[str, Any]] = listed.model_dump(mode="json")["items"]
    return here
