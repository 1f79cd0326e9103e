"""Does the evidence lie where a human would accept it? Regions exchanged, tested, and a verdict.

`audit_evidence` is the one function to call. Which regions there are says `regions.py`, how they
are exchanged `swap.py`, what follows from the answers `effects.py`. Only the exchange of a region
that was declared to be no evidence can fail a model; everything else warns or informs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from medgraft.audit.audit_cache import cached_swap
from medgraft.audit.effects import region_effects, without_region
from medgraft.audit.further_checks import further_checks
from medgraft.audit.heatmap_clusters import HeatmapCluster
from medgraft.audit.regions import Region, layout_of, regions_of
from medgraft.audit.sample import balanced_sample
from medgraft.audit.swap import Part, Swaps, Unit, common_content, draw_units, read_part
from medgraft.errors import DataError, UnreadableDataError
from medgraft.evaluate.compare import estimate_all
from medgraft.features.cache import Cache
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
from medgraft.results.recommendation import AuditResult
from medgraft.types import (
    AuditFinding,
    AuditReason,
    Estimate,
    FittedScenario,
    ImageTable,
    Ints,
    Operating,
    Predictions,
    Progress,
    Severity,
    Silent,
    Skipped,
    Verdict,
)

# Fixed before `experiments/planted.py` was first run, as those in `results/evidence.py` were; see
# docs/audit.md.
WEAK = 0.65  # AUROC below which a model has no evidence to speak of
UNSEEN = 0.10  # where even this share of labels could have been missed, nothing is decided
LEFT, HALF = 0.25, 0.50  # of the skill, surely left without the evidence: a warning, a severe one
PICTURES = 6  # images that a finding shows
SILENT = Silent()
IMAGES, OF_CLASS = 600, 60  # audited at most, in all and, where those are more, of each class
NO_VERDICT = frozenset({"weak_model", "few_images", "few_pairs", "one_class"})
NOT_TRIED = frozenset({"not_exchanged"})  # no verdict but a FAIL for what was tried


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How an audit is made.

    modality : names a layout of regions (`regions.LAYOUTS`). masks : the table's masks hold the
    evidence; what is outside of them is declared to be none. images : audited at most, a seeded
    draw with classes in equal shares; 0 is 600, or 60 of each class where those are more. pairs :
    of donors at most. grid : whether the map is drawn. more : whether `further_checks.py` is tried
    too, which warns or informs and never fails a model.
    """

    modality: str = ""
    masks: bool = False
    images: int = 0
    pairs: int = 150
    grid: bool = True
    more: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Audit:
    """A verdict, and what it rests on.

    ranked : AUROC of the images as they are. left : what is left of it where the evidence was taken
    away, None where none was named. turned : by region, ids of images whose label followed.
    strategies : clusters of heatmaps that stand apart.
    """

    result: AuditResult
    options: AuditOptions
    ranked: Estimate
    effects: tuple[RegionEffect, ...]
    left: SkillLeft | None
    turned: dict[str, tuple[str, ...]]
    swaps: Swaps | None
    skipped: tuple[Skipped, ...]
    strategies: tuple[HeatmapCluster, ...] = ()


def audit_evidence(
    models: Sequence[tuple[FittedScenario, ImageTable]],
    options: AuditOptions | None = None,
    *,
    progress: Progress = SILENT,
    cache: Cache | None = None,
    key: str = "",
    shorter: str = "",
) -> Audit:
    """Audit what a model's decisions rest on.

    Parameters
    ----------
    models
        A model with labelled images that it has not seen; or the models of several folds, each with
        its own. Images without a label are left out.
    cache, key
        Where the models' answers are kept, and what decides the models; without both, nowhere.
    shorter
        How a person makes it shorter, in a sentence, which is said where it takes minutes.

    Raises
    ------
    DataError
        No image can be used, or its class is none of the model's.
    ScenarioError
        There is no such modality.
    """
    options = options or AuditOptions()
    layout = layout_of(options.modality)
    parts, skipped = _read_parts(models, options)
    ranked = _ranked(parts)
    doubts = tuple(_doubts(parts, ranked, options))
    units = draw_units(parts, options.pairs, options.seed)
    if len(units) < FEW_PAIRS or any(d.check == "one_class" for d in doubts):
        doubts = (
            *doubts,
            AuditFinding("few_pairs", "warn", numbers={"pairs": len(units)}, limit=FEW_PAIRS),
        )
        result = AuditResult("INCONCLUSIVE", 1.0, doubts)
        return Audit(result, options, ranked, (), None, {}, None, tuple(skipped))
    doubts = (*doubts, *_doubts_of_classes(units, parts[0].fitted.classes))
    content = common_content(parts)
    regions = regions_of(parts[0].side, layout, options.masks, content)
    regions = tuple(r for r in regions if options.grid or r.role != "map")
    swaps = cached_swap(parts, units, regions, progress, cache, key, shorter)
    families = [frozenset({role}) for role in ("declared", "suspect", "map", "evidence")]
    enough = not any(doubt.check == "few_images" for doubt in doubts)
    effects = tuple(
        replace(effect, enough=enough)
        for effect in region_effects(swaps, families, options.seed)  # type: ignore[arg-type]
    )
    turned = {region.name: _turned(swaps, row) for row, region in enumerate(regions)}
    left = _left(swaps, regions)
    findings = (
        *doubts,
        *([] if content is not None else [AuditFinding("padded", "info")]),
        *_not_exchanged(regions, effects, options.masks),
        *_about_regions(effects, turned),
        *_about_evidence(left, regions),
    )
    strategies: tuple[HeatmapCluster, ...] = ()
    if options.more:
        besides, strategies = further_checks(parts, layout, POINTS, options.seed)
        findings = (*findings, *besides)
    smallest = max((e.visible for e in effects if e.role in ("declared", "suspect")), default=1.0)
    verdict = _verdict(findings, smallest)
    if verdict == "INCONCLUSIVE" and not {f.check for f in findings} & (NO_VERDICT | NOT_TRIED):
        findings = (*findings, _too_few(len(units), smallest, len(parts[0].fitted.classes)))
    result = AuditResult(verdict, smallest, findings)
    return Audit(result, options, ranked, effects, left, turned, swaps, tuple(skipped), strategies)


def _read_parts(
    models: Sequence[tuple[FittedScenario, ImageTable]], options: AuditOptions
) -> tuple[list[Part], list[Skipped]]:
    """Each model's part of the images, and what was left out; at least one part, or `DataError`."""
    parts: list[Part] = []
    skipped: list[Skipped] = []
    most = options.images or max(IMAGES, OF_CLASS * len(models[0][0].classes))
    share = -(-most // len(models))
    for fitted, table in models:
        usable, without = _usable(table, share, options)
        part, missing = read_part(fitted, usable, masks=options.masks)
        parts += [part] if part is not None else []
        skipped += (*without, *missing)
    if not parts and not skipped:
        raise DataError("no image to audit: the table holds no labelled image")
    if not parts:
        raise UnreadableDataError(
            f"no image to audit; the first left out: {skipped[0].source}: {skipped[0].reason}"
        )
    return parts, skipped


def _usable(table: ImageTable, n: int, options: AuditOptions) -> tuple[ImageTable, list[Skipped]]:
    """N labelled images at most, with a mask where masks are looked at, classes in equal shares.

    And those that lack a mask.
    """
    table = table.select(table.labels >= 0)
    lacks = (table.masks == "") & options.masks
    without = [Skipped(id_, "no mask") for id_ in table.ids[lacks].tolist()]
    table = table.select(~lacks)
    return table.select(balanced_sample(table.labels, n, options.seed)), without


def _ranked(parts: Sequence[Part]) -> Estimate:
    """AUROC of the images as they are, of all parts; each model's answers are a fold."""
    columns = ("ids", "groups", "splits", "y_true", "scores", "y_prob")
    joined = {name: np.concatenate([getattr(p.said, name) for p in parts]) for name in columns}
    joined["fold"] = np.arange(len(parts)).repeat([len(p.said) for p in parts])
    first = parts[0].said
    said = Predictions(first.scenario, first.classes, first.positive, **joined)
    if len(np.unique(said.y_true)) < 2:
        return Estimate(float("nan"), 0.0, 1.0, len(said), "not measured: images of one class only")
    no_label = Operating(0.5, "none chosen")  # a ranking needs none
    return estimate_all([said], "auroc", {said.scenario: no_label})[0]


# --------------------------------------------------------------------------- what is found


def _doubts(parts: Sequence[Part], ranked: Estimate, options: AuditOptions) -> list[AuditFinding]:
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
                "masks" if options.masks else "",
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


def _doubts_of_classes(units: Sequence[Unit], classes: Sequence[str]) -> list[AuditFinding]:
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


def _about_regions(
    effects: Sequence[RegionEffect], turned: dict[str, tuple[str, ...]]
) -> list[AuditFinding]:
    """A finding for every region that decides or may do, and one for those that do not."""
    found = []
    quiet: dict[str, list[RegionEffect]] = {"declared": [], "suspect": []}
    for effect in effects:
        if effect.role not in quiet:
            continue
        if effect.decides or effect.undecided:
            found.append(_decides(effect, turned[effect.region]))
        elif effect.turns_against:
            found.append(_against(effect))
        else:
            quiet[effect.role].append(effect)
    order = sorted(found, key=lambda f: (f.severity != "severe", -float(f.numbers["effect"])))
    if quiet["declared"]:
        order.append(_do_not_decide("declared_regions", quiet["declared"]))
    if quiet["suspect"]:
        order.append(_do_not_decide("suspect_regions", quiet["suspect"]))
    return order


def _decides(effect: RegionEffect, images: tuple[str, ...]) -> AuditFinding:
    """A region whose class content turns labels, or may do."""
    declared = effect.role == "declared"
    return AuditFinding(
        DECIDES if effect.decides else UNDECIDED,
        "severe" if declared and effect.decides else "warn",
        "against" if effect.against else "declared" if declared else "suspect",
        _numbers(effect),
        images,
        names=(effect.of_class,) if effect.of_class else (),
    )


def _against(effect: RegionEffect) -> AuditFinding:
    """A region whose class content turns labels the other way round."""
    names = (effect.of_class,) if effect.of_class else ()
    return AuditFinding("region_against", "warn", numbers=_numbers(effect), names=names)


def _not_exchanged(
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


def _about_evidence(left: SkillLeft | None, regions: Sequence[Region]) -> list[AuditFinding]:
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


def _too_few(pairs: int, smallest: float, n_classes: int) -> AuditFinding:
    """How many images would do, as what can be seen falls with the root of the pairs."""
    wanted = int(np.ceil(pairs * (smallest / UNSEEN) ** 2))
    images = int(np.ceil(2 * wanted / n_classes))
    numbers = {"pairs": pairs, "wanted": wanted, "images_a_class": images, "visible": smallest}
    return AuditFinding("power", "info", numbers=numbers, limit=UNSEEN)


def _verdict(findings: Sequence[AuditFinding], smallest: float) -> Verdict:
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


# --------------------------------------------------------------------------- small parts


def _left(swaps: Swaps, regions: Sequence[Region]) -> SkillLeft | None:
    """What is left where the evidence is taken away, if it was named."""
    rows = [row for row, region in enumerate(regions) if region.role == "evidence"]
    return without_region(swaps, rows[0]) if rows else None


def _turned(swaps: Swaps, row: int) -> tuple[str, ...]:
    """Recipients whose label follows the donor, the most moved first."""
    found: list[tuple[float, str]] = []
    for number, unit in enumerate(swaps.units):
        part = swaps.parts[unit.part]
        for place, recipient in enumerate(unit.recipients):
            prob = swaps.prob[number, row, place, :, 0]  # (2 donors, n_classes)
            given = part.labels(prob)
            if tuple(given) == unit.classes:
                moved = float(np.abs(prob[0] - prob[1]).max())
                found.append((moved, str(part.table.ids[recipient])))
    ranked = dict.fromkeys(id_ for _, id_ in sorted(found, reverse=True))
    return tuple(ranked)[:PICTURES]


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
