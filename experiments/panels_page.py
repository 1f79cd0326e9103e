"""docs/results/panels.md, from what `panels.py` measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medgraft.files import written_file
from page import difference, figure, lines

PAGE = Path(__file__).parents[1] / "docs" / "results" / "panels.md"
Row = dict[str, Any]

HEAD = """# Several findings an image, on real images

Written by `make results-panels` (experiments/panels.py) from `experiments/results/panels.jsonl`; do
not edit. Findings are derived from the classes of three sets; development images only, of which a
fifth is set aside to be tested on. No official test split is looked at.
"""

ALONE = """## The same question, in a panel and alone

Each question is studied a second time by itself, on the panel's folds, with nothing but codes in
the cache. *Same* says that scores, probabilities, AUROC and its interval are equal to the bit, out
of fold and on the test images, where the scenario is the same; *same own* that alone it recommends
what the panel says its own study would.
"""


TRAINED = """## One network for all findings

{images:,} images of {set}, {folds} folds: `{network}`, once with an output a finding and once for
each finding by itself, beside a frozen probe of images of 224 pixels. AUROC out of fold,
differences by shared bags of patients; seconds are of judging in all folds, on a machine that
others shared. Four epochs on so few and small images are too little to do as well as a frozen
network; what is compared here is one network with several.
"""


COST = """## What ten findings cost

Seconds of processor time of all cores, on phantoms of 64 pixels, which cost least to decode and
read: a study of one finding (probes of one network, no audit), and of {findings}. *Kept* codes were
there before. *Memory* is the peak of the process after one finding, and after all.

Wanted was twice a study of one at most, of 5,000 images{wanted}. What holds it back:
each finding is judged by every scenario, and a head learns from its labels. Findings share the
reading and what no label decides (standardised codes, eigenvectors, neighbours, the similarity to
ImageNet). The rest grows with them: heads, above all on the widest layers, their calibration, the
resamples by which scenarios are compared, and the checks of each finding's data.
{heads}Others used the machine, so that seconds are to be held to each other only.
"""

MEMORY = """Peak memory of a process that studies so many findings of {images:,} images by the head
`logistic`, codes read first: {peaks}.
"""


COMPANY = """## A drain that tells of a lesion

Panels of {images} images (experiments/company.py): in half of them a drain comes with a faint
lesion, in the others it comes with nothing. Wanted, and written down before any ran: of 20 panels
each, the drain found in at least 19, and anything said in at most 1 where none tells of a finding.

So far {n} of each: the drain was found in {found}, and something said in {said} without.
"""


def write_page(rows: Sequence[Row], company: Sequence[Row]) -> None:
    """Write the page; company : what `company.py` measured."""
    text = [HEAD, ALONE]
    for row in rows:
        if row["cell"].endswith(" alone"):
            text += alone(row)
    for row in rows:
        if row["cell"].endswith(" trained"):
            text += trained(row)
    costs = [row for row in rows if row["cell"].endswith(" cost")]
    if costs:
        text += cost(costs)
    for row in rows:
        if row["cell"] == "memory":
            peaks = ", ".join(f"{k} findings {peak:,} MB" for k, peak in row["peak"])
            text.append(
                MEMORY.format(images=row["images"], peaks=peaks.replace("1 findings", "1 finding"))
            )
    if company:
        text.append(
            COMPANY.format(
                n=len(company),
                images=company[0]["images"],
                found=sum(["a", "drain"] in row["planted"] for row in company),
                said=sum(bool(row["none"]) for row in company),
            )
        )
    with written_file(PAGE) as path:
        path.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def alone(row: Row) -> list[str]:
    """A set: its findings in the panel, and whether they are the same alone."""
    head = (
        "finding", "images", "with it", "AUROC out of fold", "AUROC on test images", "scenario",
        "its own", "same", "same own",
    )  # fmt: skip
    words = f"**{row['set']}**, {row['images']:,} images: {row['taken']} scenario"
    each = " for all" if row["taken"] == "one" else " each its own"
    return [
        f"{words}{each}; mean AUROC {figure(row['macro'])}.",
        "",
        *lines(head, (_line(one) for one in row["findings"])),
    ]


def trained(row: Row) -> list[str]:
    """One network beside a network a finding, and a frozen probe."""
    rows = (
        [way, *(figure(one) for one in of["auroc"]), figure(of["mean"]), f"{of['seconds']:.0f}"]
        for way, of in row["ways"].items()
    )
    pairs = ([f"{one['a']} minus {one['b']}", difference(one)] for one in row["pairs"])
    return [
        TRAINED.format(**{name: row[name] for name in ("images", "set", "folds", "network")}),
        *lines(("", *row["findings"], "mean", "seconds"), rows),
        *lines(("mean AUROC", "difference"), pairs),
    ]


def cost(rows: Sequence[Row]) -> list[str]:
    """One finding beside several, by the number of images."""
    head = ("images", "codes", "one finding", f"{rows[0]['findings']} findings", "times", "memory")
    made = (
        [
            f"{row['images']:,}",
            codes,
            f"{row['one'][part]:.0f} s",
            f"{row['all'][part]:.0f} s",
            f"{row['all'][part] / row['one'][part]:.1f}",
            f"{row['peak']['one']:,} MB, {row['peak']['all']:,} MB",
        ]
        for row in rows
        for part, codes in (("first", "read first"), ("kept", "kept"))
    )
    measured = {row["images"]: row["all"]["first"] / row["one"]["first"] for row in rows}
    wanted = f"; it is {measured[5000]:.1f} times" if 5000 in measured else ", not yet measured"
    heads = rows[-1].get("heads", {})
    total = sum(heads.values())
    parts = ", ".join(f"`{head}` {100 * part / total:.0f} %" for head, part in heads.items())
    said = COST.format(
        findings=rows[0]["findings"],
        wanted=wanted,
        heads=f"Of the time in which {rows[-1]['images']:,} images are judged: {parts}. "
        if heads
        else "",
    )
    return [said, *lines(head, made)]


def _line(one: Row) -> list[str]:
    return [
        one["name"],
        f"{one['images']:,}",
        f"{one['with']:,}",
        figure(one["auroc"]),
        figure(one["test"]),
        f"`{_short(one['scenario'])}`",
        f"`{_short(one['own'])}`",
        "yes" if one["same"] else "NO",
        "yes" if one["same_own"] else "NO",
    ]


def _short(key: str) -> str:
    """A scenario without its family and network, which all share."""
    return key.split("/", 2)[-1]
