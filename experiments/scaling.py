"""What a million and a hundred million images would take: bytes and processor time, by arithmetic.

`python experiments/scaling.py` prints the tables of docs/scaling.md. Sizes follow from the taps of
the default network, the rate of extraction is that of bench/results/codes.json (`make bench`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from page import lines

BENCH = Path(__file__).parents[1] / "bench" / "results" / "codes.json"
IMAGES = (1_000_000, 100_000_000)
FOLDS, STRENGTHS = 5, 7  # of a head's nested choice
DESCENT, NEWTON, SUPPORT = 25, 5, 0.1  # steps, and the share of rows that are support vectors
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(n: float) -> str:
    """Bytes in words.

    >>> size(5.12e9)
    '5.12 GB'
    """
    place = 0
    while n >= 1000 and place < len(UNITS) - 1:
        n, place = n / 1000, place + 1
    return f"{n:.3g} {UNITS[place]}"


def duration(seconds: float) -> str:
    """Time in words."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    hours = seconds / 3600
    if hours < 1.5:
        return f"{seconds / 60:.3g} min"
    return f"{hours:.3g} h" if hours < 48 else f"{hours / 24:,.0f} days"


def taps() -> list[str]:
    """Bytes of each tap of the default network: pooled codes, float32, and descriptors, float16."""
    backbone = Extractor().backbone(DEFAULT)
    rows = []
    for tap in backbone.taps_at(int(backbone.card.size)):
        kinds = {"code": 4 * tap.channels, "descriptors": 2 * tap.channels * tap.side**2}
        for kind, one in kinds.items():
            rows.append([tap.name, kind, size(one), *(size(one * n) for n in IMAGES)])
    return lines(["tap", "", "an image", *(f"{n:,}" for n in IMAGES)], rows)


def work(flops: float, d: int) -> list[str]:
    """Processor time of each step on one core, of two classes and codes of d numbers."""
    figures = json.loads(BENCH.read_text())["figures"]
    rate = figures["files of 224 px"]["medgraft"]["median"] / 2  # of two cores
    problems = STRENGTHS * FOLDS * (FOLDS - 1) // 2 + 2 * FOLDS + 1
    steps: dict[str, Callable[[int], float]] = {
        f"extraction, {rate:.0f} images a second": lambda n: n / rate,
        f"linear SVM, {DESCENT} steps of descent, {problems} problems": (
            lambda n: DESCENT * 4 * n * d * problems / flops
        ),
        f"and {NEWTON} of Newton's, {SUPPORT:.0%} support vectors": (
            lambda n: NEWTON * problems * SUPPORT * n * d**2 / flops
        ),
        "kNN, all against all in double precision": lambda n: 2 * n**2 * d / (flops / 2),
    }
    rows = [[name, *(duration(cost(n)) for n in IMAGES)] for name, cost in steps.items()]
    return lines(["step, on one core", *(f"{n:,}" for n in IMAGES)], rows)


def measured(n: int = 4096) -> float:
    """Operations a second of one core in a float32 matrix product, the best of three."""
    X, seconds = np.ones((n, n), np.float32), []
    with threadpool_limits(1):
        for _ in range(3):
            began = time.perf_counter()
            X @ X
            seconds.append(time.perf_counter() - began)
    return 2 * n**3 / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flops", type=float, default=95e9, help="a second, float32, of one core")
    parser.add_argument("--measure", action="store_true", help="that figure of this machine")
    asked = parser.parse_args()
    if asked.measure:
        print(f"{measured():.3g} a second")
        return
    print("\n".join([*taps(), *work(asked.flops, 1280)]))


if __name__ == "__main__":
    main()
