"""Label and probabilities of image files, by the model that lies beside this file.

Needs numpy, pillow, simplejpeg, and onnxruntime or openvino (requirements.txt); neither torch
nor medgraft.

    python predict.py image.png other.jpg [--json]

In Python: `model = Model(); model.probabilities(model.canvas("image.png")[None])`.
For research only: this is not a medical device; take no decision about a patient from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
MOST_PIXELS = 50_000_000
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners have


HERE = Path(__file__).resolve().parent


class UnreadableError(Exception):
    """An image of a kind that is not read here; the text says what to do."""


class Model:
    """The graph in a folder, and how images are made for it."""

    def __init__(self, folder: Path = HERE, threads: int = 0) -> None:
        self.facts: dict[str, Any] = json.loads((folder / "export.json").read_text("utf-8"))
        for name, expected in self.facts["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
                raise SystemExit(f"{name} was changed since it was exported; export it again")
        self.size: int = self.facts["input"]["size"]
        self.run = (_onnx if self.facts["format"] == "onnx" else _openvino)(folder, threads)

    def probabilities(self, canvases: np.ndarray) -> np.ndarray:
        """Canvases (n, size, size, 3) uint8 RGB to probabilities (n, classes)."""
        return np.asarray(self.run(np.ascontiguousarray(canvases)))

    def label(self, p: np.ndarray) -> str:
        """Of one image's probabilities (classes,): by the threshold, or the most probable class."""
        classes, positive = self.facts["classes"], self.facts["positive"]
        if self.facts["operating"] is None or positive is None:
            return str(classes[int(p.argmax())])
        at = classes.index(positive)
        return str(classes[at if p[at] >= self.facts["operating"]["threshold"] else 1 - at])

    def canvas(self, path: str) -> np.ndarray:
        """An image file as the network sees it, (size, size, 3) uint8 RGB."""
        rule, whole = self.facts["input"]["rule"], (self.size, self.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, full = _decoded(path, whole, rule)
        rows, columns = full
        crop, content = (0, 0, rows, columns), (0, 0, *whole)
        if self.facts["input"]["resize"] == "crop":
            side = min(rows, columns)
            crop = _centred(side, side, rows, columns)
        elif self.facts["input"]["resize"] == "pad":
            scale = min(self.size / rows, self.size / columns)
            content = _centred(scale * rows, scale * columns, *whole)
        top, left, height, width = _scaled(crop, full, pixels.shape[:2])
        resized = _resized(pixels[top : top + height, left : left + width], content[2:])
        canvas = np.zeros((*whole, 3), np.uint8)
        top, left, height, width = content
        canvas[top : top + height, left : left + width] = resized
        return canvas


def _onnx(folder: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda canvases: session.run(["probabilities"], {"canvas": canvases})[0]


def _openvino(folder: Path, threads: int) -> Any:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # sends nothing
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", settings)
    return lambda canvases: compiled({"canvas": canvases})["probabilities"]


# --------------------------------------------------------------------------- from file to pixels


def _decoded(
    path: str, enough: tuple[int, int], rule: dict[str, Any]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Upright pixels (rows, columns[, 3]) uint8, and rows and columns of the file at full size."""
    image: Image.Image = Image.open(path, formats=FORMATS)
    kind, tags = image.format, getattr(image, "tag_v2", {})
    if image.width * image.height > MOST_PIXELS:
        raise UnreadableError(f"it has more than {MOST_PIXELS:,} pixels; store a smaller image")
    jpeg = kind in ("JPEG", "MPO")  # the latter of telephones: smaller pictures behind the first
    if jpeg:
        image.info.pop("xmp", None)  # which Pillow would turn it by, and medgraft does not
    if rule["page"] and kind in ("TIFF", "GIF", "WEBP"):
        image.seek(rule["page"] - 1)
    if kind == "TIFF" and tags.get(262) == 0 and image.mode not in ("1", "L"):
        raise UnreadableError("white is zero at more than 8 bits; use medgraft itself")
    if kind == "PNG" and Path(path).read_bytes()[24:26] in (b"\x10\2", b"\x10\4", b"\x10\6"):
        raise UnreadableError("colours or alpha of 16 bits are not read here; use medgraft itself")
    full = (image.height, image.width)
    if jpeg and image.mode in ("L", "RGB"):
        on_its_side = image.getexif().get(0x0112, 1) >= 5
        info, enough = image.info, enough[::-1] if on_its_side else enough
        image = _jpeg(path, image.mode == "L", enough)
        image.info = info  # where its orientation stands
    before = image.size
    image = ImageOps.exif_transpose(image)
    return _eight_bits(image, rule), full[::-1] if image.size != before else full


def _jpeg(path: str, grey: bool, enough: tuple[int, int]) -> Image.Image:
    """Decoded by libjpeg-turbo at the smallest eighth of its size that has both sides of `enough`.

    Pillow scales by halves alone, and the grey level that makes a difference is seen by networks.
    """
    data = Path(path).read_bytes()
    high, wide = enough
    pixels = simplejpeg.decode_jpeg(
        data, "GRAY" if grey else "RGB", min_height=high, min_width=wide
    )
    return Image.fromarray(pixels[..., 0] if grey else pixels)


def _eight_bits(image: Image.Image, rule: dict[str, Any]) -> np.ndarray:
    """Grey or RGB of 8 bits of whatever Pillow calls the image's mode."""
    if image.mode.startswith("I") or image.mode == "F":
        return _shown(np.asarray(image), rule["low"], rule["high"])
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        straight = image.convert("RGBA")
        low, high = straight.getchannel("A").getextrema()
        return np.asarray(straight if low == high else straight.convert("RGBa"))[..., :3]
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _shown(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Stored numbers to 0..255: evenly from low to high, or by the image's own largest."""
    if high > low:
        real = np.nan_to_num(values.astype(np.float64), nan=low)
        return np.rint((np.clip(real, low, high) - low) * 255 / (high - low)).astype(np.uint8)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() >= 1 << 16:
        raise UnreadableError("its numbers are no unsigned ones of 16 bits; use medgraft itself")
    bits = next(bits for bits in DEPTHS if values.max() < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


# --------------------------------------------------------------------------- from pixels to canvas


def _centred(height: float, width: float, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a box in the middle of (rows, columns)."""
    high, wide = min(max(round(height), 1), rows), min(max(round(width), 1), columns)
    return (rows - high) // 2, (columns - wide) // 2, high, wide


def _scaled(
    box: tuple[int, int, int, int], full: tuple[int, int], now: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """A box of the full-size image in the same image decoded smaller."""
    down, across = now[0] / full[0], now[1] / full[1]
    top = min(round(box[0] * down), now[0] - 1)
    left = min(round(box[1] * across), now[1] - 1)
    bottom, right = round((box[0] + box[2]) * down), round((box[1] + box[3]) * across)
    return top, left, max(bottom - top, 1), max(right - left, 1)


def _resized(pixels: np.ndarray, to: tuple[int, ...]) -> np.ndarray:
    """(height, width, 3): means over areas where an axis shrinks, then cubic where one grows."""
    found = pixels if pixels.ndim == 3 else pixels[..., None]
    rows, columns = found.shape[:2]
    small = (min(rows, to[0]), min(columns, to[1]))
    if small != (rows, columns):
        halved = rows == 2 * small[0] and columns == 2 * small[1]
        means = _product(found, _areas(rows, small[0]), _areas(columns, small[1]))
        found = np.floor(means + 0.5) if halved else np.rint(means)
    if small != to:
        found = np.rint(_product(found, _cubic(small[0], to[0]), _cubic(small[1], to[1])))
    return np.asarray(np.clip(found, 0, 255), np.uint8)


def _product(pixels: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Weights (height, rows) and (width, columns) applied to (rows, columns, channels)."""
    rows, columns, channels = pixels.shape
    high = (down @ pixels.reshape(rows, -1).astype(np.float32)).reshape(-1, columns, channels)
    return np.asarray(np.matmul(across, high))


def _areas(side: int, to: int) -> np.ndarray:
    """How much of each of `side` pixels lies in each of `to` larger ones, (to, side)."""
    edges, at = np.arange(to + 1) * (side / to), np.arange(side)
    shared = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    return np.asarray(np.maximum(shared, 0) * (to / side), np.float32)


def _cubic(side: int, to: int) -> np.ndarray:
    """Keys' cubic interpolation (1981) with a = -3/4, the last pixel repeated, (to, side)."""
    if side == to:
        return np.eye(side, dtype=np.float32)
    at = (np.arange(to) + 0.5) * side / to - 0.5
    first = np.floor(at).astype(int)
    weights = np.zeros((to, side))
    for step in range(-1, 3):
        x = np.abs(at - (first + step))
        near = (1.25 * x - 2.25) * x * x + 1
        far = ((-0.75 * x + 3.75) * x - 6) * x + 3
        pixel = np.clip(first + step, 0, side - 1)
        np.add.at(weights, (np.arange(to), pixel), np.where(x <= 1, near, far))
    return np.asarray(weights, np.float32)


def main() -> int:
    """Print what the model says of each file; 4 where not one can be read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    model, rows = Model(), []
    for path in asked.images:
        try:
            p = model.probabilities(model.canvas(path)[None])[0]
        except (UnreadableError, OSError, ValueError, SyntaxError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            rows.append({"source": path, "label": None, "probabilities": None, "error": reason})
            continue
        said = dict(zip(model.facts["classes"], map(float, p), strict=True))
        rows.append({"source": path, "label": model.label(p), "probabilities": said, "error": None})
    if asked.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    for row in [] if asked.json else rows:
        shares = ", ".join(f"{k} {v:.4f}" for k, v in (row["probabilities"] or {}).items())
        sys.stdout.write(f"{row['source']}: {row['label'] or row['error']}  {shares}\n")
    return 0 if any(row["label"] for row in rows) else 4


if __name__ == "__main__":
    sys.exit(main())
