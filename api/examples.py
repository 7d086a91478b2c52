"""Bodies of POST /v1/jobs that the documentation shows; tests post each of them."""

from typing import Any, Final

EXAMPLES: Final[dict[str, Any]] = {
    "shortest": {"summary": "Everything by default", "value": {"dataset": "digits"}},
    "open": {
        "summary": "Open to search, within limits, from a published network",
        "value": {
            "dataset": "digits",
            "space": {
                "ops": ["skip_connect", "max_pool_3x3", "sep_conv_3x3", "conv_3x3"],
                "channels": {"low": 4, "high": 16},
                "activation": {"choices": ["relu", "silu"]},
            },
            "recipe": {
                "optimizer": {"choices": ["nesterov", "adamw"]},
                "lr": {"low": 0.001, "high": 0.2, "log": True},
                "cutout": 0.25,
            },
            "limits": {"max_params": 100_000, "max_latency_ms": 50},
            "start": ["DARTS_V2"],
        },
    },
    "layers": {
        "summary": "The whole network, layer by layer",
        "value": {"dataset": "digits", "space": {"kind": "layers", "most": 6, "widest": 64, "norm": "group"}},
    },
    "objectives": {
        "summary": "Two objectives and a limit: accurate and fast networks, none slower than 20 ms",
        "value": {
            "dataset": "digits",
            "objectives": ["accuracy", "latency_ms"],
            "limits": {"max_latency_ms": 20},
            "budget": {"trials": 30},
        },
    },
    "one_shot": {
        "summary": "One network with shared weights, and its four genotypes compared by training each of them alone",
        "value": {
            "dataset": "digits",
            "strategy": "pc_darts",
            "options": {"candidates": 4, "discretise": "perturbation"},
            "pruning": "none",
            "final": {"finalists": 4},
        },
    },
    "all": {
        "summary": "Every part of a job",
        "value": {
            "name": "small digits",
            "dataset": "digits",
            "space": {"ops": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"], "nodes": 4, "channels": 8, "cells": 4},
            "recipe": {"optimizer": "nesterov", "lr": 0.1, "schedule": "cosine", "mixup": 0.2},
            "limits": {
                "max_params": 100_000,
                "max_macs": 10_000_000,
                "max_latency_ms": 50,
                "max_memory_mb": 100,
                "batch_size": 1,
            },
            "start": [],
            "strategy": "evolution",
            "options": {"population": 25, "tournament": 8},
            "pruning": {"method": "halving", "eta": 2, "first": 2},
            "objectives": [
                {"metric": "accuracy", "direction": "maximize"},
                {"metric": "params", "direction": "minimize"},
            ],
            "screening": 5,
            "engine": "optuna",
            "resources": {"cpus": 1, "gpus": 0, "custom": {}},
            "budget": {
                "trials": 24,
                "epochs": 8,
                "total_epochs": 150,
                "seconds": 3600,
                "target": 0.995,
                "parallel": 4,
            },
            "final": {"finalists": 1, "controls": 3, "epochs": 30, "seeds": 3, "devices": 1},
            "tensorboard": False,
            "seed": 0,
            "device": "any",
            "priority": 0,
            "cache": True,
        },
    },
}
