"""docs/results/frozen.md from the measured figures: tables, and a verdict on each claim."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medgraft.files import written_file
from page import difference, figure, lines

Found = Mapping[str, Any]
ORDER = ("better", "worse", "no difference seen")
WAYS = {  # a way, and what the study's question about it says
    "CLAHE instead of raw": "CLAHE help instead",
    "CLAHE beside raw": "CLAHE help beside",
    "probabilities of raw and CLAHE averaged": "average raw and CLAHE",
    "four views, augmented by modality": "augmented views",
    "input of 544 px": "input of 544",
    "input of 864 px": "input of 864",
    "224 and 544 px side by side": "224 and 544 pixels, side by side",
    "224 and 544 px averaged": "224 and 544 pixels, averaged",
    "the best of multiscale": "best of multiscale",
    "the best of vlad": "best of vlad",
    "the best of ensemble": "best of ensemble",
}


def write_page(known: Mapping[str, Found], root: Path) -> None:
    """Write the page; data sets that were not measured are left out, and said to be."""
    parts = [HEAD, *_table_of_families(known), *_table_of_ways(known), *_table_of_depth(known)]
    parts += [
        *_table_of_heads(known),
        *_table_of_curves(known),
        *_table_of_gaps(known),
        *_table_of_backbones(known),
    ]
    parts += ["## What that says of the claims\n", *_verdicts(known)]
    with written_file(root / "docs" / "results" / "frozen.md") as path:
        path.write_text("\n".join(parts) + "\n", encoding="utf-8")


HEAD = """# What frozen features can do

Written by `make results-frozen` (about an hour on 2 cores) from experiments/results/frozen.json;
do not edit. Backbone: tf_efficientnet_lite0 unless another is named. Every figure is an AUROC (of
more than two classes the mean, one against the rest) with its 95 % interval, out of fold on the
development images with groups kept whole; only columns named *test* are of the test split, which
a study looks at once. Differences are paired on the same images, their p corrected (Holm) for all
questions of a data set's study; heads and backbones are corrected for their own number.
"""


def _short(key: str) -> str:
    return key.replace("tf_efficientnet_lite0/", "")


# --------------------------------------------------------------------------- tables


def _table_of_families(known: Mapping[str, Found]) -> list[str]:
    """The best of each family, and what was recommended."""
    rows = []
    for name, found in known.items():
        best = _best_of_families(found)
        cells = [f"{name} ({found['images']:,} images, {found['classes']} classes)"]
        for family in ("probe", "multiscale", "vlad", "ensemble"):
            one = best.get(family)
            cells.append(f"{figure(one['oof'])}<br>`{_short(one['key'])}`" if one else "")
        rows.append(cells)
    head = ["data", "best probe", "best multiscale", "best vlad", "best ensemble"]
    chosen = []
    for name, found in known.items():
        test = (found["tested"] or {}).get("auroc")
        accuracy = (found["tested"] or {}).get("accuracy")
        chosen.append(
            [
                name,
                f"`{_short(found['recommended'])}`",
                figure(found["corrected"]),
                figure(test) if test else "",
                figure(accuracy) if accuracy else "",
                f"{found['test_images']:,}",
            ]
        )
    return [
        "## Families\n",
        "The best of each, chosen on the figures shown, so all are a little too good:\n",
        *lines(head, rows),
        "What the study recommends (the simplest that is surely close to the best), its figure "
        "corrected for having been chosen, and the one look at the test split:\n",
        *lines(
            ["data", "recommended", "out of fold, corrected", "test AUROC", "test accuracy", "n"],
            chosen,
        ),
        "The recommended scenario against the best single tap read plainly (linear SVM), paired:\n",
        *lines(
            ["data", "best single tap", "difference out of fold", "p", "difference on test", "p"],
            [
                [
                    name,
                    f"`{_short(found['single']['oof']['b'])}`",
                    difference(found["single"]["oof"]),
                    f"{found['single']['oof']['p']:.2g}",
                    difference(found["single"]["test"]),
                    f"{found['single']['test']['p']:.2g}",
                ]
                for name, found in known.items()
                if "single" in found
            ],
        ),
    ]


def _best_of_families(found: Found) -> dict[str, Any]:
    best: dict[str, Any] = {}
    for row in found["scenarios"]:
        before = best.get(row["family"])
        if before is None or row["oof"]["value"] > before["oof"]["value"]:
            best[row["family"]] = row
    return best


def _question(found: Found, words: str) -> Mapping[str, Any] | None:
    """The study's question about a way, or None where it was not asked."""
    return next((q for q in found["questions"] if words in q["text"]), None)


def _table_of_ways(known: Mapping[str, Found]) -> list[str]:
    rows = []
    for way, words in WAYS.items():
        cells = [way]
        for found in known.values():
            q = _question(found, words)
            cells.append(f"{difference(q)}<br>p = {q['p']:.2g}: {q['answer']}" if q else "")
        rows.append(cells)
    return [
        "## Ways of seeing, each against the plain probe\n",
        "Difference of AUROC to the plain image at the tap where that is best (linear SVM); the "
        "last three rows compare the best of a family with the best probe. Each cell: the "
        "difference (95 % interval), then p.\n",
        *lines(["way", *known], rows),
    ]


def _table_of_depth(known: Mapping[str, Found]) -> list[str]:
    taps = next(iter(known.values()))["depth"]["taps"]
    rows = []
    for name, found in known.items():
        depth = found["depth"]
        top = max(one["value"] for one in depth["values"])
        cells = [
            f"**{one['value']:.3f}**" if one["value"] == top else f"{one['value']:.3f}"
            for one in depth["values"]
        ]
        rows.append([name, *cells, f"{depth['rank_correlation']:+.2f}"])
    return [
        "## Depth\n",
        "Plain probes with a linear SVM, from the shallowest tap to the deepest; the last column "
        "is the rank correlation of score and depth.\n",
        *lines(["data", *taps, "ρ"], rows),
    ]


def _table_of_heads(known: Mapping[str, Found]) -> list[str]:
    rows = [
        [
            name if i == 0 else "",
            row["head"],
            figure(row["oof"], 4),
            difference(_turned(row["against"])) if row["against"] else "",
            f"{row['against']['p']:.2g}" if row["against"] else "",
            f"{row['seconds']:.1f}",
        ]
        for name, found in known.items()
        for i, row in enumerate(found["heads"])
    ]
    return [
        "## Heads\n",
        "On all stages joined; the difference is to the SVM, paired, its p corrected within the "
        "data set; seconds of nested cross-validation.\n",
        *lines(["data", "head", "out of fold", "difference", "p", "seconds"], rows),
    ]


def _table_of_curves(known: Mapping[str, Found]) -> list[str]:
    parts = [
        "## Learning curves\n",
        "AUROC on one fold that nobody learns from, by number of training images; mean of four "
        "draws (their standard deviation; of all images there is one), the same draws in every "
        "column. `vlad conv_head` has 64 centres (16 for 50 and 100 images), fitted on the drawn "
        "images.\n",
    ]
    for name, found in known.items():
        ways = (
            [key for key in found["curve"][0] if key not in ("n", "draw")] if found["curve"] else []
        )
        rows = []
        for n in sorted({row["n"] for row in found["curve"]}):
            drawn = [row for row in found["curve"] if row["n"] == n]
            rows.append([f"{n:,}", *(_mean([row[way] for row in drawn]) for way in ways)])
        if rows:
            parts += [f"**{name}**\n", *lines(["images", *ways], rows)]
    return parts


def _mean(values: list[float]) -> str:
    spread = f" ({statistics.stdev(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def _table_of_gaps(known: Mapping[str, Found]) -> list[str]:
    rows = [
        [
            name,
            f"`{_short(gap['key'])}`",
            f"{gap['train']:.4f}",
            figure(gap["oof"], 4),
            figure(gap["test"], 4) if gap["test"] else "",
        ]
        for name, found in known.items()
        for gap in found["gaps"]
    ]
    return [
        "## The gap between train, out of fold and test\n",
        *lines(["data", "scenario", "train", "out of fold", "test"], rows),
    ]


def _table_of_backbones(known: Mapping[str, Found]) -> list[str]:
    rows = [
        [
            name,
            row["name"],
            figure(row["oof"], 4),
            "" if "against" not in row else difference(_turned(row["against"])),
            "" if "against" not in row else f"{row['against']['p']:.2g}",
        ]
        for name, found in known.items()
        for row in found.get("backbones", [])
    ]
    if not rows:
        return []
    return [
        "## Backbones on data like ImageNet\n",
        "All stages joined, linear SVM; the difference is to lite0, paired.\n",
        *lines(["data", "backbone", "out of fold", "difference", "p"], rows),
    ]


def _turned(one: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison of the second with the first instead."""
    return {"difference": -one["difference"], "low": -one["high"], "high": -one["low"]}


# --------------------------------------------------------------------------- verdicts


def _verdicts(known: Mapping[str, Found]) -> Iterator[str]:
    for claim, judge in CLAIMS.items():
        yield f"- **{claim}** {judge(known)}"


def _tally(known: Mapping[str, Found], words: str) -> str:
    """On how many data sets a way was better, worse, or no difference was seen."""
    answers: dict[str, list[str]] = {answer: [] for answer in ORDER}
    for name, found in known.items():
        q = _question(found, words)
        if q:
            answers[q["answer"]].append(name)
    said = [f"{answer} on {', '.join(names)}" for answer, names in answers.items() if names]
    return "; ".join(said) or "not measured"


def _deeper(known: Mapping[str, Found]) -> str:
    peaks = []
    for name, found in known.items():
        depth = found["depth"]
        values = [one["value"] for one in depth["values"]]
        peaks.append(f"{name} at {depth['taps'][values.index(max(values))]}")
    rising = [n for n, f in known.items() if f["depth"]["rank_correlation"] > 0.8]
    return (
        f"True as a trend on {len(rising)} of {len(known)} data sets (rank correlation of score "
        f"and depth above .8: {', '.join(rising) or 'none'}), but the best layer is: "
        f"{'; '.join(peaks)}."
    )


def _small_vlad(known: Mapping[str, Found]) -> str:
    said = []
    for name, found in known.items():
        gains = [
            row["vlad conv_head"] - row["conv_head"] for row in found["curve"] if row["n"] <= 250
        ]
        if len(gains) > 1:
            error = statistics.stdev(gains) / len(gains) ** 0.5
            said.append(f"{name} {statistics.mean(gains):+.3f} (± {1.96 * error:.3f})")
    return (
        "Mean gain of VLAD on the last convolution over its mean-pooled code, over all draws of at "
        f"most 250 images: {'; '.join(said)}. The ± is 1.96 standard errors over draws "
        f"that share images, so too narrow. The best encoder of any layer, all images: "
        f"{_tally(known, 'best of vlad')}."
    )


def _gap(known: Mapping[str, Found]) -> str:
    said = []
    for name, found in known.items():
        gap = found["gaps"][0]
        test = f", test {gap['test']['value']:.3f}" if gap["test"] else ""
        said.append(f"{name} train {gap['train']:.3f}, out of fold {gap['oof']['value']:.3f}{test}")
    return (
        "For a frozen network with a linear head (stages, SVM): "
        f"{'; '.join(said)}. Where out of fold equals train and test does not, the "
        "cause is a test split unlike train, not overfitting that cross-validation could see."
    )


def _backbone(known: Mapping[str, Found]) -> str:
    said = []
    for name, found in known.items():
        rows = found.get("backbones", [])
        if rows:
            best = max(rows, key=lambda row: row["oof"]["value"])
            sure = "against" in best and best["against"]["p"] < 0.05
            said.append(
                f"{name}: best {best['name']} with {figure(best['oof'], 4)}"
                + (" (told apart from lite0)" if sure else " (not told apart from lite0)")
            )
    return (
        f"{'; '.join(said) or 'not measured'}. Only three sizes of one family have weights here; "
        "VGG-16 has them too but takes 30 times the time."
    )


def _dense(known: Mapping[str, Found]) -> str:
    said = []
    for name, found in known.items():
        small = [row for row in found["curve"] if row["n"] <= 100]
        if small:
            ways = [key for key in small[0] if key not in ("n", "draw")]
            means = {way: statistics.mean(row[way] for row in small) for way in ways}
            best = max(means, key=lambda way: means[way])
            said.append(
                f"{name}: {best} {means[best]:.3f} against conv_head {means['conv_head']:.3f}"
            )
    return (
        "Not testable here for VGG, because the offline weights hold only its convolutions. Its "
        "nearest relative in lite0 is `conv_head`, the last layer before the classifier; with 50 "
        f"and 100 images the best of the ways drawn was: {'; '.join(said)}."
    )


def _way(words: str) -> Callable[[Mapping[str, Found]], str]:
    return lambda known: _tally(known, words).capitalize() + "."


CLAIMS: Mapping[str, Callable[[Mapping[str, Found]], str]] = {
    "Deeper layers represent more.": _deeper,
    "VLAD on the last convolutional layer helps small data.": _small_vlad,
    "CLAHE alone brings nothing.": _way("CLAHE help instead"),
    "CLAHE beside raw may help.": lambda known: (
        f"Codes side by side: {_tally(known, 'CLAHE help beside')}. Probabilities averaged: "
        f"{_tally(known, 'average raw and CLAHE')}."
    ),
    "Augmentation helps.": _way("augmented views"),
    "Larger input helps.": lambda known: (
        f"544 alone: {_tally(known, 'input of 544')}. 224 and 544 side by side: "
        f"{_tally(known, '224 and 544 pixels, side by side')}. All these files hold 224 to 256 "
        "pixels, so this is what enlarging them buys; for images that hold more it is not "
        "testable here."
    ),
    "Pretrained networks overfit even on large data.": _gap,
    "For data like ImageNet: just the best network.": _backbone,
    "Few images: a linear classifier on the fully connected codes.": _dense,
}
