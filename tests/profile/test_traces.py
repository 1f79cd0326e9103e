"""Does a classifier know again what it learned from, and take no stranger for it?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from test_duplicates import picture, write

from medgraft.data.ingest import load
from medgraft.errors import BundleError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.profile.image_stats import read_image_stats
from medgraft.profile.traces import FILE, KEPT, Traces
from medgraft.types import FeatureSpec, ImageTable

LEARNED = 30


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


@pytest.fixture
def spec(extractor: Extractor) -> FeatureSpec:
    return extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=64)


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    for i in range(LEARNED):
        write(tmp_path / "learned", f"{'ab'[i % 2]}/mrs-smith{i:02}.png", picture(i))
    write(tmp_path / "learned", "a/black.png", Image.new("L", (60, 60)))
    return load(tmp_path / "learned")


@pytest.fixture
def traces(table: ImageTable, extractor: Extractor, spec: FeatureSpec) -> Traces:
    return Traces.of(table, read_image_stats(table, spec, extractor), spec)


def test_files_and_pictures_are_known_again_and_strangers_are_not(
    traces: Traces, tmp_path: Path, extractor: Extractor, spec: FeatureSpec
) -> None:
    here = tmp_path / "met"
    write(here, "a/renamed.png", picture(0))
    write(here, "a/black.tiff", Image.new("L", (60, 60)))  # flat: equal pixels only
    write(here, "a/recompressed.jpg", picture(2), quality=60)
    write(here, "a/smaller.jpg", picture(4).resize((80, 70)))
    write(here, "a/brighter.png", picture(6).point(lambda value: 0.7 * value + 20))
    write(here, "b/mirrored.png", ImageOps.mirror(picture(1)))
    write(here, "b/white.png", Image.new("L", (60, 60), 255))
    for i in range(100, 130):
        write(here, f"b/mrs-smith{i - 100:02}.png", picture(i))
    met = load(here)
    file, shown = traces.meet(met, extractor)
    assert met.ids[file].tolist() == ["a/renamed.png"]
    assert met.ids[shown].tolist() == [
        "a/black.tiff", "a/brighter.png", "a/recompressed.jpg", "a/smaller.jpg",
    ]  # fmt: skip


def test_a_picture_stored_anew_is_known_and_a_stranger_is_not(
    traces: Traces, tmp_path: Path, extractor: Extractor
) -> None:
    write(tmp_path / "met", "a/recompressed.jpg", picture(2), quality=60)
    write(tmp_path / "met", "b/stranger.jpg", picture(200), quality=60)
    file, shown = traces.meet(load(tmp_path / "met"), extractor)
    assert (file.tolist(), shown.tolist()) == ([False, False], [True, False])


def test_what_cannot_be_read_is_known_by_its_bytes_alone(
    table: ImageTable, traces: Traces, tmp_path: Path, extractor: Extractor, spec: FeatureSpec
) -> None:
    write(tmp_path / "met", "a/new.png", picture(300))
    write(tmp_path / "met", "b/gone.png", picture(301))
    met = load(tmp_path / "met")
    (tmp_path / "met" / "b" / "gone.png").unlink()
    assert not np.any(traces.meet(met, extractor))
    known = dataclasses.replace(met, content_hashes=table.content_hashes[:2])
    assert traces.meet(known, extractor)[0].all()


def test_a_bundle_keeps_them_small_and_without_a_name(
    table: ImageTable, traces: Traces, tmp_path: Path, extractor: Extractor, spec: FeatureSpec
) -> None:
    (tmp_path / "bundle.json").write_text('{"sha256": {"head": "x"}}')
    traces.write(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert b"smith" not in content
    assert len(content) < len(table) * (2 * KEPT + 33) + 500
    assert set(json.loads((tmp_path / "bundle.json").read_text())["sha256"]) == {"head", FILE}
    read = Traces.read(tmp_path)
    assert read is not None
    assert read.meet(table, extractor)[0].all()
    # Where an image stood in the data says nothing: the rows are in the order of their bytes.
    mixed = table.select(np.random.default_rng(0).permutation(len(table)))
    again = Traces.of(mixed, read_image_stats(mixed, spec, extractor), spec)
    np.testing.assert_array_equal(again.contents, read.contents)
    np.testing.assert_array_equal(again.hashes, read.hashes)


def test_damaged_traces_are_an_error_and_none_are_none(tmp_path: Path) -> None:
    assert Traces.read(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"no such thing")
    with pytest.raises(BundleError, match="lacks or garbles"):
        Traces.read(tmp_path)
