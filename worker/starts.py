"""What the first trials of a search train: the user's genotypes, then what was prepared."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nas.search.catalog import strategies
from nas.search.screening import Scored, combine, warm_start
from nas.seeds import derive
from nas.space import Candidate, CellSpace, Genotype, JointSpace, LayerSpace
from nas.spec import JobSpec


def prepared_starts(spec: JobSpec, prepared: Sequence[dict[str, Any]]) -> list[Candidate]:
    """The starts of a search, in order.

    Args:
        spec: of the job.
        prepared: what its screening or its supernet found, in the order of their trials.
    """
    space = spec.search_space()
    own = [
        _dressed(genotype, space, derive(spec.seed, "start", number)) for number, genotype in enumerate(spec.starts())
    ]
    found: list[Candidate] = []
    match strategies()[spec.strategy].prepares:
        case "supernet":
            found = [Candidate.from_json(entry["candidate"]) for entry in prepared]
        case "screening":
            scored = [Scored.from_json(entry) for entry in prepared]
            candidates = [one.candidate for one in scored]
            seed = derive(spec.seed, "warm start")
            found = warm_start(candidates, combine(scored), trials=spec.budget.trials, seed=seed)
    return list({space.digest(candidate): candidate for candidate in reversed(own + found)}.values())[::-1]


def _dressed(genotype: Genotype, space: CellSpace | LayerSpace | JointSpace, seed: int) -> Candidate:
    """A start in the space's frame, with its edges in the space's order; what else is open is drawn."""
    ordered = Genotype(
        *(
            replace(cell, nodes=tuple(tuple(sorted(edges, key=lambda edge: edge.source)) for edges in cell.nodes))
            for cell in (genotype.normal, genotype.reduce)
        )
    )
    drawn = space.sample(np.random.default_rng(seed))
    return replace(drawn, architecture=ordered)
