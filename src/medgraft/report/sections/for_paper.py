"""The part 'For a paper': methods in sentences, what they cite, and two reporting standards."""

from __future__ import annotations

from medgraft.report.text import checklists, methods
from medgraft.results.study import ReportInput


def section(content: ReportInput) -> dict[str, object]:
    """What the template shows; the same sentences lie beside the report as `methods.md`."""
    lists = (
        ("CLAIM 2024", checklists.claim(content)),
        ("TRIPOD+AI", checklists.tripod(content)),
    )
    return {
        "paragraphs": methods.readable(methods.paragraphs(content)),
        "bibtex": methods.references(content),
        "standards": [(name, checklists.counted(items), items) for name, items in lists],
    }
