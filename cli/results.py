"""`nas jobs download`, `figure`, `report`, `predict`, `events`, `data` …, and `nas export`: what a job gives away."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.completion import complete_figures, one_of
from cli.connect import ask, connect, job_path
from cli.options import DEFAULT_URL, Images, JobId, Json, Out, Url
from cli.output import note, out, say, say_json, say_line

DATA: Final = ("curves", "points", "timeline", "evolution", "importances", "parallel", "study")
"""What the dashboard's pictures are drawn from, and the trials as Optuna knows them; each is a path of the API."""


def download(
    context: typer.Context,
    job: JobId,
    trial: Annotated[int | None, typer.Option(help="a trial that was retrained; default: the job's winner")] = None,
    out_dir: Out = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Download a job's model, or that of a trial that was retrained, and unpack it.

    Example: `nas jobs download 3cd14fbb6bd3 --out my-model`
    """
    from cli.watch import summarise, summarise_alone, take_home

    with connect(context, url) as client:
        found = client.job(job)
        package = take_home(found, out_dir or folder_of(job, trial), trial)
        if as_json:
            say_json({"job": job, "trial": trial, "package": str(package)})
        elif trial is None:
            summarise(found.dashboard(), package, out)
        else:
            summarise_alone(package, out)


def logs(
    context: typer.Context, job: JobId, out_dir: Out = None, as_json: Json = False, url: Url = DEFAULT_URL
) -> None:
    """Download the TensorBoard logs of a job that was started with --tensorboard, and unpack them.

    What a single trial has logged: `nas jobs trial JOB TRIAL --logs`

    Example: `nas jobs logs 3cd14fbb6bd3`
    """
    from cli.watch import unpack_logs

    with connect(context, url) as client:
        folder = unpack_logs(client.job(job), out_dir or Path(f"nas-{job}-logs"))
    if as_json:
        say_json({"job": job, "folder": str(folder)})
    else:
        say(f"tensorboard --logdir {folder}")


def figure(
    context: typer.Context,
    job: JobId,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="curves, pareto, cells, verdict or incumbents", autocompletion=complete_figures
        ),
    ],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="file that ends in .svg or .png, or a folder; default: NAME.svg")
    ] = None,
    theme: Annotated[str, typer.Option(help="light or dark", autocompletion=one_of(("light", "dark")))] = "light",
    x: Annotated[str | None, typer.Option("--x", help="axis of pareto: params, macs, latency_ms or memory_mb")] = None,
    y: Annotated[str | None, typer.Option("--y", help="axis of pareto: accuracy, or one of those")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Draw a picture of a job for a report or a slide.

    Example: `nas jobs figure 3cd14fbb6bd3 pareto --x latency_ms -o pareto.png`
    """
    with connect(context, url) as client:
        path = client.job(job).figure(name, theme=theme, x=x, y=y).save(to or Path(f"{name}.svg"))
    _tell_path(path, as_json)


def report(
    context: typer.Context,
    job: JobId,
    to: Annotated[Path, typer.Option("--out", "-o", help="file to write, or a folder for it")] = Path("report.html"),
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Write a job's report: one page of HTML that needs nothing else.

    Example: `nas jobs report 3cd14fbb6bd3 -o report.html`
    """
    with connect(context, url) as client:
        path = client.job(job).report(to)
    _tell_path(path, as_json)


def predict(
    context: typer.Context,
    job: JobId,
    images: Images,
    top: Annotated[int, typer.Option(min=1, help="classes to print")] = 3,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Classify images with a job's finished model, on the service; nothing is downloaded.

    Example: `nas jobs predict 3cd14fbb6bd3 cat.png dog.png`
    """
    from nas.words import is_share

    with connect(context, url) as client:
        found = client.job(job)
        said = {str(image): found.predict(image) for image in images}
        shares = is_share(found.details()["metric"])
    if as_json:
        say_json(said)
        return
    for image, values in said.items():
        say(f"{image}: {_likeliest(values, top) if shares else _targets(values)}")


def events(
    context: typer.Context,
    job: JobId,
    after: Annotated[
        str | None,
        typer.Option(help="id of the last event that is known; `now`: only what is to come; default: from the start"),
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Print what happens in a job until it ends: a line of JSON for each epoch, trial and change of state.

    Example: `nas jobs events 3cd14fbb6bd3 --after now`
    """
    del as_json  # it is JSON in any case
    with connect(context, url) as client:
        for event in client.job(job).events(after):
            say_line(event)


def data(
    context: typer.Context,
    job: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help=", ".join(DATA), autocompletion=one_of(DATA))],
    limit: Annotated[int | None, typer.Option(min=1, help="items at the most, where there can be many")] = None,
    x: Annotated[
        str | None, typer.Option("--x", help="axis of points: params, macs, latency_ms, memory_mb, epoch or number")
    ] = None,
    y: Annotated[str | None, typer.Option("--y", help="axis of points: accuracy, or one of those")] = None,
    cursor: Annotated[str | None, typer.Option(help="of study: `next_cursor` of the page before")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Print the numbers behind a picture of the dashboard as JSON.

    Example: `nas jobs data 3cd14fbb6bd3 importances`

    Example: `nas jobs data 3cd14fbb6bd3 points --x latency_ms --y accuracy`
    """
    del as_json  # it is JSON in any case
    if name not in DATA:
        from nas.errors import InvalidInput

        raise InvalidInput("NAME", name, f"allowed: {', '.join(DATA)}")
    given: Mapping[str, Any] = {"limit": limit, "x": x, "y": y, "cursor": cursor}
    params = {option: value for option, value in given.items() if value is not None}
    say_json(ask(context, url, f"{job_path(job)}/{name}", params))


def export(
    context: typer.Context,
    job: JobId,
    optuna: Annotated[
        str, typer.Option("--optuna", metavar="URL", help="of an Optuna storage, such as sqlite:///study.db")
    ],
    study: Annotated[str | None, typer.Option(help="its name there; default: nas-JOB")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="delete a study of that name first")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Copy a job's trials into an Optuna storage, which optuna-dashboard opens. A model: `nas model onnx`.

    Example: `nas export 3cd14fbb6bd3 --optuna sqlite:///study.db && optuna-dashboard sqlite:///study.db`
    """
    if Path(job).exists():
        from nas.errors import InvalidInput

        mend = f"it is a file, and this takes the id of a job; `nas model onnx {job}` exports a model"
        raise InvalidInput("JOB", job, mend)
    with connect(context, url) as client:
        name = client.job(job).export(optuna, study, replace=replace)
    if as_json:
        say_json({"job": job, "study": name})
    else:
        say(f"study {name} is written")
        note("look at it with `optuna-dashboard` and the same URL")


def folder_of(job: str, trial: int | None) -> Path:
    """Where a model goes unless somebody says otherwise."""
    return Path(f"nas-{job}" if trial is None else f"nas-{job}-{trial}")


def _tell_path(path: Path, as_json: bool) -> None:
    if as_json:
        say_json({"path": str(path)})
    else:
        say(str(path))


def _likeliest(values: Mapping[str, float], top: int) -> str:
    """Classes with their probabilities."""
    ranked = sorted(values.items(), key=lambda pair: -pair[1])[:top]
    return ", ".join(f"{name} {share * 100:.1f} %" for name, share in ranked)


def _targets(values: Mapping[str, float]) -> str:
    """Targets of a regression with their values, which can be any number, also between 0 and 1."""
    return ", ".join(f"{name} {value:.6g}" for name, value in values.items())
