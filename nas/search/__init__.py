"""Search strategies: pure functions of the history."""

from nas.search.simulate import simulate
from nas.search.simulation import Budget, Improvement, Simulation

__all__ = ["Budget", "Improvement", "Simulation", "simulate"]
