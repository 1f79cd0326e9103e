"""PBM, PGM and PPM, as text and as bytes: Pillow reads them pixel by pixel in Python."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DecodeError

MAX_TEXT = 10_000_000  # samples of a picture written as text

_SPACE = rb"(?:\s|#[^\n]*\n)++"  # never tried again, which would take 100 times the memory
_HEADER = re.compile(
    rb"P(?:([14])"
    + 2 * (_SPACE + rb"(\d{1,9})")
    + rb"|([2356])"
    + 3 * (_SPACE + rb"(\d{1,9})")
    + rb")\s"
)


class Netpbm:
    """The header of one picture: its form (1 to 6), size, channels and largest value."""

    def __init__(self, found: re.Match[bytes]) -> None:
        groups = [g for g in found.groups() if g is not None]
        self.form, self.width, self.height = (int(g) for g in groups[:3])
        self.largest = int(groups[3]) if len(groups) > 3 else 1
        self.channels = 3 if self.form in (3, 6) else 1
        self.start = found.end()

    @classmethod
    def of(cls, data: bytes) -> Netpbm | None:
        """The header that `data` begins with; None where it begins with none."""
        found = _HEADER.match(data)
        return cls(found) if found else None

    @property
    def deep(self) -> bool:
        """Whether its values are more than 8 bits."""
        return self.largest > 255

    def values(self, data: bytes) -> NDArray[Any]:
        """(height, width) or (height, width, 3), brighter is larger.

        Of up to 8 bits they run to 255, whatever the largest is; of more they are as stored.

        Raises
        ------
        DecodeError
            The picture has fewer values than its header says, or too large ones.
        """
        if not 0 < self.largest < 1 << 16:
            raise DecodeError(
                f"its header gives {self.largest} as the largest value; save it again"
            )
        n = self.height * self.width * self.channels
        samples = self._text(data, n) if self.form < 4 else self._bytes(data, n)
        if len(samples) < n:
            raise DecodeError(
                f"the image is damaged (it ends after {len(samples):,} of {n:,} values)"
            )
        shape = (self.height, self.width) + ((3,) if self.channels == 3 else ())
        found = samples[:n].reshape(shape)
        if self.form in (1, 4):  # where 1 is black
            return np.where(found, 0, 255).astype(np.uint8)
        if self.largest >= 255:
            return found.astype(np.uint16 if self.deep else np.uint8, copy=False)
        scaled = np.minimum(found, self.largest) * (255 / self.largest)
        return np.asarray(np.rint(scaled), np.uint8)

    def _bytes(self, data: bytes, n: int) -> NDArray[Any]:
        if self.form == 4:
            across = -(-self.width // 8)
            packed = np.frombuffer(data, np.uint8, self.height * across, self.start)
            bits = np.unpackbits(packed.reshape(self.height, across), axis=1)
            return bits[:, : self.width].ravel()
        return np.frombuffer(data, ">u2" if self.deep else np.uint8, n, self.start)

    def _text(self, data: bytes, n: int) -> NDArray[Any]:
        if n > MAX_TEXT:
            raise DecodeError(f"{n:,} values written as text are not read; save it again as PNG")
        text = re.sub(rb"#[^\n]*", b"", data[self.start :])
        if self.form == 1:  # whose digits need no blanks between them
            digits = np.frombuffer(text, np.uint8)
            return np.asarray(digits[(digits == ord("0")) | (digits == ord("1"))][:n] - ord("0"))
        numbers = np.array(text.split(maxsplit=n)[:n], dtype=np.int64)
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) <= self.largest:
            raise DecodeError(f"it holds values beyond {self.largest}, the largest by its header")
        return numbers
