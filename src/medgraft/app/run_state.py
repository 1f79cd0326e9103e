"""What a run's folder tells the page: its steps so far, what it found, its line in the list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medgraft.app.home import Home

STEPS = {
    "time a few images": "timing a few images",
    "read the images": "reading the images",
    "look at every image": "looking at every image",
    "measure the similarity to ImageNet": "comparing them with everyday photographs",
    "judge the scenarios out of fold": "judging ways to learn from them",
    "train further networks": "training further networks",
    "compare and recommend": "comparing what was judged",
    "audit the evidence": "auditing what decides",
    "look at the test split once": "looking at the test images, once",
    "check the data": "checking the data, and writing the report",
}
"""Steps of a study as its events name them, in their order, and what the page calls them."""
OF_A_BUDGET = ("time a few images", "train further networks")
FINDINGS = "findings"  # folder in which the run of a panel keeps each finding's own
FILES = ("report.html", "methods.md", "references.bib", "result.json", "predictions.csv")


def began(run: Path) -> float:
    """When a run began, in seconds since 1970; 0 where it does not say."""
    from medgraft.studies.store import read_events

    events = read_events(run)
    return float(events[0].get("time", 0.0)) if events else 0.0


def events(run: Path) -> dict[str, Any]:
    """What a run's own events tell of scenarios and steps, those of earlier sessions too."""
    from medgraft.report.text.runs import scenario as named
    from medgraft.studies.store import read_events

    judged: dict[str, dict[str, Any]] = {}
    given_up: dict[str, dict[str, Any]] = {}
    steps, recommended, interrupted = [], "", False
    for one in read_events(run):
        if one["event"] == "scenario judged":
            judged[one["key"]] = {"name": named(one["key"]), "seconds": one["seconds"]}
        elif one["event"] == "race":
            for row in one.get("stopped") or ():
                given_up[row["key"]] = {"name": named(row["key"])}
        elif one["event"] == "step":
            steps.append({"name": one["step"], "seconds": one["seconds"]})
        elif one["event"] == "recommended":
            recommended = named(one["key"])
        elif one["event"] == "interrupted":
            interrupted = True
        elif one["event"] in ("started", "resumed"):
            steps, interrupted = [], False
    return {
        "scenarios": list(judged.values()), "given up": list(given_up.values()),
        "steps": steps, "recommended": recommended, "interrupted": interrupted,
    }  # fmt: skip


def step(done: list[dict[str, Any]], budget: bool) -> dict[str, Any]:
    """Which step of how many a study is at, and what it does."""
    known = [name for name in STEPS if budget or name not in OF_A_BUDGET]
    last = max((known.index(one["name"]) for one in done if one["name"] in known), default=-1)
    at = min(last + 1, len(known) - 1)
    return {"number": at + 1, "of": len(known), "words": STEPS[known[at]]}


def several_findings(run: Path) -> bool:
    """Whether a study is one of several findings an image, of which each has its own steps."""
    from medgraft.runs.find import CONFIG, load_object

    return "findings" in load_object(run / CONFIG)


def finished(run: Path, home: Home) -> dict[str, Any] | None:
    """What a run that is finished says of itself; None where it is not."""
    from medgraft.report.text import runs
    from medgraft.runs.find import RunFolder, kinds_in
    from medgraft.runs.read import read_run
    from medgraft.serve.words import AUDIT_MEANS, AUDIT_SAYS

    kinds = kinds_in(run) if run.is_dir() else ()
    if not kinds:
        return None
    found = read_run(RunFolder(run, kinds[0]))
    if found.state not in ("finished", "broken", "newer"):
        return None if found.state == "killed" else {"state": "elsewhere"}
    return {
        "state": found.state,
        "error": found.reason if found.state != "finished" else "",
        "facts": [list(row) for row in runs.facts(found)],
        "headline": listed(found, home),
        "audit": f"{AUDIT_SAYS[found.verdict or '']} {AUDIT_MEANS[found.verdict or '']}",
        "model": (run / "model").is_dir(),
        "findings": each_finding(run, home),
        "files": [name for name in FILES if (run / name).is_file()],
    }


def each_finding(run: Path, home: Home) -> list[dict[str, str]]:
    """The runs of one finding each that a run of several holds and that have a report."""
    found = sorted((run / FINDINGS).glob("*"))
    done = [one for one in found if (one / "report.html").is_file()]
    return [{"id": home.id_of(one), "name": one.name} for one in done]


def of_a_panel(run: Path) -> bool:
    """Whether it is the run of one finding, and lies within that of all."""
    return run.parent.name == FINDINGS and (run.parents[1] / "config.json").is_file()


def listed(run: Any, home: Home) -> dict[str, Any]:
    """A run in the list."""
    from medgraft.report.text import formatting, runs

    path = Path(run.path)
    name = path.name if path.parent == home.runs else str(path.relative_to(home.folder))
    test = run.test is not None
    return {
        "name": name, "state": run.state, "reason": run.reason, "when": run.when,
        "kind": runs.KINDS[run.kind], "data": runs.data(run),
        "metric": formatting.name_metric(run.metric) if run.scenario else "",
        "figure": runs.figure(run.metric, run.test if test else runs.named_figure(run)),
        "where": "test" if test else "out of fold", "verdict": run.verdict,
        "comparable": run.kind in ("study", "scenario") and run.state == "finished",
    }  # fmt: skip
