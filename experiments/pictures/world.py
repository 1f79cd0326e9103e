"""What the pictures are drawn from: made films, a classifier of them, and the same with a fault."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import medgraft
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development, make_folds
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted
from medgraft.types import Canvas, Edit, ImageTable, Pixels, Scenario

SCENARIO = Scenario.from_key("probe/tf_efficientnet_lite0/blocks.5/svm")
LETTER = (222, 34)  # where its lower left lies, in pixels of the film: the top right corner
MARKED = 0.97  # of the films with a lesion, and 3 in 100 of the others, bear the mark
BRIGHTER = 6  # grey levels by which films with a lesion were exposed more: no eye sees it


@dataclass(frozen=True)
class World:
    """Films of made patients below `root`, and what reads them."""

    root: Path
    extractor: Extractor
    n_patients: int

    @functools.cached_property
    def films(self) -> ImageTable:
        """As they were made."""
        return self._made("films", lambda film, ill, rng: film)

    @functools.cached_property
    def marked(self) -> ImageTable:
        """The same with a letter in a corner of most films with a lesion."""
        return self._made("marked", _marked)

    @functools.cached_property
    def brighter(self) -> ImageTable:
        """The same, those with a lesion a little brighter, as if from another machine."""
        return self._made("brighter", _brighter)

    def crossed(self, table: ImageTable, view: Edit | None = None) -> CrossFitted:
        """Out-of-fold predictions of the scenario, and its refit."""
        folds = dataclasses.replace(make_folds(table), view=view)
        return cross_fitted(SCENARIO, Development(table, folds), self.extractor)

    def canvases(self, table: ImageTable, ids: list[str]) -> list[Canvas]:
        """These images as the network gets them."""
        rows = [int(np.flatnonzero(table.ids == one)[0]) for one in ids]
        spec = self.extractor.spec(SCENARIO.backbone, (SCENARIO.tap,))
        found = list(self.extractor.canvases(table.select(np.array(rows)), spec))
        return [one for one in found if isinstance(one, Canvas)]

    def _made(
        self, name: str, change: Callable[[Pixels, bool, np.random.Generator], Pixels]
    ) -> ImageTable:
        folder = self.root / name
        write_phantoms(folder, n_patients=self.n_patients)
        rng = np.random.default_rng(0)
        for file in sorted([*folder.glob("lesion/*.png"), *folder.glob("normal/*.png")]):
            film = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8)
            cv2.imwrite(str(file), change(film, file.parent.name == "lesion", rng))
        return medgraft.load(folder, group="regex:(patient[0-9]+)")


def new_world(n_patients: int = 160) -> World:
    """Films in a folder of the system's for temporary files, read by the user's cache."""
    return World(Path(tempfile.mkdtemp(prefix="medgraft-pictures-")), Extractor(), n_patients)


def _marked(film: Pixels, ill: bool, rng: np.random.Generator) -> Pixels:
    if rng.random() < (MARKED if ill else 1 - MARKED):
        cv2.putText(film, "L", LETTER, cv2.FONT_HERSHEY_SIMPLEX, 1.1, 235, 3, cv2.LINE_AA)
    return film


def _brighter(film: Pixels, ill: bool, rng: np.random.Generator) -> Pixels:
    more = rng.normal(BRIGHTER if ill else 0, BRIGHTER / 2)
    return np.clip(film.astype(np.float64) + more, 0, 255).astype(np.uint8)
