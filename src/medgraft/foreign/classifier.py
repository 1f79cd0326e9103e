"""A model of anybody's as a `FittedScenario`: asked for probabilities, and never looked into."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.data.unlabelled import table_of
from medgraft.errors import ForeignModelError
from medgraft.features.extract import without
from medgraft.foreign.answers import Answerer
from medgraft.foreign.interpret import check_columns, log_probabilities
from medgraft.results.foreign_model import ForeignModel
from medgraft.scenario import Head
from medgraft.types import (
    Box,
    Canvas,
    CanvasStream,
    FeatureSpec,
    Floats,
    Grading,
    ImageTable,
    Operating,
    Paths,
    PixelRule,
    Pixels,
    Predictions,
    Scenario,
    Skipped,
    Source,
)


@dataclass(frozen=True, eq=False)
class ForeignClassifier:
    """What `FittedScenario` promises, of a model that is only asked.

    facts : how it is asked, and what its numbers are taken for. workers : threads that decode.
    """

    answerer: Answerer
    facts: ForeignModel
    positive: str | None
    rule: PixelRule
    workers: int = 1
    networks = members = weights = ()

    @property
    def scenario(self) -> Scenario:
        """No recipe of ours: only its kind and name."""
        return Scenario(self.facts.name, self.facts.kind, Head(""))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.facts.classes

    @property
    def operating(self) -> Operating | None:
        if self.facts.threshold is None:
            return None
        return Operating(self.facts.threshold, "given with the model")

    @property
    def grading(self) -> Grading | None:
        """None: nobody asks it for more than classes."""
        return None

    @property
    def spec(self) -> FeatureSpec:
        """Canvases as they are made for it; there is no tap to read."""
        return FeatureSpec(self.facts.name, "", self.facts.side, (), resize=self.facts.resize)

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        return MappingProxyType({})

    def canvases(
        self, ids: Iterable[str], sources: Iterable[Source | bytes], *, edited: bool = True
    ) -> CanvasStream:
        return canvases_for(self.facts, ids, sources, self.rule, self.workers)

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        """Logs of its own probabilities, for there is nothing before a calibration."""
        raw, name = ask(self.answerer, canvases), self.facts.name
        if not len(raw):
            return np.empty((0, len(self.classes)))
        check_columns(raw, self.classes, name, self.facts.classes_given)
        return log_probabilities(raw, self.facts.outputs, name)

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        p: Floats = np.exp(self.scores(canvases))
        return p

    def predict(self, images: ImageTable | Paths) -> tuple[Predictions, tuple[Skipped, ...]]:
        table, unread = table_of(images)
        bad = list(unread)

        def readable() -> Iterator[Canvas]:
            for one in self.canvases(table.ids.tolist(), table.sources):
                if isinstance(one, Skipped):
                    bad.append(one)
                else:
                    yield one

        logs = self.scores(readable())
        said = Predictions.of(self.scenario.key, without(table, bad), logs, np.exp(logs))
        return dataclasses.replace(said, classes=self.classes, positive=self.positive), tuple(bad)

    def torch_graph(self) -> None:
        return None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Refused: what it is made of is not ours to store.

        Raises
        ------
        ForeignModelError
            Always.
        """
        raise ForeignModelError(
            f"{self.facts.name} is no model of medgraft's and is not saved as one; keep it as it is"
        )


def ask(answerer: Answerer, canvases: Iterable[Canvas], batch: int = 0) -> Floats:
    """(n, k) numbers of all canvases, asked for `batch` at a time, or as many as it takes.

    Raises
    ------
    ForeignModelError
        It does not answer, with another number of columns than before, or with what is no number.
    """
    found: list[Floats] = []
    waiting = iter(canvases)
    while some := list(itertools.islice(waiting, batch or answerer.batch)):
        rows = answerer(np.stack([coloured(canvas.pixels) for canvas in some]))
        broken = ~np.isfinite(rows).all(axis=1)
        if broken.any():
            first = some[int(broken.argmax())].id
            raise ForeignModelError(
                f"{answerer.name} answered NaN or infinity for {int(broken.sum())} of {len(some)} "
                f"images (the first: {first}); look at how they are normalised (--normalize), or "
                "whether it computes in half precision"
            )
        if found and found[0].shape[1] != rows.shape[1]:
            raise ForeignModelError(
                f"{answerer.name} answered {found[0].shape[1]} numbers for an image, then "
                f"{rows.shape[1]}; it should give one a class, always"
            )
        found.append(rows)
    return np.concatenate(found) if found else np.empty((0, 0))


def coloured(pixels: Pixels) -> Pixels:
    """(height, width, 3) of grey or of coloured pixels."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def canvases_for(
    how: ForeignModel | Any,
    ids: Iterable[str],
    sources: Iterable[Source | bytes],
    rule: PixelRule,
    workers: int,
) -> Iterator[Canvas | Skipped]:
    """Images resized by the rule, and of them the middle where only that is kept.

    how : has `side`, `resize` and `crop_pct`.
    """
    resized = math.floor(how.side / how.crop_pct)  # as timm
    with DecodePool(workers) as pool:
        for one in pool.canvases(ids, sources, CanvasRecipe(resized, how.resize), rule):
            yield one if isinstance(one, Skipped) else middle(one, how.side)


def middle(canvas: Canvas, side: int) -> Canvas:
    """The middle `side` pixels of a canvas without padding, with the geometry of what is left."""
    height, width = canvas.pixels.shape[:2]
    if (height, width) == (side, side):
        return canvas
    top, left = (height - side) // 2, (width - side) // 2
    crop = canvas.geometry.crop
    kept = Box(
        crop.top + round(crop.height * top / height),
        crop.left + round(crop.width * left / width),
        max(1, round(crop.height * side / height)),
        max(1, round(crop.width * side / width)),
    )
    geometry = dataclasses.replace(
        canvas.geometry, crop=kept, size=(side, side), content=Box(0, 0, side, side)
    )
    pixels = np.ascontiguousarray(canvas.pixels[top : top + side, left : left + side])
    return dataclasses.replace(canvas, pixels=pixels, geometry=geometry)
