"""What the audit of a model's evidence found, in words and in order.

The chart and the pictures of regions are drawn in `charts/regions.py`; what is shown of an audit is
chosen in `audit/evidence_view.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from medgraft.report.charts import images, regions
from medgraft.report.text import formatting
from medgraft.report.text.audit_findings import ROLES, remedy, sentence, the, verdict_sentence
from medgraft.results.evidence import (
    EVIDENCE,
    FEW_PAIRS,
    MOVED,
    EvidenceView,
    Exchange,
    Picture,
    RegionEffect,
)

SIDE = 224  # pixels of a picture
NO_REGIONS = "No region was exchanged."
ROLES_TESTED = ("declared", "suspect")  # that should not decide


def section(evidence: EvidenceView | None) -> dict[str, object]:
    """What the template of the part shows."""
    if evidence is None:
        return {"evidence": None}
    rows = [(ROLES[role], some) for role, some in _grouped(evidence.effects)]
    chart = None
    if rows:
        chart = {
            "wide": regions.effects_chart("effects", rows),
            "narrow": regions.effects_chart("effects-n", rows, narrow=True),
        }
    names = list(dict.fromkeys(one.region for one in evidence.exchanges))
    strips = [
        (the(name), [_strip(one) for one in evidence.exchanges if one.region == name])
        for name in names
    ]
    unchanged = [the(e.region) for e in evidence.effects if e.role in ROLES_TESTED and e.decides]
    result = evidence.result
    verdict: dict[str, object] = {"word": result.verdict, "text": verdict_sentence(result)}
    return {
        "evidence": evidence,
        "evidence_verdict": verdict,
        "evidence_findings": [
            (f, sentence(f), remedy(f)) for f in result.findings if f.severity != "info"
        ],
        "evidence_notes": [sentence(f) for f in result.findings if f.severity == "info"],
        "evidence_made": _made(evidence),
        "evidence_visible": _visible(evidence),
        "effects_chart": chart,
        "region_pictures": _region_pictures(evidence),
        "strips_of": strips,
        "strips_none": formatting.join(unchanged) if unchanged and not strips else "",
        "minorities": list(_minorities(evidence)),
    }


def _grouped(effects: tuple[RegionEffect, ...]) -> Iterator[tuple[str, list[RegionEffect]]]:
    for role in ROLES:
        some = [effect for effect in effects if effect.role == role]
        if some:
            yield role, some


def _made(evidence: EvidenceView) -> str:
    """On what the audit was made."""
    ranked = evidence.ranked
    if not ranked.n:
        return NO_REGIONS
    who = (
        f"the models of {evidence.models} folds, each asked about images it has not seen"
        if evidence.models > 1
        else "the model itself"
    )
    text = f"This was asked of {who}: {formatting.plural(ranked.n, 'image')}"
    if not formatting.is_missing(ranked.value):
        text += (
            f", which it ranks with AUROC {formatting.number(ranked.value)} "
            f"({formatting.interval('auroc', ranked)})"
        )
    if evidence.pairs:
        text += (
            f"; {formatting.plural(evidence.pairs, 'pair')} of images of two classes gave regions"
        )
    if evidence.left_out:
        text += f"; {formatting.plural(evidence.left_out, 'image was', 'images were')} left out"
    return text + "."


def _visible(evidence: EvidenceView) -> str:
    """The smallest effect that would have been seen."""
    if not evidence.effects:
        return f"{NO_REGIONS} That takes {FEW_PAIRS} pairs of patients of different classes."
    least = formatting.in_100(evidence.result.smallest_effect)
    return (
        f"Had any region turned {least} in 100 labels, this audit would have found it with a "
        "chance of 80 %. What turns fewer can go unseen; more pairs of images see smaller effects."
    )


def _region_pictures(evidence: EvidenceView) -> list[dict[str, object]]:
    """The example under the regions' outlines, and under the map where one was drawn."""
    if evidence.example is None:
        return []
    found: list[dict[str, object]] = []
    plain = [e for e in evidence.effects if e.role != "map" and MOVED not in e.region]
    named = [e for e in plain if e.region not in (EVIDENCE,)]
    cells = [e for e in evidence.effects if e.role == "map"]
    for title, effects in (("The regions", named), ("The map", cells)):
        if effects:
            found.append({"title": title, "svg": _drawn(evidence, effects)})
    return found


def _drawn(evidence: EvidenceView, effects: list[RegionEffect]) -> Markup:
    """The example, each region outlined with the labels in 100 that follow it."""
    assert evidence.example is not None  # for the type checker
    marks = [
        regions.RegionOutline(
            evidence.places[e.region],
            points(e),
            e.sure and e.role in ("declared", "suspect"),
        )
        for e in effects
    ]
    alt = "; ".join(f"{e.region} {points(e)}" for e in effects)
    uri = images.data_uri(evidence.example, SIDE)
    side = evidence.example.shape[0]
    return regions.outlined(uri, side, marks, f"Labels in 100 that follow each region: {alt}.")


def points(effect: RegionEffect) -> str:
    """Labels in 100 that follow, as a whole number with its sign."""
    value = round(100 * effect.points.value)
    return "0" if not value else f"{'+' if value > 0 else '−'}{abs(value)}"


def _strip(one: Exchange) -> dict[str, object]:
    """Three pictures with what the model says of each."""
    ours, theirs = one.truths
    title = f"{ours}, with {the(one.region)} of {theirs}"
    return {"panels": _panels(one.pictures, one.region), "title": title}


def _minorities(evidence: EvidenceView) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Of each minority the place, and a strip of it above one of the rest."""
    for one in evidence.minorities:
        yield (
            the(one.region),
            [
                {
                    "panels": _panels(one.pictures, one.region),
                    "title": f"Called {one.label}, of another kind",
                },
                {
                    "panels": _panels(one.others, one.region),
                    "title": f"Called {one.label}, the rest",
                },
            ],
        )


def _panels(pictures: tuple[Picture, ...], region: str) -> list[dict[str, object]]:
    """Pictures with the region outlined and what the model says."""
    panels: list[dict[str, object]] = []
    for picture in pictures:
        side = picture.pixels.shape[0]
        alt = (
            f"{picture.title}: {picture.id or 'made for this test'}, {the(region)} outlined; "
            f"called {picture.label}, probability {formatting.percent(picture.probability)}."
        )
        shown = picture.pixels
        if picture.map is not None:
            shown = images.overlay(shown, picture.map)
        uri = images.data_uri(shown, SIDE)
        mark = regions.RegionOutline(picture.place, "", decides=True)
        panels.append(
            {
                "title": picture.title,
                "svg": regions.outlined(uri, side, [mark], alt),
                "label": picture.label,
                "probability": formatting.percent(picture.probability),
                "id": picture.id,
            }
        )
    return panels
