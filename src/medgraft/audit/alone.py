"""What the border, the corners, or all that lies outside the masks would allow by themselves.

A model of the same kind (the same network and tap, a linear head) is taught from images in which
everything else is grey. How well it ranks images it has not seen says what *could* be used there,
not what the audited model uses: that says the exchange of regions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medgraft.audit.regions import CORNERS, OUTSIDE, RING, Layout, Region, regions_of
from medgraft.audit.sample import sampled
from medgraft.audit.swap import Part
from medgraft.data.preprocess import derive
from medgraft.errors import FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.explain.cam import networks_of
from medgraft.features.reading import run_readings
from medgraft.learn.frozen import FittedFrozen
from medgraft.profile.confounders import told_by
from medgraft.types import Canvas, Estimate, Finding, ImageTable, Pixels

IMAGES = 100
GREY = 128
TELLING = 0.65  # AUROC above which the whole interval lies, for a remark of its own
THE_CORNERS = "four corners"


def look_at_places(parts: Sequence[Part], layout: Layout, seed: int = 0) -> list[Finding]:
    """How well the border ring, the corners and the outside of the masks alone tell the classes.

    One forward pass an image and place: 300 at most. A remark for each place whose AUROC is surely
    above `TELLING`, one for the others: what could be used warns nobody who knows what is.
    """
    drawn = sampled(parts, IMAGES, seed)
    readers = [next(iter(networks_of(part.fitted)), None) for part in drawn]
    first = readers[0]
    if first is None or any(one is None or one.spec != first.spec for one in readers):
        text = (
            "What border and corners alone would allow was not measured: it takes one network that "
            "reads all images, and this model has several."
        )
        return [Finding("alone_not_measured", "info", text)]
    table = _joined(drawn)
    measured = {}
    for name, kept in _kept(drawn, layout).items():
        codes = _codes(first, drawn, kept)
        try:
            measured[name] = estimate_all([told_by(codes, table, seed)], "auroc")[0]
        except FitError as error:
            text = f"What border and corners alone would allow was not measured: {error}."
            return [Finding("alone_not_measured", "info", text)]
    return _said(measured)


def shown(pixels: Pixels, kept: NDArray[np.bool_]) -> Pixels:
    """The pixels where `kept` (height, width), and grey elsewhere."""
    where = kept if pixels.ndim == 2 else kept[..., None]
    return np.where(where, pixels, np.uint8(GREY))


def _kept(parts: Sequence[Part], layout: Layout) -> dict[str, list[NDArray[np.bool_]]]:
    """By place, what is left of each image (n of (side, side))."""
    n = sum(len(part.table) for part in parts)
    masked = all(part.masks is not None for part in parts)
    base = {region.name: region.base for region in regions_of(parts[0].side, layout)}
    corners = np.any([base[name] for name in CORNERS], axis=0)
    found = {RING: [base[RING]] * n, THE_CORNERS: [corners] * n}
    if masked:
        outside = Region(OUTSIDE, "declared", np.ones_like(corners), "outside")
        masks = np.concatenate([part.masks for part in parts if part.masks is not None])
        found[OUTSIDE] = [outside.within(mask) for mask in masks]
    return found


def _codes(
    fitted: FittedFrozen, parts: Sequence[Part], kept: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float32]:
    """(n, d) codes of what is left of each image, the mean over views."""
    canvases = [canvas for part in parts for canvas in part.canvases]
    spec = fitted.spec

    def stream() -> Iterator[Canvas]:
        for canvas, where in zip(canvases, kept, strict=True):
            yield derive(replace(canvas, pixels=shown(canvas.pixels, where)), spec.size, spec.edits)

    outputs = run_readings(stream(), spec, fitted.reading.specs, fitted.extractor)
    codes: NDArray[np.float32] = fitted.reading.codes_from(list(outputs)).mean(axis=0)
    return codes


def _joined(parts: Sequence[Part]) -> ImageTable:
    """The tables of all parts as one, of no split.

    The audited images may be a test split. What is learned here goes into no model and chooses
    nothing, so it may be learned from them.
    """
    tables = [part.table for part in parts]
    n = sum(map(len, tables))
    return replace(
        tables[0],
        ids=np.concatenate([table.ids for table in tables]),
        sources=tuple(source for table in tables for source in table.sources),
        content_hashes=np.concatenate([table.content_hashes for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
        groups=np.concatenate([table.groups for table in tables]),
        splits=np.full(n, ""),
        masks=np.concatenate([table.masks for table in tables]),
        metadata={},
    )


def _said(measured: dict[str, Estimate]) -> list[Finding]:
    found = []
    quiet = {}
    for name, area in measured.items():
        if area.low <= TELLING:
            quiet[name] = area
            continue
        text = (
            f"The {name} alone, everything else painted grey, would allow a model of the same kind "
            f"an AUROC of {_figures(area)}. That is what could be used there, not what this model "
            "uses."
        )
        remedy = "Look there for what differs between the classes; crop or cover it if it can be."
        found.append(Finding("place_tells_class", "info", text, _numbers(name, area), (), remedy))
    if quiet:
        each = "; ".join(f"{name} {_figures(area)}" for name, area in quiet.items())
        name, area = max(quiet.items(), key=lambda one: one[1].value)
        text = (
            "What a model of the same kind could learn from these alone, everything else painted "
            f"grey (AUROC, .5 is chance): {each}."
        )
        found.append(Finding("places_alone", "info", text, _numbers(name, area)))
    return found


def _figures(area: Estimate) -> str:
    return f"{area.value:.2f} ({area.low:.2f} to {area.high:.2f})"


def _numbers(name: str, area: Estimate) -> dict[str, float | int | str]:
    return {
        "region": name,
        "auroc": area.value,
        "low": area.low,
        "high": area.high,
        "n": area.n,
    }
