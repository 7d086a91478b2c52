"""What there is to watch in a search: its shares, and whether it has collapsed or come to rest."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from nas.oneshot.discretise import Strengths, skip_share
from nas.oneshot.mixing import edge_places
from nas.oneshot.plan import Plan
from nas.space import CellSpace, Genotype

DIGITS: Final = 3
"""Of a share that is shown."""


def shown_shares(space: CellSpace, shares: Strengths | None, edge_shares: Strengths | None = None) -> dict[str, Any]:
    """What a heat map is drawn of, as JSON.

    Args:
        space: the candidates.
        shares: of the operations on every edge; None of a search that learns none.
        edge_shares: kind of cell → [edges], of the edges into each node; None where all count 1.

    Returns:
        `alpha`: kind of cell → for every edge the shares of its operations, or null; `alpha_edges`: their names, such
        as `3←1`; `alpha_ops`: those of the operations; `alpha_edge_shares`: kind of cell → of every edge, or null.
    """
    tables = {"alpha": shares, "alpha_edge_shares": edge_shares}
    return {
        **{
            name: None if table is None else {kind: np.round(table[kind], DIGITS).tolist() for kind in table}
            for name, table in tables.items()
        },
        "alpha_edges": [f"{node}←{source}" for node, source in edge_places(space.nodes)],
        "alpha_ops": list(space.ops),
    }


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
