"""Does a head that knows the order of grades tell them better than heads that do not?

Out of fold, all heads on the same folds of the same codes, strengths chosen inside by quadratic
weighted kappa; paired by patient. Two data sets:

- phantoms: made films whose opacity is denser by grade (`data.phantom.write_graded_phantoms`), so
  that one quantity makes the grade;
- skin7: four grades of malignancy, made of its diagnoses by how far the disease can go without
  treatment: benign (nv, bkl, df, vasc), in situ (akiec: actinic keratosis and Bowen's disease), bcc
  (destroys where it is, and hardly ever spreads), melanoma (spreads). The order is that of danger;
  what is seen need not follow it (a melanoma looks like a naevus, not like a bcc), which is why it
  is here.

    python experiments/grades.py
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from medgraft.data.ingest import LoadOptions, load
from medgraft.data.phantom import write_graded_phantoms
from medgraft.data.split import Development, keep_copies_together, labelled, make_folds
from medgraft.evaluate.compare import compare
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.grades import grade_figures, grading_of
from medgraft.evaluate.metrics import judge
from medgraft.evaluate.recalibration import recalibrate
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import feature_plan_of
from medgraft.learn.fit import cross_fitted_all
from medgraft.results.figures import Comparison
from medgraft.types import Estimate, ImageTable, Predictions, Scenario
from page import lines

ROOT = Path(__file__).parents[1]
SKIN = ROOT.parent / "shared" / "data" / "skin7" / "metadata.csv"
NET = "tf_efficientnet_lite0"
TAPS = ("blocks.6", "stages")
PLAIN = ("svm", "logistic", "lda", "knn")
METRIC = "quadratic_kappa"
MALIGNANCY = {
    "nv": "benign", "bkl": "benign", "df": "benign", "vasc": "benign",
    "akiec": "in situ", "bcc": "bcc", "mel": "melanoma",
}  # fmt: skip
ORDER = ("benign", "in situ", "bcc", "melanoma")
WHAT = {
    "phantoms": "Made films whose opacity is denser by grade, none at 0: one quantity is the "
    "grade.",
    "skin7": "Dermatoscopy, its seven diagnoses as four grades of malignancy, by how far the "
    "disease can go: benign (nv, bkl, df, vasc), in situ (akiec), bcc (destroys where it is, "
    "hardly ever spreads), melanoma (spreads). The order is one of danger.",
}


def main() -> int:
    """Judge, write docs/results/grades.md, and say whether plain heads kept their bits."""
    extractor = Extractor()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "phantoms"
        write_graded_phantoms(folder, n_patients=300)
        tables = {"phantoms": load(folder, LoadOptions(ordered=True))}
        same = same_bits(folder, extractor)
        if SKIN.is_file():
            names = tuple(MALIGNANCY.items())
            tables["skin7"] = load(
                SKIN, LoadOptions(label_column="dx", rename=names, order=ORDER, group="lesion_id")
            )
        found = {name: judged(table, extractor) for name, table in tables.items()}
    text = "\n".join(page(tables, found, same=same))
    (ROOT / "docs" / "results" / "grades.md").write_text(text, encoding="utf-8")
    return int(not same)


def judged(
    table: ImageTable, extractor: Extractor, heads: tuple[str, ...] = (*PLAIN, "ordinal")
) -> dict[tuple[str, str], Predictions]:
    """Out-of-fold predictions by tap and head."""
    scenarios = [Scenario.from_key(f"probe/{NET}/{tap}/{head}") for tap in TAPS for head in heads]
    table = keep_copies_together(labelled(table))
    specs = [spec for one in scenarios for spec in feature_plan_of(one, extractor).specs]
    extractor.prepare(table, *dict.fromkeys(specs))
    folds = dataclasses.replace(make_folds(table, 5, 0), metric=METRIC)
    found = cross_fitted_all(scenarios, Development(table, folds), extractor)
    by_key = {one.predictions.scenario: one.predictions for one in found}
    return {(one.tap, one.head): by_key[one.key] for one in scenarios}


def same_bits(folder: Path, extractor: Extractor) -> bool:
    """Whether plain heads say the same, to the bit, of classes that are told to be grades or not.

    Each is computed in an empty cache of its own.
    """
    said = []
    for ordered in (False, True):
        table = load(folder, LoadOptions(ordered=ordered))
        table = table.select(np.arange(0, len(table), 4))
        with tempfile.TemporaryDirectory() as scratch:
            own = Extractor(Cache(Path(scratch)), engine=extractor.engine)
            found = judged(table, own, ("svm", "logistic"))
            said.append([found[key].y_prob.tobytes() for key in sorted(found)])
    return said[0] == said[1]


# --------------------------------------------------------------------------- the page


def page(
    tables: Mapping[str, ImageTable],
    found: Mapping[str, Mapping[tuple[str, str], Predictions]],
    *,
    same: bool,
) -> Iterator[str]:
    """The lines of docs/results/grades.md."""
    yield "# Grades: does a head that knows their order tell them better?\n"
    yield (
        "Written by `python experiments/grades.py`; do not edit. Frozen codes of "
        f"{NET}, five folds, patients whole, all heads on the same folds; strengths are chosen "
        "inside the folds by quadratic weighted kappa, by which they are compared too, paired, "
        "with 95 % intervals; p is Holm's over the plain heads of a row. Everything is out of "
        "fold: no test split was looked at.\n"
    )
    yield (
        "Told or not told that the classes are grades, plain heads (svm, logistic; "
        f"{len(TAPS)} layers) gave {'the same' if same else 'OTHER'} probabilities to the bit, "
        "each computed in an empty cache.\n"
    )
    for name, table in tables.items():
        yield from part(name, table, found[name])
    yield "## What it means\n"
    yield (
        "Where one quantity makes the grade, knowing the order is worth a great deal. Where the "
        "order is one of danger and not of looks, as here of skin, one latent value is not enough, "
        "and the plain heads, which have a direction a class, do better. So a study compares both, "
        "on the same folds, and recommends by what it finds.\n"
    )


def part(
    name: str, table: ImageTable, found: Mapping[tuple[str, str], Predictions]
) -> Iterator[str]:
    """One data set: kappa of every head, paired; then how far mistakes go."""
    counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    classes = ", ".join(f"{c} {n}" for c, n in zip(table.classes, counts.tolist(), strict=True))
    yield f"## {name}\n"
    yield f"{WHAT[name]}\n"
    yield f"{len(table)} images of {len(np.unique(table.groups))} groups: {classes}.\n"
    rows, best = [], {}
    for tap in TAPS:
        every = [found[tap, head] for head in (*PLAIN, "ordinal")]
        kappas = [kappa(one) for one in every]
        gaps = compare(every[-1], every[:-1], METRIC)
        best[tap] = PLAIN[int(np.argmax([one.value for one in kappas[:-1]]))]
        rows.append([tap, *(f"{one.value:.3f}" for one in kappas[:-1]), figure(kappas[-1]),
                     gap(gaps[PLAIN.index(best[tap])])])  # fmt: skip
    yield from lines(["layer", *PLAIN, "ordinal", "ordinal − best plain head (p)"], rows)
    tap = max(TAPS, key=lambda one: kappa(found[one, "ordinal"]).value)
    yield f"How far mistakes go, at {tap}:\n"
    rows = []
    for head in (best[tap], "ordinal"):
        one = found[tap, head]
        far = grade_figures(one, grading_of(one))
        slope = recalibrate(one).slope
        rows.append(
            [
                head,
                *(percent(share) for share in (far.exact, far.off_by_one, far.off_by_more)),
                figure(far.mean_error),
                figure(far.mean_grade_error),
                *(f"{cut.estimates['auroc'].value:.3f}" for cut in far.cuts),
                "–" if slope is None else figure(slope),
            ]
        )
    at_least = [f"AUROC of {grade} or higher" for grade in table.classes[1:]]
    yield from lines(
        ["head", "its grade", "off by one", "off by two or more", "mean error",
         "error of the mean grade", *at_least, "calibration slope"], rows
    )  # fmt: skip


def kappa(predictions: Predictions) -> Estimate:
    return estimate(judge(predictions), [METRIC])[METRIC]


def figure(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def percent(one: Estimate) -> str:
    return f"{100 * one.value:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f})"


def gap(one: Comparison) -> str:
    return f"{one.difference:+.3f} ({one.low:+.3f} to {one.high:+.3f}; p {one.p:.2g})"


if __name__ == "__main__":
    sys.exit(main())
