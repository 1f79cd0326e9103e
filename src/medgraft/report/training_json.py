"""`training.json` (docs/result-json.md): how networks were trained, for scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from medgraft.results.training import TrainingLog


def training_json(logs: Mapping[str, TrainingLog]) -> dict[str, object]:
    """`training.json`, by scenario key (docs/result-json.md); null stands for what is undefined."""
    return {key: _log_json(log) for key, log in logs.items()}


def _log_json(log: TrainingLog) -> dict[str, object]:
    search = log.search
    return {
        "depth": log.depth,
        "histories": {
            name: [epoch.to_json() for epoch in run] for name, run in log.histories.items()
        },
        "search": search
        and {
            "metric": search.metric,
            "chosen": search.chosen,
            "holdout": search.holdout,
            "trials": [_plain(trial) for trial in search.trials],
            "comparisons": [_plain(one) for one in search.comparisons],
            "gain": search.gain and _plain(search.gain),
        },
    }


def _plain(value: object) -> object:
    """A dataclass as what JSON can hold, None for nan."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
