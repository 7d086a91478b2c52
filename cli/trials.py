"""`nas jobs trials`, `trial`, `pareto`, `best` and `retrain`: what a job has tried."""

import csv
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.completion import PHASES, SORTS, TRIAL_STATES, one_of
from cli.connect import ask, connect, job_path
from cli.options import DEFAULT_URL, JobId, Json, Number, Out, Url
from cli.output import called, figure, note, notes, out, say, say_json, say_line, say_table

if TYPE_CHECKING:
    from nas.client import Job

SHOWN: Final = 50
"""Trials that are listed unless more are asked for."""

PAGE: Final = 500
FOLLOW_S: Final = 1.0
ENDED: Final = ("complete", "pruned", "failed", "infeasible", "cancelled")

Phases = Annotated[
    list[str] | None,
    typer.Option("--phase", help=f"{', '.join(PHASES[:-1])} or {PHASES[-1]}; repeat it", autocompletion=one_of(PHASES)),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        help=f"{', '.join(TRIAL_STATES[:-1])} or {TRIAL_STATES[-1]}; repeat it",
        autocompletion=one_of(TRIAL_STATES),
    ),
]


def trials(
    context: typer.Context,
    job: JobId,
    sort: Annotated[
        str,
        typer.Option(
            help="number, accuracy, params or epoch; a minus in front, as in --sort=-accuracy: largest first",
            autocompletion=one_of(SORTS),
        ),
    ] = "number",
    state: States = None,
    phase: Phases = None,
    limit: Annotated[int, typer.Option(min=1, help="how many at the most")] = SHOWN,
    every: Annotated[bool, typer.Option("--all", help="all of them")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="comma-separated values, for a spreadsheet")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List a job's trials, sorted by the service.

    Example: `nas jobs trials 3cd14fbb6bd3 --sort=-accuracy --limit 10`

    Example: `nas jobs trials 3cd14fbb6bd3 --all --csv > trials.csv`
    """
    found, more, metric = _pages(
        context, url, job, {"sort": sort, "state": state, "phase": phase}, None if every else limit
    )
    if as_json:
        say_json(found)
        return
    if as_csv:
        _print_csv(found)
    else:
        say_table(
            ("trial", "phase", "state", called(metric, short=True), "epochs", "params", "latency", "why"),
            (
                (
                    f"{row['number']}{' *' if row['front'] else ''}",
                    row["phase"],
                    row["state"],
                    figure("accuracy", row["accuracy"], metric),
                    f"{row['epoch']}/{row['epochs']}",
                    figure("params", row["params"]),
                    None if row["latency_ms"] is None else f"{row['latency_ms']:.2f} ms",
                    row["reason"],
                )
                for row in found
            ),
            right=(called(metric, short=True), "epochs", "params", "latency"),
        )
    if more:
        note(f"there are more than these {len(found)}; --limit or --all shows them")


def trial(
    context: typer.Context,
    job: JobId,
    number: Number,
    logs: Annotated[bool, typer.Option("--logs", help="what it has logged")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="with --logs: go on until the trial ends")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show a trial: its network, its learning curve, where its time went, and what went wrong.

    With --follow, --json prints a line of JSON for each line.

    Example: `nas jobs trial 3cd14fbb6bd3 7`

    Example: `nas jobs trial 3cd14fbb6bd3 7 --logs --follow`
    """
    with connect(context, url) as client:
        found = client.job(job)
        if logs or follow:
            _print_logs(found, number, follow=follow, as_json=as_json)
            return
        detail = found.trial(number)
    if as_json:
        say_json(detail)
        return
    _print_trial(detail)


def best(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Show the best network so far, in the end the winner.

    Example: `nas jobs best 3cd14fbb6bd3 --json`
    """
    found = ask(context, url, f"{job_path(job)}/best")
    if as_json:
        say_json(found)
        return
    say(f"trial {found['trial']} of job {job}")
    metric = found["metric"]
    rows = {
        f"{called(metric)} on validation": figure("accuracy", found["accuracy"], metric),
        f"{called(metric)} on test": figure("accuracy", found["test_accuracy"], metric),
        "parameters": figure("params", found["params"]),
        "multiply-accumulates": figure("macs", found["macs"]),
        "cells": found["darts"],
        "verdict": (found["verdict"] or {}).get("text"),
    }
    for name, value in rows.items():
        if value:
            say(f"{name}: {value}")


def pareto(context: typer.Context, job: JobId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """List the networks that no other one is as good as in all objectives, the best by the first one first.

    Example: `nas jobs pareto 3cd14fbb6bd3`
    """
    with connect(context, url) as client:
        front = client.job(job).pareto()
    if as_json:
        say_json(front)
        return
    wanted = [objective["metric"] for objective in front["objectives"]]
    headings = [called(front["metric"], short=True) if name == "accuracy" else name for name in wanted]
    rows = (
        (
            member["trial"],
            *(figure(name, member["values"][name], front["metric"]) for name in wanted),
            "ready" if "model" in member["links"] else None,
        )
        for member in front["items"]
    )
    say_table(("trial", *headings, "model"), rows, right=headings)
    say(f"take one home with `nas jobs retrain {job} TRIAL`")


def retrain(
    context: typer.Context,
    job: JobId,
    trial: Number,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for it, then download its model")] = True,
    out_dir: Out = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Train the network of any trial of a search as finalists are, and download it.

    Example: `nas jobs retrain 3cd14fbb6bd3 7 --out small-model`
    """
    from cli.results import folder_of
    from cli.watch import summarise_alone, take_home, watch_trial

    with connect(context, url) as client:
        found = client.job(job)
        number = found.retrain(trial)
        told = {"job": job, "trial": trial, "retraining": number}
        tell = note if as_json else say
        tell(f"trial {trial} of job {job} is retrained as trial {number}")
        again = f"nas jobs retrain {job} {trial} --url {url}"
        if not wait:
            tell(f"wait for it and download it with `{again}`")
            if as_json:
                say_json(told)
            return
        try:
            shown = watch_trial(found, number, notes if as_json else out)
        except KeyboardInterrupt:
            tell(f"\nit goes on; wait for it again with `{again}`")
            raise typer.Exit(130) from None
        if shown["state"] != "complete":
            words = (shown["error"] or "").strip().splitlines()[-1:] or ["no message"]
            tell(f"the retraining {shown['state']}: {words[0]}")
            raise typer.Exit(1)
        package = take_home(found, out_dir or folder_of(job, trial), number)
    if as_json:
        say_json(told | {"package": str(package)})
    else:
        summarise_alone(package, out)


def _pages(
    context: typer.Context, url: str, job: str, params: Mapping[str, Any], limit: int | None
) -> tuple[list[dict[str, Any]], bool, str]:
    """So many trials, whether there are more, and what their accuracy is."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        page = ask(context, url, f"{job_path(job)}/trials", _known({**params, "cursor": cursor, "limit": size}))
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(found) == limit:
            return found, cursor is not None, page["metric"]


def _known(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value}


def _print_csv(found: list[dict[str, Any]]) -> None:
    columns = [name for name, value in found[0].items() if not isinstance(value, list)] if found else ["number"]
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)


def _print_logs(job: "Job", number: int, *, follow: bool, as_json: bool) -> None:
    """Prints a trial's lines, and with `follow` those that come, each of them once.

    As JSON it is one document, or with `follow` a line for each.
    """
    if as_json and not follow:
        say_json(job.logs(number))
        return
    printed: set[tuple[str, str, str]] = set()
    while True:
        ended = job.trial(number)["state"] in ENDED  # asked before the lines, so that the last ones are not missed
        log = job.logs(number)
        if log["cut"] and not printed:
            note("older lines are not kept")
        for line in log["items"]:
            mark = (line["at"], line["level"], line["text"])
            if mark in printed:
                continue
            printed.add(mark)
            if as_json:
                say_line(line)
            else:
                say(f"{line['at'][:19].replace('T', ' ')} {line['level']:7} {line['text']}")
        if ended or not follow:
            return
        time.sleep(FOLLOW_S)


def _print_trial(shown: Mapping[str, Any]) -> None:
    why = f", {shown['reason']}" if shown["reason"] else ""
    say(f"trial {shown['number']} ({shown['phase']}): {shown['state']}{why}")
    metric = shown["metric"]
    rows = {
        f"{called(metric)} on validation": figure("accuracy", shown["accuracy"], metric),
        "epochs": f"{shown['epoch']} of {shown['epochs']}" if shown["epochs"] else None,
        "parameters": figure("params", shown["params"]),
        "multiply-accumulates": figure("macs", shown["macs"]),
        "latency": None if shown["latency_ms"] is None else f"{shown['latency_ms']:.2f} ms",
        "worker": shown["worker"],
        "seconds": ", ".join(f"{name} {value:.1f}" for name, value in (shown["spent"] or {}).items()),
        "cells": shown["darts"],
    }
    for name, value in rows.items():
        if value:
            say(f"{name}: {value}")
    if shown["curve"]:
        say_table(
            ("epoch", "training loss", "validation loss", called(metric, short=True), "learning rate", "seconds"),
            (
                (
                    row["epoch"],
                    f"{row['train_loss']:.4f}",
                    f"{row['validation_loss']:.4f}",
                    figure("accuracy", row["validation_accuracy"], metric),
                    f"{row['lr']:.3g}",
                    f"{row['seconds']:.1f}",
                )
                for row in shown["curve"]
            ),
        )
    for setback in shown["setbacks"]:
        say(f"attempt {setback['attempt']} ended badly ({setback['reason']})")
    if shown["error"]:
        say(shown["error"].rstrip())
