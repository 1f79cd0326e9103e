"""Does the evidence lie where a human would accept it? Regions exchanged, tested, and a verdict.

`audit_evidence` is the one function to call. Which regions there are says `regions.py`, how they
are exchanged `swap.py`, what follows from the answers `effects.py`, and what is found and concluded
`findings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medgraft.audit.audit_cache import cached_swap
from medgraft.audit.effects import region_effects, without_region
from medgraft.audit.findings import (
    NO_VERDICT,
    NOT_TRIED,
    about_evidence,
    about_regions,
    doubts,
    doubts_of_classes,
    not_exchanged,
    too_few,
    verdict_of,
)
from medgraft.audit.further_checks import further_checks
from medgraft.audit.heatmap_clusters import HeatmapCluster
from medgraft.audit.parts import Part, common_content, read_part
from medgraft.audit.regions import Region, layout_of, regions_of
from medgraft.audit.sample import balanced_sample
from medgraft.audit.swap import Swaps, draw_units
from medgraft.errors import DataError, UnreadableDataError
from medgraft.evaluate.compare import estimate_all
from medgraft.features.cache import Cache
from medgraft.results.evidence import FEW_PAIRS, POINTS, RegionEffect, SkillLeft
from medgraft.results.recommendation import AuditResult
from medgraft.types import (
    AuditFinding,
    Estimate,
    FittedScenario,
    ImageTable,
    Operating,
    Predictions,
    Progress,
    Silent,
    Skipped,
)

PICTURES = 6  # images that a finding shows
SILENT = Silent()
IMAGES, OF_CLASS = 600, 60  # audited at most, in all and, where those are more, of each class


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
    doubtful = tuple(doubts(parts, ranked, masks=options.masks))
    units = draw_units(parts, options.pairs, options.seed)
    if len(units) < FEW_PAIRS or any(one.check == "one_class" for one in doubtful):
        few = AuditFinding("few_pairs", "warn", numbers={"pairs": len(units)}, limit=FEW_PAIRS)
        result = AuditResult("INCONCLUSIVE", 1.0, (*doubtful, few))
        return Audit(result, options, ranked, (), None, {}, None, tuple(skipped))
    doubtful = (*doubtful, *doubts_of_classes(units, parts[0].fitted.classes))
    content = common_content(parts)
    regions = regions_of(parts[0].side, layout, options.masks, content)
    regions = tuple(r for r in regions if options.grid or r.role != "map")
    swaps = cached_swap(parts, units, regions, progress, cache, key, shorter)
    families = [frozenset({role}) for role in ("declared", "suspect", "map", "evidence")]
    enough = not any(doubt.check == "few_images" for doubt in doubtful)
    effects = tuple(
        replace(effect, enough=enough)
        for effect in region_effects(swaps, families, options.seed)  # type: ignore[arg-type]
    )
    turned = {region.name: _turned(swaps, row) for row, region in enumerate(regions)}
    left = _left(swaps, regions)
    findings = (
        *doubtful,
        *([] if content is not None else [AuditFinding("padded", "warn")]),
        *not_exchanged(regions, effects, options.masks),
        *about_regions(effects, turned),
        *about_evidence(left, regions),
    )
    strategies: tuple[HeatmapCluster, ...] = ()
    if options.more:
        besides, strategies = further_checks(parts, layout, POINTS, options.seed)
        findings = (*findings, *besides)
    smallest = max((e.visible for e in effects if e.role in ("declared", "suspect")), default=1.0)
    verdict = verdict_of(findings, smallest)
    if verdict == "INCONCLUSIVE" and not {f.check for f in findings} & (NO_VERDICT | NOT_TRIED):
        findings = (*findings, too_few(len(units), smallest, len(parts[0].fitted.classes)))
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
