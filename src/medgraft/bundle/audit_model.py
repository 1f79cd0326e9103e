"""What a classifier's decisions rest on, a saved one's or anybody's, on labelled images."""

from __future__ import annotations

import importlib.metadata
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medgraft.audit.evidence import Audit, AuditOptions, audit_evidence
from medgraft.audit.evidence_view import evidence_view
from medgraft.bundle.model import bundle_folder, in_classes_of
from medgraft.bundle.seen_before import learned_from, recognise
from medgraft.data.masks import with_masks
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.errors import ForeignModelError
from medgraft.features.extract import Extractor
from medgraft.files import json_value, write_json
from medgraft.foreign.open_model import Model, is_foreign, open_model
from medgraft.foreign.options import ForeignOptions
from medgraft.foreign.torch_network import SUFFIXES
from medgraft.learn.fit import load as load_bundle
from medgraft.report.pages.audit import AuditInput, write_audit
from medgraft.report.result_json import audit_json
from medgraft.results.foreign_model import ForeignModel
from medgraft.types import FittedScenario, ImageTable, SeenBefore, Skipped


@dataclass(frozen=True, eq=False)
class ModelAudit:
    """An audit of a classifier, and what to hold against it.

    images : that could have been audited. seen : how many the classifier learned from. foreign :
    how a model that is not medgraft's was asked, None of ours.
    """

    scenario: str
    audit: Audit
    images: int
    seen: SeenBefore
    skipped: tuple[Skipped, ...]
    foreign: ForeignModel | None = None

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
            **({"foreign": json_value(self.foreign)} if self.foreign else {}),
        }


def audit_model(
    model: Model,
    table: ImageTable,
    options: AuditOptions | None = None,
    *,
    masks: str | os.PathLike[str] | None = None,
    extractor: Extractor | None = None,
    foreign: ForeignOptions | None = None,
) -> ModelAudit:
    """Find out what a classifier's decisions rest on: regions exchanged between images.

    Parameters
    ----------
    model
        The folder of a finished study, or its folder `model`; or a model that is not medgraft's:
        an .onnx file, a checkpoint whose network `foreign` names, a `torch.nn.Module`, a Python
        function that takes (n, side, side, 3) uint8 RGB and gives (n, n_classes) (itself, or
        `module:function`), a `medgraft.foreign.command.ModelCommand`, or a URL on loopback.
    table
        Labelled images that the classifier has not learned from. Of a table with a test split only
        the test images are used.
    options
        Which regions there are, and how many images and pairs of donors are drawn.
    masks
        A folder of masks of where the evidence may lie, named like the images. What is outside of
        them is then declared to be no evidence, and images without a mask are left out.
    foreign
        How a model that is not medgraft's is asked.

    Raises
    ------
    DataError
        There is no image to audit, a class is unknown to the classifier, or no mask fits.
    ScenarioError
        There is no such modality.
    BundleError
        There is no classifier, or it was changed since it was saved.
    ForeignModelError
        A model that is not medgraft's cannot be opened, does not answer, or can be read in several
        ways.

    Examples
    --------
    >>> audit_model(my_network, table, foreign=ForeignOptions(input_size=224))  # doctest: +SKIP
    """
    options, extractor = options or AuditOptions(), extractor or Extractor()
    unread = table.skipped
    if tested := bool((table.splits == "test").any()):
        table = table.test
    folder, fitted, facts = _opened(model, table, extractor, foreign)
    if facts is not None:
        facts = replace(facts, split=tested)
    for one in compare_with_rule(table, fitted.rule):
        extractor.progress.say(one.text)
    table = in_classes_of(fitted, table)
    table, options, missing = _masked(table, options, masks)
    audit = audit_evidence(
        [(fitted, table)],
        options,
        progress=extractor.progress,
        shorter="Fewer pairs (--pairs) take less.",
    )
    seen = SeenBefore(n=len(table))
    if folder is not None:
        seen = recognise(folder, learned_from(folder, fitted), table, extractor)[1]
    return ModelAudit(
        scenario=fitted.scenario.key if facts is None else facts.name,
        audit=audit,
        images=len(table),
        seen=seen,
        skipped=(*unread, *missing, *audit.skipped),
        foreign=facts,
    )


def _masked(
    table: ImageTable, options: AuditOptions, masks: str | os.PathLike[str] | None
) -> tuple[ImageTable, AuditOptions, tuple[Skipped, ...]]:
    """The images with their masks where masks are looked at, and those that have none."""
    if masks is not None:
        table = with_masks(table, Path(masks))
        options = replace(options, masks=True)
    if not options.masks:
        return table, options, ()
    bare = table.masks == ""
    missing = tuple(Skipped(id_, "no mask") for id_ in table.ids[bare].tolist())
    return table.select(~bare), options, missing


def _opened(
    model: Model, table: ImageTable, extractor: Extractor, foreign: ForeignOptions | None
) -> tuple[Path | None, FittedScenario, ForeignModel | None]:
    """The classifier; its folder where it is one of ours, how it is asked where it is not."""
    if is_foreign(model):
        wrapped = open_model(model, table, foreign or ForeignOptions(), extractor.workers)
        return None, wrapped, wrapped.facts
    path = Path(model)  # type: ignore[arg-type]
    if path.is_file() and path.suffix != ".medgraft" and not zipfile.is_zipfile(path):
        raise ForeignModelError(
            f"{path.name} is of no kind that is read (.onnx, {', '.join(SUFFIXES)}, .medgraft); "
            "export it as ONNX (tf2onnx for Keras and TensorFlow), or load it in a function of "
            "your own and give module:function"
        )
    if foreign not in (None, ForeignOptions()):
        raise ForeignModelError(
            f"{model} is read as a model of medgraft's, which says itself how it is asked; leave "
            "out --input-size, --normalize, --classes and the like, or give a file or "
            "module:function of another model"
        )
    folder = bundle_folder(path)
    return folder, load_bundle(folder, extractor), None


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
            foreign=found.foreign,
            command=command,
            version=version,
        ),
    )
    facts = {"model": model, "data": data, "command": command, "version": version}
    write_json(answer, {**facts, **found.json()})
    return page, answer
