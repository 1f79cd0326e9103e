"""What the audits say of real data with known faults, and without: docs/results/real-audits.md.

`make results-audits` runs it: models of endoscopy, in which a black inset tells the class, and the
same where it was made to tell it wholly; scenes and tissue, as they are and with what lies at the
edge exchanged; and the metadata probe on X-rays whose files tell the class. Pieces that are in
experiments/results/real_audits.json already are not run again, so that it can be stopped and called
anew; `--only` names some. What is counted as a fall, and as seen, stands here (`FALLS`, `VARIANTS`)
and was written before any model was looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import medgraft
from medgraft.audit.context_probes import grey_outside
from medgraft.audit.evidence import Audit, AuditOptions, audit_evidence
from medgraft.audit.findings import NO_VERDICT, NOT_TRIED
from medgraft.audit.regions import layout_of, regions_of
from medgraft.data.ingest import LoadOptions
from medgraft.data.ingest import load as load_table
from medgraft.data.preprocess import derive
from medgraft.data.split import Development, keep_copies_together, labelled, make_folds
from medgraft.evaluate.compare import compare, estimate_all
from medgraft.features.extract import base_of
from medgraft.files import write_json
from medgraft.learn.fit import fit
from medgraft.profile.image_stats import read_image_stats
from medgraft.profile.metadata import metadata_probe, read_properties
from medgraft.profile.shortcut_probe import predict_from_surface
from medgraft.report.text.audit_findings import sentence
from medgraft.results.evidence import CORNERS, DECIDES, RING
from medgraft.terminal import progress
from medgraft.types import (
    Canvas,
    FeatureSpec,
    FittedScenario,
    ImageTable,
    Pixels,
    Predictions,
    Scenario,
)
from planted import SIDE, USES, Images, mixed
from prove_audit import SCENARIOS
from real_audits_page import write_page

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "real_audits.json"
LITE0 = "tf_efficientnet_lite0"
POLYP = "polyp"
HEAD = Scenario.from_key(f"probe/{LITE0}/conv_head/svm")
MODELS: Mapping[str, Scenario] = {
    "blocks.2, svm": Scenario.from_key(f"probe/{LITE0}/blocks.2/svm"),
    "blocks.4, logistic": Scenario.from_key(f"probe/{LITE0}/blocks.4/logistic"),
    "conv_head, svm": HEAD,
    "conv_head, knn": Scenario.from_key(f"probe/{LITE0}/conv_head/knn"),
    "conv_head on CLAHE, svm": Scenario.from_key(f"probe/{LITE0}/conv_head/clahe2-8/svm"),
    "all stages, svm": Scenario.from_key(f"probe/{LITE0}/stages/svm"),
    "VLAD of blocks.5, svm": Scenario.from_key(f"vlad/{LITE0}/blocks.5/s160/k16/svm"),
    "VGG-16 block5_pool at 128 px, svm": Scenario.from_key("multiscale/vgg16/block5_pool/s128/svm"),
}
CUT = tuple(MODELS)[:6]  # models of polyp against two other classes, and with the inset enforced
OTHERS = ("bbps-2-3", "normal-cecum")
PAIRS = {"five classes": 100, "two classes": 60, "enforced": 60}  # of donors
SLOW = 40  # of VGG, which is slow
MIXES = 2  # draws of whose edge an image gets
MIXED_PAIRS = {"scenes_ot8": 280, "lc25000_lung_unique": 75}  # 10 and 25 of each pair of classes
UNDECLARED = {"scenes_ot8": "natural", "lc25000_lung_unique": "microscopy"}
FILES = ("chest_xray_originals", "chest_xray_aspect256")
EDGES = "xray"  # the layout that declares the border and all corners

# An image has the inset where a window that the inset covers, and the frame's own black corner
# does not, is black: rows and columns as shares of the canvas, grey level, share of its pixels.
WINDOW, BLACK, COVERED = (0.70, 0.95, 0.03, 0.26), 30, 0.95
BOX = 0.36  # of the side: the bottom left square that holds the inset
FALLS = USES  # of AUROC, without the inset, in both ways to take it out

Piece = Callable[[medgraft.Extractor], dict[str, Any]]


def main() -> None:
    """Run what is not in the results yet, then write the page."""
    pieces = plan()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"pieces, with semicolons: {'; '.join(pieces)}")
    parser.add_argument("--cache", default=None, help="a cache of its own")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    if not SHARED.is_dir() and not asked.page:
        sys.exit(f"needs real data in {SHARED}, which is not here")
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    chosen = asked.only.split(";") if asked.only else [name for name in pieces if name not in known]
    extractor = medgraft.Extractor(
        medgraft.Cache(Path(asked.cache) if asked.cache else None), progress=progress(False)
    )
    for name in [] if asked.page else chosen:
        began = time.perf_counter()
        known[name] = pieces[name](extractor)
        known[name]["seconds"] = time.perf_counter() - began
        write_json(RESULTS, known)
    write_page({name: known[name] for name in pieces if name in known}, ROOT)


def plan() -> dict[str, Piece]:
    """Every piece by its name, in the order in which they are run."""
    pieces: dict[str, Piece] = {"inset": count_insets, "places": places}
    for part, models in (("enforced", CUT), ("five classes", tuple(MODELS)), ("two classes", CUT)):
        pieces |= {f"{part} | {name}": partial(endoscopy, part, name) for name in models}
    for data in MIXED_PAIRS:
        pieces |= {
            f"{data} | {scenario.key}": partial(edges, data, scenario) for scenario in SCENARIOS
        }
    for data in FILES:
        pieces[data] = partial(files, data)
    return pieces


# --------------------------------------------------------------------------- endoscopy


def count_insets(extractor: medgraft.Extractor) -> dict[str, Any]:
    """How many images have the inset, by class."""
    table = whole_table()
    has = insets(table, extractor)
    found = {}
    for k, name in enumerate(table.classes):
        found[name] = [int(has[table.labels == k].sum()), int((table.labels == k).sum())]
    return {"classes": found}


def places(extractor: medgraft.Extractor) -> dict[str, Any]:
    """AUROC out of fold of polyps against `OTHERS` by one place alone, the rest painted grey.

    Of a linear head on the default network, on development images: what could be used there.
    """
    table = two_classes(whole_table()).development
    spec = extractor.spec(LITE0, ["conv_head"])
    raw = read(table, spec, extractor)
    regions = {one.name: one.base for one in regions_of(spec.size, layout_of("endoscopy"))}
    kept = {name: regions[name] for name in (RING, *CORNERS)}
    kept[f"{RING} without the {CORNERS[2]}"] = regions[RING] & ~regions[CORNERS[2]]
    found: dict[str, Any] = {"images": len(table)}
    for name, mask in kept.items():
        seen = (dataclasses.replace(c, pixels=grey_outside(c.pixels, mask)) for c in raw)
        codes = [values["conv_head@avg"] for _, values in extractor.run(seen, spec)]
        said = predict_from_surface(np.stack(codes).astype(np.float64), table)
        found[name] = dataclasses.asdict(estimate_all([said], "auroc")[0])
    return found


def endoscopy(part: str, name: str, extractor: medgraft.Extractor) -> dict[str, Any]:
    """One model: what it loses without the inset, and what the audit says.

    part : `five classes` of all images, `two classes` of the polyps and `OTHERS`, or `enforced`,
    where polyps with the inset and others without it are left out of what is learned from.
    """
    scenario, table = MODELS[name], whole_table()
    if part != "five classes":
        table = two_classes(table)
    judged = table.test
    development, alike = table.development, judged
    if part == "enforced":
        development, alike = (
            one.select(insets(one, extractor) == (one.labels == 0)) for one in (development, judged)
        )
    fitted = fit(scenario, Development(development, make_folds(development, 5, 0)), extractor)
    pairs = SLOW if scenario.backbone == "vgg16" else PAIRS[part]
    found: dict[str, Any] = {
        "key": scenario.key,
        "learned": len(development),
        "loss": losses(fitted, alike, extractor),
        "endoscopy": audited(fitted, alike, "endoscopy", pairs, extractor),
    }
    if part == "enforced":
        found["as they are"] = audited(fitted, judged, "endoscopy", pairs, extractor)
    else:
        found["undeclared"] = audited(fitted, judged, "", pairs, extractor)
    return found


def whole_table() -> ImageTable:
    """The five classes, official split."""
    return keep_copies_together(labelled(medgraft.load(SHARED / "hyperkvasir5")))


def two_classes(table: ImageTable) -> ImageTable:
    """Polyps against the two classes that look normal."""
    wanted = [table.classes.index(name) for name in (*OTHERS, POLYP)]
    chosen = table.select(np.isin(table.labels, wanted))
    labels = (chosen.labels == table.classes.index(POLYP)).astype(np.int64)
    return dataclasses.replace(chosen, labels=labels, classes=("other", POLYP), positive=POLYP)


def insets(table: ImageTable, extractor: medgraft.Extractor) -> NDArray[np.bool_]:
    """(n,) whether each image has the inset."""
    spec = extractor.spec(LITE0, ["conv_head"])
    return np.array([has_inset(canvas.pixels) for canvas in read(table, spec, extractor)])


def read(table: ImageTable, spec: FeatureSpec, extractor: medgraft.Extractor) -> list[Canvas]:
    """The table's canvases, in order; every image of these data sets can be read."""
    found = [canvas for canvas in extractor.canvases(table, spec) if isinstance(canvas, Canvas)]
    assert len(found) == len(table)
    return found


def has_inset(pixels: Pixels) -> bool:
    """Whether a canvas (side, side, 3) is black where the inset would be."""
    top, bottom, left, right = (round(share * len(pixels)) for share in WINDOW)
    window = pixels[top:bottom, left:right].max(axis=2)
    return bool((window < BLACK).mean() >= COVERED)


def unchanged(pixels: Pixels) -> Pixels:
    """The pixels themselves."""
    return pixels


def mirrored(pixels: Pixels) -> Pixels:
    """A copy whose bottom left square is its bottom right one in a mirror."""
    made, edge = pixels.copy(), round(BOX * len(pixels))
    made[-edge:, :edge] = pixels[-edge:, -edge:][:, ::-1]
    return made


def covered(pixels: Pixels) -> Pixels:
    """A copy whose bottom left square is black, as with an inset."""
    made, edge = pixels.copy(), round(BOX * len(pixels))
    made[-edge:, :edge] = 0
    return made


# Both are done to every image, with the inset or without, so that neither inset nor seam tells.
VARIANTS: Mapping[str, Callable[[Pixels], Pixels]] = {"mirrored": mirrored, "covered": covered}


def losses(
    fitted: FittedScenario, table: ImageTable, extractor: medgraft.Extractor
) -> dict[str, Any]:
    """AUROC as the images are, and how much less it is once the inset tells nothing, paired.

    By `macro` (mean of each class against the rest) and, of five classes, by `polyp` against the
    rest. A positive number is a fall.
    """
    raw = read(table, base_of(fitted.spec), extractor)
    spec = fitted.spec

    def said(change: Callable[[Pixels], Pixels]) -> Predictions:
        canvases = (dataclasses.replace(c, pixels=change(c.pixels)) for c in raw)
        made = (derive(canvas, spec.size, spec.edits) for canvas in canvases)
        prob = fitted.probabilities(made)
        return Predictions.of(fitted.scenario.key, table, np.log(np.maximum(prob, 1e-12)), prob)

    before, *after = (said(change) for change in (unchanged, *VARIANTS.values()))
    scores = {"macro": [before, *after]}
    if len(table.classes) > 2:
        scores[POLYP] = [against_rest(one) for one in (before, *after)]
    found = {}
    for name, (reference, *others) in scores.items():
        falls = compare(reference, others, "auroc", purpose="report")
        found[name] = {
            "auroc": dataclasses.asdict(estimate_all([reference], "auroc")[0]),
            **{way: dataclasses.asdict(one) for way, one in zip(VARIANTS, falls, strict=True)},
        }
    return found


def against_rest(said: Predictions) -> Predictions:
    """Predictions of polyp against all other classes."""
    polyp = said.classes.index(POLYP)
    prob = np.stack([1 - said.y_prob[:, polyp], said.y_prob[:, polyp]], axis=1)
    return dataclasses.replace(
        said,
        classes=("other", POLYP),
        positive=POLYP,
        y_true=(said.y_true == polyp).astype(np.int64),
        scores=np.log(np.maximum(prob, 1e-12)),
        y_prob=prob,
    )


def audited(
    fitted: FittedScenario,
    table: ImageTable,
    modality: str,
    pairs: int,
    extractor: medgraft.Extractor,
) -> dict[str, Any]:
    """A verdict by the exchange of regions alone, and every region's effect."""
    options = AuditOptions(modality, images=len(table), pairs=pairs, grid=False, more=False)
    audit = audit_evidence([(fitted, table)], options, progress=extractor.progress)
    return {
        "verdict": audit.result.verdict,
        "smallest": audit.result.smallest_effect,
        "images": audit.ranked.n,
        "auroc": dataclasses.asdict(audit.ranked),
        "decides": deciding(audit),
        "left": audit.left and dataclasses.asdict(audit.left),
        "doubts": [
            sentence(one) for one in audit.result.findings if one.check in NO_VERDICT | NOT_TRIED
        ],
        "regions": {
            effect.region: {
                **dataclasses.asdict(effect.points),
                "role": effect.role,
                "class": effect.of_class,
                "p": effect.p,
                "auroc": effect.ranking,
                "visible": effect.visible,
                "pairs": effect.pairs,
            }
            for effect in audit.effects
        },
    }


def deciding(audit: Audit) -> dict[str, str]:
    """The regions that decide, and how grave that is."""
    return {
        str(finding.numbers["region"]): finding.severity
        for finding in audit.result.findings
        if finding.check == DECIDES
    }


# --------------------------------------------------------------------------- scenes and tissue


def edges(data: str, scenario: Scenario, extractor: medgraft.Extractor) -> dict[str, Any]:
    """Audits with border and corners exchanged at random and declared, and as the images are."""
    table = labelled(medgraft.load(SHARED / data))
    spec = extractor.spec(LITE0, ["blocks.2"], size=SIDE)
    images = np.stack([canvas.pixels for canvas in read(table, spec, extractor)])
    pairs, modality = MIXED_PAIRS[data], UNDECLARED[data]
    mixes = [mixed(images, np.random.default_rng([seed, 7])) for seed in range(MIXES)]
    exchanged = [of_pixels(scenario, table, one, EDGES, pairs, extractor) for one in mixes]
    return {
        "key": scenario.key,
        "classes": len(table.classes),
        "exchanged": exchanged,
        "undeclared": of_pixels(scenario, table, images, modality, pairs, extractor),
    }


def of_pixels(
    scenario: Scenario,
    table: ImageTable,
    images: Images,
    modality: str,
    pairs: int,
    extractor: medgraft.Extractor,
) -> dict[str, Any]:
    """Learn from images (n, side, side[, 3]) in the place of the table's own, and audit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        train, test = (np.flatnonzero(table.splits == split) for split in ("train", "test"))
        np.savez(
            file,
            train_images=images[train],
            train_labels=table.labels[train, None].astype(np.uint8),
            test_images=images[test],
            test_labels=table.labels[test, None].astype(np.uint8),
        )
        made = load_table(file, LoadOptions(no_groups=True))
        made = dataclasses.replace(made, classes=table.classes)  # which an array only numbers
        development = made.development
        fitted = fit(scenario, Development(development, make_folds(development, 5, 0)), extractor)
        return audited(fitted, made.test, modality, pairs, extractor)


# --------------------------------------------------------------------------- files


def files(data: str, extractor: medgraft.Extractor) -> dict[str, Any]:
    """What the metadata probe says, and how well each property alone tells the class."""
    table = labelled(medgraft.load(SHARED / data))
    image_stats = read_image_stats(table, extractor.spec(LITE0, ["conv_head"]), extractor)
    properties = read_properties(table, image_stats)
    (finding,) = metadata_probe(table, properties)
    rows = np.flatnonzero(table.splits != "test")
    own = table.select(rows)
    alone = {
        name: dataclasses.asdict(
            estimate_all([predict_from_surface(values[rows], own)], "auroc")[0]
        )
        for name, values in properties.items()
    }
    return {
        "images": len(own),
        "check": finding.check,
        "severity": finding.severity,
        "text": finding.text,
        "numbers": dict(finding.numbers),
        "alone": alone,
    }


if __name__ == "__main__":
    main()
