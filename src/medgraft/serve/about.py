"""What is known of a served classifier beside its answers, and which of its study's images to see.

Read from the bundle and the study that it lies in. What a study says of its images are names, so
that `Cases` is for those alone who may read the study's folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.archive import INDEX
from medgraft.bundle.model_card import facts_of
from medgraft.data.listing import content_hash
from medgraft.errors import MedgraftError
from medgraft.report.text import calibration
from medgraft.report.text.model_card import region_sentence
from medgraft.results.figures import Calibration
from medgraft.results.model_card import ModelFacts
from medgraft.runs.find import PREDICTIONS, RESULT, load_object
from medgraft.serve import words
from medgraft.types import Estimate, FittedScenario, Floats, Predictions

MOST_SUSPECT, MOST_UNSURE = 100, 20  # images to look at, of each kind


@dataclass(frozen=True, slots=True)
class About:
    """Words of verdicts with their sentences; `study` is the folder of the study, if there is one.

    audit, calibrated : PASS, WARN, FAIL, INCONCLUSIVE, or '' where nothing was measured. findings :
    what warned. images : that were learned from, by class.
    """

    audit: str = ""
    findings: tuple[str, ...] = ()
    calibrated: str = ""
    judged: int = 0
    images: Mapping[str, int] = field(default_factory=dict)
    study: Path | None = None

    @classmethod
    def of(cls, folder: Path, fitted: FittedScenario) -> About:
        """Of the bundle in a folder; nothing where its study is damaged or another model's."""
        try:
            facts = facts_of(folder, fitted)
        except MedgraftError:
            return cls()
        if facts.run is None:
            said = load_object(folder.parent / INDEX).get("audit")  # of one file, unpacked
            known = isinstance(said, str) and said in words.AUDIT_SAYS
            return cls(str(said) if known else "", images=facts.learned)
        found, n = _calibration(folder, facts)
        return cls(
            audit=facts.run.verdict,
            findings=tuple(map(region_sentence, facts.regions)),
            calibrated=calibration.verdict(found) if found else "",
            judged=n,
            images=facts.learned,
            study=folder.resolve().parent,
        )

    def to_json(self) -> dict[str, Any]:
        """With its sentences."""
        return {
            "audit": {
                "verdict": self.audit or None,
                "says": words.AUDIT_SAYS[self.audit],
                "means": words.AUDIT_MEANS[self.audit],
                "findings": list(self.findings),
            },
            "calibration": {
                "verdict": self.calibrated or None,
                "says": words.calibration_says(self.calibrated, self.judged),
            },
            "learned_from": dict(self.images),
        }


def _calibration(folder: Path, facts: ModelFacts) -> tuple[Calibration | None, int]:
    """What was found of it on the test split, else out of fold; and on how many images."""
    parts = load_object(folder.resolve().parent / RESULT).get("calibration") or {}
    content = parts.get("test") or parts.get("validation")
    if content is None or facts.adapted:  # no figure was measured since
        return None, 0
    averages = {name: _estimate(one) for name, one in content["averages"].items()}
    slope = content["slope"] and _estimate(content["slope"])
    found = Calibration(slope, None, averages, None, content["p"], content["needed"] or 0)
    n = next((one.n for one in [slope, *averages.values()] if one), 0)
    return found, n


def _estimate(row: Mapping[str, Any]) -> Estimate:
    value, low, high = (
        np.nan if row[name] is None else float(row[name]) for name in ("value", "low", "high")
    )
    return Estimate(value, low, high, int(row["n"]), str(row["method"]))


# --------------------------------------------------------------------------- cases


@dataclass(frozen=True, slots=True)
class StudyFile:
    """Where the study read an image, and the hash of what it read there."""

    path: Path
    hash: str

    def content(self, most: int) -> bytes | None:
        """Its bytes; None where it is gone, another one by now, or has more than `most` bytes."""
        try:
            with self.path.open("rb") as file:
                found = file.read(most + 1)
        except OSError:
            return None
        return found if len(found) <= most and content_hash(found) == self.hash else None


@dataclass(frozen=True, slots=True)
class Cases:
    """Images of a study to look at, and where those lie that have a `picture`, by that name.

    The names are drawn anew by each server, so that nobody else can ask for one.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    files: Mapping[str, StudyFile] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Path, fitted: FittedScenario) -> Cases:
        """Labels most probably wrong, the surest first; then the closest calls.

        By the answers of models that had not seen them.

        Raises
        ------
        RunError
            The study's predictions, or what it says of where its images lie, are damaged.
        """
        from medgraft.profile.labels import search
        from medgraft.studies.store import IMAGES, read_images, read_predictions

        key = fitted.scenario.key
        out_of_fold, _ = read_predictions(study / PREDICTIONS, fitted.positive, [key])
        if key not in out_of_fold:  # of a model that was made of others since
            return cls()
        said = out_of_fold[key]
        row_of = {str(id): row for row, id in enumerate(said.ids.tolist())}
        suspects = [row_of[one.id] for one in search(said).suspects][:MOST_SUSPECT]
        closest = np.argsort(_margin(said.y_prob), kind="stable").tolist()
        unsure = [row for row in closest if row not in set(suspects)][:MOST_UNSURE]
        rows = [
            *(_case(said, row, "label") for row in suspects),
            *(_case(said, row, "unsure") for row in unsure),
        ]
        kept = read_images(study / IMAGES, [row["id"] for row in rows])
        files = {}
        for row in rows:
            if row["id"] in kept:
                row["picture"] = secrets.token_urlsafe(12)
                files[row["picture"]] = StudyFile(*kept[row["id"]])
        return cls(rows, files)


def _margin(prob: Floats) -> Floats:
    """(n,) by how much the likeliest class leads."""
    ordered = np.sort(prob, axis=1)
    margin: Floats = ordered[:, -1] - ordered[:, -2]
    return margin


def _case(said: Predictions, row: int, why: str) -> dict[str, Any]:
    by_class = dict(zip(said.classes, said.y_prob[row].tolist(), strict=True))
    return {
        "id": str(said.ids[row]),
        "labelled": said.classes[int(said.y_true[row])],
        "probabilities": by_class,
        "why": why,
        "picture": None,
    }
