"""The tasks that networks are trained for, their losses and metrics by name. No torch: the API checks names here."""

from typing import Final

from nas import plugins
from nas.errors import InvalidInput

LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "single_label": ("cross_entropy",),
    "multi_label": ("bce",),
    "regression": ("mse", "l1", "huber"),
}
"""Task → its losses; the first is what `default` stands for. What they compute stands in nas.train.losses."""

METRICS: Final[dict[str, tuple[str, ...]]] = {
    "single_label": ("accuracy", "top5", "macro_f1"),
    "multi_label": ("map", "macro_f1", "accuracy"),
    "regression": ("r2", "mae", "rmse"),
}
"""Task → what is measured; top5 only of more than five classes. How stands in nas.train.metrics."""

SCORE: Final[dict[str, str]] = {"single_label": "accuracy", "multi_label": "map", "regression": "r2"}
"""Task → the metric that a search maximises, early stopping watches, and an epoch's `validation_accuracy` holds."""


def allowed_losses(task: str) -> tuple[str, ...]:
    """What `recipe.loss` may be for a task: `default`, the task's losses, and the user's own (nas.plugins)."""
    return "default", *LOSSES[task], *(name for name in plugins.losses() if name not in LOSSES[task])


def check_loss(name: str, task: str) -> None:
    """Raises InvalidInput for a loss that the task does not know."""
    if name not in allowed_losses(task):
        raise InvalidInput("recipe.loss", name, f"for {task} it can be {', '.join(allowed_losses(task))}")
