"""The `nas` command."""

import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import database
from cli.connect import api_key, connect
from cli.datasets import datasets_app
from cli.doctor import doctor
from cli.gc import collect
from cli.jobs import jobs_app
from cli.keys import keys_app, states
from cli.places import Cores, find_gpus, places
from cli.workers import MISTAKE, Workers
from nas import plugins
from nas.client import Client, NoService
from nas.errors import NasError, SettingsError
from nas.settings import Settings
from worker.pack import packed

PACK_HELP = "trials at once in a worker process; auto: on a GPU as many as its memory has room for, on a CPU one"
PIN_HELP = "keep each CPU worker to a core of its own, where there is one for each core"

app = typer.Typer(
    name="nas",
    no_args_is_help=True,
    context_settings={"obj": os.environ},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Search for a small, accurate network for your images, and get the trained, verified model.\n\n"
    "`nas search digits` does everything on this machine. For a service that stays: `nas serve`, and in another "
    "terminal `nas search digits --url http://127.0.0.1:8000`.\n\n"
    "Settings are environment variables: NAS_HOME (database and files, ~/.nas), NAS_DATABASE_URL, NAS_ARTIFACTS_URL, "
    "NAS_DATA (files of built-in data sets), NAS_MAX_UPLOAD_BYTES, NAS_PLUGINS (modules with operations and losses of "
    "your own), NAS_API_KEY (for a service that asks for one), NAS_LEASE_SECONDS (30), NAS_LOG (DEBUG, INFO, WARNING, "
    "ERROR).",
)
app.add_typer(jobs_app, name="jobs")
app.add_typer(datasets_app, name="datasets")
app.add_typer(keys_app, name="keys")
app.command()(database.migrate)
app.command()(database.backup)
app.command()(database.restore)
app.command()(doctor)
app.command("gc", context_settings={"obj": os.environ})(collect)
out = Console(soft_wrap=False)


def run() -> None:
    """The entry point: an error that a person can mend is one line, and the exit status is 2."""
    try:
        app()
    except NoService as error:
        sys.exit(_complain(error, 3))
    except (NasError, FileNotFoundError) as error:
        sys.exit(_complain(error, 2))


def _complain(error: Exception, status: int) -> int:
    sys.stderr.write(f"nas: {error}\n")
    return status


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    host: Annotated[str, typer.Option(help="address to listen on; anything but loopback lets others in")] = "127.0.0.1",
    workers: Annotated[
        int | None, typer.Option(min=0, max=1024, help="local workers; default: one a GPU, or one a core; 0 for none")
    ] = None,
    pack: Annotated[str, typer.Option(help=PACK_HELP)] = "auto",
    pin: Annotated[bool, typer.Option(help=PIN_HELP)] = True,
) -> None:
    """Run the API and local workers, until Ctrl-C. Trials are then given back, and go on at the next start."""
    # FastAPI and SQLAlchemy: a second of imports
    from api.browsers import is_loopback
    from cli.service import listen, server

    settings = Settings.read(os.environ)
    settings.log_to_stderr()
    required, active = states(settings)
    if not is_loopback(host) and not active:
        mend = "make one with `nas keys create --owner NAME --scope write`, or listen on 127.0.0.1"
        raise SettingsError(f"others can reach {host}, and there is no key that can be used: {mend}")
    sock = listen(host, port)
    where = places(workers, find_gpus(os.environ), Cores.here(), pin=pin)
    options = ["--pack", _packed(pack)]
    # uvicorn stops at a signal and then raises it again, for whoever was there before: that is us, and we go on to
    # stop the workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{sock.getsockname()[1]}"  # noqa: S104 - compared, not bound
    out.print(
        f"NAS service on {url} (docs: {url}/docs), {len(where)} local workers, data in {settings.home}", highlight=False
    )
    out.print(
        "API keys are required; `nas keys create` makes one"
        if required
        else "no API keys: everyone on this machine can use it; `nas keys create` makes the first one",
        highlight=False,
        soft_wrap=True,
    )
    with Workers(settings, where, os.environ, options):
        server(settings).run(sockets=[sock])
    out.print("stopped; trials that were running are queued again", highlight=False)


@app.command()
def worker(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="worker processes; default: one a GPU, or one a core")
    ] = None,
    pack: Annotated[str, typer.Option(help=PACK_HELP)] = "auto",
    pin: Annotated[bool, typer.Option(help=PIN_HELP)] = True,
) -> None:
    """Run workers against NAS_DATABASE_URL and NAS_ARTIFACTS_URL, until Ctrl-C. Start them on as many machines as you
    like.
    """
    options = ["--device", device, "--pack", _packed(pack)]
    where = places(workers, find_gpus(os.environ) if device != "cpu" else [], Cores.here(), pin=pin)
    if len(where) == 1:
        from worker.main import main  # torch: seconds of imports

        raise typer.Exit(main(options))
    settings = Settings.read(os.environ)
    settings.log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Workers(settings, where, os.environ, options) as running:
        while not stop.is_set():
            if running.refused(0.2):
                raise typer.Exit(MISTAKE)


@app.command()
def search(
    dataset: Annotated[str, typer.Argument(help="name of a data set")],
    url: Annotated[
        str | None, typer.Option(envvar="NAS_URL", help="a running service; default: one of its own, while it lasts")
    ] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="folder for the model; default: nas-JOB")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="workers of a service of its own")] = None,
    name: Annotated[str | None, typer.Option(help="for you to recognise the job by")] = None,
    strategy: Annotated[str | None, typer.Option(help="how candidates are chosen; `nas strategies` lists them")] = None,
    pruning: Annotated[str | None, typer.Option(help="halving, hyperband, median or none")] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="accuracy, params, macs, latency_ms or memory_mb; repeat it")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="architectures to try")] = None,
    epochs: Annotated[int | None, typer.Option(help="epochs of a trial that is not stopped early")] = None,
    total_epochs: Annotated[int | None, typer.Option(help="epochs of all trials of the search together")] = None,
    seconds: Annotated[float | None, typer.Option(help="wall clock of the whole job, retraining included")] = None,
    target: Annotated[float | None, typer.Option(help="validation score at which the search may end")] = None,
    parallel: Annotated[int | None, typer.Option(help="trials at once")] = None,
    ops: Annotated[list[str] | None, typer.Option("--op", help="an operation to search over; repeat it")] = None,
    nodes: Annotated[int | None, typer.Option(help="nodes a cell")] = None,
    channels: Annotated[int | None, typer.Option(help="channels of the first cell")] = None,
    cells: Annotated[int | None, typer.Option(help="cells in the network")] = None,
    finalists: Annotated[int | None, typer.Option(help="best trials to retrain")] = None,
    controls: Annotated[int | None, typer.Option(help="random networks to compare with")] = None,
    final_epochs: Annotated[int | None, typer.Option(help="epochs of each retraining")] = None,
    seeds: Annotated[int | None, typer.Option(help="retrainings of each network")] = None,
    seed: Annotated[int | None, typer.Option(help="the same seed with one worker gives the same search")] = None,
    start: Annotated[list[str] | None, typer.Option(help="a published genotype to try first; repeat it")] = None,
    transfer: Annotated[str | None, typer.Option("--from", help="an earlier job whose model to start from")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="write TensorBoard logs of every trial")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="any field of a job; repeat it. A value, or what to search over: `recipe.lr=0.05`, "
            "`recipe.optimizer=adamw,nesterov`, `space.channels=8..32`, `limits.max_params=100000`, "
            "`options.population=50`, `pruning.eta=4`",
        ),
    ] = None,
) -> None:
    """Search for a network for DATASET, show the progress, and download the model.

    Example: `nas search digits --trials 24 --out my-model`

    Example: `nas search photos --set recipe.lr=0.01..0.3:log --set limits.max_latency_ms=5`

    Example: `nas search photos --objective accuracy --objective latency_ms --seconds 3600`
    """
    from cli.fields import put
    from cli.watch import summarise, take_home, watch

    spec = _without_none(
        {
            "dataset": dataset,
            "name": name,
            "strategy": strategy,
            "pruning": pruning,
            "objectives": objective or None,
            "seed": seed,
            "start": start or None,
            "transfer": {"job": transfer} if transfer else None,
            "tensorboard": tensorboard or None,
            "space": _without_none({"ops": ops or None, "nodes": nodes, "channels": channels, "cells": cells}),
            "budget": _without_none(
                {
                    "trials": trials,
                    "epochs": epochs,
                    "total_epochs": total_epochs,
                    "seconds": seconds,
                    "target": target,
                    "parallel": parallel,
                }
            ),
            "final": _without_none(
                {"finalists": finalists, "controls": controls, "epochs": final_epochs, "seeds": seeds}
            ),
        }
    )

    for assignment in set_ or ():
        put(spec, assignment)

    def go(at: str, own: bool, key: str | None) -> None:
        with Client(at, key) as client:
            with out.status("asking for the job; a built-in data set is fetched when it is first used"):
                job_id = client.search(spec)
            out.print(f"job {job_id} on {at}", highlight=False)
            try:
                shown = watch(client, job_id, out)
            except KeyboardInterrupt:
                again = "nas serve" if own else f"nas jobs watch {job_id} --url {at}"
                out.print(f"\nthe job is kept; it goes on with `{again}`", highlight=False)
                raise typer.Exit(130) from None
            if shown["job"]["state"] != "succeeded":
                out.print(f"the job {shown['job']['state']}: {shown['job']['reason']}", highlight=False)
                raise typer.Exit(1)
            package = take_home(client, job_id, out_dir or Path(f"nas-{job_id}"))
        summarise(shown, package, out)

    if url is not None:
        go(url, own=False, key=api_key(os.environ))
        return
    from cli.service import local_service

    environ = {"NAS_LOG": "WARNING"} | dict(os.environ)
    settings = Settings.read(environ)
    settings.log_to_stderr()
    gpus = find_gpus(environ)
    own_key = secrets.token_urlsafe(32)
    with local_service(settings, workers, gpus, environ, own_key) as own_url:
        go(own_url, own=True, key=own_key)


@app.command()
def strategies(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="show the options of this one")] = None,
    url: Annotated[
        str | None, typer.Option(envvar="NAS_URL", help="a running service; default: what is installed here")
    ] = None,
) -> None:
    """List how candidates can be chosen, or the options of one way.

    Example: `nas strategies evolution`, then `nas search digits --strategy evolution --set options.population=50`
    """
    from cli.strategies import list_strategies, show_options

    if url is None:
        from api.routes import catalog  # FastAPI: a second of imports

        found = catalog.list_strategies().model_dump()["items"]
    else:
        with connect(context, url) as client:
            found = client.strategies()
    if name is None:
        list_strategies(found, out)
    else:
        show_options(found, name, out)


@app.command()
def predict(
    package: Annotated[Path, typer.Argument(help="a model.zip")],
    images: Annotated[list[Path], typer.Argument(help="image files")],
    top: Annotated[int, typer.Option(min=1, help="classes to print")] = 3,
) -> None:
    """Classify images with a downloaded model: the likeliest classes, all labels, or the targets' values."""
    from cli.predict import describe, predict_files  # torch: seconds of imports

    plugins.use(*Settings.read(os.environ).plugins)
    found = predict_files(package, images)
    for path, values in zip(images, found.values, strict=True):
        out.print(f"{path}: {describe(found.task, values, top)}", highlight=False, soft_wrap=True)


def _packed(pack: str) -> str:
    """What `--pack` says, once it is known to say something."""
    try:
        packed(pack)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return pack


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}
