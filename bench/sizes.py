"""The forward pass at 224, 544 and 864 px: seconds an image against what multiply-adds predict.

Sizes take turns in every round, and a size is held against the 224 px of its own round, so that
other work on the machine, which a load average above the cores betrays, slows both alike. Pixels
are made and nothing is decoded. The memory is that of a fresh process at the largest size, the
conversion of the network included.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from harness import Spread, peak_memory, save
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.engine import Engine, Output, default_workers, make_engine
from medgraft.types import Canvas, Geometry

BACKBONES = ("tf_efficientnet_lite0", "vgg16")
SIZES = (224, 544, 864)
SECONDS = 3.0  # of work a size and round, as far as whole images allow
ROUNDS = 5


def canvases(size: int, count: int) -> list[Canvas]:
    """Made pixels: what they show does not change what a convolution costs."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    return [Canvas(str(i), pixels, Geometry.identity(size, size)) for i in range(count)]


def engine(backbone: Backbone, size: int, graphs: Path | None = None) -> Engine:
    """All taps pooled by the mean, as a study reads them first."""
    outputs = [Output(tap.name, "avg") for tap in backbone.taps]
    return make_engine("openvino", backbone, outputs, size, graphs=graphs)


def seconds_an_image(made: Engine, images: Iterable[Canvas]) -> float:
    began = time.perf_counter()
    count = sum(1 for _ in made.run(images))
    return (time.perf_counter() - began) / count


def peak(name: str, size: int) -> float:
    """MiB of a process that converts the network and reads a few images of that size."""
    images = canvases(size, 2 * default_workers())
    return peak_memory(lambda: list(engine(load_backbone(name), size).run(images)))


def measure(name: str) -> dict[str, object]:
    """Every size in every round, and the peak of the largest in a process of its own."""
    backbone = load_backbone(name)
    work = {size: max(tap.cost.multiply_adds for tap in backbone.taps_at(size)) for size in SIZES}
    images, engines = {}, {}
    for size in SIZES:
        made = engine(backbone, size)
        fill = 2 * default_workers()  # requests under way
        alone = seconds_an_image(made, canvases(size, default_workers()))  # warms it too
        # A multiple of the requests under way, so that none of the cores idles at the end.
        images[size] = canvases(size, fill * max(1, round(SECONDS / alone / fill)))
        engines[size] = made
    load = os.getloadavg()[0]
    times: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size in SIZES:
            times[size].append(seconds_an_image(engines[size], images[size]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        memory = pool.apply(peak, (name, SIZES[-1]))
    figures: dict[str, object] = {"load_average_before": load}
    print(f"{name}, {ROUNDS} rounds, load average before {load:.1f} on {os.cpu_count()} cores")
    for size in SIZES:
        ratio = work[size] / work[SIZES[0]]
        quotients = [a / b / ratio for a, b in zip(times[size], times[SIZES[0]], strict=True)]
        figures[str(size)] = {
            "seconds_an_image": Spread.of(times[size]),
            "multiply_adds": work[size],
            "multiply_adds_ratio": ratio,
            "time_over_prediction": Spread.of(quotients),
        }
        print(
            f"  {size} px  {1e3 * Spread.of(times[size]).median:8.1f} ms an image, "
            f"{ratio:5.2f} × the multiply-adds, time over prediction {Spread.of(quotients)}"
        )
    figures[f"peak_MiB_at_{SIZES[-1]}"] = memory
    print(f"  peak at {SIZES[-1]} px: {memory:.0f} MiB")
    return figures


def main() -> None:
    """The default backbone, and VGG-16's convolutions, the most expensive of the offline ones."""
    save("sizes", {name: measure(name) for name in BACKBONES})
