"""How good the outputs of a network are, by its task."""

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

# torchmetrics is imported where it is used: it takes a second, which processes that only load a model need not wait for


def measure(task: str, outputs: Float[Tensor, "n k"], targets: Shaped[Tensor, "n ..."]) -> dict[str, float]:
    """The metrics of a task (nas.train.tasks.METRICS), each a finite number.

    Args:
        task: single_label, multi_label or regression.
        outputs: logits; of a regression in the targets' units.
        targets: classes int64 [n]; labels 0 or 1 [n, k]; targets float [n, k].
    """
    return _MEASURES[task](outputs, targets)


def _single_label(logits: Float[Tensor, "n k"], classes: Int64[Tensor, " n"]) -> dict[str, float]:
    """Shares of the images whose class comes first, or among the first five; F1, the mean over classes that occur."""
    from torchmetrics.functional.classification import multiclass_stat_scores

    count = logits.shape[1]
    found = multiclass_stat_scores(logits, classes, count, average=None, validate_args=False)
    metrics = {"accuracy": _share(found[:, 0], found[:, 4])}
    if count > 5:
        top = multiclass_stat_scores(logits, classes, count, top_k=5, average="micro", validate_args=False)
        metrics["top5"] = _share(top[0], top[4])
    return metrics | {"macro_f1": _macro_f1(found)}


def _multi_label(logits: Float[Tensor, "n k"], labels: Shaped[Tensor, "n k"]) -> dict[str, float]:
    """Mean average precision over the labels that some image has, 0 if none has any; F1 and decisions at logit 0."""
    from torchmetrics.functional.classification import multilabel_stat_scores

    labels = labels.long()
    found = multilabel_stat_scores((logits > 0).long(), labels, labels.shape[1], average=None, validate_args=False)
    found = found.view(-1, 5)  # of one label they come without this dimension
    return {
        "map": _mean_average_precision(logits, labels),
        "macro_f1": _macro_f1(found),
        "accuracy": _share(found[:, 0] + found[:, 2], torch.full_like(found[:, 0], len(labels))),
    }


def _regression(outputs: Float[Tensor, "n t"], targets: Float[Tensor, "n t"]) -> dict[str, float]:
    """Errors are means over images and targets, in the targets' units."""
    from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

    outputs, targets = outputs.double(), targets.double()
    return {
        "r2": _r2(outputs, targets),
        "mae": mean_absolute_error(outputs, targets).item(),
        "rmse": mean_squared_error(outputs, targets, squared=False).item(),
    }


_MEASURES: Final[dict[str, Callable[[Tensor, Tensor], dict[str, float]]]] = {
    "single_label": _single_label,
    "multi_label": _multi_label,
    "regression": _regression,
}


def _r2(outputs: Float[Tensor, "n t"], targets: Float[Tensor, "n t"]) -> float:
    """The mean over the targets; one that does not vary counts 1 if it is met and 0 if not, as in scikit-learn.

    Measured in units of each target's own deviation, which R² does not depend on: torchmetrics takes squares of less
    than 1e-4 for 0, and large means would take the digits.
    """
    from torchmetrics.functional.regression import r2_score

    varies = (targets != targets[0]).any(dim=0)
    met = (outputs == targets).all(dim=0)
    total = met[~varies].sum().item()
    if varies.any():
        outputs, targets = outputs[:, varies], targets[:, varies]
        mean, std = targets.mean(dim=0), targets.std(dim=0, correction=0)
        total += r2_score((outputs - mean) / std, (targets - mean) / std, multioutput="raw_values").sum().item()
    return total / len(varies)


def _mean_average_precision(logits: Float[Tensor, "n k"], labels: Int64[Tensor, "n k"]) -> float:
    from torchmetrics.functional.classification import multilabel_average_precision

    some = labels.any(dim=0)
    if not some.any():
        return 0.0
    # In doubles: the sigmoid that is taken there makes all logits above 17 equal in floats, and it is ranks that count.
    ranked, labels = logits[:, some].double(), labels[:, some]
    precision = multilabel_average_precision(ranked, labels, labels.shape[1], average=None, validate_args=False)
    return precision.double().mean().item()


def _macro_f1(found: Int64[Tensor, "k 5"]) -> float:
    """The mean over all classes, or labels, that are in the targets or in the predictions; 0 if there are none."""
    hits, false_alarms, _, misses, _ = found.double().unbind(dim=1)
    among = 2 * hits + false_alarms + misses
    return (2 * hits / among)[among > 0].mean().item() if (among > 0).any() else 0.0


def _share(part: Int64[Tensor, "..."], whole: Int64[Tensor, "..."]) -> float:
    return int(part.sum()) / int(whole.sum())
