"""What an audit finds in the answers to exchanged images, and the one word that follows.

What forbids a verdict, what each region does, what is left without the evidence. Only a region that
was declared to be no evidence can fail a model; everything else warns or informs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from medgraft.audit.parts import Part
from medgraft.audit.regions import Region
from medgraft.audit.swap import Unit
from medgraft.results.evidence import (
    DECIDES,
    FEW_OF_CLASS,
    FEW_PAIRS,
    FEW_PAIRS_OF_CLASS,
    INSIDE,
    MOVED,
    OUTSIDE,
    POINTS,
    UNDECIDED,
    RegionEffect,
    SkillLeft,
)
from medgraft.types import AuditFinding, AuditReason, Estimate, Ints, Severity, Verdict

# Fixed before `experiments/planted.py` was first run, as those in `results/evidence.py` were; see
# docs/audit.md.
WEAK = 0.65  # AUROC below which a model has no evidence to speak of
UNSEEN = 0.10  # where even this share of labels could have been missed, nothing is decided
LEFT, HALF = 0.25, 0.50  # of the skill, surely left without the evidence: a warning, a severe one
NO_VERDICT = frozenset({"weak_model", "few_images", "few_pairs", "one_class"})
NOT_TRIED = frozenset({"not_exchanged", "padded"})  # no verdict but a FAIL for what was tried


def doubts(parts: Sequence[Part], ranked: Estimate, *, masks: bool) -> list[AuditFinding]:
    """What forbids a verdict."""
    labels: Ints = np.concatenate([part.table.labels for part in parts])
    classes = parts[0].fitted.classes
    counts = np.bincount(labels, minlength=len(classes))
    found = []
    if (counts > 0).sum() < 2:
        found.append(AuditFinding("one_class", "warn"))
    elif counts[counts > 0].min() < FEW_OF_CLASS:
        few = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        found.append(
            AuditFinding(
                "few_images",
                "warn",
                "masks" if masks else "",
                {"fewest": int(counts[few])},
                counts={classes[few]: int(counts[few])},
                limit=FEW_OF_CLASS,
            )
        )
    if ranked.value < WEAK:
        found.append(AuditFinding("weak_model", "warn", numbers=_figures(ranked), limit=WEAK))
    said = np.concatenate([part.labels(part.said.y_prob) for part in parts])
    if len(np.unique(said)) == 1:
        found.append(AuditFinding("one_answer", "warn", names=(classes[int(said[0])],)))
    return found


def doubts_of_classes(units: Sequence[Unit], classes: Sequence[str]) -> list[AuditFinding]:
    """Of several classes, those of too few patients for what moves them alone to be seen."""
    pairs = np.bincount([k for unit in units for k in unit.classes], minlength=len(classes))
    few = np.flatnonzero((pairs > 0) & (pairs < FEW_PAIRS_OF_CLASS))
    absent = tuple(np.array(classes)[pairs == 0].tolist())
    missing = [AuditFinding("absent_classes", "info", names=absent)] if absent else []
    return missing + [
        AuditFinding(
            "few_pairs", "warn", "of a class", {"pairs": int(pairs[k])}, names=(classes[k],),
            limit=FEW_PAIRS_OF_CLASS,
        )
        for k in few.tolist()
    ]  # fmt: skip


def about_regions(
    effects: Sequence[RegionEffect], turned: dict[str, tuple[str, ...]]
) -> list[AuditFinding]:
    """A finding for every region that decides or may do, and one for those that do not."""
    found = []
    quiet: dict[str, list[RegionEffect]] = {"declared": [], "suspect": []}
    for effect in effects:
        if effect.role not in quiet:
            continue
        if effect.large:
            found.append(_of_region(effect, turned[effect.region]))
        else:
            quiet[effect.role].append(effect)
    order = sorted(found, key=lambda f: (f.severity != "severe", -float(f.numbers["effect"])))
    if quiet["declared"]:
        order.append(_do_not_decide("declared_regions", quiet["declared"]))
    if quiet["suspect"]:
        order.append(_do_not_decide("suspect_regions", quiet["suspect"]))
    return order


def _of_region(effect: RegionEffect, images: tuple[str, ...]) -> AuditFinding:
    """A region whose class content turns labels, one way or the other, or may do."""
    numbers, names = _numbers(effect), (effect.of_class,) if effect.of_class else ()
    if effect.turns_against:
        return AuditFinding("region_against", "warn", numbers=numbers, names=names)
    declared = effect.role == "declared"
    return AuditFinding(
        DECIDES if effect.decides else UNDECIDED,
        "severe" if declared and effect.decides else "warn",
        "against" if effect.against else "declared" if declared else "suspect",
        numbers,
        images,
        names=names,
    )


def not_exchanged(
    regions: Sequence[Region], effects: Sequence[RegionEffect], masks: bool
) -> list[AuditFinding]:
    """Regions that should not decide and could not be tried.

    Where masks say what is evidence, that is all that lies outside of them; border and corners are
    then tried as far as they do.
    """
    tried = {effect.region for effect in effects}
    names = [
        region.name
        for region in regions
        if region.role in ("declared", "suspect")
        and region.name not in tried
        and MOVED not in region.name
    ]
    if (masks and OUTSIDE not in names) or not names:
        return []
    reason: AuditReason = "masks" if masks else ""
    return [AuditFinding("not_exchanged", "warn", reason, names=tuple(names), limit=FEW_PAIRS)]


def _do_not_decide(
    check: Literal["declared_regions", "suspect_regions"], effects: Sequence[RegionEffect]
) -> AuditFinding:
    """Regions in which nothing was found, with what could have been."""
    largest = max(effects, key=lambda effect: effect.points.value)
    return AuditFinding(
        check,
        "info",
        numbers={**_numbers(largest), "visible": max(effect.visible for effect in effects)},
        names=tuple(effect.region for effect in effects if MOVED not in effect.region),
        limit=POINTS,
    )


def about_evidence(left: SkillLeft | None, regions: Sequence[Region]) -> list[AuditFinding]:
    """How much skill is left without the evidence."""
    if left is None:
        return []
    share = left.share
    severity: Severity = "severe" if share.low >= HALF else "warn" if share.low > LEFT else "info"
    reason: AuditReason = "sure" if severity != "info" else "ruled out"
    if severity == "info" and share.high > LEFT:
        reason = "not ruled out"
    numbers: dict[str, float | int | str] = {
        "region": INSIDE if any(region.name == INSIDE for region in regions) else "not declared",
        "effect": share.value,
        "low": share.low,
        "high": share.high,
        "auroc": left.before,
        "auroc_without": left.without,
    }
    return [AuditFinding("sufficiency", severity, reason, numbers, limit=LEFT)]


def too_few(pairs: int, smallest: float, n_classes: int) -> AuditFinding:
    """How many images would do, as what can be seen falls with the root of the pairs."""
    wanted = int(np.ceil(pairs * (smallest / UNSEEN) ** 2))
    images = int(np.ceil(2 * wanted / n_classes))
    numbers = {"pairs": pairs, "wanted": wanted, "images_a_class": images, "visible": smallest}
    return AuditFinding("power", "info", numbers=numbers, limit=UNSEEN)


def verdict_of(findings: Sequence[AuditFinding], smallest: float) -> Verdict:
    """What follows from the findings, and from the smallest effect that could be seen."""
    if {finding.check for finding in findings} & NO_VERDICT:
        return "INCONCLUSIVE"
    if any(f.check == DECIDES and f.severity == "severe" for f in findings):
        return "FAIL"
    if {finding.check for finding in findings} & NOT_TRIED:
        return "INCONCLUSIVE"
    if any(finding.severity in ("warn", "severe") for finding in findings):
        return "WARN"
    return "PASS" if smallest <= UNSEEN else "INCONCLUSIVE"


def _numbers(effect: RegionEffect) -> dict[str, float | int | str]:
    """What `result.json` holds of a region: of one that turns labels against it, that way."""
    ends = (effect.points.low, effect.points.high)
    way, ends = (-1, (-ends[1], -ends[0])) if effect.against else (1, ends)
    return {
        "region": effect.region,
        "effect": way * effect.points.value,
        "low": ends[0],
        "high": ends[1],
        "p": effect.p,
        "auroc": way * effect.ranking,
        "visible": effect.visible,
        "pairs": effect.pairs,
    }


def _figures(estimate: Estimate) -> dict[str, float | int | str]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}
