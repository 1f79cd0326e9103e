"""DICOM files made for tests and trials: an array and tags to bytes, with any transfer syntax."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)


def data_set(pixels: NDArray[Any], bits: int | None = None, **tags: Any) -> Dataset:
    """A secondary capture of (rows, columns[, 3]) or (frames, rows, columns) whole numbers."""
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = tags.pop("SOPInstanceUID", generate_uid())
    ds.PatientID, ds.StudyInstanceUID = "P1", tags.pop("StudyInstanceUID", generate_uid())
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.Rows, ds.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def written(
    ds: Dataset, syntax: str = ExplicitVRLittleEndian, frames: list[bytes] | None = None
) -> bytes:
    """The file's bytes; `frames` are the compressed pixels."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "1.2.3")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    if frames is not None:
        ds.PixelData = encapsulate(frames)
    big = syntax == ExplicitVRBigEndian
    if frames is None and "PixelData" in ds:
        if big and ds.BitsAllocated == 16:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds.PixelData += b"\0" * (len(ds.PixelData) % 2)
    if "PixelData" in ds:
        wide = ds.BitsAllocated > 8 and frames is None
        ds["PixelData"].VR = "OW" if wide or syntax == ImplicitVRLittleEndian else "OB"
        ds["PixelData"].is_undefined_length = frames is not None
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def dicom(pixels: NDArray[Any], bits: int | None = None, **tags: Any) -> bytes:
    """The bytes of an uncompressed file."""
    return written(data_set(pixels, bits, **tags))
