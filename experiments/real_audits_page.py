"""docs/results/real-audits.md from what `real_audits.py` measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraft.audit.planted import USES
from medgraft.audit.regions import CORNERS, MOVED, RING
from medgraft.files import written_file
from page import figure, lines

Row = Mapping[str, Any]
INSET = CORNERS[2]  # the region that holds it
PARTS = {
    "five classes": "### Five classes, learned and judged as the images are",
    "two classes": "### Polyps against a clean or a normal bowel, as the images are",
    "enforced": "### The same two classes, where the inset tells them",
}

HEAD = """# What the audits say of real data

Written by `make results-audits` from experiments/results/real_audits.json; do not edit. Three
questions that have an answer: is a black box found that is known to tell the classes of endoscopic
images; is nothing found where nothing is; and are files found whose making tells the class. How the
audits work say [audit.md](../audit.md) and [data-audit.md](../data-audit.md). Brackets hold 95 %
intervals. All limits were fixed before the first of these models was looked at.
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
    models = [row for rows in parts.values() for row in rows.values()]
    users = [row for row in models if falls(row) == "by .05"]
    found = sum(fails(row["endoscopy"]) for row in users)
    yield (
        f"- **Endoscopy.** {len(users)} of {len(models)} models lose {USES} of AUROC or more when "
        f"the box is taken out; with `--modality endoscopy` {found} of these FAIL for the "
        f"{INSET}."
    )
    surely = [row for row in models if falls(row) == "surely"]
    found = sum(fails(row["endoscopy"]) for row in surely)
    yield (
        f"- {len(surely)} more lose surely something, but less than that; {found} of these FAIL "
        f"for the {INSET}."
    )
    rest = [row for row in models if not falls(row)]
    found = sum(fails(row["endoscopy"]) for row in rest)
    yield f"- Of the {len(rest)} that surely lose nothing, {found} FAIL for it."
    audits = [one for data in _edge_rows(known).values() for r in data for one in r["exchanged"]]
    alarms = sum(one["verdict"] == "FAIL" for one in audits)
    said = ", ".join(f"{n} {verdict}" for verdict, n in Counter(_verdicts(audits)).items())
    yield (
        f"- **Scenes and tissue** with border and corners exchanged at random and declared: "
        f"{alarms} of {len(audits)} models FAIL ({said})."
    )
    for data in ("chest_xray_originals", "chest_xray_aspect256"):
        if data in known:
            yield (
                f"- **{data}**: the metadata probe says *{known[data]['severity']}*, AUROC "
                f"{_span(known[data]['numbers'])} from how the files are made."
            )
    yield ""


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


def _verdicts(audits: Sequence[Row]) -> list[str]:
    return [one["verdict"] for one in audits]


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
    named = dict.fromkeys(name.replace(MOVED, "") for name in severe or audit["decides"])
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
        "layout of `--modality xray`). Then nothing there can tell a class, and a FAIL is a false "
        "alarm. The last column says what is found in the images as they are, where nothing is "
        "declared (`natural`, `microscopy`).\n"
    )
    head = ["data", "model", "AUROC", "exchanged, declared", "seen from", "as they are"]
    yield from lines(
        head,
        (
            [
                data,
                row["key"],
                figure(row["undeclared"]["auroc"]),
                ", ".join(_said(one) for one in row["exchanged"]),
                f"{100 * max(one['smallest'] for one in row['exchanged']):.0f} in 100",
                _said(row["undeclared"]),
            ]
            for data, models in rows.items()
            for row in models
        ),
    )


# --------------------------------------------------------------------------- files


def _files(known: Mapping[str, Any]) -> Iterator[str]:
    sets = [data for data in ("chest_xray_originals", "chest_xray_aspect256") if data in known]
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
