"""How DATA was read, as a small tree with counts, for the terminal and the page about the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medgraft.panel import ABSENT, PRESENT, UNCERTAIN, Panel
from medgraft.types import Grouping, ImageTable

MOST = 12  # classes, findings or kinds that are listed by name


def reading_tree(table: ImageTable) -> list[str]:
    r"""Lines of text: splits and classes with their images, then groups, masks, what is not read.

    >>> from medgraft.types import Grouping, ImageTable, Reading
    >>> import numpy as np
    >>> nothing = np.array(["", ""])
    >>> table = ImageTable(np.array(["a/1", "b/2"]), (), nothing, np.array([0, 1]),
    ...     np.array(["image:a/1", "image:b/2"]), nothing, nothing, ("a", "b"),
    ...     reading=Reading("folders", "class/image"))
    >>> print(*reading_tree(table), sep="\n")
    2 images, read as class/image
    ├─ a  1
    ├─ b  1
    └─ groups: each image is its own
    """
    return _tree(table, lambda here: _classes(table, here))


def panel_tree(panel: Panel) -> list[str]:
    """The same of several findings: how many images of each split have each, and have it not."""

    def lines(here: NDArray[np.bool_]) -> list[str]:
        found = [
            f"{name}  {int((here & (of == PRESENT)).sum()):,}, "
            f"without {int((here & (of == ABSENT)).sum()):,}"
            + (f", uncertain {n:,}" if (n := int((here & (of == UNCERTAIN)).sum())) else "")
            for name, of in zip(panel.names, panel.marks.T, strict=True)
        ]
        return [*found[:MOST], f"… {len(found) - MOST} more"] if len(found) > MOST else found

    return _tree(panel.images, lines)


def title(table: ImageTable) -> str:
    """How many images there are, and how they were read."""
    reading = table.reading
    if reading.by not in ("", "layout", "folders"):
        return f"{len(table):,} images; {reading.by}"
    return f"{len(table):,} images" + (f", read as {reading.layout}" if reading.layout else "")


def notes(table: ImageTable) -> list[str]:
    """What is said beside the classes: groups, masks, what is left out, skipped or not read."""
    reading = table.reading
    n_groups = len(np.unique(table.groups))
    grouped = n_groups < len(table)
    text = table.grouping.text
    plain = f"groups: {n_groups:,}" if grouped else "groups: each image is its own"
    found = [f"groups: {text}" if text != Grouping().text else plain]
    if masked := int((table.masks != "").sum()):
        known = f", by {'; '.join(reading.masks)}" if reading.masks else ""
        found.append(f"masks: of {masked:,} images{known}")
    found += [
        f"left out: {what}, {n:,} {'file' if n == 1 else 'files'}: {why}"
        for what, n, why in reading.left_out
    ]
    if table.skipped:
        first = table.skipped[0]
        found.append(f"skipped: {len(table.skipped):,}, the first {first.source}: {first.reason}")
    if reading.unread:
        kinds = sorted(reading.unread.items(), key=lambda pair: (-pair[1], pair[0]))
        named = [f"{n:,} {kind or 'without a suffix'}" for kind, n in kinds[:MOST]]
        found.append(f"not read: {', '.join(named)}{' …' * (len(kinds) > MOST)}")
    return found


def splits(table: ImageTable) -> list[str]:
    """The splits there are, in their order; '' for images of none."""
    return [split for split in ("train", "val", "test", "") if (table.splits == split).any()]


def _tree(table: ImageTable, of_split: Callable[[NDArray[np.bool_]], list[str]]) -> list[str]:
    """The lines, with what is said of the images of each split."""
    branches: list[tuple[str, list[str]]] = []
    for split in (found := splits(table)):
        here = table.splits == split
        classes = of_split(here)
        if found == [""]:
            branches += [(line, []) for line in classes]
        else:
            branches.append((f"{split or 'in no split'}  {int(here.sum()):,}", classes))
    branches += [(line, []) for line in notes(table)]
    lines = [title(table)]
    for i, (text, below) in enumerate(branches):
        last = i == len(branches) - 1
        lines.append(f"{'└─' if last else '├─'} {text}")
        for j, line in enumerate(below):
            lines.append(f"{'  ' if last else '│ '} {'└─' if j == len(below) - 1 else '├─'} {line}")
    return lines


def _classes(table: ImageTable, here: NDArray[np.bool_]) -> list[str]:
    """The classes of some images, each with its number."""
    found = [
        (name, int((here & (table.labels == label)).sum()))
        for label, name in enumerate(table.classes)
    ]
    if unlabelled := int((here & (table.labels < 0)).sum()):
        found.append(("without a label", unlabelled))
    lines = [f"{name}  {n:,}" for name, n in found if n]
    return [*lines[:MOST], f"… {len(lines) - MOST} more"] if len(lines) > MOST else lines
