"""What is to be said of how the images of a data set are stored, and of its rule for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.listing import content_hash
from medgraft.data.pixels.stored_header import PLAIN_KIND, StoredHeader
from medgraft.data.pixels.values import DEPTHS
from medgraft.data.pool.pool import DecodePool
from medgraft.errors import DecodeError
from medgraft.types import Finding, ImageTable, Ints, PixelRule, Severity, StoredRange

APART = 2.0  # times as large: depths that differ, and not brightness
TELLS = 0.3  # Cramér's V from which on a property tells the class
CHANCE = 0.01
LOOKED_AT = 200  # files of several pages whose picture is looked at
FITS = 0.95  # of other images, of which a rule holds all but the extremes


def rule_finding(
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


def depth_findings(
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


def kind_findings(table: ImageTable, headers: Mapping[str, StoredHeader]) -> list[Finding]:
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


def page_findings(
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
    blank, same = _no_pictures(table, rows[:LOOKED_AT])
    looked_at = min(len(rows), LOOKED_AT)
    if odd:
        text += f" In {len(odd):,} it is smaller than another, or not of its size."
    if blank:
        text += f" In {len(blank):,} of {looked_at:,} it is of one grey throughout."
    if same:
        text += f" In {len(same):,} of {looked_at:,} it is the picture of another file, too."
    grave = 2 * (len(blank) + len(same)) > looked_at
    severity: Severity = "severe" if grave else "warn" if odd or blank or same else "info"
    suspect = rows if grave else sorted({*odd, *blank, *same}) or rows
    numbers = {"odd": len(odd), "blank": len(blank), "same": len(same)}
    return [
        Finding(
            "pages",
            severity,
            text,
            {"n": len(rows), "pages": max(counts), **numbers},
            tuple(table.ids[suspect].tolist()),
            "Pass --page N to read another page, counted from 1.",
        )
    ]


def _no_pictures(table: ImageTable, rows: Sequence[int]) -> tuple[list[int], list[int]]:
    """The rows of which is read what is of one value throughout, or what another file shows too."""
    blank: list[int] = []
    shown: dict[str, list[int]] = {}
    with DecodePool(1) as decoders:
        for row in rows:
            try:
                values = decoders.stored_values(table.sources[row]).values
            except DecodeError:
                continue
            if values.min() == values.max():
                blank.append(row)
            else:
                shown.setdefault(content_hash(values.tobytes()), []).append(row)
    alike = [rows for rows in shown.values() if len(set(table.byte_hashes[rows].tolist())) > 1]
    return blank, [row for rows in alike for row in rows]


# --------------------------------------------------------------------------- other data


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
    if beyond > (1 - FITS) * len(ranges):
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
