"""`nas jobs`: list, show, watch, cancel and download the jobs of a running service, and retrain what they found."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nas.client import DEFAULT_URL, Client

jobs_app = typer.Typer(help="List, show, watch, cancel and download the jobs of a running service.")
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
    with Client(url) as client:
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
def show(job: str, url: Url = DEFAULT_URL) -> None:
    """Print a job's dashboard as JSON."""
    with Client(url) as client:
        out.print_json(data=client.dashboard(job))


@jobs_app.command("watch")
def watch_job(job: str, url: Url = DEFAULT_URL) -> None:
    """Show a job's progress until it ends."""
    from cli.watch import watch

    with Client(url) as client:
        shown = watch(client, job, out)
    out.print(f"{shown['job']['state']}: {shown['job']['reason'] or shown['verdict']['text']}", highlight=False)
    raise typer.Exit(0 if shown["job"]["state"] == "succeeded" else 1)


@jobs_app.command()
def cancel(job: str, url: Url = DEFAULT_URL) -> None:
    """Cancel a job and what is left of it."""
    with Client(url) as client:
        out.print(f"job {job} is {client.cancel(job)}", highlight=False)


@jobs_app.command()
def download(
    job: str,
    trial: Annotated[int | None, typer.Option(help="a trial that was retrained; default: the job's winner")] = None,
    out_dir: Out = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Download a job's model, or that of a trial that was retrained, and unpack it."""
    from cli.watch import summarise, summarise_alone, take_home

    with Client(url) as client:
        package = take_home(client, job, out_dir or _folder(job, trial), trial)
        if trial is None:
            summarise(client.dashboard(job), package, out)
        else:
            summarise_alone(package, out)


@jobs_app.command()
def pareto(job: str, url: Url = DEFAULT_URL) -> None:
    """List the networks that no other one is as good as in all objectives, the best by the first one first."""
    with Client(url) as client:
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
    job: str,
    trial: Annotated[int, typer.Argument(min=0, help="number of a trial of the search")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for it, then download its model")] = True,
    out_dir: Out = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Train the network of any trial of a search as finalists are, and download it."""
    from cli.watch import summarise_alone, take_home, watch_trial

    with Client(url) as client:
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
def logs(job: str, out_dir: Out = None, url: Url = DEFAULT_URL) -> None:
    """Download the TensorBoard logs of a job that was started with --tensorboard, and unpack them."""
    from cli.watch import unpack_logs

    with Client(url) as client:
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
