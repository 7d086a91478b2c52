"""Whether a search has collapsed or come to rest, by the genotypes of its epochs."""

from collections.abc import Sequence

from nas.oneshot.discretise import skip_share
from nas.oneshot.plan import Plan
from nas.space import CellSpace, Genotype


def collapsed(genotypes: Sequence[Genotype], plan: Plan, space: CellSpace) -> str | None:
    """Why the last genotype counts as a collapse onto skip connections; None if it does not.

    The first epoch after the warm-up never does: its parameters have hardly learnt anything. Nor does one of a space
    that has nothing else to choose.
    """
    if len(genotypes) < max(2, plan.warm_up + 1) or set(space.ops) <= {"skip_connect", "none"}:
        return None
    share = skip_share(genotypes[-1])
    if share <= plan.max_skip:
        return None
    return (
        f"it collapsed in epoch {len(genotypes)}: skip connections are {share:.0%} of the chosen edges, more than "
        f"{plan.max_skip:.0%}; the genotype of the epoch before comes first"
    )


def settled(genotypes: Sequence[Genotype], plan: Plan) -> str | None:
    """Why nothing more is to be expected: the genotype has not changed for as long as the plan waits."""
    since = genotypes[plan.warm_up :]
    if len(since) <= plan.patience or len(set(since[-plan.patience - 1 :])) > 1:
        return None
    return f"it ended after epoch {len(genotypes)}: the genotype has not changed for {plan.patience} epochs"
