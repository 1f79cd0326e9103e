"""An export in words."""

from __future__ import annotations

from collections.abc import Iterator

from medgraft.report.text import formatting
from medgraft.results.export import Export, Int8


def lines(found: Export) -> Iterator[str]:
    """What was written, how close it is, how fast it is."""
    one = found.parity
    images = formatting.plural(one.n, "image")
    yield (
        f"{found.scenario} as {found.format}, {found.bytes / 2**20:.1f} MB: from canvases of "
        f"{found.size} × {found.size} pixels (uint8 RGB, {found.resize}) to calibrated "
        "probabilities; images are decoded and resized outside of the graph"
    )
    yield (
        f"on {images}, from the same canvas: probabilities differ by {one.difference:.1e} at most, "
        f"{formatting.plural(one.changed, 'label')} changed; batches of 1, 2 and 7 by "
        f"{one.batches:.1e}"
    )
    if one.from_files is not None:
        files = one.from_files
        yield (
            f"on {formatting.plural(files.n, 'image')}, from the file by predict.py, without torch "
            f"and medgraft: by {files.difference:.1e} at most, "
            f"{formatting.plural(files.changed, 'label')} changed; first answer in "
            f"{files.seconds:.1f} s"
        )
        if files.unread:
            yield f"{formatting.plural(files.unread, 'image')} could not be read by predict.py"
    yield (
        f"{one.per_second:.0f} images/s from the canvas ({1000 * one.one:.1f} ms one alone), "
        f"medgraft itself {one.model_per_second:.0f}"
    )
    if found.int8 is not None:
        eight = found.int8
        yield (
            f"networks in 8 bits, ranges set by {formatting.plural(eight.calibrated, 'image')}: "
            f"AUROC {eight.after.value:.4f} instead of {eight.before.value:.4f} on "
            f"{formatting.plural(eight.n, 'other image')}, {_signed(eight.lost.difference)} lost "
            f"({_signed(eight.lost.low)} to {_signed(eight.lost.high)}); "
            f"{formatting.plural(eight.changed, 'label')} changed, probabilities by "
            f"{eight.difference:.2f} at most; {eight.per_second:.0f} images/s"
        )
        yield _who_judged(eight)
    if found.skipped:
        yield f"{formatting.plural(found.skipped, 'file')} could not be read and were left out"


def _who_judged(eight: Int8) -> str:
    """What the loss is worth: it is small on images that the model has learned from."""
    others = "give --int8 images that the model has not seen, such as those of a test split"
    if eight.learned is None:
        return f"whether the model has learned from those images is not known; if it has, {others}"
    if eight.learned:
        return (
            f"the model has learned from {eight.learned} of those {eight.n} images and ranks them "
            f"better than others, of which it may lose more: {others}"
        )
    return f"the model has learned from none of those {eight.n} images"


def _signed(value: float) -> str:
    """Four digits, and no minus before nothing."""
    return f"{round(value, 4) + 0.0:+.4f}"
