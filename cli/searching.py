"""`nas search`: a job from options or a config file, watched to its end, its model downloaded."""

import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.asked import Asked, ask_for, without_none
from cli.completion import (
    complete_datasets,
    complete_genotypes,
    complete_jobs,
    complete_objectives,
    complete_operations,
    complete_pruning,
    complete_strategies,
)
from cli.connect import api_key, client_or_own, quiet
from cli.options import Assignments, Json
from cli.output import note, notes, out, say, say_json

if TYPE_CHECKING:
    from nas.client import Client

BUDGET: Final = "How much to search"
SPACE: Final = "What to search over"
FINAL: Final = "What is trained in the end"

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET|FILE",
        help="name or path of a data set, or a config file: job.yaml, job.json, job.toml",
        show_default=False,
        autocompletion=complete_datasets,
    ),
]
OwnService = Annotated[
    str | None, typer.Option(envvar="NAS_URL", help="a running service; default: one of its own, while it lasts")
]


def search(
    context: typer.Context,
    source: Source = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="name or path of a data set, over a config file's", autocompletion=complete_datasets),
    ] = None,
    url: OwnService = None,
    out_dir: Annotated[Path | None, typer.Option("--out", "-o", help="folder for the model; default: nas-JOB")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="workers of a service of its own; default: one a GPU, or one a core"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="start nothing: only tell how large it would be, and about how long")
    ] = False,
    example: Annotated[bool, typer.Option("--example", help="print a config file with all fields explained")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="watch it and download the model; or only ask for it (--url)")
    ] = True,
    as_json: Json = False,
    set_: Assignments = None,
    name: Annotated[str | None, typer.Option(help="for you to recognise the job by")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="how candidates are chosen; `nas strategies` lists them; default: auto",
            autocompletion=complete_strategies,
        ),
    ] = None,
    pruning: Annotated[
        str | None,
        typer.Option(
            help="what stops trials early: halving, hyperband, median or none; default: halving",
            autocompletion=complete_pruning,
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="what to look for: accuracy, params, macs, latency_ms or memory_mb; repeat it; default: accuracy",
            autocompletion=complete_objectives,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="the same seed with one worker gives the same search; default: 0")
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="a published genotype to try first: `nas genotypes` lists them; repeat it",
            autocompletion=complete_genotypes,
        ),
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option("--from", help="id of an earlier job whose model to start from", autocompletion=complete_jobs),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="write TensorBoard logs of every trial")] = False,
    trials: Annotated[
        int | None, typer.Option(help="architectures to try; default: 24", rich_help_panel=BUDGET)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="epochs of a trial that is not stopped early; default: 8", rich_help_panel=BUDGET)
    ] = None,
    total_epochs: Annotated[
        int | None,
        typer.Option(help="epochs of all trials of the search together; default: no limit", rich_help_panel=BUDGET),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="wall clock of the whole job, retraining included; default: no limit", rich_help_panel=BUDGET
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="validation score at which the search ends, from 0 to 1 for an accuracy; default: none",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(help="trials at once; default: as many as there are workers", rich_help_panel=BUDGET)
    ] = None,
    ops: Annotated[
        list[str] | None,
        typer.Option(
            "--op",
            help="an operation to search over: `nas operations` lists them; repeat it; default: DARTS' own",
            rich_help_panel=SPACE,
            autocompletion=complete_operations,
        ),
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="nodes a cell; default: 4", rich_help_panel=SPACE)] = None,
    channels: Annotated[
        int | None, typer.Option(help="channels of the first cell; default: 8", rich_help_panel=SPACE)
    ] = None,
    cells: Annotated[int | None, typer.Option(help="cells in the network; default: 4", rich_help_panel=SPACE)] = None,
    finalists: Annotated[
        int | None, typer.Option(help="best trials to retrain; default: 1", rich_help_panel=FINAL)
    ] = None,
    controls: Annotated[
        int | None, typer.Option(help="random networks to compare with; default: 3", rich_help_panel=FINAL)
    ] = None,
    final_epochs: Annotated[
        int | None, typer.Option(help="epochs of each retraining; default: 30", rich_help_panel=FINAL)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="retrainings of each network; default: 3", rich_help_panel=FINAL)
    ] = None,
) -> None:
    """Search for a network for a data set, show the progress, and download the model.

    Example: `nas search digits --trials 24 --out my-model`

    Example: `nas search photos --set recipe.lr=0.01..0.3:log --set limits.max_latency_ms=5`

    Example: `nas search --example > job.yaml`, then `nas search job.yaml --check` and `nas search job.yaml`

    Options win over the file, and --set wins over options. Without --url everything runs on this machine.
    """
    if example:
        from cli.example import example as text
        from cli.example import example_spec

        if as_json:
            say_json(example_spec())
        else:
            sys.stdout.write(text())
        return
    budget = {"trials": trials, "epochs": epochs, "total_epochs": total_epochs, "seconds": seconds, "target": target}
    final = {"finalists": finalists, "controls": controls, "epochs": final_epochs, "seeds": seeds}
    options = {
        "name": name,
        "strategy": strategy,
        "pruning": pruning,
        "objectives": objective or None,
        "seed": seed,
        "start": start or None,
        "transfer": {"job": transfer} if transfer else None,
        "tensorboard": tensorboard or None,
        "space": without_none({"ops": ops or None, "nodes": nodes, "channels": channels, "cells": cells}),
        "budget": without_none(budget | {"parallel": parallel}),
        "final": without_none(final),
    }
    asked = ask_for(source, dataset, without_none(options), set_ or ())
    if check:
        with client_or_own(context, url) as client:
            _check(client, asked, as_json=as_json)
        return
    with _service(context, url, workers) as (at, key):
        _search(at, key, asked, out_dir, own=url is None, wait=wait or url is None, as_json=as_json)


def _check(client: "Client", asked: Asked, *, as_json: bool) -> None:
    from nas.client.looks import clock
    from nas.data.found import count_text

    with _uploaded(client, asked) as spec, asked.telling_where():
        found = client.estimate(spec)
    if as_json:
        say_json(found)
        return
    params, seconds, epochs = found["network"]["params"], found["seconds"], found["epochs"]
    say(f"data set: {found['dataset']}, strategy: {found['strategy']}")
    say(f"space: {found['space']['text']} candidates")
    say(f"a network: {params['smallest']:,} to {params['largest']:,} parameters, typically {params['typical']:,}")
    say(f"training: {found['trials']} trials, {epochs['search']} epochs of search, {epochs['final']} of retraining")
    low, likely, high = (clock(seconds[name]) for name in ("low", "expected", "high"))
    workers = count_text(found["workers"], "worker") if found["workers"] else "one worker; there is none yet"
    say(f"time: about {likely} ({low} to {high}) with {workers}")
    say(f"this rests on {found['basis']}")


def _search(
    at: str, key: str | None, asked: Asked, out_dir: Path | None, *, own: bool, wait: bool, as_json: bool
) -> None:
    from cli.watch import summarise, take_home, watch
    from nas.client import Client

    tell, console = (note, notes) if as_json else (say, out)
    with Client(at, key) as client:
        status = console.status("asking for the job; a built-in data set is fetched when it is first used")
        with _uploaded(client, asked) as spec, asked.telling_where(), status:
            job = client.search(spec)
        tell(f"job {job.id} on {at}")
        if not wait:
            tell(f"watch it with `nas jobs watch {job.id} --url {at}`, or at {job.url}")
            if as_json:
                say_json({"job": job.id, "url": job.url})
            return
        try:
            shown = watch(job, console)
        except KeyboardInterrupt:
            again = "nas serve" if own else f"nas jobs watch {job.id} --url {at}"
            tell(f"\nthe job is kept; it goes on with `{again}`")
            raise typer.Exit(130) from None
        ended = {"job": job.id, "state": shown["job"]["state"], "reason": shown["job"]["reason"]}
        if shown["job"]["state"] != "succeeded":
            tell(f"the job {shown['job']['state']}: {shown['job']['reason']}")
            if as_json:
                say_json(ended | {"package": None, "verdict": None})
            raise typer.Exit(1)
        package = take_home(job, out_dir or Path(f"nas-{job.id}"))
    if as_json:
        say_json(ended | {"package": str(package), "verdict": shown["verdict"]})
    else:
        summarise(shown, package, out)


@contextlib.contextmanager
def _uploaded(client: "Client", asked: Asked) -> Iterator[dict[str, Any]]:
    """The job as the service can be asked for it: a data set that is a path is uploaded, unless it is there already."""
    if asked.upload is None:
        yield asked.spec
        return
    from rich.progress import Progress

    from cli.sources import default_name, prepare
    from nas.settings import MAX_UPLOAD_BYTES

    name = default_name(asked.upload)
    if name in {known["name"] for known in client.datasets()}:
        note(f"data set {name} is there already, and is used as it is; `nas datasets delete {name}` makes room")
    else:
        with tempfile.TemporaryDirectory() as scratch, Progress(console=notes) as bars:
            client.add_dataset(prepare(asked.upload, Path(scratch), MAX_UPLOAD_BYTES, bars), name)
        note(f"data set {name} is added")
    yield asked.spec | {"dataset": name}


@contextlib.contextmanager
def _service(context: typer.Context, url: str | None, workers: int | None) -> Iterator[tuple[str, str | None]]:
    """URL and key of the service: that at the URL, or one of one's own, with workers, while the block runs."""
    if url is not None:
        yield url, api_key(context.obj)
        return
    from cli.places import find_gpus
    from cli.service import local_service
    from nas.settings import Settings

    environ = quiet(context)
    settings = Settings.read(environ)
    settings.log_to_stderr()
    own_key = secrets.token_urlsafe(32)
    with local_service(settings, workers, find_gpus(environ), environ, own_key) as own_url:
        yield own_url, own_key
