"""Networks built from candidates."""

from nas.model.base import Network, strip_auxiliary
from nas.model.cost import cost_of, count_params, params_of
from nas.model.layers import LayerNetwork
from nas.model.network import CellNetwork, EdgeWeight, build_network, merge_weights, without_auxiliary
from nas.model.residual import ResidualNetwork
from nas.space.cost import Cost

__all__ = [
    "CellNetwork",
    "Cost",
    "EdgeWeight",
    "LayerNetwork",
    "Network",
    "ResidualNetwork",
    "build_network",
    "cost_of",
    "count_params",
    "merge_weights",
    "params_of",
    "strip_auxiliary",
    "without_auxiliary",
]
