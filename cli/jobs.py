"""`nas jobs`: list, show, watch and steer the jobs of a running service."""

from datetime import datetime
from typing import Annotated, Any, Final

import typer

from cli.completion import JOB_STATES, one_of
from cli.connect import connect
from cli.fields import put
from cli.options import DEFAULT_URL, Assignments, JobId, Json, Url
from cli.output import note, notes, out, say, say_json, say_table, say_text

ROOMY: Final = 110
"""Columns of a terminal that all columns of the list fit into."""

States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        help="queued, running, paused, finalizing, succeeded, failed or cancelled; repeat it",
        autocompletion=one_of(JOB_STATES),
    ),
]


def list_by_default(context: typer.Context, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Without a command of its own, `nas jobs` is `nas jobs list`."""
    if context.invoked_subcommand is None:
        list_jobs(context, None, None, None, as_json, url)


def list_jobs(
    context: typer.Context,
    state: States = None,
    search: Annotated[str | None, typer.Option(help="text in the id, name, data set or strategy")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="how many at the most; default: all")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the jobs of a running service, newest first, with the best score on validation so far.

    Example: `nas jobs list --state running --search digits`
    """
    from nas.words import named

    with connect(context, url) as client:
        found = client.jobs(state=state or (), q=search, limit=limit).summaries
    if as_json:
        say_json(found)
        return
    roomy = out.width >= ROOMY
    columns = ("job", "name", "state", "data set", "strategy", "done", "best", "created")
    shown = [name for name in columns if roomy or name not in ("strategy", "done")]
    rows = (
        {
            "job": job["id"],
            "name": job["name"],
            "state": job["state"],
            "data set": job["dataset"],
            "strategy": job["strategy"],
            "done": f"{job['progress']:.0%}",
            "best": named(job["best_accuracy"], job["metric"]),
            "created": f"{datetime.fromisoformat(job['created_at']).astimezone():{'%Y-' if roomy else ''}%m-%d %H:%M}",
        }
        for job in found
    )
    say_table(shown, ([row[name] for name in shown] for row in rows))


def show(
    context: typer.Context,
    job: JobId,
    spec: Annotated[bool, typer.Option("--spec", help="all that was asked for, defaults filled in, as JSON")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show how a job is now.

    Example: `nas jobs show 3cd14fbb6bd3`

    Example: `nas jobs show 3cd14fbb6bd3 --spec > job.json`, then `nas search job.json`
    """
    with connect(context, url) as client:
        found = client.job(job)
        if spec:
            say_json(found.details()["spec"])
        elif as_json:
            say_json(found.dashboard())
        else:
            from cli.live import outcome, picture

            shown = found.dashboard()
            out.print(picture(shown, out.width))
            say_text(outcome(shown))
            say(found.url)


def watch_job(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Show a job live until it ends. Ctrl-C leaves it running.

    The status is 0 if it succeeded, and 1 if it failed or was cancelled.

    Example: `nas jobs watch 3cd14fbb6bd3 && nas jobs download 3cd14fbb6bd3`
    """
    from cli.live import outcome
    from cli.watch import watch

    with connect(context, url) as client:
        found = client.job(job)
        try:
            shown = watch(found, notes if as_json else out)
        except KeyboardInterrupt:
            note(f"\nthe job goes on; come back with `nas jobs watch {job} --url {url}`")
            raise typer.Exit(130) from None
    if as_json:
        say_json(shown)
    else:
        say_text(outcome(shown))
    raise typer.Exit(0 if shown["job"]["state"] == "succeeded" else 1)


def cancel(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Cancel a job and what is left of it.

    Example: `nas jobs cancel 3cd14fbb6bd3`
    """
    with connect(context, url) as client:
        _tell(client.job(job).cancel(), as_json)


def pause(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Let a job rest where it is; its workers are free within seconds.

    Example: `nas jobs pause 3cd14fbb6bd3`
    """
    with connect(context, url) as client:
        _tell(client.job(job).pause(), as_json, f"; go on with `nas jobs resume {job}`")


def resume(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused job go on exactly where it was.

    Example: `nas jobs resume 3cd14fbb6bd3`
    """
    with connect(context, url) as client:
        _tell(client.job(job).resume(), as_json)


def extend(
    context: typer.Context,
    job: JobId,
    trials: Annotated[int | None, typer.Option(help="architectures to try, with those so far")] = None,
    total_epochs: Annotated[int | None, typer.Option(help="epochs of the whole search, with those so far")] = None,
    seconds: Annotated[float | None, typer.Option(help="wall clock of the whole job, with what it has had")] = None,
    target: Annotated[float | None, typer.Option(help="the search ends when a trial scores this")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Raise a job's budget; one that has ended searches on, and keeps its model until it has a new one.

    Example: `nas jobs extend 3cd14fbb6bd3 --trials 48`
    """
    budget: Any = {"trials": trials, "total_epochs": total_epochs, "seconds": seconds, "target": target}
    with connect(context, url) as client:
        _tell(client.job(job).extend(**budget), as_json, f"; watch it with `nas jobs watch {job}`")


def rename(
    context: typer.Context,
    job: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="for you to recognise the job by; '' takes it away")],
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Give a job another name.

    Example: `nas jobs rename 3cd14fbb6bd3 "photos, small"`
    """
    with connect(context, url) as client:
        _tell_change(client.job(job).change(name=name or None), as_json)


def priority(
    context: typer.Context,
    job: JobId,
    value: Annotated[
        int, typer.Argument(metavar="N", help="jobs of a higher one get workers first; 0 is usual, -100 to 100")
    ],
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Give a job another priority.

    Example: `nas jobs priority 3cd14fbb6bd3 5`
    """
    with connect(context, url) as client:
        _tell_change(client.job(job).change(priority=value), as_json)


def clone(
    context: typer.Context, job: JobId, set_: Assignments = None, as_json: Json = False, url: Url = DEFAULT_URL
) -> None:
    """Ask for a job like another one, but for some fields.

    Example: `nas jobs clone 3cd14fbb6bd3 --set seed=1 --set budget.trials=48`
    """
    changes: dict[str, Any] = {}
    for assignment in set_ or ():
        put(changes, assignment)
    with connect(context, url) as client:
        made = client.job(job).clone(**changes)
        if as_json:
            say_json(made.details())
        else:
            say(f"job {made.id}; watch it with `nas jobs watch {made.id}`")


def delete(
    context: typer.Context,
    job: JobId,
    force: Annotated[bool, typer.Option("--force", help="cancel it first if it has not ended")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Delete a job that has ended, with its trials and files.

    Example: `nas jobs delete 3cd14fbb6bd3`
    """
    with connect(context, url) as client:
        client.job(job).delete(force=force)
    if as_json:
        say_json({"deleted": job})
    else:
        say(f"job {job} is deleted")


def open_job(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Open a job's page in a browser, and print its address.

    Example: `nas open 3cd14fbb6bd3`
    """
    import webbrowser

    with connect(context, url) as client:
        page = client.job(job).url
    if as_json:
        say_json({"url": page})
    else:
        say(page)
    webbrowser.open(page)


def _tell(job: Any, as_json: bool, more: str = "") -> None:
    if as_json:
        say_json(job.details())
    else:
        say(f"job {job.id} is {job.state}{more}")


def _tell_change(job: Any, as_json: bool) -> None:
    found = job.details()
    if as_json:
        say_json(found)
    else:
        named = f"called {found['name']!r}" if found["name"] else "without a name"
        say(f"job {job.id} is {named}, of priority {found['priority']}")
