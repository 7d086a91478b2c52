"""How a model sees the candidates of any space: numbers in which like candidates are near, and mutations of many."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas.space import Categorical, CellSpace, Distribution, Integer, JointSpace, LayerSpace, Real, Space, Value
from nas.space.genotype import INPUTS
from nas.space.parameters import has_choice

C = TypeVar("C")
Floats = NDArray[np.float64]

HALF: Final = 2.0
"""Two numbers half a range apart are as different as two choices."""

SPREADS: Final = (0.05, 0.2)
"""Standard deviations of a mutation of a number, as shares of its range."""


class Node(NamedTuple):
    """Columns of a computed node of a cell: its sources (None if there is but one pair), and its two operations."""

    number: int
    sources: int | None
    ops: tuple[int, int]


class Encoder(Generic[C]):
    """Candidates of one space as rows of codes (a choice's index, or the number itself) and as rows of features.

    Args:
        space: whose candidates they are.

    Attributes:
        groups: of each feature, which part of the candidate it belongs to, from 0: the edges of a cell, the counts of
            its operations, a parameter, or the counts of choices that several parameters have in common.
    """

    def __init__(self, space: Space[C]) -> None:
        self._space = space
        self._distributions = list(space.distributions().values())
        self._column = {name: index for index, name in enumerate(space.distributions())}
        self._tables = [_table(found) for found in self._distributions]
        self._open = [index for index, found in enumerate(self._distributions) if has_choice(found)]
        whole: object = space
        base = whole.base if isinstance(whole, JointSpace) else whole
        self._layers = base if isinstance(base, LayerSpace) else None
        self._cells = [self._nodes(base, cell) for cell in ("normal", "reduce")] if isinstance(base, CellSpace) else []
        of_cells = set(base.distributions()) if isinstance(base, CellSpace) else set()
        self._others = [
            column for name, column in self._column.items() if column in self._open and name not in of_cells
        ]
        self._alike = self._with_the_same_choices()
        units = len(self._others) + sum(len(node.ops) for cell in self._cells for node in cell)
        self._scale = 1 / math.sqrt(max(units, 1))
        blocks = self._blocks(np.zeros((1, len(self._column))) + [_any(found) for found in self._distributions])
        self.groups = np.concatenate([np.full(block.shape[1], group, np.intp) for group, block in enumerate(blocks)])

    def codes(self, candidates: Sequence[C]) -> Floats:
        """One row a candidate, one column a parameter. Raises ValueError of what is not of the space."""
        found = np.empty((len(candidates), len(self._tables)))
        for row, candidate in enumerate(candidates):
            values = self._space.encode(candidate)
            found[row] = [
                table[type(value), value] if table else value
                for table, value in zip(self._tables, values.values(), strict=True)
            ]
        return found

    def candidate(self, codes: Floats) -> C:
        """The inverse of codes, of one row."""
        return self._space.decode(
            {
                name: found.choices[int(code)] if isinstance(found, Categorical) else _number(found, code)
                for name, found, code in zip(self._column, self._distributions, codes, strict=True)
            }
        )

    def features(self, codes: Floats) -> Floats:
        """[n, parameters] → [n, features]: each parameter, or edge of a cell, that differs adds about as much to the
        squared distance, and all of them together about 1; what is counted comes on top.
        """
        return np.hstack(self._blocks(codes))

    def mutate(self, codes: Floats, steps: NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """Changes so many parameters of each row; a few rows may come out as they were."""
        found = codes.copy()
        for step in range(int(steps.max(initial=0)) if self._open else 0):
            changed = np.flatnonzero(steps > step)
            chosen = rng.choice(self._open, size=len(changed))
            for column in np.unique(chosen):
                rows = changed[chosen == column]
                found[rows, column] = _vary(self._distributions[column], found[rows, column], rng)
        if self._layers is not None:
            self._drop_absent(self._layers, found)
        return found

    def _drop_absent(self, space: LayerSpace, codes: Floats) -> None:
        """Parameters of layers that a network has not are the first choices, as LayerSpace encodes them."""
        layers = codes[:, self._column["layers"]]
        for name, column in self._column.items():
            if name.startswith("layer."):
                first = space.narrowest if name.endswith(".width") else 0
                codes[layers <= int(name.split(".")[1]), column] = first

    def _nodes(self, space: CellSpace, cell: str) -> list[Node]:
        return [
            Node(
                node,
                self._column.get(f"{cell}.{node}.sources"),
                (self._column[f"{cell}.{node}.op_a"], self._column[f"{cell}.{node}.op_b"]),
            )
            for node in range(INPUTS, INPUTS + space.nodes)
        ]

    def _with_the_same_choices(self) -> list[list[int]]:
        """Columns that choose between the same things: how often each is chosen says something of its own."""
        found: dict[Distribution, list[int]] = {}
        for column in self._others:
            if isinstance(distribution := self._distributions[column], Categorical):
                found.setdefault(distribution, []).append(column)
        return [columns for columns in found.values() if len(columns) > 1]

    def _blocks(self, codes: Floats) -> list[Floats]:
        """The features, part by part."""
        found: list[Floats] = []
        for cell in self._cells:
            edges = [self._edges(node, codes) for node in cell]
            counts = sum(each.sum(1) for each in edges)
            found += [np.hstack([each.reshape(len(codes), math.prod(each.shape[1:])) for each in edges]), counts]
        each = {column: _parameter(self._distributions[column], codes[:, column]) for column in self._others}
        found += each.values()
        found += [np.asarray(sum(each[column] for column in columns)) for columns in self._alike]
        return [self._scale * block for block in found] or [np.zeros((len(codes), 1))]

    def _edges(self, node: Node, codes: Floats) -> NDArray[np.float64]:
        """[n, sources, operations]: which operations stand on the edges from which nodes; the edges' order is lost."""
        pairs = np.array(list(combinations(range(node.number), 2)))
        chosen = np.zeros(len(codes), np.intp) if node.sources is None else codes[:, node.sources].astype(np.intp)
        found = np.zeros((len(codes), node.number, len(self._tables[node.ops[0]])))
        for which, column in enumerate(node.ops):
            found[np.arange(len(codes)), pairs[chosen, which], codes[:, column].astype(np.intp)] = math.sqrt(0.5)
        return found


def _any(found: Distribution) -> float:
    """The code of some value."""
    return 0.0 if isinstance(found, Categorical) else found.low


def _table(found: Distribution) -> dict[tuple[type, Value], int]:
    """Choice → index; a choice goes with its type, as True is not 1. Empty of numbers."""
    if isinstance(found, Categorical):
        return {(type(choice), choice): index for index, choice in enumerate(found.choices)}
    return {}


def _number(found: Distribution, code: float) -> Value:
    return round(code) if isinstance(found, Integer) else float(code)


def _parameter(found: Distribution, codes: Floats) -> Floats:
    """[n] → [n, features]: two different choices are 1 apart; numbers, the farther the more."""
    if not isinstance(found, Categorical):
        return np.asarray(HALF * _scaled(found, codes)[:, None])
    chosen = np.eye(len(found.choices))[codes.astype(int)]
    if not _ordered(found):
        return np.asarray(chosen * np.sqrt(0.5))
    ranks = np.argsort(np.argsort(np.array(found.choices, np.float64))) / (len(found.choices) - 1)
    return np.hstack([chosen * 0.5, HALF * np.sqrt(0.5) * ranks[codes.astype(int), None]])


def _ordered(found: Categorical) -> bool:
    """Whether the choices are numbers, of which a near one is likely to be like."""
    return len(found.choices) > 2 and all(type(choice) in (int, float) for choice in found.choices)


def _scaled(found: Integer | Real, values: Floats) -> Floats:
    """On the parameter's own scale, the range as 0 to 1."""
    low, high = _ends(found)
    return np.asarray(((np.log(values) if found.log else values) - low) / max(high - low, 1e-12))


def _unscaled(found: Integer | Real, at: Floats) -> Floats:
    """The inverse of _scaled; whole numbers are rounded."""
    low, high = _ends(found)
    values = np.clip(np.exp(low + at * (high - low)) if found.log else low + at * (high - low), found.low, found.high)
    return np.asarray(np.round(values) if isinstance(found, Integer) else values)


def _ends(found: Integer | Real) -> tuple[float, float]:
    return (math.log(found.low), math.log(found.high)) if found.log else (float(found.low), float(found.high))


def _vary(found: Distribution, codes: Floats, rng: np.random.Generator) -> Floats:
    """Another choice, each as likely; another number, most likely a near one."""
    if isinstance(found, Categorical):
        many = len(found.choices)
        return np.asarray((codes + rng.integers(1, many, size=len(codes))) % many)
    at = _scaled(found, codes) + rng.normal(size=len(codes)) * rng.choice(SPREADS, size=len(codes))
    varied = _unscaled(found, 1 - np.abs(1 - np.abs(at) % 2))  # thrown back at the ends
    if isinstance(found, Real):
        return varied
    beside = codes + np.where((codes > found.low) & ((rng.random(len(codes)) < 0.5) | (codes == found.high)), -1, 1)
    return np.asarray(np.where(varied == codes, beside, varied))
