"""Whether the supernet ordered the finalists as their stand-alone trainings do: Kendall's tau."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from nas.oneshot.judging import kendall_tau
from nas.result.publish import Retrained


def agreement(supernet: Sequence[tuple[str, float]], finalists: Sequence[Retrained]) -> dict[str, Any]:
    """How the supernet's scores go with the finalists' mean validation accuracies.

    Args:
        supernet: (digest, score) of the networks that it handed over; a larger score is better.
        finalists: their retrainings.

    Returns:
        `kendall_tau` (tau-b; None where fewer than two networks can be told apart), `n`, `networks` with
        their scores, and `text`, all of it in words.
    """
    trained: dict[str, list[float]] = {}
    for run in finalists:
        trained.setdefault(run.digest, []).append(run.validation_accuracy)
    scores = {digest: score for digest, score in supernet if digest in trained}
    tau = kendall_tau([(score, fmean(trained[digest])) for digest, score in scores.items()])
    networks = [
        {"digest": digest, "supernet": score, "validation_accuracy": fmean(trained[digest])}
        for digest, score in scores.items()
    ]
    return {"kendall_tau": tau, "n": len(networks), "networks": networks, "text": _text(tau, len(networks))}


def _text(tau: float | None, count: int) -> str:
    if count < 2:
        found = f"{count} {'is' if count == 1 else 'are'} among the finalists"
        return f"Of what the supernet handed over, {found}: with a larger final.finalists its order could be compared."
    if tau is None:
        return f"The supernet's scores or the trainings of the {count} finalists do not tell them apart."
    return (
        f"Between the supernet's order of the {count} finalists and that of their own trainings Kendall's tau is "
        f"{tau:+.2f} (1: the same order, 0: nothing in common, -1: turned round)."
    )
