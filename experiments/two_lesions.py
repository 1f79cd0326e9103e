"""Images with known truth and several findings: two lesions, and a drain that comes with one."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64


def write_lesions(
    folder: Path, n: int, seed: int = 0, *, drain: bool = False, faint: float = 60.0
) -> Path:
    """Write n noisy images, one a patient, and a table of what they show; returns the table.

    A disc in the upper half is lesion a, a dark square in the lower half lesion b, a thin bright
    line the drain: it comes with a in 3 of 4, and without in 1 of 20. Where there is no `drain`,
    lines are drawn whatever else there is. faint : how bright lesion a is.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n):
        a, b = rng.random(2) < 0.4
        tube = rng.random() < ((0.75 if a else 0.05) if drain else 0.35)
        pixels = rng.normal(110, 25, (SIDE, SIDE))
        y, x = np.mgrid[:SIDE, :SIDE]
        at = rng.integers(10, 54, 2)
        if a:
            pixels += faint * (np.hypot(x - at[0], y - 16) < 7)
        if b:
            pixels[40:54, at[1] - 7 : at[1] + 7] -= 70
        if tube:
            pixels[4:60, rng.integers(20, 44) :][:, :2] = 250
        name = f"p{i:04d}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name)
        rows.append([name, int(a), int(b), int(tube)])
    table = folder / "findings.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "a", "b", "drain"], *rows])
    return table
