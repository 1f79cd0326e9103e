"""Who and what belongs together, by the headers of DICOM files; and what is worth a warning.

What identifies a person is held here while a table is read and goes no further:
`dicom_identity.py` takes it out of the table that this room hands on.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medgraft.data.linked import linked_by
from medgraft.data.listing import DicomHeader, Row, content_hash
from medgraft.data.pixels.dicom_codecs import frames_of
from medgraft.data.pixels.dicom_file import HEAD, guarded, is_dicom, no_picture, read_dataset
from medgraft.data.pixels.dicom_pixels import file_window, has_voi
from medgraft.data.pixels.headers import MAX_PIXELS
from medgraft.errors import DecodeError
from medgraft.types import Finding, Grouping, Skipped, Strings

if TYPE_CHECKING:
    from pydicom import Dataset

# Of the machine and the view, never of the person or the place; offered to the shortcut probes.
COLUMNS = {
    "DICOM modality": ("Modality",),
    "DICOM laterality": ("ImageLaterality", "Laterality"),
    "DICOM view": ("ViewPosition",),
    "DICOM body part": ("BodyPartExamined",),
    "DICOM manufacturer": ("Manufacturer",),
    "DICOM model": ("ManufacturerModelName",),
    "DICOM kVp": ("KVP",),
    "DICOM kernel": ("ConvolutionKernel",),
    "DICOM photometric": ("PhotometricInterpretation",),
    "DICOM lossy": ("LossyImageCompression",),
}
Grouped = tuple[Strings, Grouping, tuple[Finding, ...]]
NO_COLUMNS = ("",) * len(COLUMNS)
KEYS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
LONGEST = 64  # of a value in a column, as of most text in the standard (PS3.5 6.2)
LARGEST = 4 * MAX_PIXELS  # bytes of a file that is read whole for its header
NOBODY = {  # what stands where a patient's number was taken out
    "", "anonymous", "anonymized", "anonymised", "anon", "unknown", "none", "n/a", "na", "nan",
    "null", "0", "removed", "deleted", "patient", "noid", "no id", "xxx", "xxxx", "deidentified",
    "de-identified", "pseudonymized", "id", "test",
}  # fmt: skip


def read_header(data: bytes | mmap.mmap) -> DicomHeader:
    """What a file says of itself; a file that says nothing sensible gives its `problem`."""
    try:
        with guarded():
            ds = read_dataset(data, header=True)
            problem = no_picture(ds)
            window = file_window(ds, 0)
            colour = str(ds.get("PhotometricInterpretation", "")) not in (
                "MONOCHROME1", "MONOCHROME2", ""
            )  # fmt: skip
            return DicomHeader(
                keys=tuple(_text(ds, key) for key in KEYS),  # type: ignore[arg-type]
                frames=1 if problem else _frames(ds, len(data)),
                columns=tuple(_first_text(ds, names) for names in COLUMNS.values()),
                problem=problem,
                burned_in=_text(ds, "BurnedInAnnotation").upper() == "YES",
                private=any(tag.is_private for tag in ds.keys()),  # noqa: SIM118  it holds tags
                window=None if window is None else window[:2],
                shown=colour or int(ds.get("BitsStored") or 8) <= 8 or has_voi(ds),
            )
    except DecodeError as error:
        if isinstance(data, mmap.mmap) and len(data) <= LARGEST:
            return read_header(bytes(data))  # a mapped file has no place behind its end to look at
        return DicomHeader(problem=str(error))


def header_in(file: str | Path) -> DicomHeader | None:
    """What a DICOM file says of itself, whose pixels are not read; None of any other file.

    Raises
    ------
    OSError
        It cannot be read.
    """
    path = Path(file)
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        head = stream.read(HEAD)
        if not is_dicom(head):
            return None
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # some file systems map nothing
            return read_header(head + stream.read(LARGEST))
        with mapped:
            return read_header(mapped)


def frames_in(file: str | Path) -> int:
    """How many frames a DICOM file has; 1 of any other file, and of one that cannot be read."""
    with suppress(OSError):
        if (header := header_in(file)) is not None:
            return header.frames
    return 1


def _frames(ds: Dataset, size: int) -> int:
    """How many frames it has: each is an image of its own, so that a garbled number is refused."""
    frames = frames_of(ds)
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    least = 8 * 8.0  # bits, of a fragment's own header
    if syntax is None or not syntax.is_compressed:
        sizes = (ds.get(name) or 1 for name in ("Rows", "Columns", "SamplesPerPixel"))
        least = float(math.prod(map(int, sizes)) * int(ds.get("BitsAllocated") or 8))
    if frames > 1 and frames * least > 8 * size:
        raise DecodeError(
            f"its header names {frames:,} frames, more than its {size:,} bytes can hold"
        )
    return frames


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).strip().strip("\0").strip()


def _first_text(ds: Dataset, keywords: Sequence[str]) -> str:
    return next((text[:LONGEST] for word in keywords if (text := _text(ds, word))), "")


# --------------------------------------------------------------------------- rows


def with_pictures(rows: Sequence[Row]) -> tuple[list[Row], list[Skipped]]:
    """The rows but for DICOM files without a picture, which are skipped with the reason."""
    kept = [row for row in rows if row.dicom is None or not row.dicom.problem]
    gone = [Skipped(row.id, row.dicom.problem) for row in rows if row.dicom and row.dicom.problem]
    return kept, gone


def frame_hash(file_hash: str, frame: int) -> str:
    """What stands for the content of one frame, counted from 0, of a file."""
    return content_hash(f"{file_hash}#{frame}".encode())


def one_row_a_frame(rows: Sequence[Row]) -> list[Row]:
    """The rows in the order of their contents, a frame each.

    That order, and nothing that is salted, is what folds and seeds hang on.
    """
    found = []
    for row in sorted(rows, key=lambda row: (row.content_hash, row.id)):
        row = replace(row, extra=row.extra + (row.dicom.columns if row.dicom else NO_COLUMNS))
        frames = row.dicom.frames if row.dicom else 1
        if frames == 1:
            found.append(row)
            continue
        for frame in range(frames):
            name = frame_hash(row.content_hash, frame)
            source = replace(row.source, frame=frame)
            found.append(replace(row, id=f"{row.id}#{frame}", source=source, content_hash=name))
    return found


# --------------------------------------------------------------------------- groups


def dicom_groups(
    rows: Sequence[Row], asked: str | None, none: bool, otherwise: Callable[[], Grouped]
) -> Grouped:
    """A group (n,) for each row, as asked for, by the headers, or by table and names.

    Frames of a file are never apart, nor images of a study unless `none` asks for it. Where the
    headers join no two files, `otherwise` (table, names) may still.
    """
    if asked in KEYS:
        return *group_by_header(rows, asked), ()
    paths = [row.source.path for row in rows]
    studies = [row.dicom.study if row.dicom else "" for row in rows]
    nothing = [""] * len(rows)
    if asked is None and not none:
        groups, how = group_by_header(rows)
        if len(set(groups.tolist())) < len(set(paths)):
            return groups, how, ()
        others, by, possible = otherwise()
        if by.rule == "none":
            return groups, how, possible
        return _joined(others.tolist(), studies, paths), by, possible
    others, by, possible = otherwise()
    columns = (nothing, nothing) if none else (others.tolist(), studies)
    return _joined(*columns, paths), by, possible


def group_by_header(rows: Sequence[Row], key: str = "") -> tuple[Strings, Grouping]:
    """A group (n,) for each row: patients with all their studies, or `key` of `KEYS` alone.

    Rows of one PatientID or of one study are joined, over as many steps as it takes. Where no
    patient is named, or all files name the same one in several studies, studies are the groups.
    A file that names neither, and an image that is not DICOM, is a group of its own (its frames
    together).
    """
    headers = [row.dicom or DicomHeader() for row in rows]
    own = [row.group or row.source.path for row in rows]
    if key:
        values = [header.keys[KEYS.index(key)] for header in headers]
        named = [value or path for value, path in zip(values, own, strict=True)]
        return np.array(named), Grouping(key, False, f"by {key} of the DICOM files")
    patients = [
        "" if header.patient.casefold().strip("^ ") in NOBODY else header.patient
        for header in headers
    ]
    studies = [header.study for header in headers]
    text = "by PatientID of the DICOM files, studies whole"
    if len(set(patients)) == 1 and len(set(studies)) > 1:
        text = (
            "by StudyInstanceUID of the DICOM files, since "
            + ("all name the same patient" if patients[0] else "none names a patient")
            + "; two studies of one patient may lie on two sides of a fold"
        )
        patients = [""] * len(rows)
    groups = _joined(patients, studies, own)
    how = "PatientID" if any(patients) else "StudyInstanceUID"
    return groups, Grouping(how, True, text)


def _joined(*columns: Sequence[str]) -> Strings:
    """A group (n,) for each row: rows that share a value of any column, '' sharing nothing."""
    return linked_by(*columns).astype(np.str_)


# --------------------------------------------------------------------------- findings


def header_findings(rows: Sequence[Row], *, windowed: bool = False) -> list[Finding]:
    """What a person should know of these files before they are studied.

    windowed : whether all are shown by a window that the user said.
    """
    dicom = [row for row in rows if row.dicom is not None]
    found = [
        *_mixed(rows, len(dicom)),
        *_several_frames(dicom),
        *(() if windowed else _windows(dicom)),
        *_drawn_in(dicom),
    ]
    private = len({row.source.path for row in dicom if row.dicom and row.dicom.private})
    if private:
        found.append(
            Finding(
                "dicom_private_tags",
                "info",
                f"{private:,} DICOM files have private tags, in which makers may keep names. None "
                "of them is read, and nothing of them goes into what is written.",
                {"files": private},
                remedy="Take them out before you give the files themselves away.",
            )
        )
    return found


def _mixed(rows: Sequence[Row], n_dicom: int) -> list[Finding]:
    if n_dicom == len(rows):
        return []
    by_class: dict[str, Counter[bool]] = defaultdict(Counter)
    for row in rows:
        by_class[row.label or "without a label"][row.dicom is not None] += 1
    counts = "; ".join(f"{name}: {c[True]:,} and {c[False]:,}" for name, c in by_class.items())
    return [
        Finding(
            "dicom_mixed",
            "warn",
            f"{n_dicom:,} images are DICOM and {len(rows) - n_dicom:,} are not ({counts}). Where "
            "the kind of file follows the class, a model may learn the kind.",
            {"dicom": n_dicom, "others": len(rows) - n_dicom},
            remedy="Study images of one kind, made in one way.",
        )
    ]


def _several_frames(dicom: Sequence[Row]) -> list[Finding]:
    frames = [row for row in dicom if row.source.frame is not None]
    if not frames:
        return []
    files = len({row.source.path for row in frames})
    return [
        Finding(
            "dicom_frames",
            "info",
            f"{files:,} DICOM files hold {len(frames):,} frames. Each frame is an image; those of "
            "a file stay in one group.",
            {"files": files, "frames": len(frames)},
        )
    ]


def _windows(dicom: Sequence[Row]) -> list[Finding]:
    """Whether all files say how they are shown, and the same."""
    silent = sum(not row.dicom.shown for row in dicom if row.dicom)
    windows = Counter(row.dicom.window for row in dicom if row.dicom and row.dicom.window)
    if silent and silent < len(dicom):
        return [
            Finding(
                "dicom_windows",
                "warn",
                f"{silent:,} of {len(dicom):,} DICOM images name no window and are shown by the "
                "range of the data set, the others by their own: brightness may tell them apart.",
                {"without": silent, "images": len(dicom)},
                remedy="Pass --window CENTER,WIDTH to show all of them alike.",
            )
        ]
    if len(windows) > 1:
        return [
            Finding(
                "dicom_windows",
                "info",
                f"The DICOM images are shown by their own windows, {len(windows):,} different "
                "ones.",
                {"windows": len(windows)},
                remedy="Pass --window CENTER,WIDTH to show all of them alike.",
            )
        ]
    return []


def _drawn_in(dicom: Sequence[Row]) -> list[Finding]:
    drawn = tuple(row.id for row in dicom if row.dicom and row.dicom.burned_in)
    if not drawn:
        return []
    return [
        Finding(
            "dicom_burned_in",
            "warn",
            f"{len(drawn):,} DICOM images say that text is drawn into them (Burned In Annotation "
            "YES): names and dates may stand in the pictures that reports show, and may tell the "
            "class.",
            {"images": len(drawn)},
            drawn,
            "Mask the text, or leave these images out, before you give a report away.",
        )
    ]
