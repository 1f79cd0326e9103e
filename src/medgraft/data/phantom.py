"""Made chest radiographs with known truth, for `medgraft demo` and for tests.

`write_phantoms` draws patients of different build, several films of each, and gives half of them
a soft opacity in one lung, with its mask. One film is filed under the wrong class and one is
copied under another patient's name, so that a study has something to find. Nothing is learned
from them about real patients: they prove that the tool works, not that a network does.

A film is a sum of thicknesses (soft tissue, lungs that lack it, bones, vessels, heart), seen at
an exposure of its own, with noise.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError
from medgraft.files import written_folder
from medgraft.types import Pixels

Field = NDArray[np.float32]
Coordinates = NDArray[np.float64]

SIDE = 256  # pixels
MIDDLE = SIDE / 2
SUBPIXEL = 4  # bits of the fixed-point coordinates that OpenCV draws with


@dataclass(frozen=True)
class PhantomTruth:
    """What was made, and which two films are not what they seem; all paths relative to `folder`.

    wrongly_labelled : a film with a plain lesion filed under `normal`.
    duplicate, duplicate_of : byte-equal films under two patients' names.
    """

    folder: str
    seed: int
    n_images: int
    n_patients: int
    n_lesion: int
    wrongly_labelled: str
    duplicate: str
    duplicate_of: str


@dataclass(frozen=True)
class _Lesion:
    """A soft opacity: which lung, where in it (0..1 outwards, 0..1 downwards), radius, density."""

    side: int
    outwards: float
    downwards: float
    radius: float
    density: float


@dataclass(frozen=True)
class _Anatomy:
    """The build of one patient; lengths in pixels, densities relative to soft tissue."""

    half_width: float
    apex: float
    base: float
    dome: float
    heart: float
    ribs: float
    slope: float
    fat: float
    air: float
    texture: int
    bubble: bool
    lesion: _Lesion | None


def write_phantoms(folder: Path, n_patients: int = 160, seed: int = 0) -> PhantomTruth:
    """Write `folder/{normal,lesion}/patient0001_view1.png`, `folder/masks/lesion/…`, truth.json.

    Parameters
    ----------
    folder : made by this, all at once at the end; it must not exist, or be empty.
    n_patients : at least 4; every second one has a lesion; 1 to 4 films of each, 256 x 256 grey.
    seed : the same seed gives the same bytes.

    Raises
    ------
    DataError
        The folder holds something already, or there are too few patients.

    Notes
    -----
    Masks are 0 and 255, of the lesion on the film as written. The film filed under the wrong class
    has none.
    """
    if n_patients < 4:
        raise DataError(f"{n_patients} patients are too few for two classes; make at least 4")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder.name} exists already and is not empty; name a new folder")
    with written_folder(folder) as partial:
        return _write(partial, folder.name, n_patients, seed)


def write_graded_phantoms(
    folder: Path, n_patients: int = 160, grades: int = 5, seed: int = 0
) -> None:
    """Write `folder/GRADE/patient0001_view1.png`: films whose opacity is denser by grade, 0 none.

    Within a grade the density varies by a fifth to either side, so that neighbours overlap from the
    third grade on. 1 to 4 films of each patient; the same seed gives the same bytes.
    """
    for patient in range(1, n_patients + 1):
        rng, grade = np.random.default_rng([seed, patient]), patient % grades
        anatomy = _anatomy(rng, ill=True)
        assert anatomy.lesion is not None
        density = 0.5 * grade / (grades - 1) * float(rng.uniform(0.8, 1.2))
        lesion = replace(anatomy.lesion, density=density, radius=float(rng.uniform(18, 30)))
        thickness, opacity = _chest(replace(anatomy, lesion=lesion))
        (folder / str(grade)).mkdir(parents=True, exist_ok=True)
        for view in range(1, int(rng.integers(1, 5)) + 1):
            film, _ = _film(thickness, opacity, rng)
            _save(folder / str(grade) / f"patient{patient:04d}_view{view}.png", film)


def _write(root: Path, name: str, n_patients: int, seed: int) -> PhantomTruth:
    for part in ("normal", "lesion", "masks/lesion"):
        (root / part).mkdir(parents=True)
    plainness: dict[str, float] = {}
    n_images = 1  # the copy
    for patient in range(1, n_patients + 1):
        rng = np.random.default_rng([seed, patient])
        anatomy = _anatomy(rng, ill=patient % 2 == 0)
        thickness, opacity = _chest(anatomy)
        for view in range(1, int(rng.integers(1, 5)) + 1):
            film, mask = _film(thickness, opacity, rng)
            kind = "lesion" if anatomy.lesion else "normal"
            file = f"{kind}/patient{patient:04d}_view{view}.png"
            _save(root / file, film)
            n_images += 1
            if anatomy.lesion:
                _save(root / "masks" / file, mask)
                plainness[file] = anatomy.lesion.density * float(np.count_nonzero(mask))
    plainest = max(plainness, key=plainness.__getitem__)
    misfiled = plainest.replace("lesion/", "normal/")
    (root / plainest).rename(root / misfiled)
    (root / "masks" / plainest).unlink()
    films_of_third = len(list(root.glob("normal/patient0003_*")))
    original = "normal/patient0001_view1.png"
    copy = f"normal/patient0003_view{films_of_third + 1}.png"
    shutil.copyfile(root / original, root / copy)
    n_lesion = len(plainness) - 1
    truth = PhantomTruth(name, seed, n_images, n_patients, n_lesion, misfiled, copy, original)
    (root / "truth.json").write_text(json.dumps(asdict(truth), indent=2) + "\n")
    return truth


def _save(path: Path, pixels: Pixels) -> None:
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise DataError(f"{path.name} could not be encoded as PNG")
    path.write_bytes(data.tobytes())


# --------------------------------------------------------------------------- who is seen


def _anatomy(rng: np.random.Generator, ill: bool) -> _Anatomy:
    lesion = None
    if ill:
        lesion = _Lesion(
            side=int(rng.choice([-1, 1])),
            outwards=float(rng.uniform(0.3, 0.8)),
            downwards=float(rng.uniform(0.15, 0.8)),
            radius=float(rng.uniform(15, 32)),
            density=float(rng.uniform(0.26, 0.6)),
        )
    return _Anatomy(
        half_width=float(rng.uniform(84, 100)),
        apex=float(rng.uniform(30, 46)),
        base=float(rng.uniform(186, 212)),
        dome=float(rng.uniform(14, 26)),
        heart=float(rng.uniform(0.85, 1.2)),
        ribs=float(rng.uniform(0.07, 0.14)),
        slope=float(rng.uniform(0.25, 0.5)),
        fat=float(rng.uniform(0.9, 1.15)),
        air=float(rng.uniform(0.44, 0.56)),
        texture=int(rng.integers(1 << 31)),
        bubble=bool(rng.random() < 0.5),
        lesion=lesion,
    )


def _film(thickness: Field, opacity: Field, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """One film of a patient and the mask of the lesion on it, each (SIDE, SIDE) uint8.

    The patient stands a little differently, and breathes in more or less deeply, each time.
    """
    turned = cv2.getRotationMatrix2D((MIDDLE, MIDDLE), rng.normal(0, 1.8), rng.normal(1, 0.025))
    move = np.asarray(turned, np.float64)
    move[:, 2] += rng.normal(0, 4, 2)
    move[1] *= rng.normal(1, 0.02)
    seen = cv2.warpAffine(thickness, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    lesion = cv2.warpAffine(opacity, move, (SIDE, SIDE))
    return _exposed(np.asarray(seen, np.float32), rng), ((lesion > 0.4) * 255).astype(np.uint8)


def _exposed(thickness: Field, rng: np.random.Generator) -> Pixels:
    """Thickness to grey values: a detector's curve, quantum noise, a marker of lead."""
    gain, gamma = rng.uniform(0.86, 1.08), rng.uniform(0.85, 1.25)
    grey = np.clip(thickness * gain / 1.45, 0, 1) ** gamma
    fine, coarse = rng.normal(0, 1, (2, SIDE, SIDE)).astype(np.float32)
    noise = 0.5 * fine + 2.0 * cv2.GaussianBlur(coarse, (0, 0), 1.2)
    grey = grey + rng.uniform(0.012, 0.03) * noise * (0.4 + grey)
    pixels: Pixels = np.rint(8 + 240 * np.clip(grey, 0, 1)).astype(np.uint8)
    if rng.random() < 0.6:
        corner = (int(rng.integers(8, 24)), int(rng.integers(24, 40)))
        cv2.putText(pixels, "R", corner, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 250, 2, cv2.LINE_AA)
    return pixels


# --------------------------------------------------------------------------- what is drawn


def _chest(a: _Anatomy) -> tuple[Field, Field]:
    """Thickness (SIDE, SIDE), about 0 to 1.4 of a chest, and the lesion's share of it, 0 to 1."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    across = np.abs(x - MIDDLE) / (a.half_width * 1.28)
    body = _body(a)
    lungs = {side: _lung(a, side) for side in (-1, 1)}
    both = np.clip(lungs[-1] + lungs[1], 0, 1)
    total = body * a.fat * (0.62 + 0.3 * np.sqrt(np.clip(1 - across**2, 0, 1)))
    total -= a.air * both * (0.82 + 0.18 * (y - a.apex) / (a.base - a.apex))
    total += _vessels(a) * both + _mediastinum(a, x, y) + _bones(a) * body
    total += 0.16 * np.clip((y - a.base + 12) / 50, 0, 1) * body * (1 - both)
    if a.bubble:
        total -= 0.14 * _ellipse((MIDDLE + 0.5 * a.half_width, a.base + 16), (20, 9), 8, 3)
    opacity = np.zeros_like(total)
    if a.lesion is not None:
        opacity = _opacity(a, a.lesion, x, y) * lungs[a.lesion.side]
        total += a.lesion.density * opacity
    return _soft(total, 0.7), opacity


def _body(a: _Anatomy) -> Field:
    """Neck, shoulders and trunk."""
    w = a.half_width
    outline: list[tuple[float, float]] = [
        (0.34, -20),
        (0.36, 4),
        (0.55, 18),
        (1.05, 34),
        (1.38, 52),
        (1.36, 100),
    ]
    outline += [(1.22, 125), (1.2, 170), (1.24, 280)]
    right = [(MIDDLE + u * w, v) for u, v in outline]
    left = [(MIDDLE - u * w, v) for u, v in reversed(outline)]
    return _polygon(right + left, 4)


LATERAL = np.array([(0, 0.36), (0.04, 0.52), (0.12, 0.66), (0.3, 0.81), (0.5, 0.9), (0.8, 0.96)])
MEDIAL = np.array([(0, 0.26), (0.05, 0.2), (0.2, 0.17), (0.5, 0.2), (0.9, 0.2)])


def _lung(a: _Anatomy, side: int) -> Field:
    """One lung, 0 to 1: apex, outer wall, dome of the diaphragm, mediastinal wall."""
    down = np.linspace(0, 1, 24)
    lateral = np.interp(down, LATERAL[:, 0], LATERAL[:, 1])
    medial = np.interp(down, MEDIAL[:, 0], MEDIAL[:, 1])
    floor = a.base + (5 if side > 0 else 0)  # the liver lifts the right half of the diaphragm
    outer = list(zip(lateral, a.apex + down * (floor + 8 - a.apex), strict=True))
    inner = list(zip(medial, a.apex + down * (floor - 4 - a.apex), strict=True))[::-1]
    along = np.linspace(0.93, 0.22, 14)
    arch = floor + 4 - a.dome * np.clip(1 - ((along - 0.5) / 0.45) ** 2, 0, 1)
    edge = outer + list(zip(along, arch, strict=True)) + inner
    return _polygon([(MIDDLE + side * u * a.half_width, v) for u, v in edge], 2.2)


def _mediastinum(a: _Anatomy, x: Field, y: Field) -> Field:
    """Spine with its vertebrae, heart, great vessels; the windpipe is air."""
    w = a.half_width
    spine = np.exp(-(((x - MIDDLE) / (0.13 * w)) ** 4)) * (0.1 + 0.03 * np.cos(y / 2.2))
    heart = _ellipse((MIDDLE + 0.2 * w, a.base - 30), (0.43 * w * a.heart, 33 * a.heart), 32, 5)
    right_heart = _ellipse((MIDDLE - 0.1 * w, a.base - 32), (0.2 * w, 30), 0, 5)
    vessels = _ellipse((MIDDLE + 0.05 * w, a.apex + 62), (0.2 * w, 46), 4, 5)
    knob = _ellipse((MIDDLE + 0.2 * w, a.apex + 42), (9, 9), 0, 2.5)
    windpipe = _polygon([(121, -5), (132, -5), (132, a.apex + 44), (122, a.apex + 44)], 2.5)
    front = 0.36 * np.maximum(heart, 0.7 * right_heart) + 0.16 * np.maximum(vessels, knob)
    total: Field = front + spine * (1 - 2 * front) - 0.16 * windpipe
    return total


def _bones(a: _Anatomy) -> Field:
    """Ribs behind (from the spine outwards and down) and in front (fainter), and collar bones."""
    w = a.half_width
    behind, front, collar = (np.zeros((SIDE, SIDE), np.float32) for _ in range(3))
    out = np.linspace(0.1, 1.02, 20)
    for side in (-1, 1):
        columns = MIDDLE + side * out * w
        for number in range(10):
            start = a.apex - 2 + number * (a.base - a.apex) / 8.6
            steep = a.slope * (0.35 + 0.12 * number)
            rows = start - 7 * np.sin(np.pi * out * 0.9) + steep * w * out**2.2
            _line(behind, columns, rows, 7)
            inner = out > 0.38
            rows = start + 34 + 0.22 * w * (1 - out) - 0.1 * w * out
            if 1 < number < 7:
                _line(front, columns[inner], rows[inner], 6)
        reach = np.linspace(0.08, 1.05, 12)
        rows = a.apex + 20 - 26 * reach + 8 * np.sin(3 * reach)
        _line(collar, MIDDLE + side * reach * w, rows, 8)
    ribs = a.ribs * (_soft(_shell(behind), 0.8) + 0.45 * _soft(front, 1.6))
    total: Field = ribs + 1.3 * a.ribs * _soft(_shell(collar), 0.8)
    return total


def _shell(bone: Field) -> Field:
    """A bone's rim is denser than its marrow."""
    inside = np.asarray(cv2.erode(bone, np.ones((3, 3), np.uint8)), np.float32)
    return bone - 0.35 * _soft(inside, 0.8)


def _vessels(a: _Anatomy) -> Field:
    """Branches from each hilum that fork and thin out."""
    rng = np.random.default_rng(a.texture)
    strokes: list[tuple[float, Coordinates, Coordinates]] = []
    for side in (-1, 1):
        hilum = (MIDDLE + side * 0.24 * a.half_width, 0.5 * (a.apex + a.base) - 6)
        branches = [(hilum, angle, 4.2) for angle in rng.uniform(-1.35, 1.35, 9)]
        while branches:
            (left, top), angle, width = branches.pop()
            bend = angle + np.cumsum(rng.normal(0, 0.12, 7))
            columns = left + np.cumsum(side * np.cos(bend)) * 2.7
            rows = top + np.cumsum(np.sin(bend)) * 3.0
            strokes.append((width, columns, rows))
            if width > 1.5:
                tip = (float(columns[-1]), float(rows[-1]))
                turns = bend[-1] + rng.normal(0, 0.1) + np.array([-0.32, 0.32])
                branches += [(tip, float(turned), width * 0.68) for turned in turns]
    drawn = np.zeros((SIDE, SIDE), np.float32)
    for width, columns, rows in sorted(strokes, key=lambda stroke: stroke[0]):  # thick over thin
        _line(drawn, columns, rows, max(1, round(width)), value=width / 4.2)
    return 0.17 * _soft(drawn, 1.2)


def _opacity(a: _Anatomy, lesion: _Lesion, x: Field, y: Field) -> Field:
    """A rounded density with a ragged rim, 1 in its middle."""
    centre_x = MIDDLE + lesion.side * a.half_width * (0.22 + 0.66 * lesion.outwards)
    centre_y = a.apex + 14 + lesion.downwards * (a.base - a.apex - 30)
    rng = np.random.default_rng(a.texture + 1)
    ragged = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 4)
    distance = np.hypot(x - centre_x, 1.1 * (y - centre_y)) / lesion.radius
    return np.asarray(np.exp(-((distance * (1 + 1.2 * ragged)) ** 2) * 1.2), np.float32)


# --------------------------------------------------------------------------- with which strokes


def _soft(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def _points(corners: object) -> NDArray[np.int32]:
    return np.rint(np.asarray(corners, np.float64) * (1 << SUBPIXEL)).astype(np.int32)


def _polygon(corners: list[tuple[float, float]], sigma: float) -> Field:
    field = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(field, [_points(corners)], 1.0, cv2.LINE_8, SUBPIXEL)
    return _soft(field, sigma)


def _ellipse(
    centre: tuple[float, float], axes: tuple[float, float], angle: float, sigma: float
) -> Field:
    field = np.zeros((SIDE, SIDE), np.float32)
    whole, half = _points(centre).tolist(), _points(axes).tolist()
    cv2.ellipse(field, whole, half, angle, 0, 360, 1.0, -1, cv2.LINE_8, SUBPIXEL)
    return _soft(field, sigma)


def _line(
    field: Field, columns: Coordinates, rows: Coordinates, width: int, value: float = 1.0
) -> None:
    corners = _points(np.stack([columns, rows], axis=1))
    cv2.polylines(field, [corners], False, value, width, cv2.LINE_8, SUBPIXEL)
