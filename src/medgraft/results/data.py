"""What the checks of the data found, and what could be done about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgraft.types import SCHEMA, SEVERITIES, Finding, ImageTable

Action = Literal["exclude", "relabel", "group"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One action on one image, `value` its new class or group; `check` is the finding behind it."""

    path: str
    action: Action
    value: str
    why: str
    check: str


@dataclass(frozen=True, eq=False)
class Checked:
    """All findings, the most severe first, and what could be done, one suggestion an image."""

    findings: tuple[Finding, ...]
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, eq=False)
class DataAudit:
    """What was found in a table of readable, labelled images, and what could be done."""

    table: ImageTable
    checked: Checked

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What reading the data and checking it found, the most severe first."""
        every = (*self.checked.findings, *self.table.findings)
        return tuple(sorted(every, key=lambda one: SEVERITIES.index(one.severity)))

    def at_least(self, severity: str) -> bool:
        """Whether a finding is that severe, or more."""
        limit = SEVERITIES.index(severity)
        return any(SEVERITIES.index(one.severity) <= limit for one in self.findings)

    def json(self) -> dict[str, object]:
        """What `medgraft profile --json` prints; numbers that are not finite are null."""
        splits, counts = np.unique(self.table.splits, return_counts=True)
        return {
            "schema": SCHEMA,
            "data": {
                "n_images": len(self.table),
                "n_groups": len(np.unique(self.table.groups)),
                "classes": list(self.table.classes),
                "splits": dict(zip(splits.tolist(), counts.tolist(), strict=True)),
                "skipped": [
                    {"source": one.source, "reason": one.reason} for one in self.table.skipped
                ],
            },
            "findings": [
                {
                    "check": one.check,
                    "severity": one.severity,
                    "text": one.text,
                    "numbers": {name: _finite(value) for name, value in one.numbers.items()},
                    "images": list(one.images),
                    "remedy": one.remedy,
                }
                for one in self.findings
            ],
            "suggestions": [
                {"path": one.path, "action": one.action, "value": one.value, "why": one.why}
                for one in self.checked.suggestions
            ],
        }


def _finite(value: float | int | str) -> float | int | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
