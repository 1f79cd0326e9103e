"""What a classifier says when a region of an image comes from another image.

Two images of different classes, from two patients, form a pair of donors. Each puts its region into
the same few recipients, once all of it and once only its seam. Everything the audit says of regions
comes from these answers (`effects.py`). Nothing here depends on what is declared or expected.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from medgraft.audit.parts import Part
from medgraft.audit.regions import Region, alphas, has_inside, outside, shifted
from medgraft.results.evidence import Mask
from medgraft.types import (
    Canvas,
    Floats,
    ImageTable,
    Ints,
    Pixels,
    Progress,
)

TIMED = 2  # pairs by which the time of all is reckoned, after the first
LONG = 60.0  # seconds that are told beforehand
RECIPIENTS = 2  # of a pair of donors: one of each of their classes
BRIGHTER = 16  # grey levels by which a donor is made brighter or darker; more is content
LEAST = 1e-6  # probability, so that log odds are finite


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
            union = _union(part, unit, region, recipient)
            mask = region.within(union)
            key = region.name if union is None else f"{region.name} {recipient}"
            if key not in fixed:
                fixed[key] = alphas(mask)
            for donor in unit.donors:
                yield from exchanged(
                    part.canvases[recipient], part.canvases[donor], mask, fixed[key], region.move
                )


def _union(part: Part, unit: Unit, region: Region, recipient: int) -> Mask | None:
    """What the masks of a recipient and its donors cover, where a region goes by them."""
    if part.masks is None or not region.masks:
        return None
    union: Mask = np.any([part.masks[i] for i in (recipient, *unit.donors)], axis=0)
    return union


def exchanged_at_all(swaps: Swaps) -> NDArray[np.bool_]:
    """(units, regions) whether more than a seam of the region was exchanged between the donors.

    Masks may leave nothing of it, and on small canvases a border may be no wider than its seam.
    """
    found = np.empty((len(swaps.units), len(swaps.regions)), bool)
    for column, region in enumerate(swaps.regions):
        plain = has_inside(region.base)
        for row, unit in enumerate(swaps.units):
            unions = [_union(swaps.parts[unit.part], unit, region, one) for one in unit.recipients]
            found[row, column] = (
                plain
                if unions[0] is None
                else any(has_inside(region.within(union)) for union in unions)
            )
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
