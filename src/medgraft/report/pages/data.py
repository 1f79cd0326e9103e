"""The page of a data audit: what is wrong with the data, pictures first, the gravest on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.files import write_text
from medgraft.panel import PRESENT, Panel
from medgraft.report.charts import images
from medgraft.report.pages.render import render_page
from medgraft.report.text import formatting
from medgraft.report.text.reading import panel_tree, reading_tree
from medgraft.results.data import OF, DataAudit
from medgraft.types import Canvas, Finding, ImageTable, Ints
from medgraft.version import __version__

SIDE = 168  # pixels of a picture in the file
WORKERS = 2  # for a few dozen images
MOST = 12  # pictures a finding, and parts of the data that are shown
SAMPLES = 4  # pictures of each part
PAIRED = ("near_duplicates", "pixel_identical")  # checks whose images come in pairs


def write_findings(path: Path, audit: DataAudit, *, data: str, command: str = "") -> None:
    """Write one HTML file; `data` is what the user calls it, `command` what was typed.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    write_text(path, render_findings(audit, data=data, command=command))


def render_findings(audit: DataAudit, *, data: str, command: str = "") -> str:
    """The page as text; equal content gives equal bytes."""
    findings, panel = audit.findings, audit.panel
    pictures = _pictures(audit.table, findings)
    grave = [_shown(one, audit, pictures) for one in findings if one.severity != "info"]
    return render_page(
        "data.html.j2",
        {
            "headline": headline(findings),
            "data": data,
            "n_images": len(audit.table),
            "command": command,
            "version": __version__,
            "tree": reading_tree(audit.table) if panel is None else panel_tree(panel),
            "samples": _samples(audit.table, _parts(audit.table) if panel is None else _of(panel)),
            "several": panel is not None,
            "grave": grave,
            "rest": [_shown(one, audit, pictures) for one in findings if one.severity == "info"],
            "n_suggestions": len(audit.checked.suggestions),
            "skipped": audit.table.skipped,
        },
    )


def headline(findings: tuple[Finding, ...]) -> str:
    """How many findings are grave, in words.

    >>> headline(())
    'No problem was found in what could be checked'
    >>> headline((Finding("a", "severe", ""), Finding("b", "warn", "")))
    'The data has 1 severe finding and 1 warning'
    """
    severe, warn = (sum(one.severity == word for one in findings) for word in ("severe", "warn"))
    parts = [formatting.plural(severe, "severe finding")] if severe else []
    parts += [formatting.plural(warn, "warning")] if warn else []
    if not parts:
        return "No problem was found in what could be checked"
    return f"The data has {formatting.join(parts)}"


def title_of(finding: Finding) -> str:
    """What was found, as a heading, with which of several findings in an image it is about.

    >>> title_of(Finding("suspected_labels", "warn", "", {"of the finding": "Mass"}))
    'Labels that may be wrong: Mass'
    """
    of = finding.numbers.get(OF, "")
    return f"{formatting.name_check(finding.check)}{f': {of}' if of else ''}"


def _shown(finding: Finding, audit: DataAudit, pictures: Mapping[str, str]) -> dict[str, object]:
    """A finding as the template takes it: its cells in pairs, or one by one."""
    table = audit.table
    row_of = {id: row for row, id in enumerate(table.ids.tolist())}
    why = {
        one.path: one.why for one in audit.checked.suggestions if one.check == finding.check
    }  # what is said of a single image; of a pair the pictures speak
    cells = [
        {
            "uri": pictures[id],
            "id": id,
            "short": formatting.shorten(id.rsplit("/", 1)[-1], 24),
            "label": table.classes[table.labels[row_of[id]]],
            "split": table.splits[row_of[id]],
            "why": why.get(id, ""),
        }
        for id in finding.images[:MOST]
        if id in pictures
    ]
    paired = finding.check.startswith(PAIRED)
    step = 2 if paired else 1
    return {
        "finding": finding,
        "anchor": "-".join(f"{finding.check} {finding.numbers.get(OF, '')}".split()),
        "title": title_of(finding),
        "paired": paired,
        "cells": [cells[i : i + step] for i in range(0, len(cells), step)],
    }


def _parts(table: ImageTable) -> dict[str, Ints]:
    """The rows of each class in each split, by what they are called."""
    rows_of: dict[str, Ints] = {}
    for split in ("train", "val", "test", ""):
        for label, name in enumerate(table.classes):
            rows = np.flatnonzero((table.splits == split) & (table.labels == label))
            rows_of[f"{split}: {name}" if split else name] = rows
    return rows_of


def _of(panel: Panel) -> dict[str, Ints]:
    """The rows that have each finding."""
    present = (panel.truth == PRESENT).T
    return {name: np.flatnonzero(here) for name, here in zip(panel.names, present, strict=True)}


def _samples(
    table: ImageTable, parts: Mapping[str, Ints]
) -> list[tuple[str, list[dict[str, str]]]]:
    """A few images of each part of the data, (its name, cells); spread evenly over its rows."""
    rows_of: dict[str, list[int]] = {}
    for name, rows in parts.items():
        if len(rows):
            even = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).astype(int)
            rows_of[f"{name} ({len(rows):,})"] = rows[even].tolist()
    shown = list(rows_of.items())[:MOST]
    uri_of = _read(table, [row for _, rows in shown for row in rows])
    ids = table.ids.tolist()
    return [
        (title, [{"id": ids[row], "uri": uri_of[ids[row]]} for row in rows if ids[row] in uri_of])
        for title, rows in shown
    ]


def _pictures(table: ImageTable, findings: tuple[Finding, ...]) -> dict[str, str]:
    """The images that grave findings name, as data URIs by id; what cannot be read is left out."""
    wanted = {id for one in findings if one.severity != "info" for id in one.images[:MOST]}
    return _read(table, [row for row, id in enumerate(table.ids.tolist()) if id in wanted])


def _read(table: ImageTable, rows: Sequence[int]) -> dict[str, str]:
    """Images of some rows as data URIs by id, but for those that cannot be read."""
    sources = [table.sources[row] for row in rows]
    with DecodePool(WORKERS) as pool:
        read = list(
            pool.canvases(table.ids[list(rows)].tolist(), sources, CanvasRecipe(2 * SIDE, "pad"))
        )
    return {one.id: images.data_uri(one.pixels, SIDE) for one in read if isinstance(one, Canvas)}
