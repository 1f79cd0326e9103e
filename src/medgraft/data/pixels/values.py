"""Stored numbers to the 256 levels of a picture.

By the one rule of a data set (`pixel_rule.py`), or, where there is none, image by image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DecodeError
from medgraft.types import PLAIN, PixelRule, Pixels

DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners have
CLIPPED = 0.02  # of an image's values beyond the rule, from which on it is said
WORDS = 16  # bits a table of all values may have


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """The numbers of one image as they are stored, upright.

    values : (height, width) or (height, width, 3), of any type; uint8 are a picture already.
    source_size : (height, width) in pixels as stored, before turning.
    orientation : EXIF 1 to 8, already applied to `values`.
    white : the largest value that can be stored, where 0 is white; None where 0 is black.
    remark : what should be known of how it was read, or ''.
    """

    values: NDArray[Any]
    source_size: tuple[int, int]
    orientation: int = 1
    white: int | None = None
    remark: str = ""

    @property
    def brightness(self) -> NDArray[Any]:
        """The values, of white-is-zero counted from the other end, so that larger is brighter.

        Signed numbers and floats are negated: they have no other end.
        """
        if self.white is None:
            return self.values
        if self.values.dtype.kind == "u":
            inverted: NDArray[Any] = self.values.dtype.type(self.white) - self.values
            return inverted
        return -self.values.astype(np.float64)

    def shown(self, rule: PixelRule) -> tuple[Pixels, str]:
        """The picture under a rule, and what of it is to be said, '' where nothing is."""
        if self.values.dtype in (np.uint8, bool):
            pixels = to_8_bit(self.values)
            return (pixels if self.white is None else 255 - pixels), self.remark
        if rule.high > rule.low:
            bright = self.brightness
            return to_8_bit(bright, rule), _joined(self.remark, _beyond(bright, rule))
        pixels = to_8_bit(self.values)
        remark = f"its {self.values.dtype} values were brought to 8 bits by its own largest one"
        return (pixels if self.white is None else 255 - pixels), _joined(self.remark, remark)


def _joined(*remarks: str) -> str:
    return "; ".join(filter(None, remarks))


def _beyond(values: NDArray[Any], rule: PixelRule) -> str:
    """A remark where more than `CLIPPED` of the values lie beyond the rule."""
    share = float(np.mean((values < rule.low) | (values > rule.high)))
    if share <= CLIPPED:
        return ""
    return (
        f"{share:.0%} of its values lie beyond {rule.low:g} to {rule.high:g}, which the data set "
        "uses, and are shown black or white"
    )


def to_8_bit(values: NDArray[Any], rule: PixelRule = PLAIN) -> Pixels:
    """Bring numbers of any kind to 0..255.

    Parameters
    ----------
    values : any shape. uint8 stays, and of booleans True is white, whatever the rule.
    rule : from `low` to `high` evenly, what is beyond clipped, no number (NaN) black. Without a
        range each image is brought there by itself: unsigned ones of up to 16 bits by the smallest
        of 8, 10, 12, 14 and 16 bits that holds their largest value; all others from their smallest
        to their largest finite value, a constant image black.

    Raises
    ------
    DecodeError
        They are complex, or none is finite.

    Examples
    --------
    >>> to_8_bit(np.array([[0, 4095]], np.uint16)).tolist()
    [[0, 255]]
    >>> to_8_bit(np.array([[0, 4095]], np.uint16), PixelRule(0, 65535)).tolist()
    [[0, 16]]
    >>> to_8_bit(np.array([[-1.0, 0.0, 1.0]])).tolist()
    [[0, 128, 255]]
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif":
        raise DecodeError(f"numbers of type {values.dtype} are not pixels; store unsigned integers")
    if rule.high > rule.low:
        return _ruled(values, rule.low, rule.high)
    return _by_itself(values)


def _ruled(values: NDArray[Any], low: float, high: float) -> Pixels:
    """Evenly from low to high, by a table where all values can stand in one."""
    size = 8 * values.dtype.itemsize
    if values.dtype.kind in "ui" and size <= WORDS:
        signed = values.dtype.kind == "i"
        wide = np.ascontiguousarray(values, np.int16 if signed else np.uint16)
        return np.take(_table(low, high, signed), wide.view(np.uint16))
    real = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
    if values.dtype.kind == "f":
        real = np.nan_to_num(real, nan=low, posinf=high, neginf=low)
    return _levels(real, low, high)


@lru_cache(maxsize=8)
def _table(low: float, high: float, signed: bool) -> Pixels:
    """(65536,) the level of each value of 16 bits, by its bits."""
    every = np.arange(1 << WORDS, dtype=np.uint16)
    return _levels((every.view(np.int16) if signed else every).astype(np.float64), low, high)


def _levels(real: NDArray[Any], low: float, high: float) -> Pixels:
    """0..255 of finite floats."""
    np.clip(real, low, high, out=real)
    real -= low
    real *= 255
    real /= high - low
    pixels: Pixels = np.rint(real, out=real).astype(np.uint8)
    return pixels


def _by_itself(values: NDArray[Any]) -> Pixels:
    """Without a rule; see `to_8_bit`."""
    if values.dtype.kind in "ui" and values.min() >= 0 and (largest := int(values.max())) < 1 << 16:
        bits = next(bits for bits in DEPTHS if largest < 1 << bits)
        return (values >> (bits - 8)).astype(np.uint8)
    real: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
    finite = np.isfinite(real)
    if not finite.any():
        raise DecodeError("it holds no finite number; save it again, or leave it out")
    low, high = real.min(where=finite, initial=np.inf), real.max(where=finite, initial=-np.inf)
    if low == high:
        return np.zeros(values.shape, np.uint8)
    real[~finite] = low
    largest_part = max(abs(low), abs(high))  # division first: the range itself could overflow
    real /= largest_part
    real -= low / largest_part
    real *= 255 / (high / largest_part - low / largest_part)
    pixels: Pixels = np.rint(real, out=real).astype(np.uint8)
    return pixels
