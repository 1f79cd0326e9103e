"""What is audited: a classifier with images that it has not seen, read once, and their masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medgraft.data.masks import read_mask
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import derive
from medgraft.errors import DataError
from medgraft.evaluate.metrics import give_labels
from medgraft.evaluate.threshold import positive_column
from medgraft.results.evidence import Mask
from medgraft.types import (
    Box,
    Canvas,
    FittedScenario,
    Floats,
    ImageTable,
    Ints,
    Predictions,
    Skipped,
)

ALIKE = 0.02  # of the side, by which padded images of one shape may differ
MOST = 0.9  # of the images, which must be of one shape for border and corners to be theirs


@dataclass(frozen=True, eq=False)
class Part:
    """A classifier, and images that it has not seen.

    canvases : n, before the classifier's own edits. masks : (n, side, side) or None.
    said : what it says of the images as they are.
    """

    fitted: FittedScenario
    table: ImageTable
    canvases: tuple[Canvas, ...]
    masks: NDArray[np.bool_] | None
    said: Predictions

    @property
    def side(self) -> int:
        """Of the canvases, in pixels."""
        return int(self.canvases[0].pixels.shape[0])

    @property
    def positive(self) -> int | None:
        """Column of the positive class of two."""
        return positive_column(self.said)

    @property
    def threshold(self) -> float:
        """On the positive class's probability."""
        return self.fitted.operating.threshold if self.fitted.operating else 0.5

    def labels(self, prob: Floats) -> Ints:
        """The labels that the classifier gives at probabilities (n, n_classes)."""
        return give_labels(prob, self.positive, self.threshold)

    def probabilities(self, canvases: Iterator[Canvas]) -> Floats:
        """(n, n_classes) of canvases to which the classifier's own edits are still to be done."""
        spec = self.fitted.spec
        return self.fitted.probabilities(derive(c, spec.size, spec.edits) for c in canvases)


def read_part(
    fitted: FittedScenario, table: ImageTable, masks: bool
) -> tuple[Part | None, tuple[Skipped, ...]]:
    """Read images for a classifier that has not seen them; and those that cannot be used.

    masks : use the table's, and leave out images that have none or an empty one. The part is None
    where nothing is left.

    Raises
    ------
    DataError
        The table's classes are not the classifier's.
    """
    strange = sorted({table.classes[k] for k in np.unique(table.labels)} - set(fitted.classes))
    if strange:
        raise DataError(
            f"the model was not taught {', '.join(strange)} (it knows {', '.join(fitted.classes)});"
            " leave these images out, or rename the class"
        )
    skipped: list[Skipped] = []
    canvases: dict[str, Canvas] = {}
    drawn: dict[str, Mask] = {}
    path_of = dict(zip(table.ids.tolist(), table.masks.tolist(), strict=True))
    with DecodePool(1) as pool:
        for canvas in fitted.canvases(table.ids, table.sources, edited=False):
            if isinstance(canvas, Skipped):
                skipped.append(canvas)
                continue
            if masks:
                mask = _mask_of(path_of[canvas.id], canvas, pool)
                if isinstance(mask, Skipped):
                    skipped.append(mask)
                    continue
                drawn[canvas.id] = mask
            canvases[canvas.id] = canvas
    rows = table.select(np.isin(table.ids, list(canvases)))
    if not len(rows):
        return None, tuple(skipped)
    ordered = tuple(canvases[id_] for id_ in rows.ids.tolist())
    index = np.array([fitted.classes.index(name) for name in table.classes])
    rows = replace(
        rows, labels=index[rows.labels], classes=fitted.classes, positive=fitted.positive
    )
    said, _ = fitted.predict(rows)
    kept = np.stack([drawn[id_] for id_ in rows.ids.tolist()]) if masks else None
    return Part(fitted, rows, ordered, kept, said), tuple(skipped)


def _mask_of(path: str, canvas: Canvas, pool: DecodePool) -> Mask | Skipped:
    """The mask of a canvas, or why it cannot be used."""
    if not path:
        return Skipped(canvas.id, "no mask")
    try:
        mask = read_mask(path, canvas.geometry, pool)
    except DataError as error:
        return Skipped(canvas.id, str(error))
    useless = not mask.any() or mask.all()
    return Skipped(canvas.id, "its mask covers nothing or everything") if useless else mask


def common_content(parts: Sequence[Part]) -> Box | None:
    """Where nearly all images lie on their canvases, which bars may pad; None where shapes differ.

    A few of another shape move nothing; theirs is then a little of their inside.
    """
    boxes = [canvas.geometry.content for part in parts for canvas in part.canvases]
    ends = np.array([(b.top, b.left, b.top + b.height, b.left + b.width) for b in boxes])
    apart = np.abs(ends - np.median(ends, axis=0)).max(axis=1)
    alike = ends[apart <= max(2, ALIKE * parts[0].side)]
    if len(alike) < MOST * len(ends):
        return None
    (top, left), (bottom, right) = alike.max(axis=0)[:2].tolist(), alike.min(axis=0)[2:].tolist()
    return Box(top, left, bottom - top, right - left)
