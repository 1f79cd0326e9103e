"""`make pictures`: draw docs/pictures/concepts/, all or those that are named."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from pictures import certainty, judging, network
from pictures.paper import style, write
from pictures.world import World, new_world

FOLDER = Path(__file__).parents[2] / "docs" / "pictures" / "concepts"
PICTURES: Mapping[str, Callable[[World], Figure]] = {
    "taps": network.taps,
    "vlad": network.vlad,
    "changed-views": judging.views,
    "region-exchange": judging.regions,
    "sets": certainty.sets,
    "calibration": certainty.calibration,
}


def draw(world: World, folder: Path, names: tuple[str, ...] = tuple(PICTURES)) -> list[Path]:
    """Write these pictures."""
    with style():
        for name in names:
            write(PICTURES[name](world), folder / f"{name}.png")
    return [folder / f"{name}.png" for name in names]


def main() -> None:
    """Draw from 160 made patients, as `medgraft demo` has them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], help="all by default")
    names = tuple(parser.parse_args().names) or tuple(PICTURES)
    world = new_world()
    try:
        for path in draw(world, FOLDER, names):
            print(path)
    finally:
        shutil.rmtree(world.root)


if __name__ == "__main__":
    main()
