"""A graph in numbers of 8 bits, by NNCF, and what that costs on labelled images.

Networks alone are quantised; what follows them (encoder, head, calibrators) stays as it is, for it
takes no time and its terms nearly cancel.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.bundle.model import label_of
from medgraft.errors import DataError, ExportError, optional
from medgraft.evaluate.compare import compare
from medgraft.evaluate.estimates import estimate
from medgraft.evaluate.metrics import judge
from medgraft.export.formats import Runner
from medgraft.features.engine import to_rgb
from medgraft.features.openvino_graph import import_openvino
from medgraft.files import folder_beside
from medgraft.profile.hashes import evenly_drawn
from medgraft.results.export import Int8
from medgraft.types import Canvas, FittedScenario, Floats, ImageTable, Pixels, Predictions

CALIBRATED, JUDGED = 300, 1000  # images at most
LEAST = 20  # images of each half
BATCH = 16
LIMIT = 0.002  # of AUROC that may be lost
FLOAT = (r".*scores.*", r".*probabilities.*", r".*resize.*")  # operations that stay as they are


def halves(
    fitted: FittedScenario, table: ImageTable, learned: NDArray[np.bool_]
) -> tuple[tuple[Pixels, ImageTable], tuple[Pixels, ImageTable]]:
    """Canvases and rows of labelled images to set ranges by, and of other patients to judge by.

    Patients that the model has not learned from judge, where there are enough of them.

    learned : (n,) from which images it surely has.

    Raises
    ------
    DataError
        A half has too few images, or the second not two classes.
    """
    first, second = _dealt(table, learned)
    parts = []
    for rows, most in ((first, CALIBRATED), (second, JUDGED)):
        part = table.select(rows)
        parts.append(_read(fitted, part.select(evenly_drawn(len(part), most, 0))))
    for _, part in parts:
        if len(part) < LEAST:
            raise DataError(
                f"--int8 needs {LEAST} labelled images of each half of the patients, one to set "
                f"ranges by and one to judge by, and one has {len(part)}; give more"
            )
    if len(np.unique(parts[1][1].labels)) < 2:
        raise DataError("--int8 is judged by images of two classes or more; give images of others")
    return parts[0], parts[1]


def _dealt(
    table: ImageTable, learned: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) which images set ranges and (n,) which judge."""
    strange = ~np.isin(table.groups, table.groups[learned])
    if not _can_judge(table, strange):
        return _halved(table, np.ones(len(table), bool))
    return (~strange, strange) if (~strange).sum() >= LEAST else _halved(table, strange)


def _can_judge(table: ImageTable, rows: NDArray[np.bool_]) -> bool:
    return rows.sum() >= LEAST and len(np.unique(table.labels[rows])) > 1


def _halved(
    table: ImageTable, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """These rows, by halves of their patients."""
    groups = np.unique(table.groups[rows])
    some = np.random.RandomState(0).permutation(groups)[: len(groups) // 2]
    first = np.isin(table.groups, some)
    return first & rows, ~first & rows


def _read(fitted: FittedScenario, table: ImageTable) -> tuple[Pixels, ImageTable]:
    rows = list(fitted.canvases(table.ids.tolist(), table.sources))
    read = np.array([isinstance(row, Canvas) for row in rows], bool)
    side = fitted.spec.size
    pixels = np.empty((int(read.sum()), side, side, 3), np.uint8)
    canvases = (row for row in rows if isinstance(row, Canvas))
    for to, canvas in zip(pixels, canvases, strict=True):
        to_rgb(canvas.pixels, to)
    return pixels, table.select(read)


def import_nncf() -> Any:
    """NNCF and OpenVINO, which tell nobody that they are used and print nothing.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else it tells its makers
    import_openvino()
    nncf: Any = optional("nncf", "int8")
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantise(path: Path, canvases: Pixels) -> None:
    """Write an OpenVINO graph anew with its networks in 8 bits, ranges set by canvases."""
    ov = import_openvino()

    nncf = import_nncf()
    model = ov.Core().read_model(path)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = nncf.quantize(
            model,
            nncf.Dataset([one[None] for one in canvases]),
            subset_size=len(canvases),
            ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT), validate=False),
        )
    # Beside and then over it: what runs the exact graph has its file mapped.
    with folder_beside(path) as folder:
        written = folder / path.name
        ov.save_model(found, written, compress_to_fp16=False)
        for file in (written.with_suffix(".bin"), written):
            file.replace(path.parent / file.name)


def judged(
    fitted: FittedScenario,
    exact: Runner,
    rounded: Runner,
    calibrated: int,
    part: tuple[Pixels, ImageTable],
    limit: float = LIMIT,
    learned: int | None = None,
) -> Int8:
    """What the graph in 8 bits loses against the exact one, on images whose labels are known.

    learned : from how many of them the model has learned, None where nobody knows.

    Raises
    ------
    ExportError
        More of the AUROC is lost than `limit`.
    """
    canvases, table = part
    began = time.perf_counter()
    after_prob = answers(rounded, canvases)
    per_second = len(canvases) / max(time.perf_counter() - began, 1e-9)
    a = _said("f32", answers(exact, canvases), table)
    b = _said("int8", after_prob, table)
    (lost,) = compare(a, [b], "auroc", purpose="report")
    before, after = (estimate(judge(one), ["auroc"])["auroc"] for one in (a, b))
    if not lost.difference <= limit:
        raise ExportError(
            f"in 8 bits the model loses {lost.difference:.4f} of AUROC ({before.value:.4f} to "
            f"{after.value:.4f} on {len(a)} images; at most {limit:g}); nothing was written: leave "
            "--int8 away, or allow more with --int8-limit"
        )
    pairs = zip(a.y_prob, b.y_prob, strict=True)
    return Int8(
        n=len(a),
        learned=learned,
        calibrated=calibrated,
        before=before,
        after=after,
        lost=lost,
        difference=float(np.abs(a.y_prob - b.y_prob).max()),
        changed=sum(label_of(fitted, p) != label_of(fitted, q) for p, q in pairs),
        per_second=per_second,
    )


def answers(run: Runner, canvases: Pixels) -> Floats:
    """Probabilities (n, n_classes), in batches."""
    parts = [run(canvases[start : start + BATCH]) for start in range(0, len(canvases), BATCH)]
    return np.concatenate(parts).astype(np.float64)


def _said(name: str, prob: Floats, table: ImageTable) -> Predictions:
    return Predictions.of(name, table, np.log(np.maximum(prob, 1e-12)), prob)
