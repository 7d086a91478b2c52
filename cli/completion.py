"""What the shell completes: ids and names from a service, or where none answers at once what comes with the program."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import typer

PATIENCE_S: Final = 1.0
"""Nobody waits longer for a Tab."""

NEWEST: Final = 50
FIGURES: Final = ("curves", "pareto", "cells", "verdict", "incumbents")
"""The pictures that a job has."""

JOB_STATES: Final = ("queued", "running", "paused", "finalizing", "succeeded", "failed", "cancelled")
TRIAL_STATES: Final = ("queued", "running", "paused", "complete", "pruned", "infeasible", "failed", "cancelled")
PHASES: Final = ("screening", "supernet", "search", "finalist", "control", "reference", "report", "retrain")
SORTS: Final = tuple(sign + name for name in ("number", "accuracy", "params", "epoch") for sign in ("", "-"))
PRUNING: Final = ("halving", "hyperband", "median", "none")
METRICS: Final = ("accuracy", "params", "macs", "latency_ms", "memory_mb")


def complete_jobs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs, each with what tells it from others."""
    found = _ask(context, "/v1/jobs", {"limit": NEWEST})
    told = ((job["id"], " ".join(filter(None, (job["state"], job["dataset"], job["name"])))) for job in found or ())
    return [(job, help_) for job, help_ in told if job.startswith(incomplete)]


def complete_datasets(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The data sets."""
    return list(_named(context, "/v1/datasets", incomplete, _datasets_here))


def complete_strategies(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The strategies."""
    return list(_named(context, "/v1/strategies", incomplete, _strategies_here))


def complete_operations(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The operations."""
    return list(_named(context, "/v1/operations", incomplete, _operations_here))


def complete_genotypes(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The published genotypes."""
    return list(_named(context, "/v1/genotypes", incomplete, _genotypes_here))


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Completes words that are known beforehand."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


complete_figures, complete_pruning, complete_objectives = one_of(FIGURES), one_of(PRUNING), one_of(METRICS)


def _datasets_here() -> Iterable[str]:
    from nas.data.facts import BUILTIN_FACTS

    return BUILTIN_FACTS


def _strategies_here() -> Iterable[str]:
    from nas.search.catalog import STRATEGIES

    return STRATEGIES


def _operations_here() -> Iterable[str]:
    from nas.space.operations import OPERATIONS

    return OPERATIONS


def _genotypes_here() -> Iterable[str]:
    from nas.space.known import KNOWN

    return KNOWN


def _named(
    context: typer.Context, path: str, incomplete: str, here: Callable[[], Iterable[str]]
) -> Iterator[tuple[str, str]]:
    found = _ask(context, path, {})
    told = ((one["name"], one.get("summary") or one.get("source") or "") for one in found or ())
    for name, help_ in ((name, "") for name in here()) if found is None else told:
        if name.startswith(incomplete):
            yield name, help_


def _ask(context: typer.Context, path: str, params: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The items of a list of the service that the command line names so far; None where none answers."""
    import httpx

    from cli.options import DEFAULT_URL

    environ: Mapping[str, str] = context.obj or {}
    url = context.params.get("url") or environ.get("NAS_URL") or DEFAULT_URL
    key = environ.get("NAS_API_KEY", "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url.rstrip('/')}{path}", params=dict(params), headers=headers, timeout=PATIENCE_S)
        items: list[dict[str, Any]] | None = answer.json()["items"] if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError):
        return None  # a shell that completes has no place for messages
    return items
