"""What the checks of the data found, and what could be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgraft.files import json_value
from medgraft.panel import Panel
from medgraft.types import SCHEMA, SEVERITIES, Finding, ImageTable, gravest_first

Action = Literal["exclude", "relabel", "group"]

OF = "of the finding"  # among a finding's numbers: which of several in an image it is about


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
    """What was found in a table of readable, labelled images, and what could be done.

    panel : of several findings an image; `table` then has what is marked in each as its label.
    """

    table: ImageTable
    checked: Checked
    panel: Panel | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The most severe first; of equal ones those on how the data were read first."""
        return tuple(gravest_first((*self.table.findings, *self.checked.findings)))

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
                "classes": list(self.table.classes if self.panel is None else self.panel.names),
                "several": self.panel is not None,
                "splits": dict(zip(splits.tolist(), counts.tolist(), strict=True)),
                "skipped": json_value(self.table.skipped),
            },
            "findings": json_value(self.findings),
            "suggestions": [
                {"path": one.path, "action": one.action, "value": one.value, "why": one.why}
                for one in self.checked.suggestions
            ],
        }
