"""`result.json`, schema 1 (docs/result-json.md): what a study found, for scripts."""

from __future__ import annotations

from typing import Any

import numpy as np

from medgraft.files import json_value
from medgraft.report.text import audit_findings, questions, recommendation
from medgraft.results.figures import Calibration, LowerEnd, SiteFigures
from medgraft.results.recommendation import (
    AuditResult,
    LearningCurve,
    ScenarioResult,
    SecondNetwork,
    Similarity,
    StudyResult,
)
from medgraft.types import SCHEMA, AuditFinding, Finding


def result_json(result: StudyResult) -> dict[str, Any]:
    """What `result.json` holds."""
    table = result.table
    names, counts = np.unique(table.splits, return_counts=True)
    return {
        "schema": SCHEMA,
        "metric": result.metric,
        "data": {
            "n_images": len(table),
            "n_groups": len(np.unique(table.groups)),
            "classes": list(table.classes),
            "positive": table.positive,
            "splits": dict(zip(names.tolist(), counts.tolist(), strict=True)),
            "skipped": json_value(table.skipped),
        },
        "profile": {
            "findings": [_finding(one, one.text, one.remedy) for one in result.findings],
            "similarity": result.similarity and _similarity(result.similarity),
        },
        "scenarios": [_scenario(row) for row in result.scenarios],
        "recommended": result.recommended,
        "why": recommendation.why(result.why, {row.key: row.key for row in result.scenarios}),
        "corrected": {
            name: json_value(getattr(result.corrected, name)) for name in ("value", "low", "high")
        },
        "lower_end": result.lower_end and _lower_end(result.lower_end),
        **({"second_network": _second(result.second)} if result.second else {}),
        **({"budget": json_value(result.budget)} if result.budget else {}),
        **({"by_site": _by_site(result.by_site)} if result.by_site else {}),
        "sets": json_value(result.sets),
        "unlike": json_value(result.unlike),
        "wishes": json_value(result.wishes),
        **({"subgroups": json_value(result.subgroups)} if result.subgroups else {}),
        **({"grades": json_value(result.grades)} if result.grades else {}),
        "calibration": {
            name: calibration_json(found) for name, found in result.calibration.items()
        },
        "learning_curve": result.learning_curve and _learning_curve(result.learning_curve),
        "comparisons": json_value(result.comparisons),
        "questions": [
            {
                "question": questions.sentence(row),
                "answer": row.answer,
                **json_value(row.comparison),
                "corrected": row.corrected,
            }
            for row in result.questions
        ],
        "audit": result.audit and audit_json(result.audit),
        "versions": dict(result.versions),
        "seconds": round(result.seconds, 3),
    }


def _similarity(found: Similarity) -> dict[str, Any]:
    nearer, as_far, farther = ([one.name for one in some] for some in found.place)
    return {
        "distance": json_value(found.distance),
        "shallow": json_value(found.shallow),
        "by_layer": dict(found.by_layer),
        "nearer": nearer,
        "as_far": as_far,
        "farther": farther,
        "reason": found.reason or None,
    }


def _second(found: SecondNetwork) -> dict[str, Any]:
    return {**json_value(found), "tried": found.tried}


def _learning_curve(found: LearningCurve) -> dict[str, Any]:
    return {**json_value(found), "verdict": found.verdict or None, "reason": found.reason or None}


def _lower_end(found: LowerEnd) -> dict[str, Any]:
    given = json_value(found.estimate)
    numbers = ("n_effective", "surface_auroc", "surface_auroc_weighted")
    return {
        **{name: given and given[name] for name in ("value", "low", "high")},
        **{name: json_value(getattr(found, name)) for name in numbers},
        "method": given and given["method"],
        "reason": found.reason or None,
        "surface": json_value(found.surface),
        "beyond": json_value(found.beyond),
    }


def _by_site(found: SiteFigures) -> dict[str, Any]:
    return {
        "by": found.asked,
        "worst": json_value(found.worst),
        "sites": [
            {
                "site": one.site,
                "n_images": one.n_images,
                "n_groups": one.n_groups,
                "fold": one.fold,
                "figure": json_value(one.estimate),
                "few": one.few,
            }
            for one in found.figures
        ],
    }


def calibration_json(found: Calibration | None) -> dict[str, Any] | None:
    """Whether probabilities come true, in result.json and in what `medgraft evaluate` prints."""
    if found is None:
        return None
    known = {name: one for name in ("slope", "intercept") if (one := getattr(found, name))}
    return {
        "slope": None,
        "intercept": None,
        **json_value(known),
        "averages": json_value(found.averages),
        "p": found.p,
        "needed": found.needed or None,
        "reason": found.reason or None,
    }


def audit_json(audit: AuditResult) -> dict[str, Any]:
    """The audit of result.json, which `medgraft audit --json` prints too."""
    return {
        "verdict": audit.verdict,
        "smallest_effect": json_value(audit.smallest_effect),
        "findings": [_audit_finding(finding) for finding in audit.findings],
    }


def _audit_finding(finding: AuditFinding) -> dict[str, Any]:
    """Of an audit: what a region does stands beside the check, null where it is about none."""
    said = (audit_findings.sentence(finding), audit_findings.remedy(finding))
    plain = _finding(finding, *said)
    numbers = plain.pop("numbers")
    effect = {name: numbers.pop(name, None) for name in ("region", "effect", "low", "high", "p")}
    first = {name: plain.pop(name) for name in ("check", "severity")}
    return {**first, **effect, **plain, "numbers": numbers}


def _scenario(row: ScenarioResult) -> dict[str, Any]:
    return {
        "key": row.key,
        "family": row.family,
        "backbone": row.backbone,
        "seconds": round(row.seconds, 3),
        "validation": json_value(row.validation),
        "test": json_value(row.test),
        "operating": json_value(row.operating),
    }


def _finding(finding: Finding | AuditFinding, text: str, remedy: str) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity,
        "text": " ".join(filter(None, (text, remedy))),
        "numbers": json_value(finding.numbers),
        "images": list(finding.images),
    }
