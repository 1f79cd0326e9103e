"""What marks, and changes of the whole image, do to a classifier's labels.

No region holds how bright, sharp or compressed an image is, nor a mark that no image of the audit
happens to carry. So each is put on a few images, and the labels that turn are counted. The mildest
dose is one at which a reader would decide as before. None of this can fail a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.audit.marks import KINDS, Mark
from medgraft.audit.parts import Part
from medgraft.audit.regions import Layout
from medgraft.audit.sample import sampled
from medgraft.audit.swap import LEAST
from medgraft.errors import ScenarioError
from medgraft.evaluate.intervals import Sampling, proportion
from medgraft.results.evidence import CORNERS
from medgraft.types import AuditFinding, Canvas, Edit, Estimate, Floats, Pixels

IMAGES = 50
SIZE = 0.1  # of a mark, as a share of the side
THIN = 0.07  # of the side: what is narrower and brighter than around it is taken for a mark
STANDS_OUT = 40  # grey levels by which it is brighter
PICTURES = 6

Aspect = Literal["brightness", "contrast", "blur", "compression", "stretch", "sharpness"]


@dataclass(frozen=True, slots=True)
class Framed:
    """An edit that lays a black border of `width`, a share of the side, over the image."""

    width: float

    @property
    def key(self) -> str:
        """Stable and readable."""
        return f"framed-{self.width:g}"

    def __call__(self, canvas: Canvas) -> Canvas:
        """A copy with the border."""
        pixels = np.zeros_like(canvas.pixels)
        rim = max(1, round(self.width * min(pixels.shape[:2])))
        pixels[rim:-rim, rim:-rim] = canvas.pixels[rim:-rim, rim:-rim]
        return replace(canvas, pixels=pixels)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """An edit that paints over what looks like bright letters or lines in the four corners.

    That is what a white top-hat keeps: what is brighter than around it and thinner than `THIN`.
    It is filled from its edge (Telea 2004).
    """

    @property
    def key(self) -> str:
        """Stable and readable."""
        return "cleaned-corners"

    def __call__(self, canvas: Canvas) -> Canvas:
        """A copy without them."""
        pixels = canvas.pixels
        grey = pixels if pixels.ndim == 2 else pixels.max(axis=2)
        thin = max(3, round(THIN * min(grey.shape)))
        kernel = np.ones((thin, thin), np.uint8)
        marks = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel) > STANDS_OUT
        marks &= _corners(grey.shape[0], grey.shape[1])
        if not marks.any():
            return canvas
        near = cv2.dilate(marks.astype(np.uint8), np.ones((3, 3), np.uint8))
        filled = cv2.inpaint(np.ascontiguousarray(pixels), near, 3, cv2.INPAINT_TELEA)
        return replace(canvas, pixels=np.asarray(filled, np.uint8))


@dataclass(frozen=True, slots=True)
class Changed:
    """An edit that changes one aspect of the whole image by a dose.

    brightness : grey levels added. contrast : factor around the image's mean. blur : standard
    deviation of the Gaussian as a share of the side. compression : quality of a JPEG, 1 to 100.
    stretch : factor of the width, about the middle, of what then fills the canvas: above 1 the
    sides are cut off, below 1 rows are. sharpness : share of the difference from a blurred copy
    that is added.

    Raises
    ------
    ScenarioError
        There is no such aspect.
    """

    aspect: Aspect
    dose: float

    def __post_init__(self) -> None:
        if self.aspect not in get_args(Aspect):
            known = ", ".join(get_args(Aspect))
            raise ScenarioError(f"no aspect {self.aspect!r} of an image; there are {known}")

    @property
    def key(self) -> str:
        """Stable and readable."""
        return f"{self.aspect}-{self.dose:g}"

    def __call__(self, canvas: Canvas) -> Canvas:
        """A changed copy."""
        return replace(canvas, pixels=HOW[self.aspect](canvas.pixels, self.dose))


def _rounded(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _brighter(pixels: Pixels, dose: float) -> Pixels:
    return _rounded(pixels.astype(np.float32) + np.float32(dose))


def _contrasted(pixels: Pixels, dose: float) -> Pixels:
    mean = pixels.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return _rounded((pixels - mean) * np.float32(dose) + mean)


def _blurred(pixels: Pixels, dose: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), dose * min(pixels.shape[:2])), np.uint8)


def _compressed(pixels: Pixels, dose: float) -> Pixels:
    # OpenCV takes the planes for blue, green, red, so they are turned round and back.
    colour = pixels.ndim == 3
    turned = np.ascontiguousarray(pixels[..., ::-1]) if colour else pixels
    _, data = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, int(dose)])
    flag = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE
    read = np.asarray(cv2.imdecode(data, flag), np.uint8)
    return np.ascontiguousarray(read[..., ::-1]) if colour else read


def _stretched(pixels: Pixels, dose: float) -> Pixels:
    height, width = pixels.shape[:2]
    across, down = (dose, 1.0) if dose > 1 else (1.0, 1 / dose)
    matrix = np.array(
        [[across, 0, (1 - across) * (width - 1) / 2], [0, down, (1 - down) * (height - 1) / 2]]
    )
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)), np.uint8)


def _sharpened(pixels: Pixels, dose: float) -> Pixels:
    soft = _blurred(pixels, 0.005).astype(np.float32)
    return _rounded(pixels + np.float32(dose) * (pixels - soft))


HOW: dict[Aspect, Callable[[Pixels, float], Pixels]] = {
    "brightness": _brighter,
    "contrast": _contrasted,
    "blur": _blurred,
    "compression": _compressed,
    "stretch": _stretched,
    "sharpness": _sharpened,
}


def _corners(height: int, width: int) -> NDArray[np.bool_]:
    """Where the four corners lie."""
    side = min(height, width)
    found = np.zeros((height, width), dtype=bool)
    edge = round(Layout().corner * side)
    for rows in (np.s_[:edge], np.s_[height - edge :]):
        found[rows, :edge] = found[rows, width - edge :] = True
    return found


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One thing that is done to images: its name, and its edits, one of which each image gets.

    The name stands behind the word images. whole : the image as a whole is changed, which another
    machine might do, and not one place of it, which nobody should decide by.
    """

    name: str
    edits: tuple[Edit, ...]
    whole: bool = False


def perturbations(seed: int = 0) -> tuple[Perturbation, ...]:
    """What is tried: four kinds of marks in corners, their removal, a border, six aspects."""
    names = {"text": "letters", "ruler": "a ruler", "box": "a box", "pen": "a stroke of a pen"}
    marks = [
        Perturbation(
            f"with {names[kind]} in a corner",
            tuple(Mark(kind, SIZE, corner, seed + i) for i, corner in enumerate(CORNERS)),
        )
        for kind in KINDS
    ]
    one: list[tuple[str, Edit]] = [
        ("with marks in the corners painted over", Cleaned()),
        ("with a black border", Framed(0.04)),
        ("made 20 grey levels brighter", Changed("brightness", 20)),
        ("made 20 grey levels darker", Changed("brightness", -20)),
        ("with a fifth less contrast", Changed("contrast", 0.8)),
        ("with a quarter more contrast", Changed("contrast", 1.25)),
        ("slightly blurred", Changed("blur", 0.004)),
        ("blurred", Changed("blur", 0.008)),
        ("compressed (JPEG, quality 50)", Changed("compression", 50)),
        ("much compressed (JPEG, quality 20)", Changed("compression", 20)),
        ("stretched sideways by a tenth", Changed("stretch", 1.1)),
        ("stretched upwards by a tenth", Changed("stretch", 1 / 1.1)),
        ("sharpened", Changed("sharpness", 1.0)),
    ]
    others = [Perturbation(name, (edit,), isinstance(edit, Changed)) for name, edit in one]
    return (*marks, *others)


@dataclass(frozen=True, eq=False)
class PerturbationEffect:
    """What one trial did.

    turned : the share of images whose label became another, its interval corrected for the number
    of trials (Bonferroni). shift : mean change of the log odds of the class `towards`, the one that
    gained most. images : ids of those that turned.
    """

    trial: Perturbation
    turned: Estimate
    towards: str
    shift: float
    images: tuple[str, ...]


def try_perturbations(
    parts: Sequence[Part], seed: int = 0, images: int = IMAGES
) -> tuple[PerturbationEffect, ...]:
    """Do each of `trials` to a seeded draw of the audited images, classes in equal shares.

    That is `images` forward passes a trial, 17 trials: 850 by default.
    """
    drawn = sampled(parts, images, seed)
    tried = perturbations(seed)
    before = np.concatenate([part.said.y_prob for part in drawn])
    labels = np.concatenate([part.labels(part.said.y_prob) for part in drawn])
    groups = np.concatenate([part.table.groups for part in drawn])
    ids = np.concatenate([part.table.ids for part in drawn])
    after = [_answers(part, tried) for part in drawn]  # (trials, images, n_classes) each
    classes = drawn[0].fitted.classes
    sampling = Sampling(level=1 - (1 - Sampling().level) / len(tried))
    found = []
    for row, trial in enumerate(tried):
        prob = np.concatenate([answers[row] for answers in after])
        given = np.concatenate(
            [part.labels(answers[row]) for part, answers in zip(drawn, after, strict=True)]
        )
        moved = (_log_odds(prob) - _log_odds(before)).mean(axis=0)
        best = int(moved.argmax())
        hit = given != labels
        found.append(
            PerturbationEffect(
                trial,
                proportion(hit, groups, sampling),
                classes[best],
                float(moved[best]),
                tuple(ids[hit].tolist()),
            )
        )
    return tuple(found)


def _answers(part: Part, tried: Sequence[Perturbation]) -> Floats:
    """(trials, images, n_classes) probabilities."""

    def stream() -> Iterator[Canvas]:
        for trial in tried:
            for i, canvas in enumerate(part.canvases):
                yield trial.edits[i % len(trial.edits)](canvas)

    return part.probabilities(stream()).reshape(len(tried), len(part.table), -1)


def _log_odds(prob: Floats) -> Floats:
    """Of each class against the others, natural."""
    inside = np.clip(prob, LEAST, 1 - LEAST)
    odds: Floats = np.log(inside) - np.log(1 - inside)
    return odds


def check_perturbations(parts: Sequence[Part], points: float, seed: int = 0) -> list[AuditFinding]:
    """What turns more than a share `points` of the labels, by the lower end of its interval.

    A warning for each mark or border, and one remark for all changes of whole images, to which few
    networks are indifferent; or else one that says what was tried. 850 forward passes, see
    `try_perturbations`.
    """
    found = try_perturbations(parts, seed)
    large = sorted((c for c in found if c.turned.low > points), key=lambda c: -c.turned.value)
    whole = [change for change in large if change.trial.whole]
    if large:
        places = [
            AuditFinding(
                "change_turns_labels",
                "warn",
                numbers=_numbers(change),
                images=change.images[:PICTURES],
            )
            for change in large
            if not change.trial.whole
        ]
        return [*places, *([_fragile(whole)] if whole else [])]
    most = max(found, key=lambda change: change.turned.value)
    return [
        AuditFinding(
            "changes",
            "info",
            "none turns",
            _numbers(most),
            most.images[:PICTURES],
            names=tuple(change.trial.name for change in found),
            limit=points,
        )
    ]


def _fragile(large: Sequence[PerturbationEffect]) -> AuditFinding:
    """One remark on all changes of whole images that turn labels, the largest first."""
    most = large[0]
    return AuditFinding(
        "changes",
        "info",
        "whole image",
        _numbers(most),
        most.images[:PICTURES],
        estimates={change.trial.name: change.turned for change in large},
    )


def _numbers(change: PerturbationEffect) -> dict[str, float | int | str]:
    return {
        "change": change.trial.name,
        "effect": change.turned.value,
        "low": change.turned.low,
        "high": change.turned.high,
        "n": change.turned.n,
        "towards": change.towards,
        "shift": change.shift,
    }
