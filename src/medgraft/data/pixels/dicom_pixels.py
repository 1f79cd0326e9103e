"""From the stored values of a DICOM image to the 256 levels that a viewer shows.

In this order (PS3.4 N.2, PS3.3 C.7.6.3, C.11): modality LUT, or rescale; VOI LUT, or window, or
the range of the data set; MONOCHROME1 and Presentation LUT Shape INVERSE last. Pixels of the
padding value are black and count nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pixels.dicom_codecs import PixelFormat, Stored, lowest_bits
from medgraft.errors import DecodeError
from medgraft.types import Floats, PixelRule, Pixels

if TYPE_CHECKING:
    from pydicom import Dataset

# PS3.3 C.7.6.3.1.2, the inverse of the JPEG File Interchange Format's
RGB_OF_YCC = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """A grey frame in the units that its maker means, and what is still to be done with it.

    values : (height, width), after modality LUT or rescale, before any window. limits : the least
    and the largest that its stored bits can give. padding : (height, width) True where nothing
    was measured, or None. inverted : the largest value is black. bits : stored bits.
    """

    values: NDArray[Any]
    limits: tuple[float, float]
    padding: NDArray[np.bool_] | None
    inverted: bool
    bits: int

    @property
    def brightness(self) -> NDArray[Any]:
        """`values`, turned over within `limits` where the largest is black: brighter is larger."""
        return sum(self.limits) - self.values if self.inverted else self.values


def shown_colours(stored: Stored, form: PixelFormat, ds: Dataset) -> Pixels:
    """Colours, from RGB, YBR_FULL or a palette, as (height, width, 3) RGB or grey palettes as grey.

    More than 8 bits give their 8 highest.
    """
    if form.photometric == "PALETTE COLOR":
        return _palette(stored, ds)
    eight = (stored >> max(0, form.stored - 8)).astype(np.uint8)
    if form.photometric == "RGB":
        return np.ascontiguousarray(eight)
    centred = eight.astype(np.float32)
    centred[..., 1:] -= 128
    rgb = np.rint(centred @ RGB_OF_YCC.T.astype(np.float32))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def _palette(stored: Stored, ds: Dataset) -> Pixels:
    """Look the indices up in three tables (PS3.3 C.7.6.3.1.5)."""
    if "SegmentedRedPaletteColorLookupTableData" in ds:
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(stored, ds)[..., :3]
        colours = (colours >> 8 * (colours.dtype.itemsize - 1)).astype(np.uint8)
    else:
        planes = [_plane(stored, ds, name) for name in ("Red", "Green", "Blue")]
        colours = np.stack(planes, axis=-1)
    if (colours == colours[..., :1]).all():
        return np.ascontiguousarray(colours[..., 0])
    return np.ascontiguousarray(colours)


def _plane(stored: Stored, ds: Dataset, name: str) -> Pixels:
    descriptor = ds[f"{name}PaletteColorLookupTableDescriptor"].value
    count, first, bits = (int(number) for number in descriptor[:3])
    count = count or 1 << 16
    data = ds[f"{name}PaletteColorLookupTableData"].value
    words = np.frombuffer(data[: len(data) & ~1], _order(ds))
    if len(words) >= count:
        # Eight bits in words of 16 lie low or, by the older standard, high.
        table = words >> 8 if bits > 8 or words.max() > 255 else words
    else:
        table = np.frombuffer(words.astype("<u2").tobytes(), np.uint8)  # two entries a word
    if len(table) < count:
        raise DecodeError("its palette is shorter than it says")
    index = np.clip(stored.astype(np.int64) - first, 0, count - 1)
    return table[index].astype(np.uint8)


def grey_picture(
    stored: Stored, form: PixelFormat, ds: Dataset, frame: int, rule: PixelRule
) -> Pixels:
    """The picture (height, width) of a grey frame, by `measured` and `shown_grey`.

    Both look at each pixel by itself; where there are more pixels than values that they can have,
    each value is shown once and looked up.
    """
    possible = 1 << form.stored
    if stored.size < possible:
        return shown_grey(measured(stored, form, ds, frame), ds, frame, rule)
    kind = np.dtype(f"u{stored.dtype.itemsize}")
    every = lowest_bits(np.arange(possible, dtype=kind), form.stored, form.signed)
    table = shown_grey(measured(every, form, ds, frame), ds, frame, rule)
    return np.asarray(table[stored.view(kind) & kind.type(possible - 1)])


def measured(stored: Stored, form: PixelFormat, ds: Dataset, frame: int) -> Measured:
    """Apply the modality LUT or rescale, and see what is padding and which way is bright."""
    padding = _padding(stored, form, ds)
    values, limits = _modality(stored, form, ds, frame)
    shape = str(ds.get("PresentationLUTShape", "")).strip().upper()
    # PS3.3 C.8.11.3.1.2: of MONOCHROME1 INVERSE says the same again, and not its opposite.
    inverted = form.photometric == "MONOCHROME1" or shape == "INVERSE"
    return Measured(values, limits, padding, inverted, form.stored)


def shown_grey(image: Measured, ds: Dataset, frame: int, rule: PixelRule) -> Pixels:
    """The picture (height, width): by the rule's window, the file's, or the data set's range.

    Raises
    ------
    DecodeError
        There is none of these, and more than eight bits to show.
    """
    centre_width = rule.window
    shown: Floats | None = None
    if centre_width is None and (table := _voi_lut(ds, frame)) is not None:
        shown = _looked_up(image.values, *table)
    elif centre_width is not None:
        shown = windowed(image.values, *centre_width)
    elif (window := file_window(ds, frame)) is not None:
        shown = windowed(image.values, *window)
    if shown is not None:
        levels = np.rint(255 * shown).astype(np.uint8)
        levels = 255 - levels if image.inverted else levels
    else:
        levels = _by_range(image, rule)
    if image.padding is not None:
        levels[image.padding] = 0
    return levels


def _by_range(image: Measured, rule: PixelRule) -> Pixels:
    low, high = image.limits if image.bits <= 8 else (rule.low, rule.high)
    if low == high:
        raise DecodeError(
            f"it has {image.bits} bits and no window (Window Center), and its data set has no "
            "range; pass --window CENTER,WIDTH"
        )
    share = (image.brightness.astype(np.float64) - low) / (high - low)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def windowed(values: NDArray[Any], centre: float, width: float, way: str = "LINEAR") -> Floats:
    """The share 0..1 of the brightest that a window gives each value (PS3.3 C.11.2.1.2).

    Examples
    --------
    >>> windowed(np.array([-1.0, 0.0, 4095.0, 5000.0]), 2048, 4096).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    if way == "SIGMOID":
        # beyond 700 the exponential overflows, and the share is 0 or 1 to the last digit
        power = np.clip(-4 * (values.astype(np.float64) - centre) / width, -700, 700)
        return np.asarray(1 / (1 + np.exp(power)))
    if way == "LINEAR_EXACT":
        low, span = centre - width / 2, width
    else:
        low, span = centre - 0.5 - (width - 1) / 2, width - 1
    if span == 0:  # a threshold
        return (values > low).astype(np.float32)
    share: Floats = (values.astype(np.float32) - np.float32(low)) / np.float32(span)
    return np.clip(share, 0, 1)


def file_window(ds: Dataset, frame: int) -> tuple[float, float, str] | None:
    """(centre, width, function) of the first window that the file names and that is one, or None.

    A width below 1 (LINEAR) or of nothing is no window.
    """
    group = _functional(ds, "FrameVOILUTSequence", frame)
    named = group if group is not None and "WindowCenter" in group else ds
    way = str(named.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    if way not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        way = "LINEAR"
    centre, width = _first(named.get("WindowCenter")), _first(named.get("WindowWidth"))
    if centre is None or width is None or width < (1 if way == "LINEAR" else 1e-12):
        return None
    return centre, width, way


def has_voi(ds: Dataset, frame: int = 0) -> bool:
    """Whether the file itself says how its values are shown."""
    return file_window(ds, frame) is not None or _voi_lut(ds, frame) is not None


# --------------------------------------------------------------------------- parts of the pipeline


def _functional(ds: Dataset, keyword: str, frame: int) -> Dataset | None:
    """A functional group's item (PS3.3 C.7.6.16): of this frame, else shared by all, else None."""
    for sequence, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        items = ds.get(sequence)
        if items and index < len(items) and items[index].get(keyword):
            item: Dataset = items[index][keyword].value[0]
            return item
    return None


def _first(value: object) -> float | None:
    """The first number of an element, or None where there is none that is finite."""
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None  # type: ignore[index]
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _bounds(form: PixelFormat) -> tuple[int, int]:
    return (-(1 << form.stored - 1), (1 << form.stored - 1) - 1) if form.signed else (
        0, (1 << form.stored) - 1
    )  # fmt: skip


def _modality(
    stored: Stored, form: PixelFormat, ds: Dataset, frame: int
) -> tuple[NDArray[Any], tuple[float, float]]:
    """The values in their maker's units, and the limits of what the stored bits can give."""
    low, high = _bounds(form)
    tables = ds.get("ModalityLUTSequence")
    if tables:
        values, first, _ = _table(tables[0], form.signed, _order(ds))
        found = values[np.clip(stored.astype(np.int64) - first, 0, len(values) - 1)]
        return found, (float(values.min()), float(values.max()))
    group = _functional(ds, "PixelValueTransformationSequence", frame)
    named = group if group is not None else ds
    slope, intercept = _first(named.get("RescaleSlope")), _first(named.get("RescaleIntercept"))
    if slope is None or slope == 0:
        slope = 1.0
    intercept = intercept or 0.0
    ends = sorted((low * slope + intercept, high * slope + intercept))
    if (slope, intercept) == (1.0, 0.0):
        return stored, (ends[0], ends[1])
    scaled = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return scaled, (ends[0], ends[1])


def _order(ds: Dataset) -> str:
    """How two bytes make a word in this file."""
    return ">u2" if ds.original_encoding[1] is False else "<u2"


def _table(item: Dataset, signed: bool, order: str) -> tuple[NDArray[Any], int, int]:
    """A look-up table (PS3.3 C.11.1): its values, the number that the first is for, their bits."""
    descriptor = item["LUTDescriptor"].value
    count, first, bits = (int(number) for number in descriptor[:3])
    count = count or 1 << 16
    if signed and first >= 1 << 15:
        first -= 1 << 16
    data = item["LUTData"].value
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        data = np.frombuffer(data, order if wide else np.uint8)
    values = np.asarray(data).astype(np.int64) & 0xFFFF
    if len(values) < count or not 1 <= bits <= 16:
        raise DecodeError("its look-up table is shorter than it says, or of more than 16 bits")
    return values[:count], first, bits


def _voi_lut(ds: Dataset, frame: int) -> tuple[NDArray[Any], int, int] | None:
    group = _functional(ds, "FrameVOILUTSequence", frame)
    for named in (group, ds):
        if named is not None and (tables := named.get("VOILUTSequence")):
            return _table(tables[0], signed=True, order=_order(ds))
    return None


def _looked_up(values: NDArray[Any], table: NDArray[Any], first: int, bits: int) -> Floats:
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return np.asarray(table[index] / ((1 << bits) - 1), np.float32)


def _padding(stored: Stored, form: PixelFormat, ds: Dataset) -> NDArray[np.bool_] | None:
    """Where nothing was measured: the padding value, or up to its range limit (C.7.5.1.1.2)."""
    value, limit = (_first(ds.get(f"PixelPadding{name}")) for name in ("Value", "RangeLimit"))
    if value is None:
        return None

    def as_stored(number: float) -> int:  # a signed value may have been written as an unsigned one
        whole = int(number) & 0xFFFF
        return whole - (1 << 16) if form.signed and whole >= 1 << 15 else whole

    one, other = as_stored(value), as_stored(value if limit is None else limit)
    mask: NDArray[np.bool_] = (
        stored == one if one == other else (stored >= min(one, other)) & (stored <= max(one, other))
    )
    return mask if mask.any() else None
