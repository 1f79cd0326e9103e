"""One rule a data set for how stored values of more than eight bits are shown.

A viewer that brings each image to its own range makes images of one patient, or of two scanners,
look different: one hot pixel darkens a whole picture, and where a class has them the study finds
them. So the range is found once, on development images, from what nearly all of their values use;
it goes with the table, into the fingerprint, the cache and the model, and is never found anew on
images that the model is to judge.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.listing import bar
from medgraft.data.pixel_findings import (
    depth_findings,
    kind_findings,
    page_findings,
    rule_finding,
)
from medgraft.data.pixels.stored_header import PLAIN_KIND, StoredHeader
from medgraft.data.pixels.values import DEPTHS, Stored
from medgraft.data.pool.pool import DecodePool
from medgraft.errors import DataError, DecodeError
from medgraft.types import (
    Finding,
    ImageTable,
    Ints,
    PixelRule,
    Progress,
    Source,
    StoredRange,
)

SAMPLED = 200  # images whose values are looked at
LOOKED_AT = 1 << 17  # values of an image, evenly spread, whose quantiles are taken
TAIL = 0.005  # of an image's values at either end, which no rule is made for
HELD = 0.95  # of the images of a class, which the rule holds
FEWEST = 10  # images that make a class count by itself
USED = 0.2  # of a depth; a set that uses less is shown over the range it uses
MARGIN, NEAR = 0.05, 0.25  # of that range: left at either end; as far as extremes are held


def with_rule(
    table: ImageTable,
    headers: Mapping[str, StoredHeader],
    *,
    page: int | None = None,
    span: tuple[float, float] | None = None,
    window: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> ImageTable:
    """The table with the rule that its development images ask for, and findings on what they store.

    Parameters
    ----------
    headers
        By the hash of a file's bytes, of those that are more than a picture of eight bits.
    page
        The page read of files with several, from 1.
    span
        The values shown black and white, where the user says them.
    window
        (centre, width) by which DICOM images are shown, where the user says it.

    Raises
    ------
    DataError
        `page` is below 1, or `span` no range.
    """
    if page is not None and page < 1:
        raise DataError(f"there is no page {page}; --page counts from 1")
    if span is not None and not span[0] < span[1]:
        raise DataError(
            f"--pixel-range {span[0]:g},{span[1]:g} is no range; give the lower value first"
        )
    if not headers and page is None and window is None:
        return table
    table = table.shown_by(PixelRule(page=page, window=window))
    findings = [*page_findings(table, headers, page), *kind_findings(table.development, headers)]
    if span is not None:
        text = (
            f"Values from {span[0]:g} to {span[1]:g} are shown from black to white, as was asked."
        )
        findings.append(Finding("pixel_rule", "info", text, {"low": span[0], "high": span[1]}))
        table = table.shown_by(PixelRule(*span, page=page, window=window))
        return dataclasses.replace(table, findings=(*table.findings, *findings))
    rows = _sample(table, headers)
    names = table.byte_hashes[rows].tolist()
    stored: dict[str, StoredRange] = {}
    workers = os.cpu_count() or 1
    with (
        DecodePool(workers) as decoders,
        ThreadPoolExecutor(workers) as pool,
        bar(progress, "Looking at stored values", len(rows)) as advance,
    ):
        sources = [table.sources[row] for row in rows]
        found = pool.map(lambda source: stored_range(source, decoders), sources)
        for name, one in zip(names, found, strict=True):
            stored |= {} if one is None else {name: one}
            advance(1)
    table = dataclasses.replace(table, stored=stored, findings=(*table.findings, *findings))
    return found_again(table)


def found_again(table: ImageTable) -> ImageTable:
    """The table under the rule of what are its development images now, with findings on it."""
    if not table.stored:
        return table
    rule, findings = find_rule(table)
    others = (one for one in table.findings if one.check != "pixel_rule")
    return dataclasses.replace(table.shown_by(rule), findings=(*others, *findings))


def find_rule(table: ImageTable) -> tuple[PixelRule, tuple[Finding, ...]]:
    """The rule of a table's development images, as far as their values are known (`stored`).

    The range is that of a depth of 8 to 16 bits (of floats also 0 to 1) that holds all but 0.5 % of
    the values in 95 % of the images of every class. A set that uses less than a fifth of it has an
    offset, or is signed: it is shown over the range that it uses.
    """
    development = table.development
    names = development.byte_hashes.tolist()
    rows = np.array([row for row, name in enumerate(names) if name in table.stored], np.int64)
    if not len(rows):
        return dataclasses.replace(table.rule, low=0.0, high=0.0), ()
    ranges = [table.stored[names[row]] for row in rows]
    labels = development.labels[rows]
    low = -_held([-one.low for one in ranges], labels)
    high = _held([one.high for one in ranges], labels)
    floats = all(one.kind.startswith("float") for one in ranges)
    least, most = min(one.least for one in ranges), max(one.most for one in ranges)
    bounds = _bounds(low, high, least, most, floats)
    rule = dataclasses.replace(table.rule, low=bounds[0], high=bounds[1])
    ids = development.ids[rows].tolist()
    return rule, (
        rule_finding(rule, ranges, labels, development.classes, ids),
        *depth_findings(ranges, labels, development.classes, ids),
    )


def _held(values: Sequence[float], labels: Ints) -> float:
    """What holds `HELD` of all values, and of those of every class of at least `FEWEST` images."""
    numbers = np.array(values)
    parts = [numbers[labels == k] for k in np.unique(labels)]
    return max(
        float(np.quantile(part, HELD, method="higher"))
        for part in (numbers, *parts)
        if part is numbers or len(part) >= FEWEST
    )


def _bounds(
    low: float, high: float, least: float, most: float, floats: bool
) -> tuple[float, float]:
    """The values shown black and white, for values that lie from low to high, least to most."""
    ends = [*([1.0] if floats else []), *(float((1 << bits) - 1) for bits in DEPTHS)]
    end = next((end for end in ends if high <= end), None)
    if end is not None and low >= -high / 100 and high - max(low, 0) >= USED * end:
        return 0.0, end
    spread = high - low
    # Extremes that lie near belong to the pictures; far ones are hot or dead pixels.
    bottom = least if least >= low - NEAR * spread else low - MARGIN * spread
    top = most if most <= high + NEAR * spread else high + MARGIN * spread
    if not floats:
        bottom, top = float(np.floor(bottom)), float(np.ceil(top))
    return (bottom, top) if bottom < top else (bottom, bottom + 1)


# --------------------------------------------------------------------------- what images store


def stored_range(source: Source, decoders: DecodePool) -> StoredRange | None:
    """Which values an image stores; None where it cannot be read, or is of eight bits."""
    try:
        return range_of(decoders.stored_values(source))
    except DecodeError:  # it is named when it is read for its codes
        return None


def range_of(stored: Stored) -> StoredRange | None:
    """The range of what an image stores; None of eight bits, or of no finite number."""
    if stored.values.dtype in (np.uint8, bool):
        return None
    values: NDArray[Any] = stored.brightness
    drawn = values.ravel()[:: max(1, values.size // LOOKED_AT)]
    if values.dtype.kind == "f":
        values, drawn = values[np.isfinite(values)], drawn[np.isfinite(drawn)]
        if not drawn.size:
            return None
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    kind = str(stored.values.dtype.newbyteorder("="))
    return StoredRange(kind, float(values.min()), float(low), float(high), float(values.max()))


def _sample(table: ImageTable, headers: Mapping[str, StoredHeader]) -> Ints:
    """Rows of development images with more than eight bits, `SAMPLED` at most, equally of classes.

    Which they are hangs on their content alone, not on names or order.
    """
    names = table.byte_hashes
    deep = [
        row
        for row, name in enumerate(names.tolist())
        if table.splits[row] != "test" and name in headers and headers[name].kind != PLAIN_KIND
    ]
    rows = np.array(deep, np.int64)
    parts = [rows[table.labels[rows] == k] for k in np.unique(table.labels[rows])]
    each = -(-SAMPLED // max(1, len(parts)))
    drawn = [part[np.argsort(names[part], kind="stable")[:each]] for part in parts]
    return np.sort(np.concatenate(drawn)) if drawn else rows
