"""`result.json` of several findings, schema 1 of its own (docs/panel.md)."""

from __future__ import annotations

from typing import Any

from medgraft.files import json_value
from medgraft.report.text import panel
from medgraft.results.panel import Company, FindingResult, PanelResult

SCHEMA = 1


def panel_json(result: PanelResult) -> dict[str, Any]:
    """What `result.json` of a panel holds; `kind` tells it from that of one question."""
    return {
        "schema": SCHEMA,
        "kind": "panel",
        "metric": result.metric,
        "data": {
            **result.data,
            "uncertain": result.uncertain,
            "skipped": json_value(result.skipped),
            "notes": json_value(result.notes),
        },
        "findings": [_finding(one, result) for one in result.findings],
        "not_judged": [
            {**json_value(one), "why": panel.short_sentence(one)} for one in result.short
        ],
        "scenario": {**json_value(result.scenario), "why": panel.scenario_sentence(result)},
        "budget": result.budget,
        "macro": json_value(result.macro),
        "company": [_company(one, result) for one in result.company],
        "together": [
            {"findings": list(pair), "images": n, "known": result.known_pairs[pair]}
            for pair, n in result.pairs.items()
        ],
        "versions": dict(result.versions),
        "seconds": round(result.seconds, 3),
    }


def _finding(one: FindingResult, result: PanelResult) -> dict[str, Any]:
    corrected = {name: getattr(one.corrected, name) for name in ("value", "low", "high")}
    return {**json_value(one), "corrected": corrected, "verdict": panel.verdict(one, result)}


def _company(one: Company, result: PanelResult) -> dict[str, Any]:
    found = json_value(one)
    found["difference"] = {
        name: getattr(one.difference, name) for name in ("difference", "low", "high", "p")
    }
    return {**found, "warn": one in result.warnings(), "only": one.only}
