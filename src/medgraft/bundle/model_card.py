"""What the card of a saved classifier says, gathered from its folder and its study's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medgraft.bundle.seen_before import learned_from
from medgraft.errors import BundleError
from medgraft.results.model_card import ModelFacts, RegionEffect
from medgraft.results.runs import Run
from medgraft.runs.find import RESULT, kinds_in, load_object
from medgraft.runs.read import open_run
from medgraft.types import Card, Estimate, FittedScenario


def facts_of(folder: Path, fitted: FittedScenario) -> ModelFacts:
    """The facts of a classifier in a folder; its study's too where it lies in it.

    Raises
    ------
    RunError
        Its study's files are damaged.
    BundleError
        They are of another model.
    """
    content = load_object(folder / "bundle.json")
    run = _run_of(folder, fitted)
    result = load_object(folder.parent / RESULT) if run is not None else {}
    canvas = fitted.spec
    return ModelFacts(
        key=fitted.scenario.key,
        classes=fitted.classes,
        positive=fitted.positive,
        operating=fitted.operating,
        networks=max(1, len(fitted.networks)),
        cards=tuple({(one.id, one.source): one for one in _cards(fitted)}.values()),
        size=canvas.size,
        resize=canvas.resize,
        edits=tuple(edit.key for edit in canvas.edits),
        rule=fitted.rule,
        learned=dict(learned_from(folder, fitted).by_class),
        run=run,
        slope=_by_part(result.get("calibration"), "slope"),
        coverage=_by_part(result.get("sets"), "coverage"),
        alpha=float((result.get("sets") or {}).get("validation", {}).get("alpha", 0.0)),
        regions=tuple(_regions(result.get("audit"))),
        adapted=int(content.get("adapted", {}).get("images", 0)),
    )


def _run_of(folder: Path, fitted: FittedScenario) -> Run | None:
    """The finished study or training that a classifier lies in; None where it lies alone."""
    above = folder.resolve().parent
    if folder.name != "model" or not {"study", "scenario"} & {*kinds_in(above)}:
        return None
    run = open_run(above)
    if run.state != "finished":
        return None
    if run.scenario != fitted.scenario.key:
        raise BundleError(
            f"{above} recommends {run.scenario}, and its folder model holds {fitted.scenario.key}; "
            "bundle the folder the study wrote, or give the folder model alone elsewhere"
        )
    return run


def _cards(fitted: FittedScenario) -> Iterator[Card]:
    """Of every network that answers, those that were trained under the name they came from."""
    for member in fitted.members:
        yield from _cards(member)
    for network in () if fitted.members else fitted.networks:
        card: Card = network.backbone.card
        # Of those trained in folds one stands for all: they differ in what they learned alone.
        yield dataclasses.replace(card, tuned="") if card.tuned else card


def _by_part(found: Mapping[str, Any] | None, name: str) -> dict[str, Estimate]:
    """An estimate of each part of a study that has one."""
    rows = {part: (one or {}).get(name) for part, one in (found or {}).items()}
    return {part: _estimate(row) for part, row in rows.items() if row}


def _estimate(row: Mapping[str, Any]) -> Estimate:
    value, low, high = (
        float("nan") if row[name] is None else float(row[name]) for name in ("value", "low", "high")
    )
    return Estimate(value, low, high, int(row["n"]), str(row.get("method", "")))


def _regions(audit: Mapping[str, Any] | None) -> Iterator[RegionEffect]:
    """Findings that warn, by their numbers: their texts may name images."""
    for one in (audit or {}).get("findings", ()):
        if one["severity"] != "info":
            yield RegionEffect(
                one["check"], one["severity"], one.get("region") or "",
                one.get("effect"), one.get("low"), one.get("high"),
            )  # fmt: skip


def index_facts(facts: ModelFacts) -> dict[str, Any]:
    """What a program may ask of a bundle without unpacking it, in its `medgraft.json`."""
    return {
        "scenario": facts.key,
        "classes": list(facts.classes),
        "positive": facts.positive,
        "metric": facts.run.metric if facts.run else "",
        "fingerprint": facts.run.fingerprint if facts.run else "",
        "audit": facts.run.verdict if facts.run else "",
    }
