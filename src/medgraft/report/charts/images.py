"""Pixels for the page: thumbnails and overlays as WebP in data URIs, small and greyscale-true."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
from numpy.typing import NDArray

from medgraft.types import Floats, Pixels

COLOURS = "magma"
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601
STRONGEST = 0.65  # opacity where the map is 1; at 0 the picture shows untouched


def data_uri(pixels: Pixels, side: int, quality: int = 80) -> str:
    """Encode `pixels (height, width[, 3])`, at most `side` long, as a WebP data URI.

    Nothing is enlarged; the page does that. Grey stays grey: a grey image has no colour planes
    that could take a tint.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def overlay(pixels: Pixels, heat: Floats) -> Pixels:
    """Lay a heat map over an image in grey; the stronger the map, the more it covers.

    Colours of the image would be taken for colours of the map, so they are left out.

    Parameters
    ----------
    pixels : (height, width[, 3]) uint8
    heat : (height, width), 0..1; what lies outside is clipped

    Returns
    -------
    (height, width, 3) uint8
    """
    grey = (pixels if pixels.ndim == 2 else pixels @ LUMINANCE)[..., None]
    level = np.clip(np.nan_to_num(heat), 0, 1)
    colour = _colours()[np.rint(level * 255).astype(np.intp)]  # (height, width, 3)
    cover = (STRONGEST * np.sqrt(level))[..., None]
    return np.rint(grey * (1 - cover) + colour * cover).astype(np.uint8)


def legend(steps: int = 9) -> str:
    """The colours of the overlay from none to most, as a CSS gradient over mid-grey."""
    ramp = overlay(np.full((1, steps), 128, np.uint8), np.linspace(0, 1, steps)[None])[0]
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in ramp.tolist())
    return f"linear-gradient(to right, {stops})"


@functools.cache
def _colours() -> NDArray[np.float64]:
    """The 256 colours of the map, (256, 3) in 0..255."""
    from matplotlib import colormaps

    table: NDArray[np.float64] = np.asarray(colormaps[COLOURS](np.arange(256)))[:, :3] * 255
    return table
