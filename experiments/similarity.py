"""The scale of distances from ImageNet: known sets, how steady it is, and what changed pixels do.

`make results-similarity` measures what experiments/results/similarity.jsonl lacks, a line a cell,
writes docs/results/similarity.md, and with it what the package knows of the sets
(src/medgraft/profile/known_sets.json). Development images only; no label is looked at.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.features.norms import BEFORE_NORM, MOMENTS
from medgraft.files import write_json
from medgraft.profile.hashes import evenly_drawn
from medgraft.profile.similarity import DEEP, MOST, _statistics, similarity_of
from medgraft.results.recommendation import Similarity
from medgraft.types import Canvas, ImageTable, Pixels
from page import lines, read_cells

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "experiments" / "results"
CELLS = RESULTS / "similarity.jsonl"
PAGE = ROOT / "docs" / "results" / "similarity.md"
KNOWN = ROOT / "src" / "medgraft" / "profile" / "known_sets.json"
READ = 200  # images of a set: the first `MOST` drawn give its figure, draws of all the spread
DRAWS = 40
SETS = {
    "scenes_ot8": "grey photographs of scenes",
    "mini_scenes.csv": "a few grey photographs of scenes",
    "hyperkvasir5": "endoscopy of the colon",
    "chest_xray": "chest X-rays",
    "lc25000_lung_unique": "histology of the lung",
    "cancer_cells.csv": "a few patches of lung histology",
    "skin7": "dermatoscopy",
    "phantoms": "made chest radiographs",
}


def grey(pixels: Pixels) -> Pixels:
    """Without colour."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def tiny(pixels: Pixels) -> Pixels:
    """As an image of 32 × 32 pixels would be enlarged."""
    small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, pixels.shape[:2][::-1], interpolation=cv2.INTER_CUBIC))


def inverted(pixels: Pixels) -> Pixels:
    """White for black."""
    return np.asarray(255 - pixels)


CHANGED: tuple[tuple[str, Callable[[Pixels], Pixels]], ...] = (
    ("hyperkvasir5", grey),
    ("scenes_ot8", tiny),
    ("chest_xray", inverted),
)


def measure(name: str, extractor: Extractor, change: Callable[[Pixels], Pixels] | None) -> Any:
    """One cell: the figure of a set, and of draws of 50, 8, 4 and 2 of its images."""
    with tempfile.TemporaryDirectory() as folder:
        table = _table(name, Path(folder)).development
        drawn = table.select(evenly_drawn(len(table), MOST if change else READ, 0))
        values = _moments(drawn, extractor, change)
    row: dict[str, Any] = {
        "set": name,
        "change": change.__name__ if change else "",
        "n": len(table),
    }
    found = _similarity(values, drawn.groups, evenly_drawn(len(drawn), MOST, 0), extractor)
    assert found.distance is not None
    assert found.shallow is not None
    row |= {
        "distance": [found.distance.value, found.distance.low, found.distance.high],
        "shallow": [found.shallow.value, found.shallow.low, found.shallow.high],
        "by_layer": dict(found.by_layer),
        "groups": found.n_groups,
    }
    return row if change else row | {"draws": _draws(values, drawn.groups, extractor)}


def _draws(values: Mapping[str, Any], groups: Any, extractor: Extractor) -> dict[str, Any]:
    """By size of draw: mean and spread of the figure, and how often its interval holds all's."""
    whole = _similarity(values, groups, np.arange(len(groups)), extractor).distance
    assert whole is not None
    found = {}
    rng = np.random.default_rng(0)
    for size in (50, 8, 4, 2):
        drawn = []
        for _ in range(DRAWS):
            rows = rng.choice(len(groups), size, replace=False)
            one = _similarity(values, groups, rows, extractor).distance
            if one is not None:
                drawn.append((one.value, one.low <= whole.value <= one.high))
        value, holds = np.array(drawn, float).T
        found[str(size)] = [float(value.mean()), float(value.std()), float(holds.mean())]
    return found


def _table(name: str, folder: Path) -> ImageTable:
    if name == "phantoms":
        write_phantoms(folder / name)
        return load(folder / name)
    return load(DATA / name)


def _moments(
    table: ImageTable, extractor: Extractor, change: Callable[[Pixels], Pixels] | None
) -> Mapping[str, Any]:
    """By layer (n, 2 channels) of each image, changed if asked."""
    taps = [tap.name for tap in extractor.backbone(DEFAULT).taps]
    names = tuple(f"{tap}{BEFORE_NORM}" for tap in taps)
    spec = replace(extractor.spec(DEFAULT, ()), taps=names, poolings=(MOMENTS,))

    def canvases() -> Iterator[Canvas]:
        for one in extractor.canvases(table, spec):
            assert isinstance(one, Canvas)
            yield replace(one, pixels=change(one.pixels)) if change else one

    rows = [values for _, values in extractor.run(canvases(), spec)]
    return {
        tap: np.stack([row[f"{name}@{MOMENTS}"] for row in rows])
        for tap, name in zip(taps, names, strict=True)
    }


def _similarity(
    values: Mapping[str, Any], groups: Any, rows: Any, extractor: Extractor
) -> Similarity:
    deep = np.array([tap.stride >= DEEP for tap in extractor.backbone(DEFAULT).taps])
    some = {layer: one[rows] for layer, one in values.items()}
    return similarity_of(some, groups[rows], _statistics(extractor), deep)


# --------------------------------------------------------------------------- the page


def write(cells: list[dict[str, Any]]) -> None:
    """The page, and what the package knows."""
    sets = sorted((c for c in cells if not c["change"]), key=lambda c: float(c["distance"][0]))
    known = [_known(cell) for cell in sets]
    write_json(KNOWN, known)
    layers = list(sets[0]["by_layer"])
    text = [
        "# How far images are from ImageNet",
        "",
        "Written by `make results-similarity` from experiments/results/similarity.jsonl; do not "
        "edit. The statistics of activations before the batch norms of tf_efficientnet_lite0 are "
        "held against the statistics that these hold of ImageNet: squared Hellinger distance, "
        "mean over channels, then over layers "
        "([why this](../decisions/0033-similarity-to-imagenet.md)). "
        f"Up to {MOST} development images of each set; brackets hold 95 % intervals (jackknife "
        "over patients). *Distance* is of the layers from stride 16 on, *shallow* of those before.",
        "",
        "## The scale",
        "",
        *lines(
            ("set", "images", "distance", "shallow", *(f"`{layer}`" for layer in layers)),
            (
                (
                    f"{c['set'].removesuffix('.csv')} ({SETS[c['set']]})",
                    f"{c['n']:,}",
                    _figure(c["distance"]),
                    _figure(c["shallow"]),
                    *(f"{c['by_layer'][layer]:.3f}" for layer in layers),
                )
                for c in sets
            ),
        ),
        "No image of ImageNet is at hand, so that what its own photographs get is not measured; 0 "
        "is what all of them would get, seen as in pretraining (cropped at random).",
        "",
        "## How steady it is",
        "",
        f"{DRAWS} draws of so many of up to {READ} images: mean ± standard deviation of the "
        "distance, and how often the interval of a draw holds the figure of all.",
        "",
        *lines(
            ("set", *(f"{size} images" for size in sets[0]["draws"])),
            (
                (
                    c["set"].removesuffix(".csv"),
                    *(f"{m:.4f} ± {s:.4f}; {h:.0%}" for m, s, h in c["draws"].values()),
                )
                for c in sets
            ),
        ),
        "One image, or images of one patient only, give no interval: the distance is not said.",
        "",
        "## The same images, changed",
        "",
        *lines(
            ("set", "change", "distance", "shallow"),
            (
                (c["set"], c["change"], _figure(c["distance"]), _figure(c["shallow"]))
                for c in cells
                if c["change"]
            ),
        ),
    ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


def _known(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What the package knows of a set: also which family a committed study recommends there."""
    name = cell["set"].removesuffix(".csv")
    frozen = json.loads((RESULTS / "frozen.json").read_text())
    trained = json.loads((RESULTS / "finetune.json").read_text())
    winner = frozen[name]["recommended"].partition("/")[0] if name in frozen else ""
    if name == "chest_xray":  # whose trained networks were held against the best frozen probe
        winner = trained["study"]["recommended"].partition("/")[0]
    distance, low, high = (round(value, 4) for value in cell["distance"])
    return {
        "name": name, "shows": SETS[cell["set"]], "n": cell["n"],
        "distance": distance, "low": low, "high": high, "winner": winner,
    }  # fmt: skip


def _figure(values: list[float]) -> str:
    value, low, high = values
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Measure what is lacking, a line a cell; then write."""
    extractor = Extractor()
    cells = read_cells(CELLS)
    done = {(cell["set"], cell["change"]) for cell in cells}
    wanted = [*((name, None) for name in SETS), *CHANGED]
    for name, change in wanted:
        if (name, change.__name__ if change else "") not in done:
            cells.append(measure(name, extractor, change))
            with CELLS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(cells[-1]) + "\n")
            print(cells[-1]["set"], cells[-1]["change"], cells[-1]["distance"], flush=True)
    write(cells)


if __name__ == "__main__":
    main()
