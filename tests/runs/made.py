"""Made-up runs, as folders: what a study leaves, without a study."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.evaluate.estimates import evaluate
from medgraft.files import json_value
from medgraft.studies.store import write_predictions
from medgraft.types import Predictions

SVM, KNN = "probe/net/stem/svm", "probe/net/stem/knn"
CLASSES = ("ill", "well")


def answers(
    key: str, n: int, skill: float, *, split: str = "train", seed: int = 0, name: str = "patient"
) -> Predictions:
    """n images of n / 2 patients; the right class leads by `skill` standard deviations.

    Truth and patients hang on the number of the image alone, the noise on `seed` and `key`.
    """
    y = np.arange(n) // 2 % 2
    rng = np.random.default_rng([seed, len(key), *key.encode()])
    positive = 1 / (1 + np.exp(-(rng.normal(0, 1, n) + skill * (0.5 - y))))
    prob = np.stack([positive, 1 - positive], axis=1)
    first = 0 if split == "train" else 10_000
    return Predictions(
        scenario=key,
        classes=CLASSES,
        positive="ill",
        ids=np.array([f"{name}{(first + i) // 2}/{first + i}.png" for i in range(n)]),
        groups=np.array([f"{name}{(first + i) // 2}" for i in range(n)]),
        splits=np.full(n, split),
        fold=np.arange(n) // 2 % 5 if split == "train" else np.full(n, -1),
        y_true=y,
        scores=np.log(prob),
        y_prob=prob,
    )


def only(p: Predictions, rows: Any, **other: Any) -> Predictions:
    return dataclasses.replace(p.select(np.asarray(rows)), **other)


def study(
    folder: Path,
    oof: Sequence[Predictions],
    test: Sequence[Predictions] = (),
    *,
    metric: str = "auroc",
    recommended: str = "",
    data: str = "abc",
    **options: Any,
) -> Path:
    """A finished study's folder; each of its figures is what `evaluate` says of its predictions."""
    folder.mkdir(parents=True)
    chosen = recommended or oof[0].scenario
    tested = {p.scenario: p for p in test}
    asked = {"data": data, "engine": "openvino", "weights": {"net": "00"}, "metric": metric}
    write(folder / "config.json", {**asked, "seed": 0, **options})
    rows = [_row(p, tested.get(p.scenario), metric, p.scenario == chosen) for p in oof]
    mine = next(row for row in rows if row["key"] == chosen)
    everything = [*oof[:1], *test[:1]]
    write(
        folder / "result.json",
        {
            "schema": 1,
            "metric": metric,
            "data": {
                "n_images": sum(map(len, everything)),
                "n_groups": sum(len(np.unique(p.groups)) for p in everything),
                "classes": oof[0].classes,
                "positive": oof[0].positive,
                "splits": {"train": len(oof[0])},
                "skipped": [],
            },
            "scenarios": rows,
            "recommended": chosen,
            "corrected": {k: mine["validation"][metric][k] for k in ("value", "low", "high")},
            "audit": {"verdict": "WARN", "findings": [{"images": oof[0].ids[:1].tolist()}]},
            "versions": {"python": "3.11", "medgraft": "0.1.0"},
            "seconds": 12.5,
        },
    )
    write_predictions(folder / "predictions.parquet", [*oof, *test])
    (folder / "model").mkdir()
    write(folder / "model" / "bundle.json", {"key": chosen})
    events(folder, {"event": "started", "command": f"medgraft study {oof[0].ids[0]}"})
    events(folder, {"event": "step", "step": "judge", "seconds": 10.0}, {"event": "finished"})
    return folder


def _row(p: Predictions, test: Predictions | None, metric: str, chosen: bool) -> dict[str, Any]:
    metrics = None if chosen else [metric]
    return {
        "key": p.scenario,
        "family": "probe",
        "backbone": "net",
        "seconds": 1.0,
        "validation": json_value(evaluate(p, metrics=metrics).estimates),
        "test": test and json_value(evaluate(test, metrics=metrics).estimates),
        "operating": {"threshold": 0.5, "rule": "highest balanced accuracy", "by_group": None},
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def events(folder: Path, *rows: Mapping[str, Any], when: float = 1.7e9) -> None:
    with (folder / "run.jsonl").open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({"time": when, **row}) + "\n")
