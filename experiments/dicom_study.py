"""Time a study of DICOM files beside one of the same pictures as PNG.

Writes made radiographs twice, uncompressed DICOM and PNG, in class folders, and times reading the
headers (`load`) and the pictures (`DecodePool`) of both, several times in turn (A B A B).

    python experiments/dicom_study.py [--images 200] [--side 512] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medgraft.data.ingest import load
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.types import Pixels


def radiograph(rng: np.random.Generator, side: int) -> Pixels:
    """A smooth field with noise, (side, side) uint8: it packs about as well as an X-ray."""
    coarse = rng.normal(128, 50, (8, 8)).astype(np.float32)
    field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    noisy = np.asarray(field) + rng.normal(0, 4, field.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def write_dicom(path: Path, pixels: Pixels, patient: int) -> None:
    """One digital radiograph, uncompressed."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid()
    ds.PatientID, ds.StudyInstanceUID, ds.Modality = f"P{patient}", generate_uid(), "DX"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def write_both(folder: Path, images: int, side: int) -> tuple[Path, Path]:
    """The same pictures as DICOM and as PNG, in two class folders each."""
    rng = np.random.default_rng(0)
    for number in range(images):
        pixels = radiograph(rng, side)
        for kind in ("dicom", "png"):
            place = folder / kind / ("ill" if number % 2 else "well")
            place.mkdir(parents=True, exist_ok=True)
            if kind == "png":
                cv2.imwrite(str(place / f"{number}.png"), pixels)
            else:
                write_dicom(place / f"{number}", pixels, number // 2)
    return folder / "dicom", folder / "png"


def seconds_of(folder: Path) -> tuple[float, float]:
    """Seconds to load the table, and to decode and resize all of its images."""
    start = time.perf_counter()
    table = load(folder)
    loaded = time.perf_counter()
    with DecodePool(2) as pool:
        for _ in pool.canvases(table.ids.tolist(), table.sources, CanvasRecipe(224)):
            pass
    return loaded - start, time.perf_counter() - loaded


def main() -> None:
    """Print the median seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dicom, png = write_both(Path(folder), asked.images, asked.side)
        seconds_of(dicom)  # imports, and the salt
        times = np.array([[seconds_of(dicom), seconds_of(png)] for _ in range(asked.rounds)])
    for step, name in enumerate(("load", "decode")):
        a, b = np.median(times[:, :, step], axis=0)
        print(f"{name:8} DICOM {a:.2f} s   PNG {b:.2f} s   ratio {a / b:.2f}")
    a, b = np.median(times.sum(axis=2), axis=0)
    print(f"{'both':8} DICOM {a:.2f} s   PNG {b:.2f} s   ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
