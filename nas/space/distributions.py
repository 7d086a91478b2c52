"""Parameters that a strategy may choose: what values they take, and how to draw and vary one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Value: TypeAlias = str | int | float | bool | None
"""Of a parameter: what JSON has."""

STEPS = 20
"""A real parameter's range has so many steps; a neighbour is one of them away."""

SPREAD = 0.2
"""Standard deviation of a mutation of a number, as a share of its range."""

TRIES = 100
"""Draws of a mutation that may miss the range, or give the same number again."""


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of `choices`, between which there is no order.

    Raises:
        ValueError: no choices, or two that are equal, as True and 1 are.
    """

    choices: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) < len(self.choices):
            raise ValueError(f"the choices are {self.choices}; a parameter needs choices that all differ")

    def contains(self, value: Value) -> bool:
        """Whether it is one of them, of the same type: True is not 1."""
        return any(value == choice and type(value) is type(choice) for choice in self.choices)

    def sample(self, rng: np.random.Generator) -> Value:
        """A uniformly random choice."""
        return self.choices[int(rng.integers(len(self.choices)))]

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Another choice, if there is one."""
        others = list(self.neighbours(value))
        return others[int(rng.integers(len(others)))] if others else value

    def neighbours(self, value: Value) -> Iterator[Value]:
        """All other choices."""
        return (choice for choice in self.choices if not (choice == value and type(choice) is type(value)))


@dataclass(frozen=True, slots=True)
class Integer:
    """Whole numbers from `low` to `high`; `log`: on a logarithmic scale.

    Raises:
        ValueError: low is above high, or a logarithmic scale does not begin above 0.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check(self.low, self.high, self.log)

    def contains(self, value: Value) -> bool:
        """Whether it is a whole number in the range."""
        return type(value) is int and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        """Uniform, or log-uniform."""
        if not self.log:
            return int(rng.integers(self.low, self.high + 1))
        # Each number's share of the scale reaches half-way to its neighbours.
        found = self._round(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(self.high, max(self.low, found))

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Another number, most likely a near one."""
        at, spread = self._scaled(_number(value)), SPREAD * (self._scaled(self.high) - self._scaled(self.low))
        for _ in range(TRIES):
            found = self._round(rng.normal(at, spread))
            if found != value and self.low <= found <= self.high:
                return found
        beside = list(self.neighbours(value))
        return beside[int(rng.integers(len(beside)))] if beside else value

    def neighbours(self, value: Value) -> Iterator[int]:
        """The numbers beside it; on a logarithmic scale those a step of the range away."""
        number = int(_number(value))
        step = math.log(self.high / self.low) / STEPS if self.log else 0.0
        below = min(number - 1, self._round(self._scaled(number) - step)) if self.log else number - 1
        above = max(number + 1, self._round(self._scaled(number) + step)) if self.log else number + 1
        return (found for found in (max(self.low, below), min(self.high, above)) if found != number)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _round(self, scaled: float) -> int:
        return round(math.exp(scaled) if self.log else scaled)


@dataclass(frozen=True, slots=True)
class Real:
    """Numbers from `low` to `high`; `log`: on a logarithmic scale.

    Raises:
        ValueError: low is above high, or a logarithmic scale does not begin above 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check(self.low, self.high, self.log)

    def contains(self, value: Value) -> bool:
        """Whether it is a number in the range."""
        return type(value) in (int, float) and self.low <= _number(value) <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        """Uniform, or log-uniform."""
        return self._value(float(rng.uniform(self._scaled(self.low), self._scaled(self.high))))

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Another number, most likely a near one."""
        low, high, at = self._scaled(self.low), self._scaled(self.high), self._scaled(_number(value))
        for _ in range(TRIES):
            scaled = float(rng.normal(at, SPREAD * (high - low)))
            if low <= scaled <= high and self._value(scaled) != value:
                return self._value(scaled)
        return value

    def neighbours(self, value: Value) -> Iterator[float]:
        """The numbers a step of the range away."""
        step = (self._scaled(self.high) - self._scaled(self.low)) / STEPS
        at = self._scaled(_number(value))
        return (found for found in (self._value(at - step), self._value(at + step)) if found != value)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _value(self, scaled: float) -> float:
        return min(self.high, max(self.low, math.exp(scaled) if self.log else scaled))


Distribution: TypeAlias = Categorical | Integer | Real


def _check(low: float, high: float, log: bool) -> None:
    if low > high or (log and low <= 0):
        raise ValueError(f"low is {low} and high is {high}; low has to be the smaller one, above 0 if log")


def _number(value: Value) -> float:
    if isinstance(value, str) or value is None:
        raise TypeError(f"{value!r} is no number")
    return value
