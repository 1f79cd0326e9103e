"""The X-rays that commands learn from while faults are put into them."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "chest_xray" / "train"
IMAGES = 20  # of each class


def copy_images(folder: Path) -> None:
    """Copy images of each class to its folder below this one, spread evenly over all there are."""
    for label in sorted(path for path in SOURCE.iterdir() if path.is_dir()):
        files = sorted(path for path in label.iterdir() if path.is_file())
        (folder / label.name).mkdir(parents=True)
        for file in files[:: max(1, len(files) // IMAGES)][:IMAGES]:
            shutil.copy(file, folder / label.name)
