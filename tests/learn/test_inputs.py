from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medgraft.data.augment import View
from medgraft.data.ingest import load
from medgraft.features.backbones import load_backbone
from medgraft.features.cache import Cache
from medgraft.features.engine import Output, TorchEngine
from medgraft.features.extract import Extractor
from medgraft.features.taps import read_taps
from medgraft.features.training_cache import cached_canvases, cached_maps, prepare_maps
from medgraft.learn.inputs import CachedMaps, ComputedMaps, Images
from medgraft.types import Canvas, Edit, FeatureSpec, ImageTable

SIZE = 64


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Ten images, every third grey."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(10):
        pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        path = folder / ("a" if index % 2 else "b") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[..., 0] if index % 3 == 0 else pixels).save(path)
    return load(folder)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Extractor:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "graphs").symlink_to(graphs)
    return Extractor(Cache(folder), workers=2)


@pytest.fixture(scope="module")
def spec(extractor: Extractor) -> FeatureSpec:
    return extractor.spec("tf_efficientnet_lite0", ("blocks.1",), size=SIZE)


def plain(view: int) -> tuple[Edit, ...]:
    return ()


def turned(view: int) -> tuple[Edit, ...]:
    return (View("natural-strong", 7 + view),) if view else ()


def given(inputs: Any, parts: list[np.ndarray], view: int = 0) -> list[tuple[Any, torch.Tensor]]:
    return list(inputs.batches(parts, view))


def decoded(table: ImageTable, spec: FeatureSpec, extractor: Extractor) -> list[Canvas]:
    return [row for row in extractor.canvases(table, spec) if isinstance(row, Canvas)]


# ------------------------------------------------------------------ pixels


def test_pixels_are_normalised_as_the_engine_does(
    table: ImageTable, spec: FeatureSpec, extractor: Extractor
) -> None:
    """What the trunk makes of them is what the torch engine makes of the canvases, grey or not."""
    images = Images(cached_canvases(table, spec, extractor), spec, plain, 2)
    order = np.array([3, 0, 9, 1])
    ((rows, batch),) = given(images, [order])
    assert rows.tolist() == order.tolist()
    assert batch.shape == (4, 3, SIZE, SIZE)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    canvases = decoded(table.select(order), spec, extractor)
    assert {canvas.pixels.ndim for canvas in canvases} == {2, 3}
    by_hand = np.stack(
        [
            canvas.pixels if canvas.pixels.ndim == 3 else np.stack([canvas.pixels] * 3, axis=2)
            for canvas in canvases
        ]
    )
    expected = (by_hand / 255 - 0.5) / 0.5  # the mean and standard deviation of lite0
    np.testing.assert_allclose(batch.permute(0, 2, 3, 1), expected, atol=1e-6)
    backbone = load_backbone()
    engine = TorchEngine(backbone, [Output("blocks.1", None)], workers=1)
    theirs = np.stack([maps[0] for _, maps in engine.run(canvases)])
    with torch.no_grad():
        maps = read_taps(backbone.network, [backbone.tap("blocks.1")], batch)["blocks.1"]
    np.testing.assert_array_equal(maps.flatten(2).transpose(1, 2).numpy(), theirs)


def test_views_differ_by_epoch_and_are_the_same_on_every_call(
    table: ImageTable, spec: FeatureSpec, extractor: Extractor
) -> None:
    images = Images(cached_canvases(table, spec, extractor), spec, turned, 2)
    parts = np.array_split(np.arange(10), 3)
    once = [torch.cat([batch for _, batch in given(images, parts, view)]) for view in (0, 1, 2)]
    again = torch.cat([batch for _, batch in given(images, [np.arange(10)], 1)])
    assert torch.equal(once[1], again)  # however the batches are cut
    for i in range(10):
        assert not torch.equal(once[0][i], once[1][i])
        assert not torch.equal(once[1][i], once[2][i])
    canvases = decoded(table, spec, extractor)
    grey = next(i for i, canvas in enumerate(canvases) if canvas.pixels.ndim == 2)
    changed = View("natural-strong", 8)(canvases[grey]).pixels
    assert changed.ndim == 2
    expected = torch.from_numpy(changed / 255 - 0.5).float() / 0.5
    for channel in once[1][grey]:
        torch.testing.assert_close(channel, expected, rtol=0, atol=1e-6)


# ------------------------------------------------------------------ maps


def test_kept_maps_take_turns() -> None:
    views = tuple(np.full((6, 2 * 2 * 3), view, np.float16) for view in range(3))
    inputs = CachedMaps(views, 3)
    found = [float(given(inputs, [np.array([0, 5])], epoch)[0][1].mean()) for epoch in range(8)]
    assert found == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_kept_map_has_its_channels_in_place() -> None:
    """A row holds position after position, each with all its channels."""
    rows = np.arange(2 * 4 * 3, dtype=np.float16).reshape(2, 12)
    ((_, batch),) = given(CachedMaps((rows,), 3), [np.array([1])])
    assert batch.shape == (1, 3, 2, 2)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch[0, :, 0, 1].tolist() == [15, 16, 17]
    assert batch[0, 2].tolist() == [[14, 17], [20, 23]]


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_computed_maps_are_the_kept_ones(
    table: ImageTable, spec: FeatureSpec, extractor: Extractor, engine: str
) -> None:
    """Bit for bit, so that a disk that has become full changes no number; views take turns too."""
    own = Extractor(extractor.cache, engine=engine, workers=2)
    spec = own.spec("tf_efficientnet_lite0", ("blocks.1",), size=SIZE)
    specs = [replace(spec, edits=turned(view)) for view in range(2)]
    prepare_maps(table, specs, own)
    kept = CachedMaps(tuple(cached_maps(table, view, own) for view in specs), 24)
    images = Images(cached_canvases(table, spec, own), spec, turned, 2)
    computed = ComputedMaps(images, spec, 24, own, views=2)
    parts = [np.array([4, 2, 7]), np.array([0, 9])]
    for epoch in range(4):
        for (rows, ours), (_, theirs) in zip(
            given(kept, parts, epoch), given(computed, parts, epoch), strict=True
        ):
            assert len(rows) == len(ours)
            assert ours.stride() == theirs.stride()
            if engine == "openvino":
                assert torch.equal(ours, theirs)
            else:  # a batch of other images is summed otherwise
                torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-3)
    endless = ComputedMaps(images, spec, 24, own)
    assert not torch.equal(given(endless, parts, 1)[0][1], given(endless, parts, 3)[0][1])


# ------------------------------------------------------------------ the loader


class Broken:
    """Rows of which one cannot be read."""

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        if 7 in index:
            raise OSError("row 7 is gone")
        return np.zeros((len(index), 12), np.float16)


def test_an_error_in_the_loader_reaches_the_caller() -> None:
    rows: Any = Broken()
    before = threading.active_count()
    seen = []
    with pytest.raises(OSError, match="row 7 is gone"):
        for part, _ in CachedMaps((rows,), 3).batches([np.array([i]) for i in range(12)], 0):
            seen.append(int(part[0]))
    assert seen == list(range(7))
    assert threading.active_count() == before


@dataclass(frozen=True)
class Slow:
    """An edit that takes a while."""

    seconds: float
    key: str = "slow"

    def __call__(self, canvas: Canvas) -> Canvas:
        time.sleep(self.seconds)
        return canvas


class Pixels:
    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return np.zeros((len(index), 8 * 8 * 3), np.uint8)


def slow_images(spec: FeatureSpec, seconds: float, workers: int) -> Images:
    rows: Any = Pixels()
    return Images(rows, replace(spec, size=8), lambda view: (Slow(seconds),), workers)


def test_a_reader_that_stops_early_leaves_no_thread(spec: FeatureSpec) -> None:
    before = threading.active_count()
    stream: Iterator[Any] = slow_images(spec, 0.001, 2).batches(
        np.array_split(np.arange(400), 100), 0
    )
    next(stream)
    assert threading.active_count() > before
    began = time.perf_counter()
    del stream
    assert threading.active_count() == before
    assert time.perf_counter() - began < 1  # what was not begun is not made


def test_batches_are_made_while_one_is_used(spec: FeatureSpec) -> None:
    """Ten batches, 20 ms each to make and to use: 220 ms together, 400 ms one after the other."""
    images = slow_images(spec, 0.01, 2)  # four images a batch, two at a time
    began = time.perf_counter()
    for _ in images.batches(np.array_split(np.arange(40), 10), 0):
        time.sleep(0.02)
    assert time.perf_counter() - began < 0.36


def test_order_is_that_of_the_parts(spec: FeatureSpec) -> None:
    parts = np.array_split(np.random.default_rng(0).permutation(30), 7)
    found = [rows for rows, _ in slow_images(spec, 0.0, 3).batches(parts, 0)]
    assert [rows.tolist() for rows in found] == [part.tolist() for part in parts]
