from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.ingest import load
from medgraft.features import extract
from medgraft.features.cache import Cache
from medgraft.features.encoders import encode_stream
from medgraft.features.extract import Extractor
from medgraft.types import Canvas, ImageTable


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Six images in two classes; a copy of the first, and one that is cut short."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(6):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 30), dtype=np.uint8)).save(path)
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "a" / "cut.png").write_bytes((folder / "a" / "2.png").read_bytes()[:300])
    return load(folder)


class Counted:
    """A Progress that remembers how many images were read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[object]:
        self.read.append(total)
        yield lambda steps: None

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def extractor(cache: Cache) -> Extractor:
    return Extractor(cache, workers=2, progress=Counted())  # type: ignore[arg-type]


def test_bad_images_are_named_and_the_rest_is_read(extractor: Extractor, table: ImageTable) -> None:
    spec = extractor.spec("tf_efficientnet_lite0", ["stem", "blocks.1"], size=64)
    codes, skipped = extractor.codes(table, spec)
    assert len(codes.ids) == len(table) - 1
    assert [row.source for row in skipped] == ["a/cut.png"]
    assert codes.blocks["blocks.1@avg"].shape == (7, 24)
    copies = [codes.ids.tolist().index(id) for id in ("a/0.png", "b/copy.png")]
    np.testing.assert_array_equal(*codes.matrix()[copies])


def test_nothing_is_computed_twice_and_one_more_tap_is_one_more_pass(
    extractor: Extractor, table: ImageTable
) -> None:
    counted = extractor.progress
    assert isinstance(counted, Counted)
    good = table.select(table.ids != "a/cut.png")
    spec = extractor.spec("tf_efficientnet_lite0", ["stem"], size=64)
    first, _ = extractor.codes(good, spec)
    again, _ = extractor.codes(good.select(np.arange(len(good))[::-1].copy()), spec)
    assert counted.read == [6]  # the copy is not read: its bytes are those of a/0.png
    np.testing.assert_array_equal(first.matrix(), again.matrix()[::-1])
    both, _ = extractor.codes(
        good, extractor.spec("tf_efficientnet_lite0", ["stem", "blocks.0"], size=64)
    )
    assert counted.read == [6, 6]
    np.testing.assert_array_equal(both.blocks["stem@avg"], first.matrix())
    segments = extractor.cache.features(spec).folder.glob("segment-*")
    held = [sorted(path.stem for path in segment.glob("*@*")) for segment in segments]
    assert sorted(held) == [["blocks.0@avg"], ["stem@avg"]]


def test_what_decides_a_code_is_in_its_recipe(extractor: Extractor) -> None:
    spec = extractor.spec("tf_efficientnet_lite0", ["stem"])
    backbone = extractor.backbone()
    assert spec.recipe["mean"] == [0.5, 0.5, 0.5]
    names = [words.split()[0] for words in spec.versions]
    assert names == ["openvino", "opencv-python-headless", "simplejpeg"]
    card = dataclasses.replace(backbone.card, mean=(0.4, 0.5, 0.5))
    extractor.adopt(dataclasses.replace(backbone, card=card))
    assert extractor.spec("tf_efficientnet_lite0", ["stem"]).recipe != spec.recipe


def test_a_cache_hit_equals_computing_again(
    extractor: Extractor, table: ImageTable, tmp_path: Path, graphs: Path
) -> None:
    spec = extractor.spec("tf_efficientnet_lite0", ["stem", "blocks.2"], size=64)
    extractor.codes(table, spec)
    hit, _ = extractor.codes(table, spec)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "graphs").symlink_to(graphs)
    afresh, _ = Extractor(Cache(tmp_path / "other"), workers=1).codes(table, spec)
    for name in spec.blocks:
        np.testing.assert_array_equal(hit.blocks[name], afresh.blocks[name])


def test_a_killed_extraction_keeps_its_segments(
    extractor: Extractor, table: ImageTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "SEGMENT_ROWS", 2)
    spec = extractor.spec("tf_efficientnet_lite0", ["stem"], size=64)
    good = table.select(table.ids != "a/cut.png")
    run = extractor.run

    def killed(*args: object) -> Iterator[object]:
        for count, item in enumerate(run(*args)):  # type: ignore[arg-type]
            if count == 5:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(extractor, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        extractor.codes(good, spec)
    monkeypatch.setattr(extractor, "run", run)
    counted = extractor.progress
    assert isinstance(counted, Counted)
    counted.read.clear()
    extractor.codes(good, spec)
    assert counted.read == [2]  # 6 different images, two segments of 2 were kept


def test_descriptors_pooled_are_the_codes_and_start_afresh(
    extractor: Extractor, table: ImageTable
) -> None:
    spec = extractor.spec("tf_efficientnet_lite0", ["blocks.2"], size=64)
    codes, _ = extractor.codes(table, spec)
    stream = extractor.descriptors(table, spec)
    for _ in range(2):
        ids, pooled = encode_stream(stream, "avg")
        assert ids.tolist() == codes.ids.tolist()
        np.testing.assert_allclose(pooled, codes.matrix(), atol=1e-5)


def test_edits_reach_the_network_and_have_their_own_store(
    extractor: Extractor, table: ImageTable
) -> None:
    from medgraft.data.preprocess import Clahe

    raw = extractor.spec("tf_efficientnet_lite0", ["stem"], size=64)
    edited = extractor.spec("tf_efficientnet_lite0", ["stem"], size=64, edits=[Clahe()])
    a, b = extractor.codes(table, raw)[0].matrix(), extractor.codes(table, edited)[0].matrix()
    assert np.abs(a - b).max() > 0.01
    canvases = [row for row in extractor.canvases(table, edited) if isinstance(row, Canvas)]
    streamed = np.stack([codes["stem@avg"] for _, codes in extractor.run(canvases, edited)])
    np.testing.assert_array_equal(streamed, b)
