"""`training.json` (docs/result-json.md): how networks were trained, for scripts."""

from __future__ import annotations

from collections.abc import Mapping

from medgraft.files import json_value
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
            "trials": json_value(search.trials),
            "comparisons": json_value(search.comparisons),
            "gain": json_value(search.gain),
        },
    }
