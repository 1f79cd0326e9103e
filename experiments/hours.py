"""What an hour finds on the official tests: writes results/hours.jsonl and docs/results/hours.md.

`python experiments/hours.py` runs what the file lacks, one study of an hour after the other, each
from an empty cache, and adds a line for each; a killed run goes on with the next. `--only 1` ends
after one. `--add RUN COMMIT` adds a study that was run by the same command at that commit.

Every line is a look at an official test split: enter it in docs/results/ledger.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page import figure, lines, read_cells
from watched import watched

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "experiments" / "results" / "hours.jsonl"
PAGE = ROOT / "docs" / "results" / "hours.md"
OPTIONS = ("--families", "probe,finetune", "--budget", "60m")
CHEST = "chest_xray"
CELLS = (
    *((CHEST, seed) for seed in range(3)),
    *((name, 0) for name in ("skin7", "hyperkvasir5", "scenes_ot8", "lc25000_lung_unique")),
)
WANTED = {"median": 0.982, "least": 0.975, "accuracy": 0.94}  # of chest_xray, over its seeds

Row = dict[str, Any]


def run(name: str, seed: int) -> Row:
    """Study a data set for an hour, from an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        out, cache = Path(folder) / "RUN", Path(folder) / "cache"
        words = ["study", str(SHARED / name), *OPTIONS, "--seed", str(seed), "--out", str(out)]
        now = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
        commit = subprocess.run(now, check=True, capture_output=True, text=True).stdout.strip()
        peak = watched([sys.executable, "-m", "medgraft.cli", *words, "--cache", str(cache)])
        return {**line(out, commit), "anonymous": peak["RssAnon"]}


def line(folder: Path, commit: str) -> Row:
    """What is kept of a finished run."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    events = map(json.loads, (folder / "run.jsonl").read_text(encoding="utf-8").splitlines())
    started = next(event for event in events if event["event"] == "started")
    by_key = {one["key"]: one for one in result["scenarios"]}
    chosen = by_key[result["recommended"]]
    metric = result["metric"]
    frozen = [one for one in result["scenarios"] if one["family"] == "probe"]
    best = max(frozen, key=lambda one: one["validation"][metric]["value"])
    return {
        "data": started["data"],
        "seed": config["seed"],
        "commit": commit,
        "seconds": round(result["seconds"]),
        "recommended": result["recommended"],
        "audit": result["audit"] and result["audit"]["verdict"],
        "corrected": result["corrected"],
        "test": {name: chosen["test"][name] for name in ("auroc", "accuracy", "balanced_accuracy")},
        "probe": {"key": best["key"], "test": best["test"][metric]},
    }


def write_page(rows: list[Row]) -> None:
    """Write the page from what is known by now."""
    text = [
        "# What an hour finds",
        "",
        "Written by `python experiments/hours.py`; do not edit. `medgraft study DATA "
        f"{' '.join(OPTIONS)}` from an empty cache, then the official test split (of skin7, which "
        "has none, the fifth that the study set aside), once. "
        f"{len({(row['data'], row['seed']) for row in rows} & set(CELLS))} of {len(CELLS)} studies "
        "done. Intervals are of 95 %; *promised* is the figure out of fold, corrected for the "
        "choice; *probe* is the frozen scenario that is best out of fold; *MB* of anonymous memory "
        "at most, where that was watched.",
        "",
        *lines(
            ("data", "seed", "commit", "minutes", "MB", "recommended", "audit", "promised AUROC",
             "AUROC", "accuracy", "balanced accuracy", "AUROC of the probe"),
            map(_cells, rows),
        ),
        "",
        *_verdict([row for row in rows if row["data"] == CHEST]),
    ]  # fmt: skip
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _cells(row: Row) -> list[str]:
    test: Mapping[str, Mapping[str, float]] = row["test"]
    return [
        row["data"],
        str(row["seed"]),
        f"`{row['commit']}`",
        str(round(row["seconds"] / 60)),
        str(row.get("anonymous", "—")),
        f"`{row['recommended']}`",
        row["audit"] or "none",
        figure(row["corrected"]),
        *(figure(test[name]) for name in ("auroc", "accuracy", "balanced_accuracy")),
        f"{figure(row['probe']['test'])} (`{row['probe']['key']}`)",
    ]


def _verdict(rows: list[Row]) -> list[str]:
    """What chest_xray's seeds say of what was wanted."""
    if not rows:
        return []
    areas = [row["test"]["auroc"]["value"] for row in rows]
    right = [row["test"]["accuracy"]["value"] for row in rows]
    return [
        f"Of {CHEST} was wanted, over three seeds, a median AUROC of {WANTED['median']:.3f}, none "
        f"below {WANTED['least']:.3f}, and an accuracy of {WANTED['accuracy']:.2f}. By now, of "
        f"{len(rows)}: median {statistics.median(areas):.3f}, least {min(areas):.3f}, accuracy "
        f"{min(right):.3f} to {max(right):.3f}."
    ]


def main() -> None:
    """Run what is lacking, or add what was run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, default=len(CELLS), help="studies at most")
    parser.add_argument("--add", nargs=2, metavar=("RUN", "COMMIT"))
    asked = parser.parse_args()
    rows = read_cells(RESULTS)

    def keep(row: Row) -> None:
        rows.append(row)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        write_page(rows)

    if asked.add:
        keep(line(Path(asked.add[0]), asked.add[1]))
        return
    done = {(row["data"], row["seed"]) for row in rows}
    for name, seed in [cell for cell in CELLS if cell not in done][: asked.only]:
        keep(run(name, seed))
    write_page(rows)


if __name__ == "__main__":
    main()
