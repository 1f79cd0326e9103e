"""What the border, the corners, all outside the masks, or the files would allow by themselves.

A model of the same kind (the same network and tap, a linear head) is taught from images in which
everything else is grey. How well it ranks images it has not seen says what *could* be used there,
not what the audited model uses: that says the exchange of regions. The same of how the files are
made, which no region holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from medgraft.audit.parts import Part, common_content
from medgraft.audit.regions import Layout, Region, regions_of
from medgraft.audit.sample import sampled
from medgraft.data.preprocess import derive
from medgraft.errors import FitError
from medgraft.evaluate.compare import estimate_all
from medgraft.profile.metadata import (
    FOLLOWS,
    area_of,
    read_properties,
    shape_properties,
    varying,
)
from medgraft.profile.shortcut_probe import predict_from_surface
from medgraft.results.evidence import CORNERS, OUTSIDE, RING
from medgraft.types import (
    AuditFinding,
    AuditReason,
    Canvas,
    Estimate,
    FittedNetwork,
    Floats,
    ImageTable,
    Pixels,
)

IMAGES = 100
GREY = 128
TELLING = 0.65  # AUROC above which the whole interval lies, for a remark of its own
THE_CORNERS = "four corners"
DEALS = 99  # of the labels among the patients


def check_context(parts: Sequence[Part], layout: Layout, seed: int = 0) -> list[AuditFinding]:
    """How well the border ring, the corners and the outside of the masks alone tell the classes.

    One forward pass an image and place: 300 at most. A remark for each place whose AUROC is surely
    above `TELLING`, one for the others: what could be used warns nobody who knows what is.
    """
    drawn = sampled(parts, IMAGES, seed)
    readers = [next(iter(part.fitted.networks), None) for part in drawn]
    first = readers[0]
    if first is None or any(one is None or one.spec != first.spec for one in readers):
        return [AuditFinding("alone_not_measured", "info", "several networks")]
    table = _joined(drawn)
    measured = {}
    for name, kept in _kept(drawn, layout).items():
        codes = _codes(first, drawn, kept)
        try:
            measured[name] = estimate_all([predict_from_surface(codes, table, seed)], "auroc")[0]
        except FitError as error:
            return [AuditFinding("alone_not_measured", "info", "failed", error=str(error))]
    return _found(measured)


def grey_outside(pixels: Pixels, kept: NDArray[np.bool_]) -> Pixels:
    """The pixels where `kept` (height, width), and grey elsewhere."""
    where = kept if pixels.ndim == 2 else kept[..., None]
    return np.where(where, pixels, np.uint8(GREY))


def _kept(parts: Sequence[Part], layout: Layout) -> dict[str, list[NDArray[np.bool_]]]:
    """By place, what is left of each image (n of (side, side))."""
    n = sum(len(part.table) for part in parts)
    masked = all(part.masks is not None for part in parts)
    base = {
        region.name: region.base
        for region in regions_of(parts[0].side, layout, content=common_content(parts))
    }
    corners = np.any([base[name] for name in CORNERS], axis=0)
    found = {RING: [base[RING]] * n, THE_CORNERS: [corners] * n}
    if masked:
        outside = Region(OUTSIDE, "declared", np.ones_like(corners), "outside")
        masks = np.concatenate([part.masks for part in parts if part.masks is not None])
        found[OUTSIDE] = [outside.within(mask) for mask in masks]
    return found


def _codes(
    network: FittedNetwork, parts: Sequence[Part], kept: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float32]:
    """(n, d) codes of what is left of each image, the mean over views."""
    canvases = [canvas for part in parts for canvas in part.canvases]
    spec = network.spec

    def stream() -> Iterator[Canvas]:
        for canvas, where in zip(canvases, kept, strict=True):
            yield derive(
                replace(canvas, pixels=grey_outside(canvas.pixels, where)), spec.size, spec.edits
            )

    return network.codes(stream())


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


def _found(measured: dict[str, Estimate]) -> list[AuditFinding]:
    """A remark for each place that tells the class, one for the others."""
    quiet = {name: area for name, area in measured.items() if area.low <= TELLING}
    found = [
        AuditFinding("place_tells_class", "info", numbers=_numbers(name, area))
        for name, area in measured.items()
        if name not in quiet
    ]
    if quiet:
        most = max(quiet.items(), key=lambda one: one[1].value)
        found.append(AuditFinding("places_alone", "info", numbers=_numbers(*most), estimates=quiet))
    return found


def _numbers(name: str, area: Estimate) -> dict[str, float | int | str]:
    return {
        "region": name,
        "auroc": area.value,
        "low": area.low,
        "high": area.high,
        "n": area.n,
    }


# --------------------------------------------------------------------------- files


def check_file_changes(parts: Sequence[Part], seed: int = 0) -> list[AuditFinding]:
    """How well size, mode, compression, EXIF and format of the files alone tell the classes.

    A logistic regression on one image of each patient, beside the same with labels dealt at random
    among them: p = (1 + how often they do as well) / (1 + DEALS). File size, which follows from
    what is shown, is left out. Takes no forward pass.
    """
    table = _joined(parts)
    _, first = np.unique(table.groups, return_index=True)
    table = table.select(first)
    if all(source.member for source in table.sources):
        return [AuditFinding("files_not_measured", "info", "no files")]
    made = _made(parts, table)
    if made is None:
        return [AuditFinding("files_alone", "info", "alike")]
    rng = np.random.default_rng(seed)
    deals = [replace(table, labels=rng.permutation(table.labels)) for _ in range(DEALS)]
    try:
        with threadpool_limits(1):  # threads would wait for each other on fits as small as these
            area = estimate_all([predict_from_surface(made, table, seed)], "auroc")[0]
            dealt = [area_of(predict_from_surface(made, deal, seed)) for deal in deals]
    except FitError as error:
        return [AuditFinding("files_not_measured", "info", "failed", error=str(error))]
    return [_about_files(area, np.array(dealt))]


def _made(parts: Sequence[Part], table: ImageTable) -> Floats | None:
    """(n, d) how the table's files are made; None where that is the same for all."""
    stored = {c.id: c.geometry.source for part in parts for c in part.canvases}
    height, width = np.array([stored[id_] for id_ in table.ids.tolist()], np.float64).T
    known = {**read_properties(table, None), **varying(shape_properties(height, width))}
    columns = [values for name, values in known.items() if name not in FOLLOWS]
    return np.concatenate(columns, axis=1) if columns else None


def _about_files(area: Estimate, dealt: Floats) -> AuditFinding:
    p = float((1 + (dealt >= area.value).sum()) / (1 + DEALS))
    usual = float(np.quantile(dealt, 0.95))
    telling = p <= 1 / DEALS and area.low > TELLING
    numbers = {"auroc": area.value, "low": area.low, "high": area.high, "n": area.n, "p": p}
    reason: AuditReason = "telling" if telling else "not telling"
    return AuditFinding("files_alone", "info", reason, {**numbers, "dealt": usual})
