"""The proof of the audit: shortcuts planted into real images, models trained on them, and audited.

A `Trial` plants one thing that tells the class (or, at agreement 0, does not), trains a scenario on
such images through `learn.fit`, and audits it on others. Whether the audit was right is known
beforehand: a model *uses* a shortcut if its AUROC falls by at least `USES` when it is taken out of
the test images. `experiments/prove_audit.py` runs many trials and counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.audit.evidence import AuditOptions, audit_evidence
from medgraft.audit.marks import KINDS, Mark
from medgraft.audit.regions import layout_of
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.split import Development, make_folds
from medgraft.evaluate.metrics import auroc
from medgraft.features.extract import Extractor
from medgraft.learn.fit import fit
from medgraft.results.evidence import CORNERS, DECIDES, RING
from medgraft.types import (
    Canvas,
    FittedScenario,
    Floats,
    Geometry,
    ImageTable,
    Ints,
    Pixels,
    Scenario,
)

USES = 0.05  # fall of AUROC from which a model counts as using a shortcut
SIDE = 128  # pixels: what proves the audit need not be large
MODALITY = "xray"  # whose layout declares the border and the corners
TRAINED, AUDITED = 150, 100  # images a class
PAIRS = 80  # as in a study

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What is planted: a mark, or a change of the whole image.

    kind : one of `marks.KINDS`, `border`, `compression`, `brightness`, or '' for nothing. size :
    of a mark or the border's width, as a share of the side. place : a corner, or `anywhere`. rho :
    its agreement with the class: (1 + rho) / 2 of the second class carry it, and (1 - rho) / 2 of
    the first.
    """

    kind: str = ""
    size: float = 0.1
    place: str = CORNERS[0]
    rho: float = 0.0

    @property
    def region(self) -> str:
        """The region that holds it, '' where none does."""
        if self.kind == "border":
            return RING
        return self.place if self.kind in KINDS and self.place in CORNERS else ""

    def carriers(self, labels: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(n,) which images carry it."""
        share = np.where(labels == 1, (1 + self.rho) / 2, (1 - self.rho) / 2)
        drawn: NDArray[np.bool_] = rng.random(len(labels)) < share
        return drawn & bool(self.kind)

    def plant(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """A copy of the image that carries it."""
        side = len(image)
        if self.kind in KINDS:
            place: str | tuple[float, float] = self.place
            if place == "anywhere":
                place = (float(rng.uniform(0, 1 - self.size)), float(rng.uniform(0, 1 - self.size)))
            mark = Mark(self.kind, self.size, place, int(rng.integers(2**31)))
            return mark(Canvas("", image, Geometry.identity(side, side))).pixels
        changed = image.copy()
        if self.kind == "border":
            width = max(1, round(self.size * side))
            changed[:width] = changed[-width:] = 0
            changed[:, :width] = changed[:, -width:] = 0
        elif self.kind == "compression":
            _, data = cv2.imencode(".jpg", changed, [cv2.IMWRITE_JPEG_QUALITY, 15])
            flag = cv2.IMREAD_GRAYSCALE if changed.ndim == 2 else cv2.IMREAD_COLOR
            changed = np.asarray(cv2.imdecode(data, flag), np.uint8)
        elif self.kind == "brightness":
            changed = np.clip(changed * 1.25, 0, 255).astype(np.uint8)
        return changed


@dataclass(frozen=True, slots=True)
class Trial:
    """One shortcut in one data set, one kind of model, one draw of images.

    mixed : border and corners of all images are exchanged at random first, so that they tell
    nothing of the class whatever the data; a FAIL is then a false alarm.
    """

    data: str
    scenario: Scenario
    shortcut: Shortcut
    mixed: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit said of a model of which the truth is known.

    auroc, without : on the audited images as planted, and with the shortcut left out. failed :
    the regions for which the model failed.
    """

    trial: Trial
    auroc: float
    without: float
    verdict: str
    failed: tuple[str, ...]
    smallest: float
    seconds: float

    @property
    def uses(self) -> bool:
        """Whether the model uses the shortcut."""
        return self.auroc - self.without >= USES

    @property
    def right(self) -> bool:
        """Whether it failed, and for the region that holds the shortcut."""
        return self.verdict == "FAIL" and self.trial.shortcut.region in self.failed


def base_images(
    table: ImageTable, first: Sequence[str], second: Sequence[str], extractor: Extractor
) -> tuple[Images, Ints]:
    """One image a patient, `SIDE` pixels square, and 1 for those of the second classes."""
    wanted = [table.classes.index(name) for name in (*first, *second)]
    rows = np.flatnonzero(np.isin(table.labels, wanted))
    _, alone = np.unique(table.groups[rows], return_index=True)
    chosen = table.select(rows[np.sort(alone)])
    spec = extractor.spec("tf_efficientnet_lite0", ["blocks.2"], size=SIDE)
    canvases = [c for c in extractor.canvases(chosen, spec) if isinstance(c, Canvas)]
    label = dict(zip(chosen.ids.tolist(), chosen.labels.tolist(), strict=True))
    ones = {table.classes.index(name) for name in second}
    colour = any(c.pixels.ndim == 3 for c in canvases)
    images = [
        np.repeat(c.pixels[..., None], 3, axis=2) if colour and c.pixels.ndim == 2 else c.pixels
        for c in canvases
    ]
    return np.stack(images), np.array([label[c.id] in ones for c in canvases], np.int64)


def run_trial(
    trial: Trial, images: Images, labels: Ints, extractor: Extractor, folder: Path
) -> Outcome:
    """Plant, train, audit.

    folder : where the planted images are written as one `.npz`.
    """
    began = time.perf_counter()
    rng = np.random.default_rng([trial.seed, 7])
    learned, audited = _draw(labels, rng)
    if trial.mixed:
        images = mixed(images, rng)
    carriers = trial.shortcut.carriers(labels, rng)
    planted = images.copy()
    for row in np.flatnonzero(carriers & np.isin(np.arange(len(labels)), [*learned, *audited])):
        planted[row] = trial.shortcut.plant(images[row], rng)
    file = folder / f"trial{trial.seed}.npz"
    _write(file, planted, labels, learned, audited)
    table = load(file, LoadOptions(no_groups=True, positive="1"))
    folds = make_folds(table.development, 3, trial.seed)
    fitted = fit(trial.scenario, Development(table.development, folds), extractor)
    options = AuditOptions(
        MODALITY, images=2 * AUDITED, pairs=PAIRS, grid=False, more=False, seed=trial.seed
    )
    audit = audit_evidence([(fitted, table.test)], extractor, options)
    file.unlink()
    truth = labels[audited] == 1
    return Outcome(
        trial,
        auroc(truth, _scores(fitted, planted[audited])),
        auroc(truth, _scores(fitted, images[audited])),
        audit.result.verdict,
        tuple(
            str(finding.numbers["region"])
            for finding in audit.result.findings
            if finding.check == DECIDES and finding.severity == "severe"
        ),
        audit.result.smallest_effect,
        time.perf_counter() - began,
    )


def mixed(images: Images, rng: np.random.Generator) -> Images:
    """Images whose border and corners come from another image each, whatever its class."""
    layout, side = layout_of(MODALITY), images.shape[1]
    edge, rim = round(layout.corner * side) + 1, round(layout.ring * side) + 1
    outer = np.ones((side, side), dtype=bool)
    outer[rim:-rim, rim:-rim] = False
    for rows in (slice(0, edge), slice(-edge, None)):
        outer[rows, :edge] = outer[rows, -edge:] = True
    exchanged = images.copy()
    exchanged[:, outer] = images[rng.permutation(len(images))][:, outer]
    return exchanged


def _draw(labels: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows to learn from and rows to audit on, as many of each class."""
    parts: tuple[list[Ints], list[Ints]] = ([], [])
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        share = min(1.0, len(rows) / (TRAINED + AUDITED))
        cut = round(TRAINED * share)
        parts[0].append(rows[:cut])
        parts[1].append(rows[cut : cut + round(AUDITED * share)])
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _write(file: Path, images: Images, labels: Ints, learned: Ints, audited: Ints) -> None:
    named = labels[:, None].astype(np.uint8)
    np.savez(
        file,
        train_images=images[learned],
        train_labels=named[learned],
        test_images=images[audited],
        test_labels=named[audited],
    )


def _scores(fitted: FittedScenario, images: Images) -> Floats:
    """(n,) scores of the second class."""
    geometry = Geometry.identity(SIDE, SIDE)
    canvases = (Canvas(str(i), image, geometry) for i, image in enumerate(images))
    return fitted.probabilities(canvases)[:, 1]
