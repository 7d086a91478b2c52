"""How a model sees the candidates of any space: numbers in which like candidates are near, and mutations of many."""

import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas.space import Categorical, Distribution, Integer, JointSpace, LayerSpace, Real, Space, Value
from nas.space.genotype import INPUTS
from nas.space.parameters import has_choice

C = TypeVar("C")
Floats = NDArray[np.float64]

COUNTS: Final = 1.0
"""Weight of how often each operation occurs beside where it occurs."""

HALF: Final = 2.0
"""Two numbers half a range apart are as different as two choices."""

SPREADS: Final = (0.05, 0.2)
"""Standard deviations of a mutation of a number, as shares of its range."""

_SOURCES: Final = re.compile(r"(normal|reduce)\.(\d+)\.sources")
_OP: Final = re.compile(r"(normal|reduce)\.(\d+)\.op_[ab]")


class Encoder(Generic[C]):
    """Candidates of one space as rows of codes (a choice's index, or the number itself) and as rows of features.

    Args:
        space: whose candidates they are.

    Attributes:
        groups: of each feature, which part of the candidate it belongs to, from 0: a parameter; of cells, the edges of
            one of them or the counts of its operations.
    """

    def __init__(self, space: Space[C]) -> None:
        self._space = space
        self._distributions = list(space.distributions().values())
        self._column = {name: index for index, name in enumerate(space.distributions())}
        self._tables = [_table(found) for found in self._distributions]
        self._open = np.array([index for index, found in enumerate(self._distributions) if has_choice(found)], np.intp)
        whole: object = space
        base = whole.base if isinstance(whole, JointSpace) else whole
        self._layers = base if isinstance(base, LayerSpace) else None
        self.groups = self._parts(self.codes([space.sample(np.random.default_rng(0))]))[1]

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

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Random rows of codes."""
        columns = [_uniform(found, count, rng) for found in self._distributions]
        return self._without_absent(np.stack(columns, axis=1) if columns else np.empty((count, 0)))

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
        squared distance, and all of them together about 1.
        """
        return self._parts(codes)[0]

    def mutate(self, codes: Floats, steps: NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """Changes so many parameters of each row; a few rows may come out as they were."""
        found = codes.copy()
        for step in range(int(steps.max(initial=0)) if len(self._open) else 0):
            changed = np.flatnonzero(steps > step)
            chosen = self._open[rng.integers(len(self._open), size=len(changed))]
            for column in np.unique(chosen):
                rows = changed[chosen == column]
                found[rows, column] = _vary(self._distributions[column], found[rows, column], rng)
        return self._without_absent(found)

    def cross(self, one: Floats, other: Floats, rng: np.random.Generator) -> Floats:
        """Each parameter from one of the two."""
        return self._without_absent(np.where(rng.random(one.shape) < 0.5, one, other))

    def _without_absent(self, codes: Floats) -> Floats:
        """Parameters of layers that a network has not count as the first choice, as LayerSpace encodes them."""
        if self._layers is not None:
            many = codes[:, self._column["layers"]]
            for name, column in self._column.items():
                if name.startswith("layer."):
                    first = float(self._layers.narrowest) if name.endswith("width") else 0.0
                    codes[many <= int(name.split(".")[1]), column] = first
        return codes

    def _parts(self, codes: Floats) -> tuple[Floats, NDArray[np.intp]]:
        cells = self._cells(codes)
        others = [int(column) for column in self._open if not self._in_cells(int(column))]
        units = len(others) + sum(1 for name in self._column if _OP.fullmatch(name) and cells)
        blocks = [(block / np.sqrt(units), group) for group, block in enumerate(cells)]
        group = len(blocks)
        for column in others:
            blocks.append((_parameter(self._distributions[column], codes[:, column]) / np.sqrt(units), group))
            group += 1
        for columns in self._alike(others):
            count = sum(_parameter(self._distributions[column], codes[:, column]) for column in columns)
            blocks.append((COUNTS * np.asarray(count) / np.sqrt(units), group))
            group += 1
        if not blocks:
            return np.zeros((len(codes), 1)), np.zeros(1, np.intp)
        groups = np.concatenate([np.full(block.shape[1], group, np.intp) for block, group in blocks])
        return np.hstack([block for block, _ in blocks]), groups

    def _in_cells(self, column: int) -> bool:
        name = list(self._column)[column]
        return bool(self._cell_names() and (_SOURCES.fullmatch(name) or _OP.fullmatch(name)))

    def _cell_names(self) -> list[str]:
        return [name for name in ("normal", "reduce") if f"{name}.{INPUTS + 1}.sources" in self._column]

    def _alike(self, columns: Sequence[int]) -> list[list[int]]:
        """Columns that choose between the same things: how often each was chosen says something of its own."""
        found: dict[Distribution, list[int]] = {}
        for column in columns:
            if isinstance(distribution := self._distributions[column], Categorical):
                found.setdefault(distribution, []).append(column)
        return [columns for columns in found.values() if len(columns) > 1]

    def _cells(self, codes: Floats) -> list[Floats]:
        """Of each cell which operation stands on which edge, and how often each operation occurs."""
        blocks, rows = [], np.arange(len(codes))
        for cell in self._cell_names():
            edges, counts, node = [], 0.0, INPUTS
            while f"{cell}.{node}.op_a" in self._column:
                pairs = np.array(list(combinations(range(node), 2)))
                sources = f"{cell}.{node}.sources"
                chosen = codes[:, self._column[sources]].astype(int) if sources in self._column else 0 * rows
                ops = len(self._tables[self._column[f"{cell}.{node}.op_a"]])
                here = np.zeros((len(codes), node, ops))
                for which, letter in enumerate("ab"):
                    op = codes[:, self._column[f"{cell}.{node}.op_{letter}"]].astype(int)
                    here[rows, pairs[chosen, which], op] = np.sqrt(0.5)
                edges.append(here.reshape(len(codes), node * ops))
                counts = counts + here.sum(1)
                node += 1
            blocks += [np.hstack(edges), COUNTS * np.asarray(counts)]
        return blocks


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
        return HALF * _scaled(found, codes)[:, None]
    chosen = np.eye(len(found.choices))[codes.astype(int)]
    if not _ordered(found):
        return chosen * np.sqrt(0.5)
    ranks = np.argsort(np.argsort(np.array(found.choices, np.float64))) / (len(found.choices) - 1)
    return np.hstack([chosen * 0.5, HALF * np.sqrt(0.5) * ranks[codes.astype(int), None]])


def _ordered(found: Categorical) -> bool:
    """Whether the choices are numbers, of which a near one is likely to be like."""
    return len(found.choices) > 2 and all(type(choice) in (int, float) for choice in found.choices)


def _scaled(found: Integer | Real, values: Floats) -> Floats:
    """On the parameter's own scale, the range as 0 to 1."""
    low, high = _ends(found)
    return np.asarray(((np.log(values) if found.log else values) - low) / max(high - low, 1e-12))


def _uniform(found: Distribution, count: int, rng: np.random.Generator) -> Floats:
    if isinstance(found, Categorical):
        return rng.integers(len(found.choices), size=count).astype(np.float64)
    return _unscaled(found, rng.random(count))


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
    at = 1 - np.abs(1 - np.abs(at) % 2)  # thrown back at the ends
    return _unscaled(found, at)
