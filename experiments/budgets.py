"""What a budget keeps to, loses and survives: writes results/budgets.jsonl, docs/results/budget.md.

`python experiments/budgets.py` runs what the file lacks, one line a cell, so that it can be killed
and called anew; `--only whole,stopped,killed` runs some kinds, `--page` only writes the page.
Nothing else may run beside `whole` and `stopped`, which a clock decides.

whole : `medgraft study chest_xray --budget …` from an empty cache. Each is a look at the official
test split: enter it in docs/results/ledger.md. stopped : the same command on the development images
alone, Ctrl-C at a random moment; the study sets a fifth of their patients aside. killed : a budget
of a minute on few development images, `kill -9` at a random moment, then `--resume` to the end; and
what that run wrote down (config.json, run.jsonl) taken up once more from an empty cache.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fault_injection.commands import left
from fault_injection.images import copy_images
from medgraft.cli.option_parsing import seconds_of
from page import figure, lines, read_cells

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "experiments" / "results" / "budgets.jsonl"
PAGE = ROOT / "docs" / "results" / "budget.md"
CHEST = SHARED / "chest_xray"
WHOLE = ("30m", "3m")
STOPPED = "6m"  # of which a study is stopped
STOPS = 10
KILLED = "1m"
KILLS = 50
INTERRUPTED = 130  # how a study that Ctrl-C ends before there is anything to say
SESSIONS = 5  # of a study that was killed, at most

Row = dict[str, Any]


def cells() -> Iterator[tuple[str, str]]:
    """Kind and name of each, in the order in which they are run."""
    yield from (("whole", budget) for budget in WHOLE)
    yield "stopped", "never"
    yield from (("stopped", f"{moment:.3f}") for moment in _moments(STOPS))
    yield from (("killed", f"{moment:.3f}") for moment in _moments(KILLS))


def _moments(n: int) -> list[float]:
    """Parts of a budget, drawn evenly."""
    rng = random.Random(16)
    return [rng.random() for _ in range(n)]


# --------------------------------------------------------------------------- one cell


def whole(budget: str, folder: Path) -> Row:
    """One study within a budget, to its end."""
    began = time.monotonic()
    _study(CHEST, folder, budget).wait()
    return {"took": round(time.monotonic() - began, 1), **_found(folder / "run")}


def stopped(moment: str, folder: Path) -> Row:
    """The study of the development images, ended by Ctrl-C after that part of its budget."""
    began, run = time.monotonic(), folder / "run"
    process = _study(CHEST / "train", folder, STOPPED)
    if moment != "never":
        _wait(process, float(moment) * seconds_of(STOPPED))
        process.send_signal(signal.SIGINT)
    row: Row = {"code": process.wait(), "took": round(time.monotonic() - began, 1)}
    if (run / "result.json").is_file():
        return {**row, **_found(run)}
    events = read_cells(run / "run.jsonl")
    return {**row, "judged": sum(one["event"] == "scenario judged" for one in events)}


def killed(moment: str, folder: Path) -> Row:
    """A study that is killed and resumed, and its decisions taken up once more."""
    data, run = folder / "data", folder / "run"
    copy_images(data)
    process = _study(data, folder, KILLED)
    _wait(process, float(moment) * seconds_of(KILLED))
    ended = process.poll() is not None
    process.kill()
    process.wait()
    before = len(read_cells(run / "run.jsonl"))
    for _ in range(SESSIONS):
        code = _study(data, folder, KILLED, "--resume").wait()
        if not code:
            break
    row: Row = {"events": before, "ended": ended, "code": code, "same": False}
    if code:
        return row
    again = folder / "again"
    (again / "run").mkdir(parents=True)
    for name in ("config.json", "run.jsonl"):
        shutil.copy(run / name, again / "run" / name)
    if _study(data, again, KILLED, "--resume").wait():
        return row
    row["same"] = left("study", folder) == left("study", again)
    return {**row, **_found(run)}


def _study(data: Path, folder: Path, budget: str, *more: str) -> subprocess.Popen[bytes]:
    words = ["study", str(data), "--budget", budget, "--seed", "0", "--quiet", *more]
    words += ["--out", str(folder / "run"), "--cache", str(folder / "cache")]
    return subprocess.Popen([sys.executable, "-c", UNTOUCHED, *words])


UNTOUCHED = (  # a shell that starts this in the background lets it ignore Ctrl-C
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from medgraft.cli import main; sys.argv[0] = 'medgraft'; main()"
)


def _without_result(row: Row) -> str:
    """Of a study that left no result, whether anything had been judged, and how it ended."""
    judged = row.get("judged", 0)
    said = f"no result, though {judged} were judged" if judged else "nothing was judged yet"
    return said if row["code"] in (0, INTERRUPTED) else f"{said}; it ended with {row['code']}"


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Until then, or until it ends."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _found(run: Path) -> Row:
    """What is kept of a finished run."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    chosen = next(one for one in result["scenarios"] if one["key"] == result["recommended"])
    steps = (result["budget"] or {}).get("steps", ())
    return {
        "seconds": round(result["seconds"], 1),
        "recommended": result["recommended"],
        "audit": result["audit"] and result["audit"]["verdict"],
        "corrected": result["corrected"],
        "test": chosen["test"] and chosen["test"][result["metric"]],
        "steps": [[one["name"], one["outcome"], one["judged"]] for one in steps],
    }


KINDS: Mapping[str, Callable[[str, Path], Row]] = MappingProxyType(
    {"whole": whole, "stopped": stopped, "killed": killed}
)


# --------------------------------------------------------------------------- the page


def write_page(rows: Sequence[Row]) -> None:
    """Write the page from what is known by now."""
    planned = list(cells())
    text = [
        "# What a budget keeps to, loses and survives",
        "",
        "Written by `make results-budget`; do not edit. "
        f"{len(rows)} of {len(planned)} cells done. Intervals are of 95 %; *promised* is the AUROC "
        "out of fold, corrected for the choice.",
        "",
        *_whole([row for row in rows if row["kind"] == "whole"]),
        *_stopped([row for row in rows if row["kind"] == "stopped"]),
        *_killed([row for row in rows if row["kind"] == "killed"]),
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _whole(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    return [
        "## In time",
        "",
        "`medgraft study chest_xray --budget …` from an empty cache; *took* is the whole command.",
        "",
        *lines(
            ("budget", "took", "recommended", "audit", "promised", "test AUROC", "steps"),
            (
                (
                    row["name"], f"{row['took'] / 60:.1f} min", f"`{row['recommended']}`",
                    row["audit"] or "none", figure(row["corrected"]), figure(row["test"]),
                    _steps(row),
                )
                for row in rows
            ),
        ),
    ]  # fmt: skip


def _stopped(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    return [
        "## Stopped",
        "",
        f"The development images of chest_xray in {STOPPED}, ended by Ctrl-C after that part of "
        "it; *test* is a fifth of the patients, set aside by the study. *Took* goes on to the "
        "report.",
        "",
        *lines(
            ("stopped after", "took", "recommended", "promised", "test AUROC", "steps"),
            (
                (
                    row["name"], f"{row['took'] / 60:.1f} min",
                    *(
                        (f"`{row['recommended']}`", figure(row["corrected"]), figure(row["test"]),
                         _steps(row))
                        if "recommended" in row
                        else (_without_result(row), "", "", "")
                    ),
                )
                for row in sorted(rows, key=lambda row: (row["name"] != "never", row["name"]))
            ),
        ),
    ]  # fmt: skip


def _killed(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    ended = sum(not row["code"] for row in rows)
    same = sum(row["same"] for row in rows)
    seconds = sorted(row["seconds"] for row in rows if "seconds" in row) or [0.0]
    return [
        "## Killed",
        "",
        f"{len(rows)} studies of {KILLED} were killed (`kill -9`) at random moments of it, "
        f"{sum(row['ended'] for row in rows)} of them when they had ended already, and resumed: "
        f"{ended} ended, after {seconds[0]:.0f} to {seconds[-1]:.0f} seconds of all sessions. What "
        "each had written down was taken up once more from an empty cache: the same scenarios, "
        f"figures, model and predictions, to the last bit, in {same} of {len(rows)}.",
        "",
    ]


def _steps(row: Row) -> str:
    return ", ".join(
        f"{name} ({judged})" if outcome == "done" else f"{name}: {outcome}"
        for name, outcome, judged in row["steps"]
    )


# --------------------------------------------------------------------------- the command


def main() -> None:
    """Run what is lacking."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, with commas")
    parser.add_argument("--most", type=int, default=None, help="cells at most")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    rows = read_cells(RESULTS)
    done = {(row["kind"], row["name"]) for row in rows}
    lacking = [cell for cell in cells() if cell not in done and cell[0] in asked.only.split(",")]
    for kind, name in [] if asked.page else lacking[: asked.most]:
        with tempfile.TemporaryDirectory(prefix="budgets-") as folder:
            row = {"kind": kind, "name": name, **KINDS[kind](name, Path(folder))}
        rows.append(row)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row)[:200], flush=True)
        write_page(rows)
    write_page(rows)


if __name__ == "__main__":
    main()
