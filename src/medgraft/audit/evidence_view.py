"""From an audit to what a page shows of it: regions, exchanged images made again, heatmaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medgraft.audit.evidence import Audit
from medgraft.audit.heatmap_clusters import HeatmapCluster, Seen
from medgraft.audit.parts import Part
from medgraft.audit.regions import Region, alphas, shifted
from medgraft.audit.swap import Swaps, Unit, exchanged
from medgraft.results.evidence import (
    MOVED,
    EvidenceView,
    Exchange,
    Mask,
    Minority,
    Picture,
    RegionEffect,
)
from medgraft.types import Floats, Pixels

STRIPS = 3  # exchanged images a region
MOST_STRIPS = 3  # regions with strips


def evidence_view(audit: Audit) -> EvidenceView:
    """What a page shows of an audit; a few exchanged images are made again."""
    swaps = audit.swaps
    if swaps is None:
        return EvidenceView(audit.result, audit.ranked, len(audit.skipped))
    part, unit = swaps.parts[swaps.units[0].part], swaps.units[0]
    recipient = unit.recipients[0]
    union = None if part.masks is None else part.masks[recipient]
    strips = list(_deciding(audit.effects))[:MOST_STRIPS]
    return EvidenceView(
        result=audit.result,
        ranked=audit.ranked,
        left_out=len(audit.skipped),
        effects=audit.effects,
        left=audit.left,
        pairs=len(swaps.units),
        models=len(swaps.parts),
        example=part.canvases[recipient].pixels,
        places={region.name: region.within(union) for region in swaps.regions},
        exchanges=tuple(one for name in strips for one in _exchanges(swaps, name)),
        minorities=tuple(_minority(one) for one in audit.strategies),
    )


def _minority(one: HeatmapCluster) -> Minority:
    """The most typical images of a strategy and of the rest, with their heatmaps."""

    def pictures(title: str, some: tuple[Seen, ...]) -> tuple[Picture, ...]:
        return tuple(
            Picture(
                title,
                seen.canvas.id,
                seen.canvas.pixels,
                one.place,
                one.label,
                seen.probability,
                seen.map / seen.map.max(),
            )
            for seen in some
        )

    first = pictures(f"One of the {one.n}", one.typical)
    return Minority(one.label, one.region, first, pictures("One of the rest", one.others))


def _deciding(effects: tuple[RegionEffect, ...]) -> Iterator[str]:
    """Regions that decide, the largest effect first; a moved one only where its place does not."""
    ranked = sorted(effects, key=lambda effect: -effect.points.value)
    found = [e.region for e in ranked if e.role in ("declared", "suspect") and e.decides]
    for name in found:
        if MOVED not in name or name.removesuffix(MOVED) not in found:
            yield name


def _exchanges(swaps: Swaps, name: str) -> list[Exchange]:
    """Images whose label this region of the other class changes, the most moved first, each once.

    Of those whose label follows the donor, which the model calls otherwise as they are.
    """
    row = next(i for i, region in enumerate(swaps.regions) if region.name == name)
    found: list[tuple[float, int, int, int]] = []
    for number, unit in enumerate(swaps.units):
        part = swaps.parts[unit.part]
        for place, recipient in enumerate(unit.recipients):
            prob = swaps.prob[number, row, place, :, 0]  # (2 donors, n_classes)
            other = int(unit.classes[0] == part.table.labels[recipient])
            given = part.labels(prob)
            before = part.labels(part.said.y_prob[recipient][None])[0]
            if tuple(given) == unit.classes and given[other] != before:
                found.append((-float(np.abs(prob[0] - prob[1]).max()), number, place, other))
    shown: dict[int, Exchange] = {}
    for _, number, place, other in sorted(found):
        unit = swaps.units[number]
        if unit.recipients[place] not in shown and len(shown) < STRIPS:
            answer = swaps.prob[number, row, place, other, 0]
            part = swaps.parts[unit.part]
            shown[unit.recipients[place]] = _exchange(
                part, unit, swaps.regions[row], place, other, answer
            )
    return list(shown.values())


def _exchange(
    part: Part, unit: Unit, region: Region, place: int, other: int, answer: Floats
) -> Exchange:
    """A recipient, the donor of the other class, and the one with the region of the other."""
    recipient, donor = unit.recipients[place], unit.donors[other]
    union = None
    if part.masks is not None and region.masks:
        union = np.any([part.masks[i] for i in (recipient, *unit.donors)], axis=0)
    mask = region.within(union)
    ours, theirs = part.canvases[recipient], part.canvases[donor]
    whole, _ = exchanged(ours, theirs, mask, alphas(mask), region.move)
    taken = shifted(mask, (-region.move[0], -region.move[1]))
    return Exchange(
        region.name,
        (
            _picture(part, "The image", ours.id, ours.pixels, mask, part.said.y_prob[recipient]),
            _picture(part, "The other", theirs.id, theirs.pixels, taken, part.said.y_prob[donor]),
            _picture(part, "Exchanged", "", whole.pixels, mask, answer),
        ),
        tuple(part.fitted.classes[part.table.labels[i]] for i in (recipient, donor)),
    )


def _picture(
    part: Part, title: str, id_: str, pixels: Pixels, place: Mask, prob: Floats
) -> Picture:
    label = int(part.labels(prob[None])[0])
    return Picture(title, id_, pixels, place, part.fitted.classes[label], float(prob[label]))
