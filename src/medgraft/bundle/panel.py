"""The classifiers of a panel in use: what each says of an image file, finding by finding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.model import bundle_folder
from medgraft.bundle.predict import Classification, classified
from medgraft.data.dicom.identity import public_names
from medgraft.data.listing import shown
from medgraft.data.preprocess import recipe_of
from medgraft.data.unlabelled import images_named, readable, unreadable
from medgraft.errors import BundleError
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import Outputs, run_feature_plans
from medgraft.files import write_csv
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.fit import load
from medgraft.learn.network import NetworkWithHead, in_batches
from medgraft.types import Canvas, FittedScenario, Floats, Skipped, Source


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

    An image is decoded once for all findings whose classifiers see it alike, and read in one pass
    where they share a network; those are all of them unless each finding has its own scenario.

    Raises
    ------
    BundleError
        A classifier was changed since it was saved.
    DataError
        There is no image.
    """
    found = images_named(paths)
    sources, errors = readable(found), unreadable(found)
    fitted = {name: load(bundle_folder(folder), extractor) for name, folder in models.items()}
    said: dict[str, dict[str, Classification]] = {file: {} for file in found}
    remarks: dict[str, str] = {}
    for group in _seen_alike(fitted):
        probabilities, remarks = _read_once(group, sources, errors)
        for name, one in group.items():
            for file, p in zip(remarks, probabilities[name], strict=True):
                said[file][name] = classified(one, p)
    return [_of_file(file, said[file], list(models), errors, remarks) for file in found]


def _seen_alike(fitted: Mapping[str, FittedScenario]) -> list[dict[str, FittedScenario]]:
    """Classifiers by finding, in groups for which an image is one and the same canvas."""
    groups: dict[object, dict[str, FittedScenario]] = {}
    for name, one in fitted.items():
        groups.setdefault((recipe_of(one.spec), one.rule), {})[name] = one
    return list(groups.values())


def _read_once(
    group: Mapping[str, FittedScenario], sources: Mapping[str, Source], errors: dict[str, str]
) -> tuple[dict[str, Floats], dict[str, str]]:
    """By finding probabilities (n, 2) of the n images that can be read, and by image the remark.

    errors : why others cannot be, which is added.
    """
    remarks: dict[str, str] = {}
    first = next(iter(group.values()))

    def decoded() -> Iterator[Canvas]:
        for row in first.canvases(list(sources), list(sources.values())):
            if isinstance(row, Skipped):
                errors[row.source] = row.reason
            else:
                remarks[row.id] = row.remark
                yield row

    own = [one for one in group.values() if isinstance(one, NetworkWithHead | FittedEnsemble)]
    if len(own) < len(group):  # what somebody else wrote takes canvases, and nothing else
        canvases = list(decoded())
        return {name: one.probabilities(canvases) for name, one in group.items()}, remarks
    inputs = tuple(dict.fromkeys(spec for one in own for spec in one.inputs))
    outputs = run_feature_plans(decoded(), first.spec, inputs, own[0].extractor)

    def side_by_side(batch: Sequence[Outputs]) -> Floats:
        return np.concatenate([one.scores_from(batch) for one in own], axis=1)

    scores = in_batches(outputs, side_by_side, 2 * len(own))
    each = np.split(scores, len(own), axis=1)
    found: dict[str, Floats] = {
        name: one.calibrator(of) for name, one, of in zip(group, own, each, strict=True)
    }
    return found, remarks


def _of_file(
    file: str,
    answers: Mapping[str, Classification],
    names: Sequence[str],
    errors: Mapping[str, str],
    remarks: Mapping[str, str],
) -> PanelPrediction:
    """One image, by finding."""
    read = [name for name in names if name in answers]
    return PanelPrediction(
        source=shown(file),
        findings={name: answers[name].probabilities[name] for name in read},
        there={name: answers[name].label == name for name in read},
        error=errors.get(file),
        remark=remarks.get(file, ""),
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
