"""Where the evidence of chest X-ray models lies, by lung masks: docs/results/evidence.md.

`make results-evidence` runs it: frozen, trained, hybrid and CLAHE models of chest_xray, audited on
the official test images that have a mask of the lungs. Models that `make results-finetune` has
trained are read from its cache. Outcomes that are in experiments/results/evidence.json are not
computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import medgraft
from finetune import CAP, CHEST, LITE0, SHARED, folds_of, tuned
from medgraft.audit.evidence import AuditOptions, audit_evidence
from medgraft.data.masks import read_mask, with_masks
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import derive
from medgraft.data.split import Development, keep_copies_together, labelled
from medgraft.explain.agreement import agreement
from medgraft.explain.attribute import attribute
from medgraft.features.extract import base_of
from medgraft.files import write_json, written_file
from medgraft.learn.fit import fit
from medgraft.results.evidence import INSIDE, OUTSIDE
from medgraft.studies.single_scenario import SingleOptions, classic_scenario, run_single
from medgraft.terminal import progress
from medgraft.types import Canvas, FittedScenario, ImageTable, Scenario
from page import figure, lines

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "evidence.json"
MAPS = 120  # images whose maps are held against the masks
FROZEN = Scenario.from_key(f"probe/{LITE0}/conv_head/svm")
MODELS: Mapping[str, tuple[Scenario, int]] = {  # and the pairs of donors: VGG is slow
    "lite0, frozen": (FROZEN, 150),
    "lite0, frozen, on CLAHE": (Scenario.from_key(f"probe/{LITE0}/conv_head/clahe2-8/svm"), 150),
    "lite0, trained whole": (tuned(1), 150),
    "VGG-16, block 5 trained, classic": (classic_scenario(start="block4_pool"), 40),
    "hybrid": (Scenario.from_key("hybrid/hybrid_vgg16/block3_pool/strong/logistic"), 40),
}

HEAD = """# Where the evidence lies in chest X-rays

Written by `make results-evidence` from experiments/results/evidence.json; do not edit. Models of
chest_xray, on the {n} images of the official test split that have a mask of the lungs. What is
exchanged, and what the figures mean, says [audit.md](../audit.md). The masks hold the lungs with
most of the heart's shadow; what lies outside of them was declared to be no evidence. Brackets hold
95 % intervals.
"""


def main() -> None:
    """Audit what was not audited yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default=None, help="the cache that results-finetune filled")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    if not SHARED.is_dir() and not asked.page:
        sys.exit(f"needs real data in {SHARED}, which is not here")
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    extractor = medgraft.Extractor(
        medgraft.Cache(Path(asked.cache) if asked.cache else None), progress=progress(False)
    )
    for name, (scenario, pairs) in MODELS.items() if not asked.page else ():
        if name not in known:
            known[name] = looked_at(scenario, pairs, extractor)
            write_json(RESULTS, known)
    with written_file(ROOT / "docs" / "results" / "evidence.md") as path:
        path.write_text("\n".join(page(known)).rstrip() + "\n", encoding="utf-8")


def looked_at(scenario: Scenario, pairs: int, extractor: medgraft.Extractor) -> dict[str, Any]:
    """A model's audit with the lungs as the evidence, and where its maps lie."""
    began = time.perf_counter()
    whole = keep_copies_together(labelled(medgraft.load(SHARED / CHEST)))
    table = with_masks(whole, SHARED / "chest_xray_lungmasks")
    fitted = model(scenario, table, extractor)
    options = AuditOptions("xray", masks=True, pairs=pairs, grid=False, more=False)
    audit = audit_evidence([(fitted, table.test)], options, progress=extractor.progress)
    effects = {effect.region: effect for effect in audit.effects}
    assert audit.left is not None
    return {
        "key": scenario.key,
        "images": audit.ranked.n,
        "verdict": audit.result.verdict,
        "smallest": audit.result.smallest_effect,
        "auroc": dataclasses.asdict(audit.ranked),
        "left": audit.left and dataclasses.asdict(audit.left),
        "pairs": effects[OUTSIDE].pairs,
        **{
            side: {
                **dataclasses.asdict(effects[region].points),
                "p": effects[region].p,
                "auroc": effects[region].ranking,
                "visible": effects[region].visible,
            }
            for side, region in (("outside", OUTSIDE), ("inside", INSIDE))
        },
        "maps": where_maps_lie(fitted, table.test, extractor),
        "seconds": time.perf_counter() - began,
    }


def model(scenario: Scenario, table: ImageTable, extractor: medgraft.Extractor) -> FittedScenario:
    """The scenario's classifier, from the development images."""
    if scenario.family in ("finetune", "hybrid"):
        options = SingleOptions(holdout_only=True, cap=CAP, test=True)
        return run_single(table, scenario, options, extractor).crossed.fitted
    development = table.development
    return fit(
        scenario, Development(development, folds_of(CHEST, development, extractor)), extractor
    )


def where_maps_lie(
    fitted: FittedScenario, test: ImageTable, extractor: medgraft.Extractor
) -> list[dict[str, Any]]:
    """Maps of the class given against the lungs, each measure beside its chance level."""
    rows = np.flatnonzero(test.masks != "")
    drawn = test.select(np.sort(np.random.default_rng(0).permutation(rows)[:MAPS]))
    raw = [c for c in extractor.canvases(drawn, base_of(fitted.spec)) if isinstance(c, Canvas)]
    with DecodePool(1) as pool:
        paired = zip(drawn.masks.tolist(), raw, strict=True)
        masks = np.stack([read_mask(path, c.geometry, pool) for path, c in paired])
    canvases = [derive(c, fitted.spec.size, fitted.spec.edits) for c in raw]
    maps = np.stack([found.map for found in attribute(fitted, canvases)])
    return [
        {
            "name": one.name,
            "against": one.against,
            **{
                part: dataclasses.asdict(getattr(one, part))
                for part in ("value", "chance", "difference")
            },
        }
        for one in agreement(maps, masks, drawn.groups)
    ]


def page(known: Mapping[str, Any]) -> Iterator[str]:
    """The tables, and what they say."""
    rows = [(name, known[name]) for name in MODELS if name in known]
    yield HEAD.format(n=max(one["images"] for _, one in rows))
    yield "## Exchanged between images of different classes\n"
    yield (
        "Labels in 100 that follow the class of the image that a region was taken from, and the "
        "AUROC that is left when the lungs come from other patients of either class.\n"
    )
    head = ["model", "AUROC", "outside the lungs", "inside", "visible", "left", "verdict"]
    yield from lines(head, (_row(name, one) for name, one in rows))
    yield (
        "*visible*: the smallest effect outside the lungs that would have been seen, in 100 "
        "labels. *left*: AUROC without the evidence, and the share of the skill that it is.\n"
    )
    yield "## Where the maps lie\n"
    yield (
        f"Maps of the class given (Grad-CAM of the layer that the head reads) on {MAPS} of the "
        "images: the share of their energy inside the lungs, beside what the masks of other "
        "patients and the lungs' share of the area would give.\n"
    )
    yield from lines(
        ["model", "energy inside", "above other patients' masks", "above the area's share"],
        ([name, *_energies(one["maps"])] for name, one in rows),
    )
    yield "## What that says\n"
    yield from _answers(dict(rows))


def _row(name: str, one: Mapping[str, Any]) -> list[str]:
    before, after = one["left"]["before"], one["left"]["without"]
    skill = max(0.0, after - 0.5) / (before - 0.5)
    return [
        f"{name} ({one['pairs']} pairs)",
        figure(one["auroc"]),
        _points(one["outside"]),
        _points(one["inside"]),
        f"{100 * one['outside']['visible']:.0f}",
        f"{after:.3f} ({100 * skill:.0f} %)",
        one["verdict"],
    ]


def _points(effect: Mapping[str, float]) -> str:
    value, low, high = (100 * effect[part] for part in ("value", "low", "high"))
    return f"{value:.0f} ({low:.0f} to {high:.0f}), p = {effect['p']:.2g}"


def _energies(maps: list[dict[str, Any]]) -> list[str]:
    energy = [one for one in maps if one["name"] == "energy inside"]
    return [figure(energy[0]["value"]), *(figure(one["difference"]) for one in energy)]


def _answers(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Each question by comparing intervals, which is stricter than a paired test."""
    questions = {
        "Does CLAHE move the evidence into the lungs?": "lite0, frozen, on CLAHE",
        "Does training the network again?": "lite0, trained whole",
        "Does the classic recipe on VGG-16?": "VGG-16, block 5 trained, classic",
        "Does the hybrid network?": "hybrid",
    }
    base = rows["lite0, frozen"]["outside"]
    for question, name in questions.items():
        if name not in rows:
            continue
        other = rows[name]["outside"]
        if other["high"] < base["low"]:
            answer = "Yes: fewer labels follow what lies outside"
        elif other["low"] > base["high"]:
            answer = "No: more labels follow what lies outside"
        else:
            answer = "Not shown: the intervals overlap"
        yield (
            f"- {question} {answer} ({_points(other)}, against {_points(base)} of the frozen "
            "network)."
        )
    yield ""


if __name__ == "__main__":
    main()
