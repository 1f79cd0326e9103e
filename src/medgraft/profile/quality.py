"""Images that stand out as pictures: empty, blurred, cut off at black or white, tiny.

Empty and tiny are absolute; the rest is judged against the data's own distribution, for a blurred
picture of one data set is a sharp one of another. Images that lie on their side or upside down
are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medgraft.profile.image_stats import ImageStats
from medgraft.profile.leakage import counted
from medgraft.results.data import Suggestion
from medgraft.types import Finding, Floats

EMPTY = 3.0  # grey levels of spread below which there is nothing to see
TINY = 64  # pixels of the shorter side
SMALL = 0.25  # of the median shorter side
FAR = 6.0  # robust standard deviations from the median
COMMON = 0.02  # of the images; what more of them have is no outlier
ENOUGH = 20  # images to have a distribution
CLIPPED = 0.3  # further share of pixels at black or white, at least
LIGHT = 40.0  # grey levels from the median brightness, at least
SHARP = 1.0  # of the log sharpness below the median, at least: a variance e times smaller
MAD = 1.4826  # makes the median deviation a standard deviation where numbers are normal

Mask = NDArray[np.bool_]


def quality(stats: ImageStats) -> tuple[Finding, ...]:
    """Name the images that stand out, worst first, one finding a kind.

    An image is far out where it lies more than `FAR` robust standard deviations (1.4826 times the
    median absolute deviation) from the median, and at least the least difference named above, so
    that in very even data nobody is called an outlier for next to nothing.
    """
    return tuple(_findings(stats))


def _findings(stats: ImageStats) -> Iterator[Finding]:
    empty = stats.spread < EMPTY
    shorter = np.minimum(stats.height, stats.width)
    tiny = (shorter < TINY) & (shorter < np.median(shorter))
    if (shorter < TINY).all():
        tiny = np.zeros(len(shorter), bool)  # small images are what this data is
    tiny |= shorter < SMALL * np.median(shorter)
    yield from _one(
        stats, "empty_images", empty, stats.spread,
        "Empty",
        "They are black, white or of one grey",
        "Exclude them (medgraft profile --out lists them).",
    )  # fmt: skip
    yield from _one(
        stats, "tiny_images", tiny, shorter,
        "Tiny",
        f"Their shorter side has fewer than {TINY} pixels, or than a quarter of what is usual here "
        f"({np.median(shorter):.0f})",
        "Find the originals, or exclude them.",
    )  # fmt: skip
    yield from _remarks(stats)
    if len(empty) - int(empty.sum()) < ENOUGH:
        return
    seen = ~empty
    blurred = seen & low(stats.sharpness, seen, SHARP)
    dark, bright = (seen & low(-share, seen, CLIPPED) for share in (stats.dark, stats.bright))
    light = seen & (low(stats.mean, seen, LIGHT) | low(-stats.mean, seen, LIGHT))
    look = "Look at them; exclude what an expert could not read either."
    yield from _one(
        stats, "blurred_images", blurred, stats.sharpness,
        "Blurred", "They are far less sharp than the others", look,
    )  # fmt: skip
    yield from _one(
        stats, "clipped_images", dark | bright, -np.maximum(stats.dark, stats.bright),
        "Cut off", "Far more of their pixels than of the others' are black or white", look,
    )  # fmt: skip
    yield from _one(
        stats, "odd_brightness", light, -np.abs(stats.mean - np.median(stats.mean)),
        "Odd brightness", "They are far darker or brighter than the others", look,
    )  # fmt: skip


def low(values: Floats, among: Mask, least: float) -> Mask:
    """(n,) which values lie far below the median of those `among`, and by `least` or more."""
    median = np.median(values[among])
    deviation = MAD * np.median(np.abs(values[among] - median))
    return np.asarray(median - values > max(FAR * deviation, least))


def _remarks(stats: ImageStats) -> Iterator[Finding]:
    """What was to be said of how images were read, one finding a kind of remark."""
    kinds: dict[str, list[str]] = {}
    for id, remark in zip(stats.ids.tolist(), stats.remarks.tolist() or [], strict=False):
        if remark:
            kinds.setdefault(re.sub(r"\d+%?", "#", remark), []).append(id)
    remark_of = dict(zip(stats.ids.tolist(), stats.remarks.tolist() or [], strict=False))
    for ids in kinds.values():
        yield Finding(
            "read_with_remark",
            "warn",
            f"{counted(len(ids), 'image')} of {len(stats.ids):,} could be read, but of the first "
            f"this is to be said: {remark_of[ids[0]]}.",
            {"n": len(ids)},
            tuple(ids),
            "Look at them; export those again that are not what they should be.",
        )


def _one(
    stats: ImageStats, check: str, rows: Mask, order: Floats, *words: str
) -> Iterator[Finding]:
    """One finding, its images in rising order of a number; `words` are name, why, and remedy.

    What more than a few images have is the way of this data and no outlier: then it is only info.
    """
    index = np.flatnonzero(rows)
    if not len(index):
        return
    name, why, remedy = words
    ids = stats.ids[index[np.argsort(order[index], kind="stable")]]
    share = len(index) / len(rows)
    usual = share > COMMON and check not in ("empty_images", "tiny_images")
    yield Finding(
        check,
        "info" if usual else "warn",
        f"{name}: {len(index):,} of {counted(len(rows), 'image')}. {why}.",
        {"images": len(index), "share": share},
        tuple(ids.tolist()[:12]),
        "" if usual else remedy,
    )


def suggest(stats: ImageStats) -> Iterator[Suggestion]:
    """Exclude what is empty; of the rest a person has to see whether it can be read."""
    for id in stats.ids[stats.spread < EMPTY].tolist():
        yield Suggestion(id, "exclude", "", "the image is empty", "empty_images")
