from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.augment import View
from medgraft.data.ingest import load
from medgraft.features import training_cache
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.training_cache import (
    bytes_of_maps,
    cached_canvases,
    cached_maps,
    fits,
    prepare_maps,
)
from medgraft.types import Canvas, FeatureSpec, ImageTable

SIZE = 64
MAP = 8 * 8 * 40  # numbers of blocks.2 at 64 px: stride 8, 40 channels


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Nine images, two of equal bytes, some grey."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(9):
        path = folder / ("a" if index % 2 else "b") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels[..., 0] if index % 3 == 0 else pixels).save(path)
    shutil.copy(folder / "a" / "1.png", folder / "a" / "9.png")
    return load(folder)


@pytest.fixture
def extractor(cache: Cache) -> Extractor:
    return Extractor(cache, workers=2)


@pytest.fixture
def specs(extractor: Extractor) -> list[FeatureSpec]:
    spec = extractor.spec("tf_efficientnet_lite0", ("blocks.2",), size=SIZE)
    return [spec, replace(spec, edits=(View("natural-strong", 8),))]


def test_maps_take_the_bytes_that_were_told(
    table: ImageTable, specs: list[FeatureSpec], extractor: Extractor
) -> None:
    assert len(table) == 10
    told = bytes_of_maps(table, specs, extractor)
    assert told == 9 * 2 * MAP * 2  # images once each, views, numbers, bytes
    prepare_maps(table, specs, extractor)
    files = list(extractor.cache.folder.glob("features/*/segment-*/*@grid.npy"))
    assert sum(path.stat().st_size - 128 for path in files) == told  # NumPy's header
    assert bytes_of_maps(table, specs, extractor) == 0  # what is there takes nothing more


def test_what_is_kept_needs_no_room(
    table: ImageTable,
    specs: list[FeatureSpec],
    extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that is full after the first run does not make the second one compute again."""
    some = table.select(np.arange(8))
    prepare_maps(some, specs, extractor)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(training_cache.shutil, "disk_usage", lambda path: usage(0))
    assert fits(bytes_of_maps(some, specs, extractor), extractor)
    assert not fits(bytes_of_maps(table, specs, extractor), extractor)
    one_view = bytes_of_maps(table, specs[:1], extractor)
    monkeypatch.setattr(training_cache.shutil, "disk_usage", lambda path: usage(one_view / 0.8 + 1))
    assert fits(one_view, extractor)
    assert not fits(bytes_of_maps(table, specs, extractor), extractor)


def test_a_folder_that_is_not_there_yet_has_the_room_of_its_disk(tmp_path: Path) -> None:
    extractor = Extractor(Cache(tmp_path / "not" / "yet"), workers=1)
    assert fits(1, extractor)
    assert not fits(10**18, extractor)


@pytest.mark.parametrize("room", [0.99, 1.01])
def test_what_is_said_to_fit_is_kept(
    table: ImageTable, specs: list[FeatureSpec], extractor: Extractor, room: float
) -> None:
    """The extractor keeps no more descriptors than half the limit: the two rules agree."""
    size = bytes_of_maps(table, specs[:1], extractor)
    extractor.cache.limit = int(2 * size * room)
    assert fits(size, extractor) == (room > 1)
    if room > 1:
        prepare_maps(table.select(np.arange(4)), specs[:1], extractor)
        extractor.cache.limit = 2 * bytes_of_maps(table, specs[:1], extractor)
        prepare_maps(table, specs[:1], extractor)  # only the rest counts
        assert len(cached_maps(table, specs[0], extractor)) == 10


def test_maps_are_those_that_the_extractor_computes(
    table: ImageTable, specs: list[FeatureSpec], extractor: Extractor
) -> None:
    prepare_maps(table, specs, extractor)
    for spec in specs:
        rows = cached_maps(table, spec, extractor)
        canvases = [c for c in extractor.canvases(table, spec) if isinstance(c, Canvas)]
        stream = extractor.run(canvases, replace(spec, poolings=("grid",)))
        for i, (_, values) in enumerate(stream):
            expected = values["blocks.2@grid"].astype(np.float16).ravel()
            np.testing.assert_array_equal(rows[np.array([i])][0], expected)


def test_canvases_are_the_decoded_ones_in_colour_and_made_once(
    table: ImageTable,
    specs: list[FeatureSpec],
    extractor: Extractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    decode: Callable[..., object] = extractor.canvases

    def counted(some: ImageTable, spec: FeatureSpec) -> object:
        asked.append(len(some))
        return decode(some, spec)

    monkeypatch.setattr(extractor, "canvases", counted)
    cached_canvases(table.select(np.arange(3)), specs[0], extractor)
    rows = cached_canvases(table, specs[0], extractor)
    cached_canvases(table, replace(specs[0], taps=("blocks.4",)), extractor)  # of any tap
    assert asked == [3, 6]
    found = rows[np.arange(10)].reshape(10, SIZE, SIZE, 3)
    assert found.dtype == np.uint8
    for canvas, pixels in zip(decode(table, specs[0]), found, strict=True):  # type: ignore[call-overload]
        colour = canvas.pixels if canvas.pixels.ndim == 3 else canvas.pixels[..., None]
        np.testing.assert_array_equal(pixels, np.broadcast_to(colour, pixels.shape))
