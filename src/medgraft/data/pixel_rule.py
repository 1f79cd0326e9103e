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
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.decode_pool import DecodePool
from medgraft.data.listing import bar
from medgraft.data.stored_header import PLAIN_KIND, StoredHeader
from medgraft.data.values import DEPTHS, Stored
from medgraft.errors import DataError, DecodeError
from medgraft.types import (
    Finding,
    ImageTable,
    Ints,
    PixelRule,
    Progress,
    Severity,
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
APART = 2.0  # times as large: depths that differ, and not brightness
TELLS = 0.3  # Cramér's V from which on a property tells the class
CHANCE = 0.01


def with_rule(
    table: ImageTable,
    headers: Mapping[str, StoredHeader],
    *,
    page: int | None = None,
    span: tuple[float, float] | None = None,
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
    if not headers and page is None:
        return table
    table = table.shown_by(PixelRule(page=page))
    findings = [*_page_findings(table, headers, page), *_kind_findings(table.development, headers)]
    if span is not None:
        text = (
            f"Values from {span[0]:g} to {span[1]:g} are shown from black to white, as was asked."
        )
        findings.append(Finding("pixel_rule", "info", text, {"low": span[0], "high": span[1]}))
        table = table.shown_by(PixelRule(*span, page=page))
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
    page = table.rule.page
    if not len(rows):
        return PixelRule(page=page), ()
    ranges = [table.stored[names[row]] for row in rows]
    labels = development.labels[rows]
    low = -_held([-one.low for one in ranges], labels)
    high = _held([one.high for one in ranges], labels)
    floats = all(one.kind.startswith("float") for one in ranges)
    least, most = min(one.least for one in ranges), max(one.most for one in ranges)
    bounds = _bounds(low, high, least, most, floats)
    rule = PixelRule(*bounds, page=page)
    ids = development.ids[rows].tolist()
    return rule, (
        _rule_finding(rule, ranges, labels, development.classes, ids),
        *_depth_findings(ranges, labels, development.classes, ids),
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


# --------------------------------------------------------------------------- in words


def _rule_finding(
    rule: PixelRule,
    ranges: Sequence[StoredRange],
    labels: Ints,
    classes: Sequence[str],
    ids: Sequence[str],
) -> Finding:
    """What the rule is, and whose values it does not hold."""
    bits = next((bits for bits in DEPTHS if rule.high == (1 << bits) - 1), 0)
    depth = f" ({bits} bits)" if bits and not rule.low else ""
    text = (
        f"Images of more than 8 bits are shown by one rule: stored values from {rule.low:g} to "
        f"{rule.high:g}{depth} run from black to white, found on {len(ranges):,} images to learn "
        "from."
    )
    if not depth and rule.high != 1:
        text += " This is the range that they use, rather than that of a depth."
    beyond = np.array([one.most > rule.high or one.least < rule.low for one in ranges])
    telling = _tells(beyond, labels)
    if beyond.any():
        ends = f"{min(one.least for one in ranges):g} and {max(one.most for one in ranges):g}"
        text += (
            f" {beyond.sum():,} of them hold a few values beyond it, between {ends}, which are "
            "shown black or white."
        )
    if telling:
        text += f" That tells the class ({_shares(beyond, labels, classes)}): look at such images."
    return Finding(
        "pixel_rule",
        "warn" if telling else "info",
        text,
        {"low": rule.low, "high": rule.high, "n": len(ranges), "beyond": int(beyond.sum())},
        tuple(id for id, own in zip(ids, beyond.tolist(), strict=True) if own),
        "Pass --pixel-range LOW,HIGH to show another range.",
    )


def _depth_findings(
    ranges: Sequence[StoredRange], labels: Ints, classes: Sequence[str], ids: Sequence[str]
) -> list[Finding]:
    """Where images of one set differ in offset or in depth, by the values that they use."""
    pictures = np.array([one.low < one.high for one in ranges])
    low = np.array([one.low for one in ranges])[pictures]
    high = np.array([one.high for one in ranges])[pictures]
    names = [id for id, own in zip(ids, pictures.tolist(), strict=True) if own]
    shifted = _offset(low, high)
    spread = high - low
    if shifted is not None and np.median(spread[shifted]) < APART * np.median(spread[~shifted]):
        words = "are stored with an offset: all their values are larger than any of the others"
        return [_difference(shifted, labels[pictures], classes, names, words)]
    order = np.sort(high)
    few = max(2, len(order) // 50)  # a few dark pictures are no other depth
    steps = (order[1:] / np.maximum(order[:-1], 1e-12))[few - 1 : len(order) - few]
    if not len(steps) or steps.max() < APART:
        return []
    deeper = high > order[few - 1 + int(steps.argmax())]
    words = (
        f"use values {steps.max():.1f} times as large as the others or more, as images of another "
        "depth do"
    )
    return [_difference(deeper, labels[pictures], classes, names, words)]


def _offset(low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_] | None:
    """(n,) which images lie above others altogether; None where none do."""
    best: NDArray[np.bool_] | None = None
    for start in np.unique(low):
        above, below = low >= start, high < start
        if (above | below).all() and below.any() and (best is None or above.sum() > best.sum()):
            best = above
    return best


def _kind_findings(table: ImageTable, headers: Mapping[str, StoredHeader]) -> list[Finding]:
    """Where the files of one set store values of several types."""
    kinds = np.array(
        [
            headers[name].kind if name in headers else PLAIN_KIND
            for name in table.byte_hashes.tolist()
        ]
    )
    counts = Counter(kinds.tolist()).most_common()
    if len(counts) < 2:
        return []
    usual = counts[0][0]
    others = ", ".join(f"{n:,} of {kind}" for kind, n in counts[1:])
    words = f"are of another type than the rest, which are {usual}: {others}"
    found = _difference(kinds != usual, table.labels, table.classes, table.ids.tolist(), words)
    return [found]


def _difference(
    which: NDArray[np.bool_],
    labels: Ints,
    classes: Sequence[str],
    ids: Sequence[str],
    words: str,
) -> Finding:
    """A finding on images that differ from the others in how they are stored."""
    severity: Severity = "severe" if _tells(which, labels) else "warn"
    text = f"{which.sum():,} of {len(which):,} images {words}."
    if severity == "severe":
        shares = _shares(which, labels, classes)
        text += f" It tells the class ({shares}), and so would what is learned from them."
    return Finding(
        "pixel_depth",
        severity,
        text,
        {"n": int(which.sum()), "of": len(which)},
        tuple(id for id, own in zip(ids, which.tolist(), strict=True) if own),
        "Export all images the same way; one rule cannot show both as they are meant.",
    )


def _shares(which: NDArray[np.bool_], labels: Ints, classes: Sequence[str]) -> str:
    """How many of each class, in words."""
    named = [(labels == k, name) for k, name in enumerate(classes)]
    return ", ".join(f"{which[own].mean():.0%} of {name}" for own, name in named if own.any())


def _tells(which: NDArray[np.bool_], labels: Ints) -> bool:
    """Whether a property is far more frequent in one class than in another, and not by chance."""
    from scipy.stats import chi2_contingency

    known = labels >= 0
    names = np.unique(labels[known])
    table = np.array([[(which[labels == k] == own).sum() for k in names] for own in (True, False)])
    if len(names) < 2 or not table.sum(axis=1).all():
        return False
    found = chi2_contingency(table, correction=False)
    return bool(np.sqrt(found.statistic / table.sum()) >= TELLS and found.pvalue < CHANCE)


def _page_findings(
    table: ImageTable, headers: Mapping[str, StoredHeader], page: int | None
) -> list[Finding]:
    """Which files hold several pages, and whether the one that is read looks like the picture."""
    names = table.byte_hashes.tolist()
    rows = [row for row, name in enumerate(names) if name in headers and headers[name].pages > 1]
    if not rows:
        return []
    counts = Counter(headers[names[row]].pages for row in rows)
    (usual, _), several = counts.most_common(1)[0], len(counts) > 1
    each = f"up to {max(counts)}" if several else f"{usual}"
    which = "the first" if page is None else f"page {page}"
    text = f"{len(rows):,} files hold several pages ({each} each), of which {which} is read."
    odd = [row for row in rows if headers[names[row]].odd] if page is None else []
    with DecodePool(1) as decoders:
        blank = [row for row in rows[:SAMPLED] if _blank(table.sources[row], decoders)]
    if odd:
        text += f" In {len(odd):,} it is smaller than another, or not of its size."
    if blank:
        text += f" In {len(blank):,} of {min(len(rows), SAMPLED):,} it is of one grey throughout."
    grave = 2 * len(blank) > min(len(rows), SAMPLED)
    severity: Severity = "severe" if grave else "warn" if odd or blank else "info"
    return [
        Finding(
            "pages",
            severity,
            text,
            {"n": len(rows), "pages": max(counts), "odd": len(odd), "blank": len(blank)},
            tuple(table.ids[blank or odd or rows].tolist()),
            "Pass --page N to read another page, counted from 1.",
        )
    ]


def _blank(source: Source, decoders: DecodePool) -> bool:
    """Whether the picture that is read is of one value throughout."""
    try:
        values = decoders.stored_values(source).values
    except DecodeError:
        return False
    return bool(values.min() == values.max())


# --------------------------------------------------------------------------- elsewhere


def compare_with_rule(table: ImageTable, rule: PixelRule) -> tuple[Finding, ...]:
    """What of other data a classifier's rule does not fit, by the values that are known of them."""
    ranges = [table.stored[n] for n in table.byte_hashes.tolist() if n in table.stored]
    if not ranges:
        return ()
    if rule.high <= rule.low:
        text = (
            "The model learned from images of 8 bits, and images here have more "
            f"({ranges[0].kind}): each is brought to 8 bits by its own largest value."
        )
        return (_unfit(text, len(ranges), len(ranges)),)
    span = f"{rule.low:g} to {rule.high:g}"
    width = rule.high - rule.low
    beyond = sum(one.high > rule.high or one.low < rule.low for one in ranges)
    dark = sum(one.high < rule.low + width / 4 for one in ranges)
    found = []
    if beyond > (1 - HELD) * len(ranges):
        text = (
            f"{beyond:,} of {len(ranges):,} images looked at hold values beyond {span}, which the "
            "model's data used; these are shown black or white."
        )
        found.append(_unfit(text, beyond, len(ranges)))
    if dark > len(ranges) / 2:
        text = (
            f"{dark:,} of {len(ranges):,} images looked at use less than a quarter of {span}, "
            "which the model's data used, and are dark to it."
        )
        found.append(_unfit(text, dark, len(ranges)))
    return tuple(found)


def _unfit(text: str, n: int, of: int) -> Finding:
    remedy = "Export these images as those that the model learned from were."
    return Finding("pixel_rule_unfit", "warn", text, {"n": n, "of": of}, (), remedy)
