"""Canvases as PNG, for what reads files."""

from __future__ import annotations

import cv2

from medgraft.errors import ForeignModelError
from medgraft.foreign.answers import in_channels
from medgraft.foreign.options import ForeignOptions
from medgraft.types import Pixels


def as_png(image: Pixels, channels: str) -> bytes:
    """One canvas (side, side, 3) RGB as PNG, in grey where that is asked."""
    pixels = in_channels(image[None], "grey" if channels == "grey" else "bgr")[0]
    _, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def check_files(options: ForeignOptions, name: str) -> str:
    """The channels of the files: rgb or grey.

    Raises
    ------
    ForeignModelError
        What is asked for is not for files.
    """
    if options.normalize or options.output_name or options.channels == "bgr":
        raise ForeignModelError(
            f"{name} gets PNG files, which have no mean, no order of channels and one answer; "
            "leave out --normalize, --output-name and --channels bgr"
        )
    return options.channels or "rgb"
