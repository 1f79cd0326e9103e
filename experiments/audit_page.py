"""docs/results/audit.md from the trials' outcomes: what was seen, what was missed, false alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from medgraft.audit.marks import KINDS
from medgraft.evaluate.intervals import wilson
from medgraft.files import written_file
from medgraft.results.evidence import LEVEL
from page import lines
from planted import USES

Row = Mapping[str, Any]
STRONG = 0.9  # agreement from which models are counted
SEEN = 0.95  # of the models that use a mark, so many must fail at the right region
LIKELY = 0.95  # of the binomial, for the number of false alarms that is allowed

HEAD = """# Does the audit find what is there, and nothing else?

Written by `make prove-audit` (forty minutes on 2 cores) from experiments/results/audit.json; do not
edit. Marks, borders and other shortcuts were planted into real images and phantoms, models were
trained on them (`learn.fit`), and audited on images they had not seen. A model *uses* a shortcut if
its AUROC falls by at least {uses} when the shortcut is left out of the audited images. All limits
were fixed in the code before the first run; how the audit works says [audit.md](../audit.md).
"""


class Summary(NamedTuple):
    """Whether the proof holds, and its figures in words."""

    holds: bool
    text: str


def summary(rows: Sequence[Row]) -> Summary:
    """Count what was seen of what is used, and the false alarms."""
    used = [row for row in rows if _marked(row) and _rho(row) >= STRONG and row["uses"]]
    null = [row for row in rows if _null(row)]
    right = sum(row["right"] for row in used)
    alarms = sum(row["verdict"] == "FAIL" for row in null)
    most = int(stats.binom.ppf(LIKELY, len(null), LEVEL)) if null else 0
    bound = float(stats.beta.ppf(0.95, alarms + 1, len(null) - alarms)) if null else 1.0
    share = wilson(right, len(used)) if used else None
    seen = share is not None and share.value >= SEEN
    quiet = bool(null) and alarms <= most
    inconclusive = sum(row["verdict"] == "INCONCLUSIVE" for row in null)
    text = (
        (
            f"Seen: {right} of {len(used)} models that use a mark in a corner at an agreement of "
            f"{STRONG} or more FAIL for that corner ({share.value:.3f}, {share.low:.3f} to "
            f"{share.high:.3f}; {SEEN} was asked for): {'holds' if seen else 'does not hold'}.\n"
            if share
            else "Seen: no model used a mark.\n"
        )
        + f"False alarms: {alarms} of {len(null)} models whose border and corners tell nothing "
        f"FAIL; at {LEVEL} up to {most} were allowed ({LIKELY:.0%} of the binomial), the rate is "
        f"below {bound:.4f} with 95 % confidence (Clopper and Pearson): "
        f"{'holds' if quiet else 'does not hold'}. No verdict: {inconclusive}."
    )
    return Summary(seen and quiet, text)


def write_page(rows: Sequence[Row], root: Path) -> None:
    """Write the page from what was run."""
    parts = [HEAD.format(uses=USES), "## In short\n", summary(rows).text.replace("\n", "\n\n"), ""]
    parts += ["## Marks in a corner\n"]
    parts += [
        "A text, a ruler, a box or a pen stroke, 3 to 15 % of the width, in one corner. Of the "
        "models that use it: how many FAIL for that corner. Of those that do not: how many FAIL "
        "for that corner, and for anything. These are no false alarms: the images are as they are, "
        "and border and corners may tell the classes (a sky, a shoulder) though they were declared "
        "not to; nor is a FAIL for a mark that is used, but costs less than .05.\n"
    ]
    marked = [row for row in rows if _marked(row)]
    parts += _table("agreement", _rho, marked)
    strong = [row for row in marked if _rho(row) >= STRONG]
    parts += ["At an agreement of 0.9 or 1:\n"]
    parts += _table("size", lambda row: row["trial"]["shortcut"]["size"], strong)
    parts += _table("mark", lambda row: row["trial"]["shortcut"]["kind"], strong)
    parts += _table("data", lambda row: row["trial"]["data"], strong)
    parts += _table("model", lambda row: row["key"], strong)
    missed = [row for row in strong if row["uses"] and not row["right"]]
    if missed:
        parts += ["Missed, one by one:\n", *_each(missed)]
    parts += ["## Shortcuts of other kinds, and blind spots\n"]
    parts += [
        "A black border lies in a region and can FAIL. A mark anywhere lies in no declared region "
        "most of the time, and compression and brightness in none at all: the exchange of regions "
        "is blind to them, and the changes of whole images can only warn.\n"
    ]
    others = [row for row in rows if not _marked(row) and not _null(row)]
    parts += _table("shortcut", _other, others)
    parts += ["## False alarms\n"]
    parts += [
        "Border and corners of all images were exchanged at random among them (real data), or hold "
        "nothing of the class as they are made (phantoms); half of the trials carry a mark that "
        "agrees with no class.\n"
    ]
    null = [row for row in rows if _null(row)]
    verdicts = ["PASS", "WARN", "INCONCLUSIVE", "FAIL"]
    counted = Counter((_data(row), verdict) for row in null for verdict in (None, row["verdict"]))
    parts += lines(
        ["data", "trials", *verdicts],
        (
            [data, *map(str, (counted[data, None], *(counted[data, v] for v in verdicts)))]
            for data in dict.fromkeys(map(_data, null))
        ),
    )
    with written_file(root / "docs" / "results" / "audit.md") as path:
        path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _table(head: str, of: Callable[[Row], Any], rows: Sequence[Row]) -> list[str]:
    """Models that use it and fail rightly, and others that fail, by one property."""
    made = []
    for value in sorted({of(row) for row in rows}):
        here = [row for row in rows if of(row) == value]
        used = [row for row in here if row["uses"]]
        idle = [row for row in here if not row["uses"]]
        right = sum(row["right"] for row in used)
        share = wilson(right, len(used)) if used else None
        made.append(
            [
                str(value),
                str(len(here)),
                f"{right} of {len(used)}"
                + (f" ({share.low:.2f} to {share.high:.2f})" if share else ""),
                f"{sum(row['right'] for row in idle)} of {len(idle)}",
                f"{sum(row['verdict'] == 'FAIL' for row in idle)} of {len(idle)}",
            ]
        )
    return lines(
        [head, "models", "use it: FAIL for it", "do not: FAIL for it", "for anything"], made
    )


def _each(rows: Sequence[Row]) -> list[str]:
    return [
        f"- {_data(row)}, {row['key']}: {_other(row)}, {row['trial']['shortcut']['place']}, "
        f"AUROC {row['auroc']:.3f} with and {row['without']:.3f} without it; verdict "
        f"{row['verdict']} ({', '.join(row['failed']) or 'no region'})."
        for row in rows
    ] + [""]


def _other(row: Row) -> str:
    short = row["trial"]["shortcut"]
    sized = short["kind"] in (*KINDS, "border")
    size = f" of {100 * short['size']:.0f} %" if sized else ""
    where = ", anywhere" if short["place"] == "anywhere" else ""
    return f"{short['kind']}{size}{where}, agreement {short['rho']:g}"


def _data(row: Row) -> str:
    return f"{row['trial']['data']}{', exchanged' if row['trial']['mixed'] else ''}"


def _rho(row: Row) -> float:
    return float(row["trial"]["shortcut"]["rho"])


def _marked(row: Row) -> bool:
    """A mark in a corner of images that are otherwise as they are, or with an agreement."""
    short = row["trial"]["shortcut"]
    return short["kind"] in KINDS and short["place"] != "anywhere" and not _null(row)


def _null(row: Row) -> bool:
    """Nothing in border and corners tells the class."""
    made = row["trial"]["mixed"] or row["trial"]["data"] == "phantoms"
    return bool(made and _rho(row) == 0)
