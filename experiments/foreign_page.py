"""docs/results/foreign-models.md from the trials' outcomes, beside those of our own models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit_page import STRONG
from medgraft.audit.marks import KINDS
from medgraft.evaluate.intervals import wilson
from medgraft.files import written_file
from page import lines

Row = Mapping[str, Any]
OURS = Path(__file__).parent / "results" / "audit.json"
WORDS = {
    "onnx": "ONNX file",
    "callable": "Python function",
    "checkpoint": "checkpoint and network",
    "url": "server on loopback",
    "command": "command",
}
HEAD = """# Models that are not medgraft's

Written by `make results-foreign` (an hour, in pieces) from the lines of
experiments/results/foreign-models.jsonl; do not edit. {done} of {planned} trials are done{rest}.

Each trains a network of ResNet-18's blocks (a quarter of its channels) from scratch in plain torch,
without a line of medgraft, on 400 images of 64 pixels, and audits it on 200 others through one of
the ways of asking ([how](../how/audit-your-model.md)). Data: phantoms, whose border and corners
tell nothing as they are made, and chest X-rays whose border and corners were exchanged at random
among all images. A *planted* trial has a text, ruler, box or pen stroke of 10 or 15 % of the width
in one corner, which agrees with the class by 0.9 or 1; a *clean* one none, or one that agrees with
no class. A model *uses* a mark if its AUROC falls by at least 0.05 without it.
All limits are those of our own proof ([audit.md](audit.md)); none was changed for these models.
"""


def write_page(rows: Sequence[Row], planned: int, root: Path) -> None:
    """Write the page from what was run."""
    rest = "" if len(rows) >= planned else "; the rest is run by the same command"
    parts = [HEAD.format(done=len(rows), planned=planned, rest=rest)]
    planted, clean = [r for r in rows if is_planted(r)], [r for r in rows if not is_planted(r)]
    ours = list(json.loads(OURS.read_text(encoding="utf-8")).values())
    own_used = [r for r in ours if _mark(r) and _rho(r) >= STRONG and r["uses"] and not _null(r)]
    parts += lines(
        ["", "foreign models", "our own ([audit.md](audit.md))"],
        [
            ["use a planted mark, and FAIL for its corner", _right(planted), _right(own_used)],
            ["nothing to find, and FAIL (false alarm)", _failed(clean),
             _failed([r for r in ours if _null(r)])],
            ["nothing to find, and no verdict", _no_verdict(clean),
             _no_verdict([r for r in ours if _null(r)])],
        ],
    )  # fmt: skip
    parts += [*_by_way(rows), *_by_end(rows), *_by_verdict(planted, clean)]
    odd = [r for r in rows if _is_wrong(r)]
    if odd:
        parts += ["## What went wrong, one by one\n", *(_told(r) for r in odd), ""]
    with written_file(root / "docs" / "results" / "foreign-models.md") as path:
        path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _by_way(rows: Sequence[Row]) -> list[str]:
    return [
        "In brackets 95 % intervals of Wilson.\n",
        "## By the way of asking\n",
        *lines(
            ["", "models", "use a mark: FAIL for it", "clean: FAIL", "AUROC as the network's own"],
            [
                [WORDS[way], str(len(here)), _right([r for r in here if is_planted(r)]),
                 _failed([r for r in here if not is_planted(r)]),
                 f"{sum(r['same_auroc'] for r in here)} of {len(here)}"]
                for way in WORDS
                if (here := [r for r in rows if r["trial"]["way"] == way])
            ],
        ),
    ]  # fmt: skip


def _by_end(rows: Sequence[Row]) -> list[str]:
    return [
        "## By what the numbers were\n",
        "Nobody said what the outputs are: their values on 64 images told. A checkpoint holds the "
        "network before its softmax or sigmoid.\n",
        *lines(
            ["made as", "models", "taken for", "with the second class first, as was said"],
            [
                [end, str(len(here)),
                 ", ".join(f"{kind}: {sum(r['outputs'] == kind for r in here)}"
                           for kind in sorted({r["outputs"] for r in here})),
                 str(sum(r["trial"]["swapped"] for r in here))]
                for end in ("logits", "softmax", "logit", "sigmoid")
                if (here := [r for r in rows if r["trial"]["end"] == end])
            ],
        ),
    ]  # fmt: skip


def _by_verdict(planted: Sequence[Row], clean: Sequence[Row]) -> list[str]:
    verdicts = ("PASS", "WARN", "INCONCLUSIVE", "FAIL")
    return [
        "## Verdicts\n",
        *lines(
            ["", "trials", "use their mark", *verdicts],
            [
                [f"{data}, {word}", str(len(here)), str(sum(r["uses"] for r in here)),
                 *(str(sum(r["verdict"] == v for r in here)) for v in verdicts)]
                for data in ("phantoms", "chest_xray")
                for word, some in (("planted", planted), ("clean", clean))
                if (here := [r for r in some if r["trial"]["data"] == data])
            ],
        ),
    ]  # fmt: skip


def is_planted(row: Row) -> bool:
    """Whether a mark was planted that agrees with the class."""
    return _rho(row) >= STRONG


def _is_wrong(row: Row) -> bool:
    missed = is_planted(row) and row["uses"] and not row["right"]
    return missed or (not is_planted(row) and row["verdict"] == "FAIL")


def _told(row: Row) -> str:
    short = row["trial"]["shortcut"]
    what = f"{short['kind']} of {short['size']:g}, {short['place']}" if short["kind"] else "no mark"
    return (
        f"- {row['trial']['data']}, {WORDS[row['trial']['way']]}: {what}, agreement "
        f"{short['rho']:g}; AUROC {row['auroc']:.3f} with and {row['without']:.3f} without it; "
        f"verdict {row['verdict']} ({', '.join(row['failed']) or 'no region'})."
    )


def _right(rows: Sequence[Row]) -> str:
    used = [row for row in rows if row["uses"]]
    return _share(sum(row["right"] for row in used), len(used))


def _failed(rows: Sequence[Row]) -> str:
    return _share(sum(row["verdict"] == "FAIL" for row in rows), len(rows))


def _no_verdict(rows: Sequence[Row]) -> str:
    return _share(sum(row["verdict"] == "INCONCLUSIVE" for row in rows), len(rows))


def _share(k: int, n: int) -> str:
    if not n:
        return "0 of 0"
    share = wilson(k, n)
    return f"{k} of {n} ({share.value:.3f}; {share.low:.3f} to {share.high:.3f})"


def _rho(row: Row) -> float:
    return float(row["trial"]["shortcut"]["rho"])


def _mark(row: Row) -> bool:
    short = row["trial"]["shortcut"]
    return short["kind"] in KINDS and short["place"] != "anywhere"


def _null(row: Row) -> bool:
    return bool((row["trial"]["mixed"] or row["trial"]["data"] == "phantoms") and _rho(row) == 0)
