"""Seeded augmented views of a canvas, by presets that respect how the picture was taken.

A `View` is an `Edit`: view 3 of preset `xray` (key `xray.v3`) turns, shifts and lights a canvas a
little, and always the same canvas in the same way. What it does is drawn from the preset, the
view's number, the seed and the pixels themselves, never from a file's name or its place in a
stream: copies get the same view, and a cache by content stays right.

View 0 is the image unchanged. The first views of a preset are the symmetries it allows (quarter
turns, mirrors), each once and in an order of the image's own: they move pixels and invent none.
From then on everything in the preset varies at once.

A view keeps size and geometry of its canvas. The geometry then leads to the picture before the
view, so masks and heat maps are for view 0. Training loops and what is cached stand elsewhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np

from medgraft.errors import ScenarioError
from medgraft.types import Canvas, Pixels

Range = tuple[float, float]
Span = tuple[float, float, float, float]
SAME: Range = (1.0, 1.0)
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
LARGEST = 2**63 - 1  # of a view's number and seed

SYMMETRIES: Mapping[str, tuple[int, bool]] = MappingProxyType(
    {
        "quarter turn left": (1, False),
        "half turn": (2, False),
        "quarter turn right": (3, False),
        "mirrored left-right": (0, True),
        "mirrored top-bottom": (2, True),
        "mirrored, quarter turn left": (1, True),
        "mirrored, quarter turn right": (3, True),
    }
)
"""The ways to lay a square other than as it is: mirrored left-right first, then so many quarter
turns counter-clockwise."""
FIRST_VIEW = 1 + len(SYMMETRIES)  # from here on everything in a preset varies at once
JUDGED = "xray"  # whose views judge where none is named: they enlarge as often as they shrink
MILD = "natural"  # of which `strong` is the strong version where the kind of image is not known
TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True, slots=True)
class Preset:
    """What may differ from one view of an image to the next, and by how much.

    why : what the modality allows and forbids, in a sentence or two.
    symmetries : names of `SYMMETRIES`; those that would change the canvas's size are left out.
    turn : degrees, either way.
    shift : share of the canvas's side, either way, down and across each.
    zoom : factor; above 1 shows less of the picture, larger.
    inside : shift only as far as the zoom leaves room: the view is a crop, no edge is seen.
    black : what lies past the edge is black, as the frame of an endoscope, and not a reflection.
    brightness, contrast : factors on the values, and on their distance from the image's mean.
    gamma : exponent on values 0..1.
    saturation : factor on the distance of red, green and blue from their luminance.
    tint : share by which each of red, green and blue is stronger or weaker, for itself.
    aspect : factor on the width, either way.
    detail : pixels a side, at least, to which the picture is shrunk before it is enlarged again.
        0 leaves all detail.
    noise : largest standard deviation of added noise, of white.
    boxes, box : how many boxes at most are covered with the picture's mean, and their largest side
        as a share of the canvas's.
    """

    why: str
    symmetries: tuple[str, ...] = ()
    turn: float = 0.0
    shift: float = 0.0
    zoom: Range = SAME
    inside: bool = False
    black: bool = False
    brightness: Range = SAME
    contrast: Range = SAME
    gamma: Range = SAME
    saturation: Range = SAME
    tint: float = 0.0
    aspect: float = 1.0
    detail: int = 0
    noise: float = 0.0
    boxes: int = 0
    box: float = 0.0


STRONG = Preset(
    why="For training: what tells hospitals, machines and files apart (sharpness, exposure, "
    "aspect, frame) is varied so much that only the picture itself is left to learn from.",
    symmetries=("mirrored left-right",),
    turn=14,
    shift=0.1,
    zoom=(0.65, 1.1),
    brightness=(0.75, 1.25),
    contrast=(0.6, 1.4),
    gamma=(0.65, 1.5),
    saturation=(0.6, 1.4),
    tint=0.08,
    aspect=1.3,
    detail=48,
    noise=0.05,
    boxes=2,
    box=0.3,
)

# Codes are kept under a view's key: who changes numbers here raises `FeatureSpec.decoder` too.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "xray": Preset(
            why="People are placed and exposed a little differently each time. But the heart lies "
            "on the left: a mirrored chest is another diagnosis.",
            turn=7,
            shift=0.05,
            zoom=(0.9, 1.1),
            brightness=(0.9, 1.1),
            contrast=(0.85, 1.15),
            gamma=(0.85, 1.15),
        ),
        "microscopy": Preset(
            why="A section has no up and no left, so it may lie in any direction and on either "
            "side. Stains and lamps differ a little from batch to batch.",
            symmetries=tuple(SYMMETRIES),
            turn=180,
            zoom=(0.9, 1.15),
            brightness=(0.9, 1.1),
            contrast=(0.9, 1.1),
            saturation=(0.85, 1.15),
            tint=0.05,
        ),
        # The field of view is round or octagonal in a black frame. Turned and filled with black it
        # is so still; a reflection would put tissue into the frame's corners. Contrast would lift
        # the black, so it stays 1.
        "endoscopy": Preset(
            why="An endoscope turns about its axis in the hand, so no direction is up. Text and "
            "insets beside the picture turn with it, and black stays black.",
            symmetries=tuple(SYMMETRIES),
            turn=180,
            zoom=(0.95, 1.15),
            black=True,
            brightness=(0.85, 1.15),
            saturation=(0.9, 1.1),
            tint=0.03,
        ),
        "natural": Preset(
            why="A scene may be seen from its other side, closer, in other light; up stays up.",
            symmetries=("mirrored left-right",),
            shift=0.2,
            zoom=(1.0, 1.4),
            inside=True,
            brightness=(0.9, 1.1),
            contrast=(0.9, 1.1),
            saturation=(0.85, 1.15),
            tint=0.03,
        ),
        "strong": STRONG,
        "xray-strong": replace(STRONG, symmetries=(), saturation=SAME, tint=0.0),
        "microscopy-strong": replace(STRONG, symmetries=tuple(SYMMETRIES), turn=180),
        "endoscopy-strong": replace(
            STRONG, symmetries=tuple(SYMMETRIES), turn=180, black=True, contrast=SAME
        ),
        "natural-strong": STRONG,
    }
)
CLOSER = "-closer"  # ends the name of a strong preset whose views zoom in
# For networks that are to see things at another scale than those trained in the strong presets.
_EVERY = {
    **PRESETS,
    **{
        name + CLOSER: replace(preset, zoom=(0.9, 1.5))
        for name, preset in PRESETS.items()
        if name.endswith("strong")
    },
}


@dataclass(frozen=True, slots=True)
class Draw:
    """What one view does to one image; the defaults do nothing.

    symmetry : a name of `SYMMETRIES`, or ''.
    turn : degrees counter-clockwise. shift : shares of the canvas's side, down and to the right.
    tint : factors on red, green and blue. noise : its standard deviation, of white. boxes : the
    parts covered (top, left, height, width), shares of the sides. seed : of the noise. The rest is
    as in `Preset`.
    """

    symmetry: str = ""
    turn: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    black: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0
    saturation: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    aspect: float = 1.0
    detail: float = 1.0
    noise: float = 0.0
    boxes: tuple[Span, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """One augmented view of a canvas; number 0 is the canvas unchanged.

    Grey stays grey: with three equal channels it is drawn and changed as the grey it is.

    Raises
    ------
    ScenarioError
        There is no such preset, or number or seed is negative or absurdly large.

    Examples
    --------
    >>> View("xray", 3).key, View("natural", 1, seed=7).key
    ('xray.v3', 'natural.v1.s7')
    """

    preset: str
    number: int
    seed: int = 0

    def __post_init__(self) -> None:
        preset_for(self.preset)
        if not (0 <= self.number <= LARGEST and 0 <= self.seed <= LARGEST):
            raise ScenarioError(
                f"view {self.number} with seed {self.seed} makes no sense; "
                "both are whole numbers from 0 to 2^63 - 1"
            )

    @property
    def key(self) -> str:
        return f"{self.preset}.v{self.number}" + (f".s{self.seed}" if self.seed else "")

    def __call__(self, canvas: Canvas) -> Canvas:
        if self.number == 0:
            return canvas
        return replace(canvas, pixels=apply(draw(self, canvas.pixels), canvas.pixels))


def views(preset: str, n: int, seed: int = 0) -> tuple[View, ...]:
    """The first n views of a preset, the unchanged image (view 0) among them.

    Raises
    ------
    ScenarioError
        There is no such preset, or n is below 1.

    Examples
    --------
    >>> [view.key for view in views("xray", 3)]
    ['xray.v0', 'xray.v1', 'xray.v2']
    """
    if n < 1:
        raise ScenarioError(f"{n} views are none; ask for 1 (the image itself) or more")
    return tuple(View(preset, number, seed) for number in range(n))


def preset_for(modality: str) -> str:
    """The preset of a modality, which bears its name.

    Raises
    ------
    ScenarioError
        No preset has this name; the text lists those that exist.
    """
    if modality not in _EVERY:
        raise ScenarioError(f"no augmentation preset {modality!r}; choose {', '.join(PRESETS)}")
    return modality


def judging_view(preset: str = "", seed: int = 0) -> View:
    """The view in which images are judged where who reads their surface is to be found out.

    Everything that an ordinary preset allows varies at once, within what nobody would call another
    picture. preset : '' is `JUDGED`.

    >>> judging_view().key
    'xray.v8'
    """
    return View(preset or JUDGED, FIRST_VIEW, seed)


# --------------------------------------------------------------------------- what is drawn


def draw(view: View, pixels: Pixels, preset: Preset | None = None) -> Draw:
    """What a view does to an image `pixels (height, width[, 3])`: equal pixels, equal draw.

    preset : other ranges than those of the view's own preset, to be drawn from in its place.

    Each quantity has a hash of its own as its uniform number, so that the draw depends on no
    library's random stream, and one more range in a preset moves none of the others.
    """
    preset = preset or _EVERY[view.preset]
    plane = _grey(pixels)
    plane = pixels if plane is None else plane
    content = hashlib.blake2b(np.ascontiguousarray(plane).data, digest_size=32)
    content.update(repr(plane.shape).encode())
    key = content.digest()

    def between(low: float, high: float, *name: object) -> float:
        text = "/".join(map(str, (view.preset, view.seed, *name)))
        number = hashlib.blake2b(text.encode(), key=key, digest_size=8).digest()
        return low + (high - low) * (int.from_bytes(number, "little") >> 11) * 2.0**-53

    square = pixels.shape[0] == pixels.shape[1]
    fit = [name for name in preset.symmetries if square or SYMMETRIES[name][0] % 2 == 0]
    if view.number == 0:
        return Draw()
    if view.number <= len(fit):
        return Draw(sorted(fit, key=lambda name: between(0, 1, "order", name))[view.number - 1])

    def own(name: str, low: float, high: float) -> float:
        return between(low, high, view.number, name)

    zoom = own("zoom", *preset.zoom)
    shift = min(preset.shift, (zoom - 1) / 2) if preset.inside else preset.shift
    low, high = 1 - preset.tint, 1 + preset.tint
    side = min(pixels.shape[:2])
    least = min(preset.detail or side, side)
    detail = own("detail", least, side) / side
    stretch = math.log(preset.aspect)

    def covered(i: int) -> Span:
        height, width = (own(f"box {i} {side}", 0.05, preset.box) for side in ("high", "wide"))
        top, left = own(f"box {i} top", 0, 1 - height), own(f"box {i} left", 0, 1 - width)
        return top, left, height, width

    return Draw(
        symmetry=["", *fit][int(own("symmetry", 0, len(fit) + 1))],
        turn=own("turn", -preset.turn, preset.turn),
        zoom=zoom,
        shift=(own("down", -shift, shift), own("right", -shift, shift)),
        black=preset.black,
        brightness=own("brightness", *preset.brightness),
        contrast=own("contrast", *preset.contrast),
        gamma=own("gamma", *preset.gamma),
        saturation=own("saturation", *preset.saturation),
        tint=(own("red", low, high), own("green", low, high), own("blue", low, high)),
        aspect=math.exp(own("aspect", -stretch, stretch)) if stretch else 1.0,
        detail=detail,
        noise=max(0.0, own("noise", -preset.noise, preset.noise)),
        boxes=tuple(covered(i) for i in range(int(own("boxes", 0, preset.boxes + 1)))),
        seed=int(own("noise seed", 0, 2**31)) if preset.noise else 0,
    )


# --------------------------------------------------------------------------- and done


def apply(drawn: Draw, pixels: Pixels) -> Pixels:
    """Do what was drawn to `pixels (height, width[, 3]) uint8`; a new, contiguous array.

    Pixels are interpolated at most once; past its edge the picture is reflected, or black.
    """
    grey = _grey(pixels)
    plane = pixels if grey is None else grey
    changed = _toned(drawn, _blurred(drawn, _moved(drawn, plane)))
    if grey is None:
        changed = _coloured(drawn, changed)
    changed = _covered(drawn, _grainy(drawn, changed))
    return np.repeat(changed[..., None], 3, axis=2) if changed.ndim < pixels.ndim else changed


def _grey(pixels: Pixels) -> Pixels | None:
    """The one plane (height, width) of a grey image, None where there is colour."""
    if pixels.ndim == 2:
        return pixels
    red = pixels[..., 0]
    same = np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2])
    return np.ascontiguousarray(red) if same else None


def _moved(drawn: Draw, pixels: Pixels) -> Pixels:
    """Lay the picture anew without loss, then turn, zoom and shift it in one interpolation."""
    moved = pixels.copy()
    if drawn.symmetry:
        quarters, mirrored = SYMMETRIES[drawn.symmetry]
        moved = np.asarray(cv2.flip(moved, 1), np.uint8) if mirrored else moved
        moved = np.asarray(cv2.rotate(moved, TURNS[quarters]), np.uint8) if quarters else moved
    if (drawn.turn, drawn.zoom, drawn.shift, drawn.aspect) == (0, 1, (0, 0), 1):
        return moved
    height, width = moved.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, drawn.turn, drawn.zoom)
    matrix[:, 2] += (drawn.shift[1] * width, drawn.shift[0] * height)
    matrix[0] *= drawn.aspect
    matrix[0, 2] += (1 - drawn.aspect) * middle[0]
    size = (width, height)
    edge = cv2.BORDER_CONSTANT if drawn.black else cv2.BORDER_REFLECT_101
    warped = cv2.warpAffine(moved, matrix, size, flags=cv2.INTER_LINEAR, borderMode=edge)
    return np.asarray(warped, np.uint8)


def _blurred(drawn: Draw, pixels: Pixels) -> Pixels:
    """Lose fine detail: shrink, averaging areas, and enlarge again."""
    if drawn.detail == 1:
        return pixels
    height, width = pixels.shape[:2]
    small = (max(1, round(drawn.detail * width)), max(1, round(drawn.detail * height)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _grainy(drawn: Draw, pixels: Pixels) -> Pixels:
    """Add noise, the same to all channels, from a generator of the draw's own."""
    if drawn.noise == 0:
        return pixels
    random = np.random.Generator(np.random.PCG64(drawn.seed))
    grain = random.standard_normal(pixels.shape[:2], np.float32) * np.float32(255 * drawn.noise)
    grain = grain if pixels.ndim == 2 else np.repeat(grain[..., None], 3, axis=2)
    added = cv2.add(pixels, grain, dtype=cv2.CV_8U)  # rounds and clips
    return np.asarray(added, np.uint8)


def _covered(drawn: Draw, pixels: Pixels) -> Pixels:
    """Cover boxes with the picture's mean."""
    height, width = pixels.shape[:2]
    for top, left, high, wide in drawn.boxes:
        rows = slice(round(top * height), round((top + high) * height))
        columns = slice(round(left * width), round((left + wide) * width))
        pixels[rows, columns] = np.rint(cv2.mean(pixels)[: 1 if pixels.ndim == 2 else 3])
    return pixels


def _toned(drawn: Draw, pixels: Pixels) -> Pixels:
    """Gamma, contrast about the mean, brightness and tint, as one table of 256 values a channel."""
    channels = 1 if pixels.ndim == 2 else 3
    tint = np.array(drawn.tint if channels == 3 else (1.0,))
    if (drawn.gamma, drawn.contrast, drawn.brightness) == (1, 1, 1) and (tint == 1).all():
        return pixels
    values = (np.arange(256) / 255) ** drawn.gamma
    mean = float(np.mean(cv2.mean(pixels)[:channels]) / 255) ** drawn.gamma
    values = drawn.brightness * (mean + drawn.contrast * (values - mean))
    table = np.rint(255 * np.clip(values[:, None] * tint, 0, 1)).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table[:, None]), np.uint8)  # (256, 1, channels)


def _coloured(drawn: Draw, pixels: Pixels) -> Pixels:
    """Move red, green and blue away from their luminance, or towards it."""
    if drawn.saturation == 1:
        return pixels
    luminance = np.tile(LUMINANCE, (3, 1))
    matrix = luminance + drawn.saturation * (np.eye(3) - luminance)
    return np.asarray(cv2.transform(pixels, matrix), np.uint8)
