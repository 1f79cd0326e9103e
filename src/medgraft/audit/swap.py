"""What a classifier says when a region of an image comes from another image.

Two images of different classes, from two patients, form a pair of donors. Each puts its region into
the same few recipients, once all of it and once only its seam. Everything the audit says of regions
comes from these answers (`effects.py`). Nothing here depends on what is declared or expected.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from medgraft.audit.regions import Region, alphas, has_inside, outside, shifted
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
    Pixels,
    Predictions,
    Progress,
    Skipped,
)

TIMED = 2  # pairs by which the time of all is reckoned, after the first
LONG = 60.0  # seconds that are told beforehand
RECIPIENTS = 2  # of a pair of donors: one of each of their classes
BRIGHTER = 16  # grey levels by which a donor is made brighter or darker; more is content
ALIKE = 0.02  # of the side, by which padded images of one shape may differ
MOST = 0.9  # of the images, which must be of one shape for border and corners to be theirs
LEAST = 1e-6  # probability, so that log odds are finite


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


@dataclass(frozen=True, slots=True)
class Unit:
    """Two donors, of `classes`, and the recipients that both give to; all rows of a part."""

    part: int
    classes: tuple[int, int]
    donors: tuple[int, int]
    recipients: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Swaps:
    """Answers: `prob` (n_units, n_regions, recipients, 2 donors, 2 variants, n_classes).

    The first variant is the whole region, the second its seam alone.
    """

    parts: tuple[Part, ...]
    units: tuple[Unit, ...]
    regions: tuple[Region, ...]
    prob: Floats


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


def draw_units(parts: Sequence[Part], n_pairs: int, seed: int = 0) -> tuple[Unit, ...]:
    """At most `n_pairs` pairs of donors with their recipients, shared out among the parts.

    Donors are one image a patient, each in one pair at most, every pair of classes in its turn.
    Recipients are of other patients than their donors, and every image is one about equally often.
    """
    found: list[Unit] = []
    for number, part in enumerate(parts):
        share = n_pairs // len(parts) + (number < n_pairs % len(parts))
        found += _units_of(part.table, number, share, np.random.default_rng([seed, number]))
    return tuple(found)


def _units_of(table: ImageTable, number: int, n: int, rng: np.random.Generator) -> Iterator[Unit]:
    order = rng.permutation(len(table))
    _, first = np.unique(table.groups[order], return_index=True)
    alone = rng.permutation(order[first])  # one image of each group
    waiting = {k: [int(i) for i in alone if table.labels[i] == k] for k in np.unique(table.labels)}
    queues = {k: [int(i) for i in order if table.labels[i] == k] for k in waiting}
    pairs = list(combinations(waiting, 2))
    made = 0
    while made < n and any(waiting[a] and waiting[b] for a, b in pairs):
        for a, b in pairs:
            if made == n or not (waiting[a] and waiting[b]):
                continue
            donors = (waiting[a].pop(), waiting[b].pop())
            taken = {table.groups[i] for i in donors}
            recipients = tuple(_next(queues[k], table, taken) for k in (a, b))
            if None not in recipients:
                made += 1
                yield Unit(number, (int(a), int(b)), donors, recipients)  # type: ignore[arg-type]


def _next(queue: list[int], table: ImageTable, taken: set[str]) -> int | None:
    """The first in the queue that is of none of these groups; it goes to the queue's end."""
    for place, row in enumerate(queue):
        if table.groups[row] not in taken:
            queue.append(queue.pop(place))
            return row
    return None


class Forecast:
    """Says once, after the first pairs, how long all of them take, where a person would go away.

    shorter : how it is made shorter, in a sentence.
    """

    def __init__(self, n: int, progress: Progress, shorter: str) -> None:
        self._n, self._progress, self._shorter = n, progress, shorter
        self._done, self._began = 0, time.perf_counter()

    def done(self) -> None:
        """A pair is done; the first is not timed, for networks are compiled in it."""
        self._done += 1
        if self._done == 1:
            self._began = time.perf_counter()
        if self._done == TIMED + 1:
            seconds = (time.perf_counter() - self._began) / TIMED * (self._n - self._done)
            if seconds > LONG:
                self._progress.say(
                    f"The audit of {self._n} pairs of images takes about "
                    f"{max(1, round(seconds / 60))} min more. {self._shorter}".rstrip()
                )


def swap(
    parts: Sequence[Part],
    units: Sequence[Unit],
    regions: Sequence[Region],
    progress: Progress,
    shorter: str = "",
) -> Swaps:
    """Ask every part's classifier about its units' exchanged images.

    shorter : a sentence on how this is made shorter, said where it takes minutes.
    """
    n_classes = len(parts[0].fitted.classes)
    shape = (len(regions), RECIPIENTS, 2, 2)
    prob = np.empty((len(units), *shape, n_classes))
    each = int(np.prod(shape))
    told = Forecast(len(units), progress, shorter)
    with progress.task("Exchanging regions between images", len(units) * each) as advance:
        for number, part in enumerate(parts):
            rows = [i for i, unit in enumerate(units) if unit.part == number]
            if not rows:
                continue

            def stream(part: Part = part, rows: list[int] = rows) -> Iterator[Canvas]:
                for row in rows:
                    for canvas in _swapped(part, units[row], regions):
                        yield canvas
                        advance(1)
                    told.done()

            prob[rows] = part.probabilities(stream()).reshape(len(rows), *shape, n_classes)
    return Swaps(tuple(parts), tuple(units), tuple(regions), prob)


def _swapped(part: Part, unit: Unit, regions: Sequence[Region]) -> Iterator[Canvas]:
    """For every region, recipient and donor: the region exchanged, and its seam."""
    fixed = {}
    for region in regions:
        for recipient in unit.recipients:
            union: Mask | None = None
            if part.masks is not None and region.masks:
                union = np.any([part.masks[i] for i in (recipient, *unit.donors)], axis=0)
            mask = region.within(union)
            key = region.name if union is None else f"{region.name} {recipient}"
            if key not in fixed:
                fixed[key] = alphas(mask)
            for donor in unit.donors:
                yield from exchanged(
                    part.canvases[recipient], part.canvases[donor], mask, fixed[key], region.move
                )


def exchanged_at_all(swaps: Swaps) -> NDArray[np.bool_]:
    """(units, regions) whether more than a seam of the region was exchanged between the donors.

    Masks may leave nothing of it, and on small canvases a border may be no wider than its seam.
    """
    found = np.empty((len(swaps.units), len(swaps.regions)), bool)
    for column, region in enumerate(swaps.regions):
        found[:, column] = has_inside(region.base)
        for row, unit in enumerate(swaps.units):
            masks = swaps.parts[unit.part].masks
            if masks is not None and region.masks:
                unions = (np.any(masks[[one, *unit.donors]], axis=0) for one in unit.recipients)
                found[row, column] = any(has_inside(region.within(union)) for union in unions)
    return found


def exchanged(
    recipient: Canvas,
    donor: Canvas,
    mask: Mask,
    faded: tuple[Floats, Floats],
    move: tuple[int, int] = (0, 0),
) -> Iterator[Canvas]:
    """The recipient with the donor's pixels where `mask` is, and with those of the seam alone.

    The donor's region is first made as bright at its edge as the recipient is just outside of it.
    So the image depends on the donor's region and on what the recipient keeps, and on nothing that
    is removed: recipients that differ further inside than the seam fades become the same image.
    """
    ours, theirs = _alike(recipient.pixels, donor.pixels)
    theirs = np.ascontiguousarray(shifted(theirs, move))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        yield from (recipient, recipient)
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    matched = theirs[box] + _brighter(ours, theirs, faded[1] > 0, outside(mask))
    for alpha in faded:
        pixels = ours.copy()
        weight = alpha[box] if ours.ndim == 2 else alpha[box][..., None]
        mixed = weight * matched + (1 - weight) * ours[box]
        pixels[box] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        yield Canvas(recipient.id, pixels, recipient.geometry)


def _alike(ours: Pixels, theirs: Pixels) -> tuple[Pixels, Pixels]:
    """Both in colour where one is."""
    if ours.ndim == theirs.ndim:
        return ours, theirs
    first, second = (
        np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
        for pixels in (ours, theirs)
    )
    return first, second


def _brighter(ours: Pixels, theirs: Pixels, seam: Mask, outside: Mask) -> NDArray[np.float32]:
    """By how much the recipient outside is brighter than the donor's seam, a channel.

    Medians, so that a mark there hardly counts; `BRIGHTER` at most, for a dark corner may be what
    tells. The recipient's own seam is not looked at: it lies inside the region, and its brightness,
    printed on what is pasted, would tell the recipient's class.
    """
    if not (seam.any() and outside.any()):
        return np.zeros(ours.shape[2:], np.float32)
    more = np.median(ours[outside], axis=0) - np.median(theirs[seam], axis=0)
    bounded: NDArray[np.float32] = np.clip(more, -BRIGHTER, BRIGHTER).astype(np.float32)
    return bounded


def log_odds(prob: Floats, a: Ints, b: Ints) -> Floats:
    """Natural log odds of class a against b from `prob` (n, …, n_classes), a and b (n,)."""
    rows = np.arange(len(prob))
    logs = np.log(np.maximum(prob, LEAST))
    odds: Floats = logs[rows, ..., a] - logs[rows, ..., b]
    return odds
