"""docs/results/finetune.md from the measured figures: tables, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medgraft.files import written_file
from page import difference, figure, lines

Found = Mapping[str, Any]
AIM = {"auroc": 0.991, "accuracy": 0.946}  # Google AutoML Vision on the same test split
SURE = 0.05

HEAD = """# What training part of a network again can do

Written by `make results-finetune` (about three hours on 2 cores, in pieces that may be stopped)
from experiments/results/finetune.json; do not edit. Backbone: tf_efficientnet_lite0 unless another
is named. AUROC of more than two classes is the mean, one against the rest. Brackets hold 95 %
intervals. Only what is called *test* is of the official test split; each training looks at it once.
"""


def write_page(known: Mapping[str, Found], root: Path) -> None:
    """Write the page; pieces that were not measured are left out."""
    parts = [HEAD, *_chest(known), *_peers(known), *_curves(known), *_balance(known)]
    parts += _classic(known)
    with written_file(root / "docs" / "results" / "finetune.md") as path:
        path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


# --------------------------------------------------------------------------- chest_xray


def _chest(known: Mapping[str, Found]) -> Iterator[str]:
    """The study of 60 minutes, and what was trained beside it."""
    found = known.get("study")
    if found is None:
        return
    size, folds, *recipe = found["bought"]
    tested, against = found["tested"], found["trained against frozen, test"]
    yield "## chest_xray, official test split of 624\n"
    yield (
        f"`medgraft study chest_xray --families probe,finetune --budget 60m` took "
        f"{found['minutes']:.0f} minutes. The budget bought {size or 'its own'} px, {folds} folds, "
        f"{', '.join('='.join(one) for one in recipe)}; the search chose `{found['depth']}`; "
        f"recommended is `{found['recommended']}`, with a test AUROC of {figure(tested['auroc'])} "
        f"and an accuracy of {figure(tested['accuracy'])} at the threshold chosen without the "
        f"test. The aim was {AIM['auroc']} and {AIM['accuracy']} (Google AutoML Vision).\n"
    )
    yield from lines(
        ["scenario", "judged on", "AUROC there", "test AUROC", "test accuracy", "training"],
        _chest_rows(known),
    )
    yield (
        f"Trained against the best frozen probe on test, paired: AUROC {difference(against)}, "
        f"p = {against['p']:.2g}.\n"
    )
    seeds = [known[name]["test"] for name in ("seed 1", "seed 2") if name in known]
    if seeds:
        areas = ", ".join(f"{one['auroc']['value']:.3f}" for one in seeds)
        right = ", ".join(f"{one['accuracy']['value']:.3f}" for one in seeds)
        yield (
            f"Other seeds, trained once on four fifths of the images: test AUROC {areas}; accuracy "
            f"{right}.\n"
        )


def _chest_rows(known: Mapping[str, Found]) -> Iterator[list[str]]:
    found = known["study"]
    for name, key in (("trained", found["trained"]), ("best frozen probe", found["frozen"])):
        test = found["test"][key]
        chosen = key == found["recommended"]
        yield [
            f"{name}: `{key}`",
            "plain folds, changed views",
            figure(found["validation"][key]),
            figure(test),
            figure(found["tested"]["accuracy"]) if chosen else "",
            "",
        ]
    names = {
        "seed 1": "the same from `input`, seed 1",
        "seed 2": "the same from `input`, seed 2",
        "classic": "classic recipe, VGG-16 from block 5 on",
        "hybrid": "hybrid network",
    }
    for piece, name in names.items():
        if piece in known:
            one = known[piece]
            yield [
                f"{name}: `{one['key']}`",
                "one plain fold",
                figure(one["validation"]),
                figure(one["test"]["auroc"]),
                figure(one["test"]["accuracy"]),
                f"{one['epochs']} epochs, {one['train_minutes']:.0f} min; {one['stopped']}",
            ]


# --------------------------------------------------------------------------- the peer


def _peers(known: Mapping[str, Found]) -> Iterator[str]:
    """Score at equal time and time to equal score, on a fold that neither has seen."""
    names = [name.removeprefix("peer ") for name in known if name.startswith("peer ")]
    names = [name for name in names if f"ours {name}" in known]
    if not names:
        return
    yield "## Against the usual fine-tune\n"
    yield (
        "The usual way (experiments/peer.py): timm's own transform, loader and network with the "
        "same weights at its own 224 px, AdamW with warm-up and cosine. Ours: everything trained "
        "at 160 px, as the budget buys it. Both judged on the last of five plain folds, "
        "which neither learned from or stopped by.\n"
    )
    yield from lines(
        ["data", "way", "minutes of training: AUROC (accuracy) after each epoch"],
        (
            [
                name,
                way,
                "; ".join(
                    f"{e['seconds'] / 60:.1f}: {e['auroc']:.4f} ({e['accuracy']:.3f})"
                    for e in known[f"{way} {name}"]["epochs"]
                ),
            ]
            for name in names
            for way in ("ours", "peer")
        ),
    )
    for name in names:
        ours, theirs = (known[f"{way} {name}"]["epochs"] for way in ("ours", "peer"))
        last = theirs[-1]
        same = [e for e in ours if e["seconds"] <= last["seconds"] * 1.02]
        reached = [e for e in ours if e["auroc"] >= max(t["auroc"] for t in theirs)]
        yield (
            f"- {name}: after the {last['seconds'] / 60:.1f} minutes of the usual way "
            f"({last['auroc']:.4f}) ours stands at {same[-1]['auroc']:.4f}; the usual way's best "
            + (
                f"was reached by ours after {reached[0]['seconds'] / 60:.1f} minutes."
                if reached
                else "was not reached by ours."
            )
        )
    yield ""


# --------------------------------------------------------------------------- depth


def _curves(known: Mapping[str, Found]) -> Iterator[str]:
    """Score by depth, and where training stops to pay."""
    curves = {name: known[name] for name in known if name.startswith("curve ")}
    if not curves:
        return
    yield "## From which layer on\n"
    yield (
        "Every depth trained on the same images for the same epochs at 160 px under the strong "
        "preset, judged on whole groups held out (of chest_xray in changed views of them).\n"
    )
    depths = list(dict.fromkeys(t["depth"] for one in curves.values() for t in one["trials"]))
    rows = []
    for name, one in curves.items():
        first = {t["depth"]: t for t in one["trials"] if t["rung"] == 0}
        cells = [figure(first[d]["estimate"]) if d in first else "" for d in depths]
        label = f"{name.removeprefix('curve ')} ({one['images']:,} images)"
        rows.append([label, *cells, f"`{one['chosen']}`", f"{one['minutes_of_search']:.1f}"])
    yield from lines(["data", *(f"`{d}`" for d in depths), "chosen", "minutes"], rows)
    yield (
        "The last rung, the chosen depth against each other one and against a linear head on the "
        "frozen network, paired (p corrected for their number):\n"
    )
    for name, one in curves.items():
        against = "; ".join(
            f"`{c['b']}` {difference(c)}, p = {c['p']:.2g}"
            for c in [*one["comparisons"], one["gain"]]
        )
        yield f"- {name.removeprefix('curve ')}: `{one['chosen']}` against {against}"
    yield ""


def _balance(known: Mapping[str, Found]) -> Iterator[str]:
    """Classes made equal by the loss, by the sampler, or by the threshold alone."""
    ways = {
        name.removeprefix("balance "): known[name] for name in known if name.startswith("balance ")
    }
    if not ways:
        return
    yield "## Uneven classes\n"
    counts = " and ".join(map(str, next(iter(ways.values()))["classes"]))
    yield (
        f"chest_xray ({counts} images a class), trained from blocks.5 at 224 px with a head that "
        "starts at zero, judged on one plain fold: by the most probable class, and at the "
        "threshold that other images chose.\n"
    )
    rows = []
    for way, one in ways.items():
        cells = [
            " / ".join(f"{one[at][m]:.3f}" for m in ("sensitivity", "specificity"))
            + f", balanced {one[at]['balanced_accuracy']:.3f}"
            for at in ("raw", "threshold")
        ]
        rows.append([way, figure(one["auroc"], 4), *cells])
    head = ["balance", "AUROC", "most probable: sensitivity / specificity", "at the threshold"]
    yield from lines(head, rows)


def _classic(known: Mapping[str, Found]) -> Iterator[str]:
    """The whole VGG-16 by the classic recipe on the small sets."""
    rows = [
        [
            name.removeprefix("classic "),
            f"{one['epochs']} ({one['train_minutes']:.0f} min; {one['stopped']})",
            figure(one["validation"]),
            figure(one["test"]["auroc"]),
            figure(one["test"]["accuracy"]),
        ]
        for name, one in known.items()
        if name.startswith("classic ")
    ]
    if rows:
        yield "## The classic recipe, whole\n"
        yield "VGG-16, everything trained, Adam at 1e-6, log loss; one fold held out.\n"
        yield from lines(["data", "epochs", "AUROC held out", "test AUROC", "test accuracy"], rows)
