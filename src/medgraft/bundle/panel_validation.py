"""The classifiers of a panel judged on other images of which findings are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.bundle.external_validation import (
    NOTHING,
    Asked,
    ExternalValidation,
    evaluate_model,
    write_external,
)
from medgraft.errors import DataError
from medgraft.evaluate.macro import macro_mean
from medgraft.evaluate.metrics import judge
from medgraft.features.extract import Extractor
from medgraft.files import json_value, write_json
from medgraft.panel import ABSENT, PRESENT, Panel
from medgraft.types import Estimate


@dataclass(frozen=True, eq=False)
class PanelValidation:
    """External validation of each finding, and of all together.

    findings : by name, of those that can be judged. not_judged : of the panel's others, why. mean :
    of the AUROC over the findings, with an interval over patients.
    """

    findings: Mapping[str, ExternalValidation]
    not_judged: Mapping[str, str]
    mean: Estimate

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "kind": "panel",
            "mean_auroc": json_value(self.mean),
            "findings": {name: one.json() for name, one in self.findings.items()},
            "not_judged": dict(self.not_judged),
        }


def evaluate_panel(
    models: Mapping[str, Path], panel: Panel, extractor: Extractor, asked: Asked = NOTHING
) -> PanelValidation:
    """Judge each classifier on the images of which its finding is known, with it and without it.

    models : the folder of each finding's classifier. Findings go by their names.

    Raises
    ------
    DataError, BundleError
        No finding can be judged; or as `evaluate_model`.
    """
    not_judged, found = {}, {}
    for name, folder in models.items():
        why = _why_not(panel, name)
        if why:
            not_judged[name] = why
            continue
        extractor.progress.say(f"Judging {name}.")
        found[name] = evaluate_model(folder, panel.question(name), extractor, asked=asked)
    if not found:
        raise DataError(
            "none of the model's findings can be judged on these images: "
            + "; ".join(f"{name} ({why})" for name, why in not_judged.items())
            + f". The images name {', '.join(panel.names)}; rename the columns"
        )
    cases = [judge(one.predictions, one.by_image.operating) for one in found.values()]
    both = [case for case in cases if len(np.unique(case.y)) == 2]
    if not both:
        raise DataError("of no finding are there images with it and without it to be judged by")
    return PanelValidation(found, not_judged, macro_mean(both, "auroc"))


def _why_not(panel: Panel, name: str) -> str:
    """Why a finding cannot be judged; '' where it can."""
    if name not in panel.names:
        return "not named there"
    marks = panel.truth[:, panel.names.index(name)]
    lacking = [
        word for value, word in ((PRESENT, "with it"), (ABSENT, "without it")) if value not in marks
    ]
    return f"no image is known to be {' or '.join(lacking)}" if lacking else ""


def write_panel_external(
    out: Path,
    found: PanelValidation,
    models: Mapping[str, Path],
    *,
    model: str,
    data: str,
    command: str = "",
) -> tuple[Path, ...]:
    """Write `evaluation.json` into `out`, and a page of each finding below `findings/`.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    written = [out / "evaluation.json"]
    write_json(written[0], {"model": model, "data": data, "command": command, **found.json()})
    for name, one in found.findings.items():
        folder = out / "findings" / models[name].name
        page, _ = write_external(folder, one, model=model, data=data, command=command)
        written.append(page)
    return tuple(written)
