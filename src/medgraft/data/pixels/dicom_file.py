"""DICOM files: what is one, and its picture as a good viewer shows it.

`dicom_codecs.py` takes the stored values out of the file, `dicom_pixels.py` shows them,
`dicom_headers.py` reads who and what belongs together, `dicom_identity.py` keeps that from going
any further. Nothing that stands in a file is repeated in an error: it may be a name.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from medgraft.data.pixels.dicom_codecs import (
    SEND_AGAIN,
    PixelFormat,
    frames_of,
    pixel_format,
    stored_values,
)
from medgraft.data.pixels.dicom_pixels import (
    Measured,
    grey_picture,
    has_voi,
    measured,
    shown_colours,
)
from medgraft.data.pixels.formats import Decoded
from medgraft.errors import DecodeError
from medgraft.types import PLAIN, PixelRule

if TYPE_CHECKING:
    from pydicom import Dataset

HEAD = 132  # bytes that `is_dicom` looks at: a preamble of 128, and DICM
MAX_INFLATED = 128 << 20  # bytes of a deflated data set: 50 megapixels of 16 bits, and a header
DICOMDIR = "1.2.840.10008.1.3.10"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
ENCRYPTED = "its content is encrypted; export it decrypted, or leave it out"
DEFLATED = b"1.2.840.10008.1.2.1.99"
_REPRESENTATIONS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
    b"UR US UT UV"
).split()
_UNWARNED = ("ignore", None, Warning, re.compile(r"pydicom"), 0)


def is_dicom(head: bytes) -> bool:
    r"""Whether a file that begins like this is DICOM: by its mark, or without one by its elements.

    A file without preamble begins with an element of group 2 or 8, of a known representation
    (explicit) or a sensible length (implicit, little endian); 132 bytes suffice.

    Examples
    --------
    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"\x08\0\x05\0CS\x0a\0ISO_IR 100")
    (True, True)
    >>> is_dicom(b"\x89PNG\r\n\x1a\n" + bytes(200))
    False
    """
    if head[128:132] == b"DICM" or _is_envelope(head):
        return True
    if len(head) < 12:
        return False
    group, element = struct.unpack_from("<HH", head)
    if group in (0x0200, 0x0800):  # big endian
        return bytes(head[4:6]) in _REPRESENTATIONS
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    if head[4:6] in _REPRESENTATIONS:
        return True
    (length,) = struct.unpack_from("<I", head, 4)
    return bool(group == 0x0008 and 0 < length <= 64 and length % 2 == 0)


def _is_envelope(head: bytes) -> bool:
    """Whether it is a secure DICOM file (PS3.15 D): a CMS envelope, data or digest around one."""
    return head[:1] == b"\x30" and b"\x2a\x86\x48\x86\xf7\x0d\x01\x07" in head[:32]


def decode_dicom(data: bytes, frame: int | None = None, rule: PixelRule = PLAIN) -> Decoded:
    """The picture of a DICOM file's frame (the first where None), by the data set's rule.

    Raises
    ------
    DecodeError
        It has no picture, or one that is not read; the text names the rule, and nothing of the
        file.
    """
    with guarded():
        ds = read_dataset(data)
        form = _with_pixels(ds)
        stored, form = stored_values(ds, form, frame or 0)
        if form.samples == 3 or form.photometric == "PALETTE COLOR":
            pixels = shown_colours(stored, form, ds)
        else:
            pixels = grey_picture(stored, form, ds, frame or 0, rule)
        frames = frames_of(ds)
    remark = f"the first of its {frames} frames" if frame is None and frames > 1 else ""
    return Decoded(pixels, (form.rows, form.columns), remark=remark)


def brightness(data: bytes, frame: int | None = None) -> NDArray[Any] | None:
    """The values (n,) that a data set's range is found from, brighter is larger; padding left out.

    None where the file says itself how it is shown, by a window or as colours, or has 8 bits.

    Raises
    ------
    DecodeError
        As `decode_dicom` says.
    """
    with guarded():
        ds = read_dataset(data)
        form = _with_pixels(ds)
        if form.samples == 3 or form.photometric == "PALETTE COLOR" or form.stored <= 8:
            return None
        if has_voi(ds, frame or 0):
            return None
        stored, form = stored_values(ds, form, frame or 0)
        image: Measured = measured(stored, form, ds, frame or 0)
    kept = image.brightness
    return kept.ravel() if image.padding is None else kept[~image.padding]


class guarded:  # noqa: N801  used as a function, like contextlib.suppress
    """Make one error of all that broken files raise, without repeating what stands in them."""

    def __enter__(self) -> None:
        # `warnings.catch_warnings` is not safe across threads; an entry for pydicom alone is.
        if _UNWARNED not in warnings.filters:
            warnings.filterwarnings("ignore", module=r"pydicom")

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DecodeError | MemoryError):
            return
        if isinstance(error, Exception):
            raise DecodeError(
                f"the DICOM file is damaged ({type(error).__name__} while it was read); "
                f"{SEND_AGAIN}"
            ) from None


def read_dataset(data: bytes | mmap.mmap, *, header: bool = False) -> Dataset:
    """Parse a file; with `header` what lies before the pixels, of a mapped file nothing more.

    Raises
    ------
    DecodeError
        It is no DICOM file, or a bomb.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if _is_envelope(data[:HEAD]):
        raise DecodeError(ENCRYPTED)
    if DEFLATED in data[132:1024]:
        _check_inflated(data)
    unmarked = data[128:132] != b"DICM"
    try:
        stream: Any = data if isinstance(data, mmap.mmap) else io.BytesIO(data)
        return dcmread(stream, force=unmarked, stop_before_pixels=header)
    except InvalidDicomError:
        raise DecodeError(f"it is not DICOM, whatever its name says; {SEND_AGAIN}") from None


def _check_inflated(data: bytes | mmap.mmap) -> None:
    """Inflate a deflated data set piece by piece and forget it, to see that it has an end."""
    at, end = 132, 132
    while struct.unpack_from("<H", data, at)[0] == 2:
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"UC", b"UR")
        length = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))[0]
        at = end = at + (12 if long else 8) + length
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, total = data[end:], 0
    while rest and not inflate.eof:
        total += len(inflate.decompress(rest, 1 << 20))
        rest = inflate.unconsumed_tail
        if total > MAX_INFLATED:
            raise DecodeError(
                f"its deflated data set has more than {MAX_INFLATED >> 20} MB; {SEND_AGAIN}"
            )


def no_picture(ds: Dataset) -> str:
    """Why a data set has no picture to learn from, or ''."""
    kind = str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or "")
    if kind == DICOMDIR or "DirectoryRecordSequence" in ds:
        return "it is a DICOMDIR, an index of other files, which are read by themselves"
    if kind == SEGMENTATION:
        return "it is a segmentation, a mask of another image; leave it out, or see --masks"
    if "Rows" in ds and "Columns" in ds and "BitsAllocated" in ds:
        return ""
    if "EncryptedAttributesSequence" in ds:
        return ENCRYPTED
    return f"it has no pixels (it is {_kind_of_object(kind)}); leave it out"


def _kind_of_object(uid: str) -> str:
    from pydicom.uid import UID

    name = UID(uid).name if re.fullmatch(r"[\d.]{1,64}", uid) else ""
    return name if name and name != uid else "of no kind of object that is known"


def _with_pixels(ds: Dataset) -> PixelFormat:
    if problem := no_picture(ds):
        raise DecodeError(problem)
    if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
        raise DecodeError("its pixels are floating-point numbers, a map rather than a picture")
    form = pixel_format(ds)
    if not ds.get("PixelData"):
        if "EncryptedAttributesSequence" in ds:
            raise DecodeError(ENCRYPTED)
        raise DecodeError(f"it has no pixels, or ends before them; {SEND_AGAIN}")
    return form
