"""A classifier in numpy alone: all that a class must have to go wherever a classifier goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.data.unlabelled import table_of
from medgraft.features.extract import without
from medgraft.files import write_json
from medgraft.types import (
    PLAIN,
    Canvas,
    FeatureSpec,
    Floats,
    ImageTable,
    Operating,
    Paths,
    Predictions,
    Scenario,
    Skipped,
    Source,
)

SIDE = 64


@dataclass(frozen=True)
class ByBrightness:
    """Goes by the mean grey of one place (rows and columns), and by nothing else."""

    place: tuple[slice, slice]
    slope: float = 0.2
    scenario = Scenario.from_key("probe/none/none/svm")
    classes = ("0", "1")
    positive = "1"
    operating = Operating(0.5, "half")
    grading = None
    rule = PLAIN
    spec = FeatureSpec("none", "none", SIDE, ())
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    networks = members = weights = ()

    def canvases(
        self, ids: Iterable[str], sources: Iterable[Source | bytes], *, edited: bool = True
    ) -> Iterator[Canvas | Skipped]:
        with DecodePool(1) as pool:
            yield from pool.canvases(ids, sources, CanvasRecipe(SIDE))

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        grey = np.array([canvas.pixels[self.place].mean() for canvas in canvases])
        p = 1 / (1 + np.exp(-self.slope * (grey - 100)))
        return np.stack([1 - p, p], axis=1)

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        return np.log(self.probabilities(canvases))

    def predict(self, images: ImageTable | Paths) -> tuple[Predictions, tuple[Skipped, ...]]:
        table, _ = table_of(images)
        rows = list(self.canvases(table.ids, table.sources))
        bad = tuple(row for row in rows if isinstance(row, Skipped))
        prob = self.probabilities(row for row in rows if isinstance(row, Canvas))
        return Predictions.of(self.scenario.key, without(table, bad), np.log(prob), prob), bad

    def torch_graph(self) -> None:
        return None

    def save(self, folder: str | os.PathLike[str]) -> None:
        place = [[side.start, side.stop] for side in self.place]
        content = {"format": 2, "family": "numpy", "sha256": {}, "place": place}
        write_json(Path(folder) / "bundle.json", {**content, "slope": self.slope})


def load_numpy(content: dict[str, Any]) -> ByBrightness:
    """What `ByBrightness.save` wrote."""
    rows, columns = content["place"]
    return ByBrightness((slice(*rows), slice(*columns)), content["slope"])
