"""One image through the whole way: encoded, decoded in a worker process, read by both engines."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.doctor.findings import EngineTrial, LiveCheck
from medgraft.features.backbones import DEFAULT, load_backbone
from medgraft.features.engine import ENGINES, Output, default_workers, make_engine
from medgraft.types import Canvas, Pixels, Skipped

TOLERANCE = 1e-4  # of a layer's largest activation; the tests hold the engines to the same
SIDE = 320  # pixels of the made image, so that it is resized, too


def check_engines(network: str = DEFAULT) -> LiveCheck:
    """Try one made image; whatever fails is kept as its error, for the one who has to mend it.

    Graphs are converted anew, not taken from the cache: the conversion is part of what is tried.
    """
    from medgraft.features.weights import PACKAGED

    size = PACKAGED[network].size
    start = time.perf_counter()
    canvas, error = _decoded(size)
    seconds = time.perf_counter() - start
    trials, codes = [], []
    if canvas is not None:
        for engine in ENGINES:
            trial, found = _trial(engine, network, size, canvas)
            trials.append(trial)
            codes.append(found)
    both = bool(codes) and all(codes)
    apart = float(np.max(list(map(_apart, *codes)))) if both else None  # NaN where one is
    return LiveCheck(network, size, seconds, error, tuple(trials), apart, TOLERANCE)


def made_image(side: int = SIDE) -> Pixels:
    """A smooth image `(side, side, 3)`, the same everywhere: no drawing that versions change."""
    down, right = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(9 * down + k) * np.cos((5 + 3 * k) * right) for k in range(3)]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def _decoded(size: int) -> tuple[Canvas | None, str]:
    """The made image as a canvas of the network's size, or why there is none."""
    import simplejpeg

    try:
        file = simplejpeg.encode_jpeg(made_image(), quality=95, colorspace="RGB")
        with DecodePool(1, safe=True) as pool:
            [canvas] = pool.canvases(["made"], [file], CanvasRecipe(size))
    except Exception as error:  # noqa: BLE001  whatever it is, it is what is looked for
        return None, f"{type(error).__name__}: {error}"
    return (None, canvas.reason) if isinstance(canvas, Skipped) else (canvas, "")


def _trial(
    engine: str, network: str, size: int, canvas: Canvas
) -> tuple[EngineTrial, tuple[NDArray[np.float32], ...]]:
    """What one engine reads at the end of each block, averaged, and how long that took."""
    try:
        start = time.perf_counter()
        backbone = load_backbone(network)
        outputs = [Output(tap.name, "avg") for tap in backbone.stages]
        made = make_engine(engine, backbone, outputs, size, workers=default_workers())
        [_] = made.run([canvas])  # some engines finish their start with the first image
        ready = time.perf_counter()
        [(_, codes)] = made.run([canvas])
        read = time.perf_counter()
    except Exception as error:  # noqa: BLE001  see above
        return EngineTrial(engine, error=f"{type(error).__name__}: {error}"), ()
    return EngineTrial(engine, ready - start, read - ready), codes


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-12))
