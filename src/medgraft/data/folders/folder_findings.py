"""What a person should know of a folder besides its images: what in it was not read or not used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgraft.data.folders.choose_reading import ties
from medgraft.data.folders.layout_questions import by_kind
from medgraft.data.folders.mask_files import MaskFiles
from medgraft.data.groups.columns import PERSON, THING, rank_of
from medgraft.data.groups.keys import known
from medgraft.data.scan import UNREAD_PICTURES, Scan
from medgraft.data.tables.reading import TableReading
from medgraft.types import Finding, Severity


def unread_findings(found: Scan, n_images: int) -> list[Finding]:
    """Files that a person would call pictures, and that are not read, by their kind."""
    kinds = {kind: n for kind, n in found.others.items() if kind in UNREAD_PICTURES}
    total = sum(kinds.values())
    if not total:
        return []
    return [
        Finding(
            "unread",
            "warn" if total > n_images / 20 else "info",
            f"{total:,} files beside the {n_images:,} images are of kinds that are not read: "
            f"{by_kind(kinds)}.",
            {kind or "no suffix": n for kind, n in kinds.items()},
            remedy="Convert them to PNG if they are images, or leave them where they are.",
        )
    ]


def left_out_findings(left_out: Sequence[tuple[str, int, str]]) -> list[Finding]:
    """Each folder that was left out: its name, its images, and why."""
    return [
        Finding(
            "copied_folder",
            "info",
            f"The folder {what} was left out: {n:,} images, {why}.",
            {"n": n},
            remedy="Delete it, or pass it as DATA if it is the one that counts.",
        )
        for what, n, why in left_out
    ]


def mask_findings(masks: MaskFiles) -> list[Finding]:
    """Masks that belong to no image."""
    total = len(masks.unused) + sum(map(len, masks.masks_of.values()))
    if not masks.unused:
        return []
    return [
        Finding(
            "masks",
            "info",
            f"{len(masks.unused):,} of {total:,} masks belong to no image, or to several.",
            {"unused": len(masks.unused), "masks": total},
            remedy="Name each mask like its image, with the same folders below masks/.",
        )
    ]


def table_findings(tables: Sequence[TableReading]) -> list[Finding]:
    """A table that names the images and was not used, because the folders give the labels; a
    warning where it says which of them are of one patient.
    """
    found = []
    for one in tables:
        if ties(one) and not one.n_images:
            text = f"{one.path.name} may be about the images, and was not used: {one.why_not}."
            remedy = f"Mend it, and pass it as DATA: {one.path}."
            found.append(Finding("table_beside", "warn", text, remedy=remedy))
        if not one.further or not one.n_images:
            continue
        text = (
            f"{one.path.name} names {one.n_images:,} of the images; the folders gave the labels, "
            f"and what else it says was not used ({', '.join(one.further[:8])})."
        )
        remedy = f"To use its columns, pass it as DATA: {one.path}."
        if not one.sure:
            remedy = f"Give it a column label, and pass it as DATA: {one.path}."
        if people := _joining(one):
            text += (
                f" Images of one {people[0]} may come to stand on both sides of a split, which "
                "makes every number too good."
            )
        severity: Severity = "warn" if people else "info"
        found.append(
            Finding("table_beside", severity, text, {"images": one.n_images}, remedy=remedy)
        )
    return found


def _joining(one: TableReading) -> list[str]:
    """The columns of a table, named as a patient's or the like, that name several images each."""
    if one.table is None:
        return []
    return [
        name
        for name in one.further
        if rank_of(name) in (PERSON, THING)
        and len(keys := [key for key in known(np.array(one.table.column(name, one.rows))) if key])
        > len(set(keys))
    ]
