"""What a saved classifier's decisions rest on, on labelled images that it has not seen."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medgraft.audit.evidence import Audit, AuditOptions, audit_evidence
from medgraft.audit.evidence_view import evidence_view
from medgraft.bundle.model import bundle_folder, in_classes_of
from medgraft.bundle.seen_before import learned_from, recognise
from medgraft.data.masks import with_masks
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.features.extract import Extractor
from medgraft.files import json_value, write_json
from medgraft.learn.fit import load as load_bundle
from medgraft.report.pages.audit import AuditInput, write_audit
from medgraft.report.result_json import audit_json
from medgraft.types import ImageTable, SeenBefore, Skipped


@dataclass(frozen=True, eq=False)
class ModelAudit:
    """An audit of a saved classifier, and what to hold against it.

    images : that could have been audited. seen : how many the classifier learned from.
    """

    scenario: str
    audit: Audit
    images: int
    seen: SeenBefore
    skipped: tuple[Skipped, ...]

    def json(self) -> dict[str, Any]:
        """The same as plain JSON (docs/result-json.md)."""
        audit = self.audit
        return {
            "scenario": self.scenario,
            **audit_json(audit.result),
            "ranked": json_value(audit.ranked),
            "regions": json_value(audit.effects),
            "without_evidence": audit.left
            and {
                "auroc": audit.left.before,
                "auroc_without": audit.left.without,
                "share": json_value(audit.left.share),
            },
            "options": json_value(audit.options),
            "images": self.images,
            "names_learned_from": self.seen.same_name or 0,
            "seen": json_value(self.seen),
            "skipped": json_value(self.skipped),
        }


def audit_model(
    model: str | os.PathLike[str],
    table: ImageTable,
    options: AuditOptions | None = None,
    *,
    masks: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
) -> ModelAudit:
    """Find out what a saved classifier's decisions rest on: regions exchanged between images.

    Parameters
    ----------
    model
        The folder of a finished study, or its folder `model`.
    table
        Labelled images that the classifier has not learned from. Of a table with a test split only
        the test images are used.
    options
        Which regions there are, and how many images and pairs of donors are drawn.
    masks
        A folder of masks of where the evidence may lie, named like the images. What is outside of
        them is then declared to be no evidence, and images without a mask are left out.

    Raises
    ------
    DataError
        There is no image to audit, a class is unknown to the classifier, or no mask fits.
    ScenarioError
        There is no such modality.
    BundleError
        There is no classifier, or it was changed since it was saved.
    """
    options, extractor = options or AuditOptions(), extractor or Extractor()
    folder = bundle_folder(Path(model))
    fitted = load_bundle(folder, extractor)
    unread = table.skipped
    if (table.splits == "test").any():
        table = table.test
    for one in compare_with_rule(table, fitted.rule):
        extractor.progress.say(one.text)
    table = in_classes_of(fitted, table)
    if masks is not None:
        table = with_masks(table, Path(masks))
        options = replace(options, masks=True)
    missing: tuple[Skipped, ...] = ()
    if options.masks:
        bare = table.masks == ""
        missing = tuple(Skipped(id_, "no mask") for id_ in table.ids[bare].tolist())
        table = table.select(~bare)
    audit = audit_evidence([(fitted, table)], options, progress=extractor.progress)
    return ModelAudit(
        scenario=fitted.scenario.key,
        audit=audit,
        images=len(table),
        seen=recognise(folder, learned_from(folder, fitted), table, extractor)[1],
        skipped=(*unread, *missing, *audit.skipped),
    )


def audit_to_folder(
    found: ModelAudit, out: Path, *, model: str, data: str, command: str = ""
) -> tuple[Path, Path]:
    """Write `audit.html` and `audit.json` into `out`; give the two paths.

    model, data : as they were named.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    page, answer = out / "audit.html", out / "audit.json"
    version = importlib.metadata.version("medgraft")
    write_audit(
        page,
        AuditInput(
            model=model,
            data=data,
            scenario=found.scenario,
            evidence=evidence_view(found.audit),
            images=found.images,
            seen=found.seen,
            skipped=found.skipped,
            command=command,
            version=version,
        ),
    )
    facts = {"model": model, "data": data, "command": command, "version": version}
    write_json(answer, {**facts, **found.json()})
    return page, answer
