"""Whether a written graph answers as the model does, on real images; what does not is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgraft.bundle.model import label_of
from medgraft.data.listing import shown
from medgraft.data.unlabelled import images_named, readable
from medgraft.errors import DataError, ExportError
from medgraft.export.formats import Runner
from medgraft.features.engine import to_rgb
from medgraft.profile.hashes import evenly_drawn
from medgraft.results.export import FromFiles, Parity
from medgraft.types import Canvas, FittedScenario, Floats, Pixels, Progress, Silent

FROM_CANVAS, FROM_FILE = 1e-4, 5e-3  # of a probability, at most
LABELS = 500  # images of which one label may not change
MOST = 500  # images that are compared
BATCHES = (1, 2, 7)
ALONE = 8  # images timed one by one
BATCH = 16
PROGRAM_SECONDS = 600
SILENT = Silent()
T = TypeVar("T")
ALONE_IN_ITS_PROCESS = """
import runpy, sys
sys.modules.update(dict.fromkeys(("torch", "medgraft", "cv2", "scipy", "sklearn")))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What the model answers: canvases (n, size, size, 3) of files, and probabilities (n, k)."""

    files: tuple[str, ...]
    canvases: Pixels
    prob: Floats
    labels: tuple[str, ...]
    seconds: float
    skipped: int


def reference_of(
    fitted: FittedScenario,
    paths: Sequence[str],
    most: int = MOST,
    progress: Progress = SILENT,
) -> Reference:
    """The model's own answers for at most so many images of files, folders and patterns.

    Raises
    ------
    DataError
        None of them can be read.
    """
    found = readable(images_named(paths))
    files = [list(found)[row] for row in evenly_drawn(len(found), most, 0).tolist()]
    with progress.task("Reading images to hold the graph to the model on", len(files)) as advance:
        sources = [found[file] for file in files]
        rows = list(counted(fitted.canvases(files, sources), advance))
    canvases = [row for row in rows if isinstance(row, Canvas)]
    if not canvases:
        raise DataError(
            f"none of {len(files)} images for --parity can be read; name some that the model is for"
        )
    seen = np.empty((len(canvases), fitted.spec.size, fitted.spec.size, 3), np.uint8)
    for pixels, canvas in zip(seen, canvases, strict=True):
        to_rgb(canvas.pixels, pixels)
    fitted.probabilities(canvases[:1])  # what is compiled on first use is not timed
    began = time.perf_counter()
    with progress.task("Asking the model", len(canvases)) as advance:
        prob = fitted.probabilities(counted(canvases, advance))
    seconds = time.perf_counter() - began
    labels = tuple(label_of(fitted, p) for p in prob)
    skipped = len(rows) - len(canvases)
    return Reference(tuple(one.id for one in canvases), seen, prob, labels, seconds, skipped)


def counted(batches: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    """The same, each counted when it has been used."""
    for one in batches:
        yield one
        advance(1)


def from_canvases(
    fitted: FittedScenario,
    reference: Reference,
    run: Runner,
    progress: Progress = SILENT,
) -> Parity:
    """Hold a graph to the model on the same canvases.

    Raises
    ------
    ExportError
        A probability differs by more than `FROM_CANVAS`, or one label of `LABELS` does.
    """
    n = len(reference.canvases)
    run(reference.canvases[:2])
    began = time.perf_counter()
    with progress.task("Asking the graph", -(-n // BATCH)) as advance:
        batches = counted(_batches(reference.canvases, BATCH), advance)
        prob = np.concatenate([run(some) for some in batches])
    per_second = n / (time.perf_counter() - began)
    seven = reference.canvases[np.arange(max(BATCHES)) % n]
    sizes = [np.concatenate([run(some) for some in _batches(seven, size)]) for size in BATCHES]
    alone = []
    for canvas in reference.canvases[:ALONE]:
        began = time.perf_counter()
        run(canvas[None])
        alone.append(time.perf_counter() - began)
    found = Parity(
        n=n,
        difference=_difference(prob, reference.prob),
        changed=_changed(fitted, prob, reference.labels),
        batches=max(_difference(one, sizes[0]) for one in sizes),
        per_second=per_second,
        model_per_second=n / max(reference.seconds, 1e-9),
        one=float(np.median(alone)),
    )
    _refuse(found.difference, FROM_CANVAS, found.changed, n, "from the same canvas")
    _refuse(found.batches, FROM_CANVAS, 0, n, "between batches of 1, 2 and 7")
    return found


def from_files(fitted: FittedScenario, reference: Reference, program: Path) -> FromFiles:
    """Hold the small program to the model on the same files, torch and medgraft out of its reach.

    Raises
    ------
    ExportError
        It fails, a probability differs by more than `FROM_FILE`, or one label of `LABELS` does.
    """
    files = [str(Path(file).absolute()) for file in reference.files]
    began = time.perf_counter()
    _answers(program, files[:1])
    seconds = time.perf_counter() - began
    rows = _answers(program, files)
    read = np.array([row["error"] is None for row in rows])
    if not read.any():
        raise ExportError(
            f"predict.py can read none of {len(rows)} images ({rows[0]['error']}); such images "
            "need medgraft itself: export without --runtime"
        )
    prob = np.array([list(row["probabilities"].values()) for row in rows if row["error"] is None])
    labels = [row["label"] for row in rows if row["error"] is None]
    expected = [label for label, ok in zip(reference.labels, read, strict=True) if ok]
    found = FromFiles(
        n=int(read.sum()),
        unread=int((~read).sum()),
        difference=_difference(prob, reference.prob[read]),
        changed=sum(a != b for a, b in zip(labels, expected, strict=True)),
        seconds=seconds,
    )
    _refuse(found.difference, FROM_FILE, found.changed, found.n, "from the file, by predict.py,")
    return found


def _answers(program: Path, files: Sequence[str]) -> list[Mapping[str, Any]]:
    command = [sys.executable, "-I", "-c", ALONE_IN_ITS_PROCESS, str(program), "--json", *files]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(
            f"predict.py did not answer for {len(files)} images in {PROGRAM_SECONDS} s; give fewer "
            "to --parity"
        ) from error
    if done.returncode not in (0, 4):
        reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise ExportError(f"predict.py failed: {shown(reason)[:300]}")
    rows: list[Mapping[str, Any]] = json.loads(done.stdout)
    return rows


def _batches(canvases: Pixels, size: int) -> Iterator[Pixels]:
    for start in range(0, len(canvases), size):
        yield canvases[start : start + size]


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest of a probability; infinite where one is no number or of another shape."""
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b).max())


def _changed(fitted: FittedScenario, prob: Floats, labels: Sequence[str]) -> int:
    if len(prob) != len(labels):
        return len(labels)
    return sum(label_of(fitted, p) != label for p, label in zip(prob, labels, strict=True))


def _refuse(difference: float, most: float, changed: int, n: int, where: str) -> None:
    if difference > most or (changed and changed * LABELS >= n):
        raise ExportError(
            f"the graph does not answer as the model does: {where} probabilities differ by "
            f"{difference:.1e} (at most {most:.0e}), and {changed} of {n} labels (none of {LABELS})"
            "; nothing was written: try another --format, and please report the model's scenario"
        )
