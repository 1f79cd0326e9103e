"""From the folder of a run to what it tells of itself, whatever command left it, and whenever."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgraft.evaluate.estimates import estimate, evaluate
from medgraft.evaluate.metrics import judge
from medgraft.results.runs import Part, Run, RunKind, RunScenario, RunState
from medgraft.runs.find import (
    ANSWERS,
    BUNDLE,
    CONFIG,
    PREDICTIONS,
    RESULT,
    RunFolder,
    kinds_in,
    load_object,
)
from medgraft.scenario import DEFAULT_METRIC
from medgraft.studies.run_lock import process_lives
from medgraft.studies.store import RunError, read_events, read_predictions
from medgraft.types import SCHEMA, Estimate, Operating, Predictions

SILENT = 24 * 3600  # seconds without an event after which what cannot be asked counts as killed
FACTS = ("data", "weights")  # of config.json, that are no options


def open_run(path: Path) -> Run:
    """Read the run in a folder, with all figures.

    Raises
    ------
    RunError
        There is none, it is damaged, or of a newer version.
    """
    if path.name == "model" and kinds_in(path.parent):
        path = path.parent
    kinds = kinds_in(path) if path.is_dir() else ()
    if not kinds:
        raise RunError(
            f"{path} holds no run; name a folder that a command wrote (medgraft runs list finds "
            "them)"
        )
    run = read_run(RunFolder(path, kinds[0]), whole=True)
    if run.state in ("broken", "newer"):
        raise RunError(f"{path} cannot be read: {run.reason}")
    return run


def read_run(folder: RunFolder, *, whole: bool = False) -> Run:
    """Read one run; what is wrong with it stands in its `state` and `reason`.

    whole : with all figures, where some have to be computed.
    """
    read: Mapping[str, Callable[[Path, bool], Run]] = {
        "study": _study,
        "scenario": _single,
        "evaluation": _evaluation,
        "audit": _audit,
        "adapted": _adapted,
    }
    kind, path = folder.kind, folder.path
    if kind == "study" and "scenario" in load_object(path / CONFIG):
        kind = "scenario"
    try:
        run = read[kind](path, whole)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RunError) as error:
        reason: object = error
        if isinstance(error, LookupError):
            reason = f"its files do not hold what a run's do: {error} is missing or misplaced"
        found = Run(path=str(path), kind=kind, state="broken", reason=" ".join(f"{reason}".split()))
        run = replace(found, when=path.stat().st_mtime)
    return replace(run, size=size_of(path))


def size_of(path: Path) -> int:
    """Bytes of a run's own files, those of its model among them; not of folders beside these."""
    own = [file for file in path.iterdir() if file.is_file()]
    return sum(file.stat().st_size for file in [*own, *path.glob("model/**/*")] if file.is_file())


# --------------------------------------------------------------------------- studies


def _study(path: Path, whole: bool) -> Run:
    events, config = read_events(path), load_object(path / CONFIG)
    began = [one for one in events if one["event"] in ("started", "resumed")]
    known = Run(
        path=str(path),
        kind="panel" if "findings" in config else "study",
        state="finished",
        when=float(events[-1]["time"]) if events else (path / RESULT).stat().st_mtime,
        data=str(_last(began, "data", "")),
        fingerprint=str(config.get("data", "")),
        metric=str(config.get("metric", DEFAULT_METRIC)),
        options=_options(config),
        weights=dict(config.get("weights", {})),
        versions=dict(_last(began, "versions", {})),
        command=str(_last(began, "command", "")),
        steps=_steps(events),
        slowest=_slowest(events),
    )
    alive = _alive(events)
    if not (path / RESULT).is_file():
        spent = float(events[-1]["time"]) - float(began[0]["time"]) if began else 0.0
        judged = sum(one["event"] == "scenario judged" for one in events)
        reason = f"scenarios judged: {judged}" + (f", {why}" if (why := _ending(events)) else "")
        state: RunState = "running" if alive else "killed"
        return replace(known, state=state, reason=reason, seconds=spent)
    content = json.loads((path / RESULT).read_text(encoding="utf-8"))
    if content["schema"] > SCHEMA:
        reason = (
            f"{RESULT} is of schema {content['schema']}, and this version reads {SCHEMA}; it was "
            "written by a newer medgraft: use that one"
        )
        return replace(known, state="newer", reason=reason)
    if known.kind == "panel":
        return _with_panel(known, content, "running" if alive else "finished")
    lacks = [one for one in (PREDICTIONS, "model") if not (path / one).exists()]
    return replace(
        _with_result(known, content, events),
        state="running" if alive else "finished",
        reason=f"without {' and '.join(lacks)}" if lacks else "",
    )


def _with_panel(known: Run, content: Mapping[str, Any], state: RunState) -> Run:
    """The same with what a panel's result says: the means over its findings, which are classes."""
    figures: dict[Part, Mapping[str, Estimate]] = {
        part: _estimates(content["macro"].get(part)) for part in ("validation", "test")
    }
    return replace(
        known,
        state=state,
        images=int(content["data"]["n_images"]),
        patients=int(content["data"]["n_groups"]),
        splits=dict(content["data"]["splits"]),
        classes=tuple(one["name"] for one in content["findings"]),
        scenario=str(content["scenario"]["one"]) if content["scenario"]["taken"] == "one" else "",
        validation=figures["validation"].get(known.metric),
        test=figures["test"].get(known.metric),
        figures={part: found for part, found in figures.items() if found},
        seconds=float(content["seconds"]),
    )


def _with_result(known: Run, content: Mapping[str, Any], events: Sequence[dict[str, Any]]) -> Run:
    """What `result.json` adds."""
    data, metric = content["data"], content["metric"]
    rows = [_scenario(row, metric) for row in content["scenarios"]]
    chosen = next(row for row in content["scenarios"] if row["key"] == content["recommended"])
    mine = next(row for row in rows if row.key == content["recommended"])
    audit = content.get("audit")
    corrected = content["corrected"]
    failed = {
        str(one["key"]) for one in events if one["event"] == "audited" and one["verdict"] == "FAIL"
    }
    return replace(
        known,
        images=int(data["n_images"]),
        patients=int(data["n_groups"]),
        splits=dict(data["splits"]),
        classes=tuple(data["classes"]),
        positive=data["positive"],
        metric=metric,
        scenario=str(content["recommended"]),
        validation=mine.validation,
        corrected=_estimate({"n": mine.validation.n if mine.validation else 0, **corrected}),
        test=mine.test,
        figures={
            "validation": _estimates(chosen["validation"]),
            "test": _estimates(chosen["test"]),
        },
        changed_views="changed views" in (mine.validation.method if mine.validation else ""),
        verdict=audit["verdict"] if audit else "",
        scenarios=tuple(rows),
        barred=tuple(sorted(failed - {str(content["recommended"])})),
        versions=dict(content["versions"]),
        seconds=float(content["seconds"]),
    )


def _scenario(row: Mapping[str, Any], metric: str) -> RunScenario:
    return RunScenario(
        key=str(row["key"]),
        validation=_estimates(row["validation"]).get(metric),
        test=_estimates(row["test"]).get(metric),
        operating=Operating(**row["operating"]) if row["operating"] else None,
        seconds=float(row["seconds"]),
    )


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, with the fields of inner objects under names with a dot."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and name not in FACTS:
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        elif name not in FACTS:
            found[name] = value
    return found


def _last(events: Sequence[Mapping[str, Any]], name: str, otherwise: Any) -> Any:
    """The last value of a fact that is not empty: a resumed run may have another command."""
    return next((one[name] for one in reversed(events) if one.get(name)), otherwise)


def _steps(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by step; of a resumed run those of all its sessions together."""
    found: dict[str, float] = {}
    for one in events:
        if one["event"] == "step":
            found[one["step"]] = found.get(one["step"], 0.0) + float(one["seconds"])
    return found


def _slowest(events: Sequence[Mapping[str, Any]], most: int = 5) -> dict[str, float]:
    rows = [(one["key"], one["seconds"]) for one in events if one["event"] == "scenario judged"]
    longest = sorted(dict(rows).items(), key=lambda row: -row[1])[:most]
    return {str(key): float(seconds) for key, seconds in longest}


def _alive(events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the process that wrote the last session's events still does.

    Of another machine, and of a version that left no number of its process, that cannot be known:
    it counts as alive until nothing was heard of it for a day.
    """
    sessions = [i for i, one in enumerate(events) if one["event"] in ("started", "resumed")]
    if not sessions:
        return False
    last = events[sessions[-1]]
    if any(one["event"] in ("finished", "stopped") for one in events[sessions[-1] :]):
        return False
    if last.get("host") != platform.node() or "pid" not in last:
        return time.time() - float(events[-1]["time"]) < SILENT
    return process_lives(last)


def _ending(events: Sequence[Mapping[str, Any]]) -> str:
    """What ended a run that is not finished, as far as it said."""
    if events and events[-1]["event"] == "stopped":
        reason = str(events[-1].get("reason", ""))
        return "stopped by Ctrl-C" if reason == "KeyboardInterrupt" else f"ended by {reason}"
    return ""


# --------------------------------------------------------------------------- other kinds


def _single(path: Path, whole: bool) -> Run:
    """One scenario alone, whose figures are those of its predictions."""
    bundle = json.loads((path / "model" / BUNDLE).read_text(encoding="utf-8"))
    events, config = read_events(path), load_object(path / CONFIG)
    key, operating = str(bundle["key"]), bundle["operating"]
    found = read_predictions(path / PREDICTIONS, bundle["positive"], [key])
    validation, test = (part.get(key) for part in found)
    point = Operating(**operating) if operating else None
    figures: dict[Part, Mapping[str, Estimate]] = {}
    if validation is not None:
        figures["validation"] = _figures(validation, None, whole)
    if test is not None:
        figures["test"] = _figures(test, point, whole)
    everything = [one for one in (validation, test) if one is not None]
    splits = {"test": len(test)} if test is not None else {}
    by_part = {part: figures.get(part, {}).get(DEFAULT_METRIC) for part in ("validation", "test")}
    scenario = RunScenario(key, by_part["validation"], by_part["test"], point)
    return Run(
        path=str(path),
        kind="scenario",
        state="finished",
        when=float(events[-1]["time"]) if events else (path / PREDICTIONS).stat().st_mtime,
        data=str(_last(events, "data", "")),
        fingerprint=str(config.get("data", "")),
        images=sum(map(len, everything)),
        patients=len({group for one in everything for group in one.groups.tolist()}),
        splits=splits | ({"development": len(validation)} if validation is not None else {}),
        classes=tuple(bundle["classes"]),
        positive=bundle["positive"],
        metric=DEFAULT_METRIC,
        scenario=key,
        validation=by_part["validation"],
        test=by_part["test"],
        figures=figures,
        changed_views=config.get("validate") == "changed",
        scenarios=(scenario,),
        options=_options(config),
        weights=dict(config.get("weights", {})),
        versions=dict(_last(events, "versions", {})),
        command=str(_last(events, "command", "")),
        seconds=float(_last(events, "seconds", 0.0)),
    )


def _figures(
    predictions: Predictions, operating: Operating | None, whole: bool
) -> Mapping[str, Estimate]:
    if whole:
        return evaluate(predictions, operating).estimates
    return estimate(judge(predictions, operating), [DEFAULT_METRIC])


def _answer(path: Path, kind: RunKind, content: Mapping[str, Any], **found: Any) -> Run:
    """What evaluations and audits leave alike, and what only one of them has."""
    return Run(
        path=str(path),
        kind=kind,
        state="finished",
        when=(path / ANSWERS[kind]).stat().st_mtime,
        data=Path(str(content.get("data", ""))).name,
        scenario=str(content["scenario"]),
        versions={"medgraft": content["version"]} if "version" in content else {},
        command=str(content.get("command", "")),
        **found,
    )


def _evaluation(path: Path, whole: bool) -> Run:
    content = json.loads((path / ANSWERS["evaluation"]).read_text(encoding="utf-8"))
    judged = content["by_image"]
    figures, metric = _estimates(judged["metrics"]), content.get("metric", DEFAULT_METRIC)
    return _answer(
        path,
        "evaluation",
        content,
        images=int(judged["n_images"]),
        patients=int(judged["n_groups"]),
        splits={"test": int(judged["n_images"])},
        classes=tuple(judged["classes"]),
        positive=judged["positive"],
        metric=metric,
        test=figures.get(metric),
        figures={"test": figures},
        options={"model": content.get("model", "")},
    )


def _audit(path: Path, whole: bool) -> Run:
    content = json.loads((path / ANSWERS["audit"]).read_text(encoding="utf-8"))
    ranked = _estimate(content["ranked"])
    return _answer(
        path,
        "audit",
        content,
        images=int(content["images"]),
        metric="auroc",
        test=ranked,
        figures={"test": {"auroc": ranked}},
        verdict=str(content["verdict"]),
        options={"model": content.get("model", ""), **content["options"]},
    )


def _adapted(path: Path, whole: bool) -> Run:
    file = path / BUNDLE
    content = json.loads(file.read_text(encoding="utf-8"))
    card = content["adapted"]
    return Run(
        path=str(path),
        kind="adapted",
        state="finished",
        when=file.stat().st_mtime,
        images=int(card["images"]),
        patients=int(card["groups"]),
        classes=tuple(content["classes"]),
        positive=content["positive"],
        scenario=str(content["key"]),
        verdict=str(card["verdict"]),
    )


# --------------------------------------------------------------------------- numbers


def _estimates(rows: Mapping[str, Any] | None) -> dict[str, Estimate]:
    return {name: _estimate(row) for name, row in (rows or {}).items()}


def _estimate(row: Mapping[str, Any]) -> Estimate:
    """An Estimate that JSON holds, where null is what is not defined."""
    value, low, high = (
        math.nan if row[name] is None else float(row[name]) for name in ("value", "low", "high")
    )
    return Estimate(value, low, high, int(row["n"]), str(row.get("method", "")))
