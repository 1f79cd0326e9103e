"""A verdict on each conclusion of the seed study, from the committed files of results.

Each function gives the sections of one conclusion; what it says follows from the figures by a rule,
so that new figures give new verdicts. *Holds* and *does not hold* need an interval without 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from page import difference, figure, lines
from recommendation.regret import Cell

HOLDS, FAILS, OPEN = "holds", "does not hold", "not shown"
UNTESTABLE = "not testable here"
FEW = 120  # images up to which a set is small
SURE = 0.68  # rank correlation of nine layers that chance alone exceeds in one case of twenty
SETS = ("chest_xray", "hyperkvasir5", "scenes_ot8", "mini_scenes", "cancer_cells")

Results = Mapping[str, Any]
"""The files of results by name: frozen, finetune, evidence, audits, cells."""


@dataclass(frozen=True)
class Verdict:
    """conclusion : in the words of the seed study. answer : see the module. files : it rests on."""

    conclusion: str
    answer: str
    because: str
    files: tuple[str, ...]
    table: list[str] = field(default_factory=list)


def verdicts(found: Results) -> list[Verdict]:
    """All of them, in the order of the seed study."""
    return [
        many_images(found), few_images(found), vlad(found), larger(found, 544),
        larger(found, 864), clahe(found), augmentation(found), depth(found),
        depthwise_time(found), depthwise_evidence(found), large_overfit(found),
        evidence_and_classes(found), best_network(found),
    ]  # fmt: skip


def sign(low: float, high: float) -> str:
    """What an interval of a difference says of "more"."""
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def over_rows(answers: Sequence[str]) -> str:
    """One answer for the rows of a table: that of all, or in how many it is which."""
    if len(set(answers)) == 1:
        return answers[0]
    counts = [f"{answer} in {answers.count(answer)}" for answer in dict.fromkeys(answers)]
    return f"{', '.join(counts)} of {len(answers)} rows"


def many_images(found: Results) -> Verdict:
    """Fine-tuning where images are many."""
    trained = found["finetune"]
    study = trained["study"]["trained against frozen, test"]
    rows = [["chest_xray, the study of an hour, on test", "5,232", difference(study),
             sign(study["low"], study["high"])]]  # fmt: skip
    for name in ("scenes_ot8", "hyperkvasir5"):
        gain = trained[f"curve {name}"]["gain"]
        rows.append([f"{name}, the best depth, on groups held out",
                     f"{trained[f'curve {name}']['images']:,}", difference(gain),
                     sign(gain["low"], gain["high"])])  # fmt: skip
    return Verdict(
        "Many images: fine-tune",
        over_rows([row[3] for row in rows]),
        "AUROC of the trained network minus that of the best frozen probe (of the study) or of a "
        "linear head on the same network.",
        ("finetune.json",),
        lines(["data", "images", "gain", "verdict"], rows),
    )


def few_images(found: Results) -> Verdict:
    """A linear head where images are few."""
    rows = []
    for name in ("chest_xray", "scenes_ot8", "hyperkvasir5"):
        gain = found["finetune"][f"curve {name} 120"]["gain"]
        rows.append([f"120 images of {name}, the best depth", difference(gain)])
    for name in ("cancer_cells", "mini_scenes"):
        test = found["finetune"][f"classic {name}"]["test"]["accuracy"]
        probe = found["frozen"][name]["tested"]["accuracy"]
        rows.append([f"{name}: accuracy of the classic recipe on VGG-16, of the frozen probe",
                     f"{figure(test)}, {figure(probe)}"])  # fmt: skip
    gain = _mean_gain(found["cells"], "linear SVM, last layer", "fine-tune all")
    more = f" Over {gain[3]} draws of few images: {_points(gain)}." if gain else (
        " Cells that train networks on 50 and 100 images are planned and none is run yet."
    )  # fmt: skip
    return Verdict(
        "Few images: a linear head on frozen codes",
        sign(gain[1], gain[2]) if gain else OPEN,
        "Training gains nothing that could be seen, and so few images judge it that a large gain "
        f"could not be excluded; the small sets are perfect either way.{more}",
        ("finetune.json", "frozen.json", "recommendation.jsonl"),
        lines(["data", "trained minus a linear head"], rows),
    )


def vlad(found: Results) -> Verdict:
    """VLAD on small data."""
    rows, answers = [], []
    for name in SETS:
        for n in (50, 100):
            draws = [one for one in found["frozen"][name]["curve"] if one["n"] == n]
            if len(draws) < 3:
                continue
            gaps = {against: _t([one["vlad conv_head"] - one[against] for one in draws])
                    for against in ("conv_head", "stages")}  # fmt: skip
            answers.append(sign(*gaps["stages"][1:3]))
            rows.append([name, str(n), *(_difference(gap) for gap in gaps.values())])
    cells = [
        (against, _mean_gain(found["cells"], "VLAD of the last layer", against))
        for against in ("linear SVM, last layer", "linear SVM, stages")
    ]
    more = "; ".join(f"{_points(gain)} against {name}" for name, gain in cells if gain)
    return Verdict(
        "VLAD helps on small data",
        over_rows(answers),
        "AUROC of VLAD of the last layer minus that of its pooled codes, and of all stages' pooled "
        "codes, under the same linear SVM: mean of four draws with a 95 % t interval. The verdict "
        "is against the stages, which cost the same pass."
        + (f" On the tests, over cells of at most {FEW} images: {more}." if more else "")
        + _best_vlad(found["cells"]),
        ("frozen.json", "recommendation.jsonl"),
        lines(["data", "images", "against the last layer", "against the stages"], rows),
    )


def _best_vlad(cells: Sequence[Cell]) -> str:
    """What the best VLAD of any layer gains over the best probe, by data set."""
    said = []
    for name in dict.fromkeys(cell.data for cell in cells):
        gaps = [
            _family(cell, "vlad") - _family(cell, "probe")
            for cell in cells
            if cell.data == name and cell.images <= FEW and any("vlad/" in key for key in cell.keys)
        ]
        if gaps:
            said.append(f"{name} {np.mean(gaps):+.2f} (cells: {len(gaps)})")
    if not said:
        return ""
    return (
        " Of any layer, the best VLAD against the best probe, both chosen on one half of the test "
        f"and judged on the other, in points: {', '.join(said)}."
    )


def _family(cell: Cell, family: str) -> float:
    """AUROC in points of the best of a family, chosen on one half and judged on the other."""
    worth = cell.worth[[key.startswith(f"{family}/") for key in cell.keys]]
    best = worth.argmax(axis=0)
    return 100 * float((worth[best[1], 0] + worth[best[0], 1]) / 2)


def larger(found: Results, size: int) -> Verdict:
    """Fully convolutional codes of a larger input."""
    rows, answers = [], []
    for name in SETS:
        for question in found["frozen"][name]["questions"]:
            if f"{size} pixels" in question["text"]:
                answers.append(question["answer"])
                rows.append([name, question["text"], _tested(question)])
    return Verdict(
        f"Fully convolutional at {size} pixels",
        over_rows([_asked(answer) for answer in answers]),
        "All images that are here hold 224 to 256 pixels, so that a larger input enlarges them: "
        "what an input of images with more pixels brings is not testable here.",
        ("frozen.json",),
        lines(["data", "question", "difference of AUROC"], rows),
    )


def clahe(found: Results) -> Verdict:
    """Contrast that is equalised."""
    rows, answers = [], []
    for name in SETS:
        for question in found["frozen"][name]["questions"]:
            if "CLAHE" in question["text"]:
                answers.append(question["answer"])
                rows.append([name, question["text"], _tested(question)])
    outside = [found["evidence"][name]["outside"] for name in ("lite0, frozen, on CLAHE",
                                                               "lite0, frozen")]  # fmt: skip
    return Verdict(
        "CLAHE helps",
        over_rows([_asked(answer) for answer in answers]),
        "Nor does it move the evidence: of 100 labels "
        f"{_hundred(outside[0])} follow what lies outside the lungs, without it "
        f"{_hundred(outside[1])}.",
        ("frozen.json", "evidence.json"),
        lines(["data", "question", "difference of AUROC"], rows),
    )


def augmentation(found: Results) -> Verdict:
    """Augmented views under a frozen network."""
    rows, answers = [], []
    for name in SETS:
        for question in found["frozen"][name]["questions"]:
            if "augmented" in question["text"]:
                answers.append(question["answer"])
                rows.append([name, question["text"], _tested(question)])
    return Verdict(
        "Augmentation helps",
        over_rows([_asked(answer) for answer in answers]),
        "Four views of each image under a frozen network. Of trained networks the views are part "
        "of every recipe here, and [shift.md](shift.md) says what each is worth.",
        ("frozen.json",),
        lines(["data", "question", "difference of AUROC"], rows),
    )


def depth(found: Results) -> Verdict:
    """Whether deeper layers tell more."""
    rows, answers = [], []
    for name in SETS:
        one = found["frozen"][name]["depth"]
        best = max(one["values"], key=lambda value: float(value["value"]))
        rho = one["rank_correlation"]
        answers.append(sign(rho - SURE, rho + SURE))
        rows.append([name, one["taps"][one["values"].index(best)], figure(best),
                     figure(one["values"][-1]), f"{rho:+.2f}"])  # fmt: skip
    return Verdict(
        "Depth: the deeper the layer that is read, the better",
        over_rows(answers),
        "Linear SVM on each of nine layers, out of fold, and the rank correlation with depth, sure "
        f"from {SURE:.2f} on; the best figure was chosen among the nine. From which layer a "
        "network is to be trained again could not be told apart ([finetune.md](finetune.md)).",
        ("frozen.json",),
        lines(["data", "best layer", "AUROC", "last layer", "correlation"], rows),
    )


def depthwise_time(found: Results) -> Verdict:
    """What depthwise-separable blocks save, and cost."""
    trained = found["finetune"]
    rows, seconds = [], []
    for name in ("classic", "hybrid"):
        one = trained[name]
        each = [epoch["seconds"] for epoch in one["history"][1:]]
        seconds.append(float(np.mean(each)))
        rows.append([one["key"], str(one["epochs"]), f"{one['train_minutes']:.1f}",
                     f"{np.mean(each):.0f}", figure(one["test"]["auroc"]),
                     figure(one["test"]["accuracy"])])  # fmt: skip
    ends = [trained[name]["test"]["auroc"] for name in ("hybrid", "classic")]
    gap = _apart(*ends)
    return Verdict(
        "Depthwise-separable blocks save time and cost little accuracy",
        f"{FAILS}: they cost AUROC" if gap[2] < 0 else OPEN,
        f"AUROC on test of the hybrid minus that of the classic recipe: {_difference(gap)}, as if "
        "the images were not the same. Minutes of training are "
        f"{trained['hybrid']['train_minutes']:.1f} against "
        f"{trained['classic']['train_minutes']:.1f}, because it stopped after "
        f"{trained['hybrid']['epochs']} epochs; an epoch took "
        f"{seconds[1]:.0f} and {seconds[0]:.0f} seconds. The classic recipe trains block 5 on "
        "cached outputs of what lies before it. Xception itself is not here.",
        ("finetune.json",),
        lines(["chest_xray", "epochs", "minutes", "seconds an epoch", "test AUROC",
               "test accuracy"], rows),
    )  # fmt: skip


def depthwise_evidence(found: Results) -> Verdict:
    """Whether they look inside the chest more."""
    evidence = found["evidence"]
    ours, classic = (evidence[name] for name in ("hybrid", "VGG-16, block 5 trained, classic"))
    gap = _apart(classic["outside"], ours["outside"])
    maps = [next(m for m in one["maps"] if m["name"] == "energy inside" and "groups" in
                 m["against"])["difference"] for one in (ours, classic)]  # fmt: skip
    return Verdict(
        "Depthwise-separable blocks look inside the chest more",
        sign(*gap[1:3]),
        f"Of 100 labels {_hundred(ours['outside'])} follow what lies outside the lungs, of the "
        f"classic recipe {_hundred(classic['outside'])}; the audit says {ours['verdict']} and "
        f"{classic['verdict']}. The heatmaps of neither lie "
        "inside the lungs more than masks of other patients would have it: "
        f"{figure(maps[0])} and {figure(maps[1])}.",
        ("evidence.json",),
    )


def large_overfit(found: Results) -> Verdict:
    """Whether large pretrained networks overfit."""
    rows = []
    for name, what in (("classic", "VGG-16 from block 5 on, classic"),
                       ("seed 1", "lite0, all of it"), ("seed 2", "lite0, all of it")):  # fmt: skip
        one = found["finetune"][name]
        kept = one["history"][-1]
        rows.append([what, f"{kept['train'][1]:.3f}", f"{kept['holdout'][1]:.3f}",
                     f"{one['test']['auroc']['value']:.3f}",
                     f"{kept['train'][1] - kept['holdout'][1]:+.3f}"])  # fmt: skip
    for gap in found["frozen"]["chest_xray"]["gaps"][:2]:
        rows.append([f"frozen: {gap['key'].split('/', 2)[2]}", f"{gap['train']:.3f}",
                     f"{gap['oof']['value']:.3f}", f"{gap['test']['value']:.3f}",
                     f"{gap['train'] - gap['oof']['value']:+.3f}"])  # fmt: skip
    return Verdict(
        "Large pretrained networks overfit",
        OPEN,
        "What the size of a network does is not told apart here from what its recipe does: VGG-16 "
        "learned from mild views and lite0 from strong ones, on chest_xray, once each. The fall "
        "from images held out to the test, whose images were made otherwise, is larger than that "
        "from images learned from to those held out, and frozen networks have it too.",
        ("finetune.json", "frozen.json"),
        lines(["model", "AUROC, learned from", "held out", "test", "learned from − held out"],
              rows),
    )  # fmt: skip


def evidence_and_classes(found: Results) -> Verdict:
    """Whether evidence is more telling where ImageNet has the classes."""
    return Verdict(
        "Evidence is more telling where ImageNet has the classes (scenes) than where not",
        UNTESTABLE,
        "It would need masks of the evidence in scenes, and there are none: what a map should lie "
        "on is known for chest_xray (lungs) and for polyps alone. What is measured says no more "
        "than that the border decides some labels in scenes too "
        "([real-audits.md](real-audits.md)), where it may well be evidence.",
        ("evidence.json", "real_audits.json"),
    )


def best_network(found: Results) -> Verdict:
    """Whether a better network on ImageNet is better where images are similar."""
    rows, answers = [], []
    for name in ("scenes_ot8", "mini_scenes"):
        for one in found["frozen"][name]["backbones"][1:]:
            gap = one["against"]
            gain = (-gap["difference"], -gap["high"], -gap["low"])
            answers.append(sign(*gain[1:]))
            rows.append([name, one["name"], _difference(gain)])
    gains = _gains(found["cells"], "best network's last layer", "linear SVM, last layer", few=False)
    said = [
        f"{name} {gains[name][0]:+.2f} (draws: {gains[name][1]})"
        for name in ("scenes_ot8", "mini_scenes")
        if name in gains
    ]
    more = f" On the official tests, points of AUROC: {', '.join(said)}." if said else ""
    return Verdict(
        "Where images are similar to ImageNet: just take the best network",
        over_rows(answers),
        "Networks of the same kind, from 75 to 77 % on ImageNet; AUROC out of fold of all stages "
        f"under a linear SVM, minus that of tf_efficientnet_lite0.{more}",
        ("frozen.json", "recommendation.jsonl"),
        lines(["data", "network", "gain"], rows),
    )


# --------------------------------------------------------------------------- parts


def _asked(answer: str) -> str:
    return {"better": HOLDS, "worse": FAILS}.get(answer, OPEN)


def _tested(question: Mapping[str, Any]) -> str:
    return f"{difference(question)}, p = {question['p']:.2g}"


def _hundred(one: Mapping[str, float]) -> str:
    value, low, high = (100 * one[end] for end in ("value", "low", "high"))
    return f"{value:.0f} ({low:.0f} to {high:.0f})"


def _t(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean with its 95 % t interval."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.isf(0.025, n - 1) * np.std(values, ddof=1) / n**0.5)
    return mean, mean - half, mean + half


def _apart(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[float, float, float]:
    """`a` minus `b` from their intervals, as of different images (Zou and Donner 2008)."""
    value = a["value"] - b["value"]
    low = value - float(np.hypot(a["value"] - a["low"], b["high"] - b["value"]))
    high = value + float(np.hypot(a["high"] - a["value"], b["value"] - b["low"]))
    return value, low, high


def _difference(gap: Sequence[float]) -> str:
    return f"{gap[0]:+.4f} ({gap[1]:+.4f} to {gap[2]:+.4f})"


def _points(gain: Sequence[float]) -> str:
    return f"{gain[0]:+.2f} points ({gain[1]:+.2f} to {gain[2]:+.2f})"


def _gains(
    cells: Sequence[Cell], policy: str, against: str, *, few: bool = True
) -> dict[str, tuple[float, int]]:
    """By data set a policy's gain over another in points of test AUROC, and over how many draws.

    A draw counts once, in however many fields it was measured. few : of at most `FEW` images alone.
    """
    gaps: dict[str, dict[tuple[int | str, int], float]] = {}
    for cell in cells:
        both = policy in cell.chosen and against in cell.chosen
        if both and (cell.images <= FEW or not few):
            gap = cell.worth[cell.chosen[policy]] - cell.worth[cell.chosen[against]]
            gaps.setdefault(cell.data, {})[cell.n, cell.draw] = 100 * float(gap.mean())
    return {data: (float(np.mean(list(own.values()))), len(own)) for data, own in gaps.items()}


def _mean_gain(
    cells: Sequence[Cell], policy: str, against: str
) -> tuple[float, float, float, int] | None:
    """The mean over data sets of their gains on few images, its t interval, and how many draws.

    The draws of a data set share its test, so that they are one value. None of fewer than three.
    """
    gains = _gains(cells, policy, against)
    if len(gains) < 3:
        return None
    return (*_t([gain for gain, _ in gains.values()]), sum(n for _, n in gains.values()))
