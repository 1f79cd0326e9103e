"""The page of an audit: what one classifier looks at, on images it was not made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medgraft import files
from medgraft.report.pages.render import render_page
from medgraft.report.sections import evidence
from medgraft.report.text import foreign_model, formatting, seen_before
from medgraft.report.text.audit_findings import VERDICTS
from medgraft.results.evidence import EvidenceView
from medgraft.results.foreign_model import ForeignModel
from medgraft.types import SeenBefore, Skipped


@dataclass(frozen=True, eq=False)
class AuditInput:
    """Everything the page of a classifier's audit shows.

    model, data : the classifier and the data, as they were named. images : that could have been
    audited. seen : how many of them the classifier learned from. foreign : how a model that is not
    medgraft's was asked.
    """

    model: str
    data: str
    scenario: str
    evidence: EvidenceView
    images: int
    seen: SeenBefore = field(default_factory=SeenBefore)
    skipped: tuple[Skipped, ...] = ()
    foreign: ForeignModel | None = None
    command: str = ""
    version: str = ""


def write_audit(path: Path, content: AuditInput) -> None:
    """Write the page, whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    files.write_text(path, render_audit(content))


def render_audit(content: AuditInput) -> str:
    """The page of an audit as one HTML page that loads nothing."""
    verdict = content.evidence.result.verdict
    name = Path(content.data).name or content.data
    return render_page(
        "audit.html.j2",
        {
            "content": content,
            "skipped": content.skipped,
            "headline": formatting.sentence(f"{verdict}: {VERDICTS[verdict]}"),
            "facts": f"{formatting.plural(content.images, 'image')} of {name}",
            "caution": seen_before.of_audit(content.seen),
            "asked": foreign_model.how_asked(content.foreign) if content.foreign else (),
            "doubts": foreign_model.doubts(content.foreign) if content.foreign else (),
            **evidence.section(content.evidence),
        },
    )
