"""Networks built from candidates."""

from nas.model.cost import Cost, cost_of, count_params, params_of
from nas.model.network import CellNetwork, ResidualNetwork, build_network

__all__ = ["CellNetwork", "Cost", "ResidualNetwork", "build_network", "cost_of", "count_params", "params_of"]
