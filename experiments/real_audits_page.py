"""docs/results/real-audits.md from what `real_audits.py` measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraft.files import written_file
from medgraft.results.evidence import CORNERS, LEVEL, MOVED, POINTS, RANKING, RING
from page import figure, lines
from planted import USES

Row = Mapping[str, Any]
INSET = CORNERS[2]  # the region that holds it
FILES = ("chest_xray_originals", "chest_xray_aspect256")
MOVED_INSET = f"{INSET}{MOVED}"  # put into the opposite corner
PARTS = {
    "five classes": "### Five classes, as they are",
    "two classes": "### Polyps against a clean or a normal bowel, as they are",
    "enforced": "### The same two classes, where the box tells them",
}

HEAD = """# What the audits say of real data

Written by `make results-audits` from experiments/results/real_audits.json; do not edit. Three
questions that have an answer: is a black box found that is known to tell the classes of endoscopic
images; is nothing found where nothing is; and are files found whose making tells the class. How the
audits work say [audit.md](../audit.md) and [data-audit.md](../data-audit.md). Brackets hold 95 %
intervals. What counts as a fall and as found was fixed before the first of these models was looked
at; how many pairs of donors are drawn was not ([ledger](ledger.md)).
"""


def write_page(known: Mapping[str, Any], root: Path) -> None:
    """Write the page."""
    with written_file(root / "docs" / "results" / "real-audits.md") as path:
        path.write_text("\n".join(page(known)).rstrip() + "\n", encoding="utf-8")


def page(known: Mapping[str, Any]) -> Iterator[str]:
    """All of it."""
    parts = {part: _rows(known, part) for part in PARTS}
    yield HEAD
    yield "## In short\n"
    yield from _short(known, parts)
    yield from _endoscopy(known, parts)
    yield from _edges(known)
    yield from _files(known)


def _rows(known: Mapping[str, Any], part: str) -> dict[str, Row]:
    """The pieces of one part, by what stands behind it in their names."""
    split = {name: name.partition(" | ") for name in known}
    return {split[name][2]: row for name, row in known.items() if split[name][0] == part}


# --------------------------------------------------------------------------- in short


def _short(known: Mapping[str, Any], parts: Mapping[str, Mapping[str, Row]]) -> Iterator[str]:
    made = list(parts["enforced"].values())
    plain = [*parts["five classes"].values(), *parts["two classes"].values()]
    for what, rows in (
        ("**Endoscopy, where the box was made to tell the classes.**", made),
        ("**Endoscopy as it is.**", plain),
    ):
        if rows:
            yield f"- {what} {_counted(rows)}"
    audits = [one for data in _edge_rows(known).values() for r in data for one in r["exchanged"]]
    if audits:
        yield (
            "- **Scenes and tissue** with border and corners exchanged at random and declared: "
            f"{sum(one['verdict'] == 'FAIL' for one in audits)} of {len(audits)} models FAIL "
            f"({_verdicts(audits)})."
        )
    for data in FILES:
        if data in known:
            yield (
                f"- **{data}**: the metadata probe says *{known[data]['severity']}*, AUROC "
                f"{_span(known[data]['numbers'])} from how the files are made."
            )
    yield ""


def _counted(rows: Sequence[Row]) -> str:
    """Of how many models the score falls without the box, and what the audit says of these."""
    surely = [row for row in rows if falls(row)]
    users = [row for row in rows if falls(row) == "by .05"]
    quiet = [row for row in rows if not falls(row)]
    text = (
        f"Of {len(rows)} models {len(surely)} surely lose AUROC when the box is taken out, "
        f"{len(users)} of them {USES} or more"
    )
    one_way = sum(_most(row) >= USES for row in rows) - len(users)
    text += f" ({one_way} more in one of the two ways to take it out). " if one_way else ". "
    if surely:
        seen = sum(row["endoscopy"]["regions"][INSET]["p"] < LEVEL for row in surely)
        text += (
            f"With `--modality endoscopy` the audit sees the {INSET} in {seen} of these "
            f"{len(surely)} (p < {LEVEL}); {_failing(surely)}. "
        )
    if quiet:
        text += f"Of the {len(quiet)} of which a loss is not sure, {_failing(quiet)}. "
    return f"{text}Verdicts: {_verdicts([row['endoscopy'] for row in rows])}."


def falls(row: Row) -> str:
    """Whether a model's AUROC falls without the inset: `by .05`, `surely`, or not: ''.

    Of the mean over classes or of polyps against the rest, and in both ways to take it out.
    """
    scores = [[one for way, one in s.items() if way != "auroc"] for s in row["loss"].values()]
    if any(all(one["difference"] >= USES for one in ways) for ways in scores):
        return "by .05"
    return "surely" if any(all(one["low"] > 0 for one in ways) for ways in scores) else ""


def fails(audit: Row) -> bool:
    """Whether an audit is failed for the place of the inset."""
    return bool(audit["verdict"] == "FAIL" and audit["decides"].get(INSET) == "severe")


def _failing(rows: Sequence[Row]) -> str:
    """How many models FAIL for the place of the inset, and how many only for it moved."""
    audits = [row["endoscopy"] for row in rows]
    moved = sum(MOVED_INSET in one["decides"] and not fails(one) for one in audits)
    more = f", {moved} more for what it holds, put into the opposite corner" if moved else ""
    return f"{sum(map(fails, audits))} FAIL for it{more}"


def _most(row: Row) -> float:
    """The largest fall of any score, in either way."""
    scores = row["loss"].values()
    return max(float(o["difference"]) for s in scores for way, o in s.items() if way != "auroc")


def _verdicts(audits: Sequence[Row]) -> str:
    """How often each verdict was given."""
    counted = Counter(one["verdict"] for one in audits)
    return ", ".join(f"{n} {verdict}" for verdict, n in counted.most_common())


# --------------------------------------------------------------------------- endoscopy


def _endoscopy(known: Mapping[str, Any], parts: Mapping[str, Mapping[str, Row]]) -> Iterator[str]:
    yield "## Endoscopy: a black box bottom left\n"
    if "inset" in known:
        classes: Mapping[str, list[int]] = known["inset"]["classes"]
        polyp = classes["polyp"]
        columns = zip(*classes.values(), strict=True)
        others = [sum(column) - polyp[i] for i, column in enumerate(columns)]
        yield (
            "In hyperkvasir5 a black box stands where the position of the scope was shown. An "
            "image is taken to have it if 95 % of a window in that place is darker than 30 of 255: "
            f"{others[0]} of {others[1]} images that are no polyp, and {polyp[0]} of {polyp[1]} "
            "polyps (979 and 517 as those counted who made the copy). By class: "
            + ", ".join(f"{name} {n} of {of}" for name, (n, of) in classes.items())
            + ".\n"
        )
    yield (
        "It is taken out of the test images in two ways, each done to every image, so that neither "
        "the box nor a seam tells: the bottom left square (36 % of the side) is filled with the "
        "bottom right one in a mirror, or made black. *Fall* is by how much AUROC then falls, the "
        "smaller of the two, paired: of the mean over classes, and of polyps against the rest. A "
        f"model *uses* the box if one of these falls by {USES} both ways (the rule of the proof); "
        "it *surely* loses something if both intervals lie above 0. *Labels in 100* follow the "
        "class of the image that a place is taken from; with more than two classes, those of the "
        "class that shows it most.\n"
    )
    for part, title in PARTS.items():
        if parts[part]:
            yield f"{title}\n"
            yield from _explained(part, parts[part])
            yield from _table(part, parts[part])
    yield from _why(known, [*parts["five classes"].values(), *parts["two classes"].values()])


def _why(known: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[str]:
    """What the models have besides the box, and what is said where nothing is declared."""
    if not rows or "places" not in known:
        return
    yield "### What that says\n"
    yield from _unequal(rows)
    alone = {name: one for name, one in known["places"].items() if isinstance(one, dict)}
    yield (
        "Other places tell polyps from the two other classes as well. A linear head on the same "
        "network, which sees one place and grey elsewhere, out of fold on the "
        f"{known['places']['images']} development images (corners of 36 % of the side; there is "
        "some bowel in all of these places):\n"
    )
    yield from lines(["place", "AUROC"], ([name, figure(one)] for name, one in alone.items()))
    undeclared = [row["undeclared"] for row in rows]
    named = Counter(
        name for one in undeclared for name in {n.replace(MOVED, "") for n in one["decides"]}
    )
    each = ", ".join(f"{name} in {n}" for name, n in named.most_common())
    yield (
        f"Where nothing is declared, the {len(rows)} models of the images as they are get "
        f"{_verdicts(undeclared)}; named: {each or 'nothing'}. Polyps and the other classes come "
        "in different frames (a black strip on the left, the printed text, how the eight-sided "
        "picture is cut), as anybody can see who looks at them. So a warning of the border is most "
        f"likely right, and names the larger fault of these data. The {INSET} is then 18 % of the "
        "side. The box is twice as wide, and where it is missing the frame is black there too: "
        "only a corner as large as the box, which `--modality endoscopy` declares, can show it.\n"
    )


def _unequal(rows: Sequence[Row]) -> Iterator[str]:
    """Where what is lost without the box and what the audit says do not go together."""
    missed = [row for row in rows if falls(row) and row["endoscopy"]["verdict"] != "FAIL"]
    if missed:
        most = max(row["endoscopy"]["regions"][INSET]["value"] for row in missed)
        yield (
            f"{len(missed)} models surely lose something without the box and do not FAIL: "
            f"by {max(map(_most, missed)):.3f} of AUROC at most, and {100 * most:.0f} in "
            "100 labels at most follow that corner. A place decides from "
            f"{100 * POINTS:.0f} labels or {RANKING} of AUROC on, so these are too small to "
            "matter, not overlooked.\n"
        )
    moved = [
        row
        for row in rows
        if MOVED_INSET in row["endoscopy"]["decides"] and not fails(row["endoscopy"])
    ]
    if moved:
        yield (
            f"Of {len(moved)} models the corner decides only once it is put into the opposite "
            "one, where it covers bowel that the rest of the image shows: a FAIL by the rule, but "
            "one that says less of images as they are.\n"
        )
    more = [row for row in rows if not falls(row) and fails(row["endoscopy"])]
    if more:
        most = max(row["endoscopy"]["regions"][INSET]["value"] for row in more)
        yield (
            f"{len(more)} FAIL though it is not sure that they lose anything: without the box "
            "other places still tell the class, but where the corner speaks against them it turns "
            f"labels ({100 * most:.0f} in 100 at most). The corner holds the frame and some bowel "
            "besides the box; the audit cannot say which of them it was.\n"
        )


def _explained(part: str, rows: Mapping[str, Row]) -> Iterator[str]:
    first = next(iter(rows.values()))
    audit = first["endoscopy"]
    if part == "enforced":
        yield (
            f"Learned from {first['learned']} development images: polyps without the box, the "
            f"others with it. Judged on the {audit['images']} test images of the same choice, and "
            f"audited again on all {first['as they are']['images']}.\n"
        )
    else:
        yield (
            f"Learned from {first['learned']} images, audited on {audit['images']} of the test "
            "split.\n"
        )


def _table(part: str, rows: Mapping[str, Row]) -> list[str]:
    five = part == "five classes"
    second = "as they are" if part == "enforced" else "undeclared"
    head = [
        "model",
        "AUROC",
        "fall",
        *(["fall, polyps"] if five else []),
        "falls",
        f"{INSET}: labels in 100",
        f"{RING}: labels in 100",
        "`endoscopy`",
        second,
    ]
    return lines(head, (_line(name, row, second) for name, row in rows.items()))


def _line(name: str, row: Row, second: str) -> list[str]:
    audit = row["endoscopy"]
    return [
        name,
        figure(row["loss"]["macro"]["auroc"]),
        *(_least(one) for one in row["loss"].values()),
        falls(row) or "no",
        _points(audit["regions"].get(INSET)),
        _points(audit["regions"].get(RING)),
        _said(audit),
        _said(row[second]),
    ]


def _least(score: Row) -> str:
    """The smaller fall of the two ways."""
    one = min((one for way, one in score.items() if way != "auroc"), key=lambda o: o["difference"])
    return f"{one['difference']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


def _points(effect: Row | None) -> str:
    if effect is None:
        return "no verdict"
    value, low, high = (100 * effect[part] for part in ("value", "low", "high"))
    return f"{value:.0f} ({low:.0f} to {high:.0f}), p = {effect['p']:.2g}"


def _said(audit: Row) -> str:
    """The verdict, and the places that it names."""
    severe = [name for name, one in audit["decides"].items() if one == "severe"]
    names = severe or list(audit["decides"])
    # A corner that is named where it is need not be named again for where it was put.
    named = dict.fromkeys(
        name.replace(MOVED, "" if name.replace(MOVED, "") in names else " (moved)")
        for name in names
    )
    return f"{audit['verdict']}" + (f": {', '.join(named)}" if named else "")


# --------------------------------------------------------------------------- scenes and tissue


def _edge_rows(known: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The pieces of scenes and tissue, by data set."""
    found: dict[str, list[Row]] = {}
    for name, row in known.items():
        if "exchanged" in row:
            found.setdefault(name.partition(" | ")[0], []).append(row)
    return found


def _edges(known: Mapping[str, Any]) -> Iterator[str]:
    rows = _edge_rows(known)
    if not rows:
        return
    yield "## Scenes and tissue: nothing at the edge, and what is there\n"
    yield (
        "The border and the corners of every image are exchanged for those of another image, "
        "whatever its class, before anything is learned, and declared to be no evidence (the "
        "layout of `--modality xray`), twice over. Then nothing there can tell a class, and a FAIL "
        "is a false alarm. The last column says what is found in the images as they are, where "
        "nothing is declared (`natural`, `microscopy`).\n"
    )
    head = [
        "data",
        "model",
        "AUROC, as they are",
        "exchanged",
        "visible",
        "skill left",
        "as they are",
    ]
    yield from lines(
        head,
        (
            [
                data,
                row["key"],
                figure(row["undeclared"]["auroc"]),
                ", ".join(_said(one) for one in row["exchanged"]),
                f"{100 * max(one['smallest'] for one in row['exchanged']):.0f}",
                _left(row["exchanged"]),
                _warned(row["undeclared"]),
            ]
            for data, models in rows.items()
            for row in models
        ),
    )
    models = [row for data in rows.values() for row in data]
    yield (
        "*visible*: the smallest effect at the edge that would have been seen, in 100 labels, of "
        "the blunter of the audits; where it is above 10 there can be no PASS. *skill left*: when "
        "all but the edge comes from other images, at most.\n"
    )
    named = Counter(name for row in models for name in dict.fromkeys(row["undeclared"]["decides"]))
    each = ", ".join(f"{name} in {n}" for name, n in named.most_common()) or "nothing"
    yield (
        f"As they are, {_verdicts([row['undeclared'] for row in models])} of {len(models)}; named: "
        f"{each}. That is sensible as a question and would not be as a FAIL: scene and tissue go "
        "on to the edge of the picture (a road, the sky, stained cells), so that what is seen "
        "there is most likely evidence like any other. The audit cannot know that, and asks. As "
        "long as nobody declares the place, it cannot FAIL.\n"
    )


def _left(audits: Sequence[Row]) -> str:
    """The largest share of skill that is left without the evidence, with its interval."""
    share = max((one["left"]["share"] for one in audits), key=lambda share: share["value"])
    value, low, high = (100 * share[part] for part in ("value", "low", "high"))
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"


def _warned(audit: Row) -> str:
    """The verdict, and by the labels that follow each place named."""
    each = [
        f"{name.replace(MOVED, ' (moved)')} {100 * audit['regions'][name]['value']:.0f} in 100"
        for name in audit["decides"]
    ]
    return str(audit["verdict"]) + (f": {', '.join(each)}" if each else "")


# --------------------------------------------------------------------------- files


def _files(known: Mapping[str, Any]) -> Iterator[str]:
    sets = [data for data in FILES if data in known]
    if not sets:
        return
    yield "## X-rays: files that tell the class\n"
    yield (
        "AUROC out of fold of a logistic regression on one property of the files (`medgraft "
        "profile`), patients whole. No picture is looked at but for its border.\n"
    )
    names = list(dict.fromkeys(name for data in sets for name in known[data]["alone"]))
    yield from lines(
        ["property", *(f"{data} ({known[data]['images']} images)" for data in sets)],
        [
            *([name, *(_alone(known[data]["alone"].get(name)) for data in sets)] for name in names),
            ["**how the files are made**", *(_span(known[data]["numbers"]) for data in sets)],
            ["finding", *(f"{known[d]['check']}, {known[d]['severity']}" for d in sets)],
        ],
    )


def _alone(one: Mapping[str, float] | None) -> str:
    return "the same for all" if one is None else figure(one)


def _span(numbers: Row) -> str:
    return f"{numbers['auroc']:.3f} ({numbers['low']:.3f} to {numbers['high']:.3f})"
