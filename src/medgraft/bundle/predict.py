"""Labels and probabilities of image files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medgraft.bundle.model import label_of
from medgraft.data.folders import entries_below
from medgraft.data.listing import shown
from medgraft.errors import DataError
from medgraft.types import Canvas, FittedScenario, Floats, Progress, Skipped, Source


def predict_files(
    fitted: FittedScenario, paths: Sequence[str], progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Label and probabilities of image files, folders and patterns, in order.

    Returns
    -------
    list of dict
        `source` (bytes that are not UTF-8 as escapes), `label`, `probabilities` (class → p),
        `error` (None, or why it was not read, label and probabilities then being None).
    """
    found = find_images(paths)
    probabilities, errors = _probabilities(fitted, [file for file in found if not found[file]])
    errors |= {file: problem for file, problem in found.items() if problem}
    rows: list[dict[str, Any]] = []
    for file in found:
        if file in errors:
            rows.append(
                {"source": shown(file), "label": None, "probabilities": None, "error": errors[file]}
            )
            continue
        p = probabilities[file]
        rows.append(
            {
                "source": shown(file),
                "label": label_of(fitted, p),
                "probabilities": {
                    name: float(value) for name, value in zip(fitted.classes, p, strict=True)
                },
                "error": None,
            }
        )
    return rows


def find_images(paths: Sequence[str]) -> dict[str, str]:
    """Image files named by paths, folders (searched below) and patterns, each once, in order.

    The values say why a file or folder cannot be read, where that is known ('' elsewhere). A path
    that is not there is kept, so that it is answered with its reason.
    """
    found: dict[str, str] = {}
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  of os.path, which is False where it may not look
            for parts, problem in entries_below(Path(path)):
                # A name that is not UTF-8 has no place in a study; here nothing hangs on it.
                file = str(Path(path, *parts))
                found[file] = problem if shown(file) == file else ""
        elif not os.path.exists(path) and glob.has_magic(path):  # noqa: PTH110
            matches = glob.glob(path, recursive=True)  # noqa: PTH207  a pattern has no folder
            found |= dict.fromkeys(sorted(matches), "")
        else:
            found[path] = ""
    if not found:
        raise DataError(
            f"no images in {', '.join(paths)}; give image files, a folder of them or a pattern"
        )
    return found


def _probabilities(
    fitted: FittedScenario, files: Sequence[str]
) -> tuple[dict[str, Floats], dict[str, str]]:
    """Probabilities (n_classes,) by file, and the reason of each file that cannot be read."""
    errors: dict[str, str] = {}
    ids: list[str] = []
    sources = [Source(os.fspath(file)) for file in files]

    def readable() -> Iterator[Canvas]:
        for row in fitted.canvases(files, sources):
            if isinstance(row, Skipped):
                errors[row.source] = row.reason
            else:
                ids.append(row.id)
                yield row

    p = fitted.probabilities(readable())
    return dict(zip(ids, p, strict=True)), errors
