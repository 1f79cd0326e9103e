"""The classifiers of a panel in use: what each says of an image file, finding by finding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraft.bundle.model import bundle_folder
from medgraft.bundle.predict import Prediction, predict_files
from medgraft.data.dicom.identity import public_names
from medgraft.errors import BundleError
from medgraft.features.extract import Extractor
from medgraft.files import write_csv
from medgraft.learn.fit import load


@dataclass(frozen=True, slots=True)
class PanelPrediction:
    """What a panel says of one image file: by finding, in its order; None where it was not read."""

    source: str
    findings: Mapping[str, float]
    there: Mapping[str, bool]
    error: str | None = None
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """What `medgraft predict --json` prints of it."""
        row: dict[str, Any] = {
            "source": self.source,
            "findings": {
                name: {"probability": p, "there": self.there[name]}
                for name, p in self.findings.items()
            },
            "error": self.error,
        }
        return {**row, "remark": self.remark} if self.remark else row


def panel_models(run: Path) -> dict[str, Path]:
    """The folder of each finding's classifier, by finding; empty where `run` is no panel.

    Raises
    ------
    BundleError
        It is one, and the classifier of a finding is not there.
    """
    try:
        content = json.loads((run / "result.json").read_text(encoding="utf-8"))
        panel = isinstance(content, dict) and content.get("kind") == "panel"
        found = {one["name"]: run / one["folder"] for one in content["findings"]} if panel else {}
    except (OSError, ValueError):
        return {}
    except (LookupError, TypeError) as error:
        raise BundleError(
            f"{run / 'result.json'} is damaged ({error}); run the study again with --resume"
        ) from error
    for name, folder in found.items():
        if not (bundle_folder(folder) / "bundle.json").is_file():
            raise BundleError(
                f"{folder} holds no classifier of {name}; run the study again with --resume"
            )
    return found


def predict_panel(
    models: Mapping[str, Path], paths: Sequence[str], extractor: Extractor
) -> list[PanelPrediction]:
    """What the classifiers of a panel say of image files, folders and patterns, in order.

    Each finding's classifier reads the images for itself, one after another.

    Raises
    ------
    BundleError
        A classifier was changed since it was saved.
    DataError
        There is no image.
    """
    said: dict[str, list[Prediction]] = {}
    for name, folder in models.items():
        said[name] = predict_files(load(bundle_folder(folder), extractor), paths)
    first = next(iter(said.values()))
    return [_joined({name: rows[i] for name, rows in said.items()}) for i in range(len(first))]


def _joined(rows: Mapping[str, Prediction]) -> PanelPrediction:
    """One image, by finding."""
    one = next(iter(rows.values()))
    answers = {name: row.answer for name, row in rows.items() if row.answer}
    return PanelPrediction(
        source=one.source,
        findings={name: answer.probabilities[name] for name, answer in answers.items()},
        there={name: answer.label == name for name, answer in answers.items()},
        error=one.error,
        remark=one.remark,
    )


def write_panel_predictions(
    path: Path, rows: Sequence[PanelPrediction], names: Sequence[str]
) -> None:
    """Write a CSV, a row an image: what is there, a probability a finding, and why there is none.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    headings = [f"probability of {name}" for name in names]
    lines: list[list[object]] = [["source", "findings", *headings, "error"]]
    for source, row in zip(public_names([one.source for one in rows]), rows, strict=True):
        there = "|".join(name for name in names if row.there.get(name))
        said = [row.findings.get(name, "") for name in names]
        lines.append([source, there, *said, row.error or ""])
    write_csv(path, lines)
