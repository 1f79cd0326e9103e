"""Pooled codes of all taps of tf_efficientnet_lite0: medgraft against the usual script.

The usual script is what the field writes: timm, Pillow, a DataLoader with two workers, eager
torch with hooks. It is given what it deserves: inference mode, batches of 32, worker processes
kept alive between epochs, one pass for all taps, and pooling inside the hooks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from harness import Spread, paired, save, seconds
from medgraft.data.ingest import load
from medgraft.data.pool.pool import DecodePool
from medgraft.data.preprocess import CanvasRecipe
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.cache import Cache
from medgraft.features.engine import Output, make_engine
from medgraft.features.extract import Extractor
from medgraft.types import Canvas, FeatureSpec, ImageTable

SIZE = 224
ROUNDS = 5


class Files(Dataset[torch.Tensor]):
    """Image files as the usual script reads them."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            resized = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float()
        return (pixels / 255 - 0.5) / 0.5


def usual_script(backbone: Backbone, paths: list[str]) -> Callable[[], int]:
    """One epoch of the usual script over the files."""
    modules = dict(backbone.network.named_modules())
    codes: dict[str, torch.Tensor] = {}
    for tap in backbone.taps:
        modules[tap.module].register_forward_hook(
            lambda _m, _i, output, name=tap.name: codes.__setitem__(name, output.mean((2, 3)))
        )
    loader = DataLoader(Files(paths), batch_size=32, num_workers=2, persistent_workers=True)
    network: Any = backbone.network

    def epoch() -> int:
        kept: dict[str, list[NDArray[np.float32]]] = {tap.name: [] for tap in backbone.taps}
        with torch.inference_mode():
            for images in loader:
                network.forward_features(images)
                for name, values in codes.items():
                    kept[name].append(values.numpy())
        return len(np.concatenate(kept["stem"]))

    return epoch


def ours(extractor: Extractor, table: ImageTable, spec: FeatureSpec) -> Callable[[], int]:
    """The same by medgraft, files to codes in memory; the cache is not used."""

    def epoch() -> int:
        stream = (row for row in extractor.canvases(table, spec) if isinstance(row, Canvas))
        kept = [values for _, values in extractor.run(stream, spec)]
        return len(kept)

    return epoch


def ceiling(
    backbone: Backbone, table: ImageTable, spec: FeatureSpec, workers: int
) -> Callable[[], float]:
    """Measures images a second if decoding and the forward pass shared the cores without loss."""
    recipe = CanvasRecipe(spec.size, spec.resize, spec.edits)

    def decode() -> list[Canvas]:
        with DecodePool(1) as pool:
            rows = pool.canvases(table.ids, table.sources, recipe)
            return [row for row in rows if isinstance(row, Canvas)]

    canvases = decode()
    outputs = [Output(tap.name, "avg") for tap in backbone.taps]
    engine = make_engine("openvino", backbone, outputs, spec.size, workers=workers)

    def forward() -> None:
        for _ in engine.run(canvases):
            pass

    forward()

    def measured() -> float:
        decoding = seconds(decode, 1).median / len(table)  # core-seconds an image
        forwarding = workers * seconds(forward, 1).median / len(table)
        return workers / (decoding + forwarding)

    return measured


def measure(name: str, table: ImageTable, repeats: int) -> dict[str, object]:
    """Ratio to the usual script, and share of the ceiling, on one set of files, round by round."""
    index = np.tile(np.arange(len(table)), repeats)
    table = table.select(index)
    backbone = load_backbone()
    with tempfile.TemporaryDirectory() as folder:
        extractor = Extractor(Cache(Path(folder)))
        spec = extractor.spec(backbone.name, [tap.name for tap in backbone.taps])
        mine = ours(extractor, table, spec)
        theirs = usual_script(backbone, [source.path for source in table.sources])
        most = ceiling(load_backbone(), table, spec, extractor.workers)
        mine(), theirs()  # both warm: files in memory, workers started, graph compiled
        rounds = [(paired(mine, theirs, 1), most()) for _ in range(ROUNDS)]
    figures = {
        "medgraft": Spread.of([pair.a.median for pair, _ in rounds]),
        "usual_script": Spread.of([pair.b.median for pair, _ in rounds]),
        "ratio": Spread.of([pair.ratio.median for pair, _ in rounds]),
        "ceiling": Spread.of([top for _, top in rounds]),
        "share_of_ceiling": Spread.of([pair.a.median / top for pair, top in rounds]),
    }
    print(f"{name}: {len(table)} files, images/s and ratios, median (range) of {ROUNDS} rounds")
    for what, spread in figures.items():
        print(f"  {what.replace('_', ' '):18s}{spread}")
    return dict(figures)


def main(shared: Path) -> None:
    """Both sets of files: 224-px ones, and X-rays at full size."""
    data = shared / "data"
    small = load(data / "chest_xray")
    small = small.select(np.linspace(0, len(small) - 1, 512).astype(np.int64))
    save(
        "codes",
        {
            "files of 224 px": measure("chest_xray, 224 px", small, 1),
            "X-rays at full size": measure(
                "chest_xray_originals, full size", load(data / "chest_xray_originals"), 6
            ),
        },
    )
