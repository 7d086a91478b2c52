"""`nas jobs`: list, watch, steer and download the jobs of a running service, and retrain what they found."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.connect import connect
from cli.fields import put
from nas.client import DEFAULT_URL

jobs_app = typer.Typer(
    help="List, watch, pause, extend, clone, cancel, delete and download the jobs of a running service."
)
out = Console(soft_wrap=False)

Url = Annotated[str, typer.Option(envvar="NAS_URL", help="the running service")]
Out = Annotated[Path | None, typer.Option("--out", help="folder; default: named after the job")]


@jobs_app.callback(invoke_without_command=True)
def list_jobs(context: typer.Context, url: Url = DEFAULT_URL) -> None:
    """List the jobs of a running service, newest first."""
    if context.invoked_subcommand is not None:
        return
    table = Table()
    table.add_column("job", no_wrap=True)  # the one that people copy
    for heading in ("name", "state", "dataset", "strategy", "best on validation", "created"):
        table.add_column(heading)
    with connect(context, url) as client:
        for job in client.jobs():
            best = job["best_accuracy"]
            created = datetime.fromisoformat(job["created_at"]).astimezone()
            table.add_row(
                job["id"],
                job["name"] or "",
                job["state"],
                job["dataset"],
                job["strategy"],
                "" if best is None else f"{best * 100:.2f} %",
                f"{created:%Y-%m-%d %H:%M}",
            )
    out.print(table)


@jobs_app.command()
def show(context: typer.Context, job: str, url: Url = DEFAULT_URL) -> None:
    """Print a job's dashboard as JSON."""
    with connect(context, url) as client:
        out.print_json(data=client.dashboard(job))


@jobs_app.command("watch")
def watch_job(context: typer.Context, job: str, url: Url = DEFAULT_URL) -> None:
    """Show a job's progress until it ends."""
    from cli.watch import watch

    with connect(context, url) as client:
        shown = watch(client, job, out)
    out.print(f"{shown['job']['state']}: {shown['job']['reason'] or shown['verdict']['text']}", highlight=False)
    raise typer.Exit(0 if shown["job"]["state"] == "succeeded" else 1)


@jobs_app.command()
def cancel(context: typer.Context, job: str, url: Url = DEFAULT_URL) -> None:
    """Cancel a job and what is left of it."""
    with connect(context, url) as client:
        out.print(f"job {job} is {client.cancel(job)}", highlight=False)


@jobs_app.command()
def pause(context: typer.Context, job: str, url: Url = DEFAULT_URL) -> None:
    """Let a job rest where it is; its workers are free within seconds."""
    with connect(context, url) as client:
        out.print(f"job {job} is {client.pause(job)}; go on with `nas jobs resume {job}`", highlight=False)


@jobs_app.command()
def resume(context: typer.Context, job: str, url: Url = DEFAULT_URL) -> None:
    """Let a paused job go on exactly where it was."""
    with connect(context, url) as client:
        out.print(f"job {job} is {client.resume(job)}", highlight=False)


@jobs_app.command()
def extend(
    context: typer.Context,
    job: str,
    trials: Annotated[int | None, typer.Option(help="architectures to try, with those so far")] = None,
    total_epochs: Annotated[int | None, typer.Option(help="epochs of the whole search, with those so far")] = None,
    seconds: Annotated[float | None, typer.Option(help="wall clock of the whole job, with what it has had")] = None,
    target: Annotated[float | None, typer.Option(help="the search ends when a trial scores this")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Raise a job's budget; one that has ended searches on, and keeps its model until it has a new one.

    Example: `nas jobs extend 3cd14fbb6bd3 --trials 48`
    """
    budget = {"trials": trials, "total_epochs": total_epochs, "seconds": seconds, "target": target}
    with connect(context, url) as client:
        state = client.extend(job, {name: value for name, value in budget.items() if value is not None})
    out.print(f"job {job} is {state}; watch it with `nas jobs watch {job}`", highlight=False)


@jobs_app.command()
def clone(
    context: typer.Context,
    job: str,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="what is to be otherwise; repeat it")
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Ask for a job like another one, but for some fields.

    Example: `nas jobs clone 3cd14fbb6bd3 --set seed=1 --set budget.trials=48`
    """
    changes: dict[str, Any] = {}
    for assignment in set_ or ():
        put(changes, assignment)
    with connect(context, url) as client:
        made = client.clone(job, changes)
    out.print(f"job {made}; watch it with `nas jobs watch {made}`", highlight=False)


@jobs_app.command()
def delete(
    context: typer.Context,
    job: str,
    force: Annotated[bool, typer.Option("--force", help="cancel it first if it has not ended")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Delete a job that has ended, with its trials and files."""
    with connect(context, url) as client:
        client.delete(job, force=force)
    out.print(f"job {job} is deleted", highlight=False)


@jobs_app.command()
def download(
    context: typer.Context,
    job: str,
    trial: Annotated[int | None, typer.Option(help="a trial that was retrained; default: the job's winner")] = None,
    out_dir: Out = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Download a job's model, or that of a trial that was retrained, and unpack it."""
    from cli.watch import summarise, summarise_alone, take_home

    with connect(context, url) as client:
        package = take_home(client, job, out_dir or _folder(job, trial), trial)
        if trial is None:
            summarise(client.dashboard(job), package, out)
        else:
            summarise_alone(package, out)


@jobs_app.command()
def pareto(context: typer.Context, job: str, url: Url = DEFAULT_URL) -> None:
    """List the networks that no other one is as good as in all objectives, the best by the first one first."""
    with connect(context, url) as client:
        front = client.pareto(job)
    table = Table()
    table.add_column("trial", no_wrap=True)
    metrics = [objective["metric"] for objective in front["objectives"]]
    for metric in metrics:
        table.add_column(metric, justify="right")
    table.add_column("model", no_wrap=True)
    for member in front["items"]:
        table.add_row(
            str(member["trial"]),
            *(_figure(metric, member["values"][metric]) for metric in metrics),
            "ready" if "model" in member["links"] else "",
        )
    out.print(table, highlight=False)
    out.print(f"take one home with `nas jobs retrain {job} TRIAL`", highlight=False, soft_wrap=True)


@jobs_app.command()
def retrain(
    context: typer.Context,
    job: str,
    trial: Annotated[int, typer.Argument(min=0, help="number of a trial of the search")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for it, then download its model")] = True,
    out_dir: Out = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Train the network of any trial of a search as finalists are, and download it."""
    from cli.watch import summarise_alone, take_home, watch_trial

    with connect(context, url) as client:
        number = client.retrain(job, trial)
        out.print(f"trial {trial} of job {job} is retrained as trial {number}", highlight=False, soft_wrap=True)
        again = f"nas jobs retrain {job} {trial} --url {url}"
        if not wait:
            out.print(f"wait for it and download it with `{again}`", highlight=False, soft_wrap=True)
            return
        try:
            shown = watch_trial(client, job, number, out)
        except KeyboardInterrupt:
            out.print(f"\nit goes on; wait for it again with `{again}`", highlight=False, soft_wrap=True)
            raise typer.Exit(130) from None
        if shown["state"] != "complete":
            words = (shown["error"] or "").strip().splitlines()[-1:] or ["no message"]
            out.print(f"the retraining {shown['state']}: {words[0]}", highlight=False, soft_wrap=True)
            raise typer.Exit(1)
        package = take_home(client, job, out_dir or _folder(job, trial), number)
    summarise_alone(package, out)


@jobs_app.command()
def logs(context: typer.Context, job: str, out_dir: Out = None, url: Url = DEFAULT_URL) -> None:
    """Download the TensorBoard logs of a job that was started with --tensorboard, and unpack them."""
    from cli.watch import unpack_logs

    with connect(context, url) as client:
        folder = unpack_logs(client, job, out_dir or Path(f"nas-{job}-logs"))
    out.print(f"tensorboard --logdir {folder}", highlight=False, soft_wrap=True)


def _folder(job: str, trial: int | None) -> Path:
    return Path(f"nas-{job}" if trial is None else f"nas-{job}-{trial}")


def _figure(metric: str, value: Any) -> str:
    if value is None:
        return ""
    if metric == "accuracy":
        return f"{value * 100:.2f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
