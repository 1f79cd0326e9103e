from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medgraft.data.ingest import load
from medgraft.data.pool import pool as decoding
from medgraft.data.preprocess import Clahe
from medgraft.features import extract
from medgraft.features.backbones import load_backbone
from medgraft.features.cache import Cache
from medgraft.features.encoders import PoolEncoder
from medgraft.features.engine import torch_device, training_versions
from medgraft.features.extract import Extractor
from medgraft.types import Canvas, Edit, FeatureSpec, Geometry, ImageTable, Source


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
    ours = ["openvino", "timm", "torch", "taps", "graph"]
    readers = ["opencv-python-headless", "pillow", "simplejpeg", "pydicom"]
    assert names[:9] == [*ours, *readers]
    assert set(names[9:]) <= {"pylibjpeg-openjpeg", "imagecodecs"}
    without = [words.split()[0] for words in training_versions(dicom=False)]
    assert without == ["torch", "timm", *readers[:3], torch_device()]
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
        ids, bags = map(np.concatenate, zip(*stream(), strict=True))
        pooled = PoolEncoder("avg").fit_transform(bags)
        assert ids.tolist() == codes.ids.tolist()
        np.testing.assert_allclose(pooled, codes.matrix(), rtol=0, atol=5e-3)  # half precision


def test_edits_reach_the_network_and_have_their_own_store(
    extractor: Extractor, table: ImageTable
) -> None:
    raw = extractor.spec("tf_efficientnet_lite0", ["stem"], size=64)
    edited = extractor.spec("tf_efficientnet_lite0", ["stem"], size=64, edits=[Clahe()])
    a, b = extractor.codes(table, raw)[0].matrix(), extractor.codes(table, edited)[0].matrix()
    assert np.abs(a - b).max() > 0.01
    canvases = [row for row in extractor.canvases(table, edited) if isinstance(row, Canvas)]
    streamed = np.stack([codes["stem@avg"] for _, codes in extractor.run(canvases, edited)])
    np.testing.assert_array_equal(streamed, b)


# --------------------------------------------------------------------------- several recipes


def ways(extractor: Extractor) -> list[FeatureSpec]:
    """Raw and equalised, at two sizes of one base canvas; and one recipe of its own canvas."""

    def spec(size: int, base: int, edits: list[Edit], tap: str = "stem") -> FeatureSpec:
        made = extractor.spec("tf_efficientnet_lite0", [tap], size=size, edits=edits)
        return dataclasses.replace(made, base=base)

    return [
        spec(64, 0, []), spec(64, 0, [Clahe()]), spec(32, 64, []), spec(32, 64, [Clahe()]),
        spec(64, 0, [], "blocks.1"),
    ]  # fmt: skip


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded while a test runs."""
    found: list[str] = []
    decode = decoding.decode

    def spied(source: Source, *args: object, **options: object) -> object:
        found.append(Path(source.path).name)
        return decode(source, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "decode", spied)
    return found


@pytest.fixture
def by_torch(cache: Cache) -> Extractor:
    return Extractor(cache, engine="torch", workers=2, progress=Counted())  # type: ignore[arg-type]


def test_several_recipes_share_one_decode_and_give_what_each_gives_alone(
    by_torch: Extractor, table: ImageTable, decoded: list[str], tmp_path: Path
) -> None:
    specs = ways(by_torch)
    skipped = by_torch.prepare(table, *specs)
    assert [bad.source for bad in skipped] == ["a/cut.png"]
    assert sorted(decoded) == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "cut.png"]
    alone = Extractor(Cache(tmp_path / "alone"), engine="torch", workers=1)
    for spec in specs:
        together = by_torch.codes(table, spec)
        apart = alone.codes(table, spec)
        assert together[1] == apart[1] == skipped
        np.testing.assert_array_equal(together[0].ids, apart[0].ids)
        np.testing.assert_allclose(together[0].matrix(), apart[0].matrix(), atol=1e-6)


def test_several_recipes_by_openvino_are_bit_for_bit_those_of_each(
    extractor: Extractor, table: ImageTable, tmp_path: Path, graphs: Path
) -> None:
    specs = ways(extractor)[:3]
    extractor.prepare(table, *specs)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "graphs").symlink_to(graphs)
    alone = Extractor(Cache(tmp_path / "alone"), workers=1)
    for spec in specs:
        np.testing.assert_array_equal(
            extractor.codes(table, spec)[0].matrix(), alone.codes(table, spec)[0].matrix()
        )


def test_only_what_is_lacking_is_computed(by_torch: Extractor, table: ImageTable) -> None:
    counted = by_torch.progress
    assert isinstance(counted, Counted)
    good = table.select(table.ids != "a/cut.png")
    specs = ways(by_torch)
    by_torch.prepare(good.select(np.arange(3)), *specs[:2])
    by_torch.prepare(good, *specs[:2])
    rest = len(np.unique(good.content_hashes)) - len(np.unique(good.content_hashes[:3]))
    assert counted.read[1] == rest
    by_torch.prepare(good, *specs)
    by_torch.prepare(good, *specs)
    assert len(counted.read) == 3


def test_copies_and_unreadable_copies_share_their_fate(
    by_torch: Extractor, table: ImageTable, decoded: list[str]
) -> None:
    twice = np.concatenate([np.arange(len(table)), np.arange(len(table))])
    ids = np.array([f"{'xy'[i // len(table)]}/{id}" for i, id in enumerate(table.ids[twice])])
    doubled = dataclasses.replace(table.select(twice), ids=ids)
    skipped = by_torch.prepare(doubled, *ways(by_torch))
    assert [bad.source for bad in skipped] == ["x/a/cut.png", "y/a/cut.png"]
    assert len({bad.reason for bad in skipped}) == 1
    assert decoded.count("cut.png") == 1
    assert len(decoded) == 7


@pytest.mark.parametrize("size", [(64, 0), (32, 64)])
def test_descriptors_from_the_cache_are_the_computed_ones_bit_for_bit(
    size: tuple[int, int], by_torch: Extractor, table: ImageTable, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(extract, "DESCRIPTOR_BATCH", 3)
    spec = by_torch.spec("tf_efficientnet_lite0", ["blocks.1"], size=size[0], edits=[Clahe()])
    spec = dataclasses.replace(spec, base=size[1])
    small = Extractor(Cache(tmp_path / "small", limit=1000), engine="torch", workers=2)
    skipped = [each.prepare(table, dataclasses.replace(spec, poolings=("grid",)))
               for each in (by_torch, small)]  # fmt: skip
    assert skipped[0] == skipped[1]
    assert [bad.source for bad in skipped[0]] == ["a/cut.png"]
    kept, computed = by_torch.descriptors(table, spec), small.descriptors(table, spec)
    assert not list((tmp_path / "small").rglob("*@grid.npy"))
    for _ in range(2):
        pairs = list(zip(kept(), computed(), strict=True))
        assert [len(ids) for (ids, _), _ in pairs] == [3, 3, 1]
        for (ids, bags), (ids_too, bags_too) in pairs:
            np.testing.assert_array_equal(ids, ids_too)
            np.testing.assert_array_equal(bags, bags_too)
            assert (bags.dtype, bags_too.dtype) == (np.float16, np.float16)
    assert [id for (ids, _), _ in pairs for id in ids] == [
        id for id in table.ids if id != "a/cut.png"
    ]


def test_threads_that_share_a_network_read_their_own_images(by_torch: Extractor) -> None:
    """Hooks sit on the one network: without a lock a thread sees the maps of another's images."""
    spec = by_torch.spec("tf_efficientnet_lite0", ["stem", "blocks.1"], size=64)
    streams = [
        [Canvas("", np.full((64, 64), 25 * level, np.uint8), Geometry.identity(64, 64))] * 40
        for level in range(6)
    ]

    def codes(stream: list[Canvas]) -> np.ndarray:  # type: ignore[type-arg]
        return np.stack([found["stem@avg"] for _, found in by_torch.run(stream, spec)])

    alone = [codes(stream) for stream in streams]
    with ThreadPoolExecutor(6) as threads:
        for mine, beside in zip(alone, threads.map(codes, streams), strict=True):
            np.testing.assert_allclose(beside, mine, atol=1e-5)


def test_threads_that_begin_at_once_leave_the_weights_as_they_are(tmp_path: Path) -> None:
    """Moving the weights of a shared network to another layout, twice at once, garbles them."""
    loaded = load_backbone()
    network = loaded.network
    layout = [weight.stride() for weight in network.parameters()]
    before = [weight.clone() for weight in network.parameters()]
    extractor = Extractor(Cache(tmp_path), engine="torch", workers=2)
    extractor.adopt(loaded)
    image = Canvas("", np.full((32, 32), 99, np.uint8), Geometry.identity(32, 32))
    taps = [f"blocks.{i}" for i in range(7)]
    start = threading.Barrier(len(taps))

    def read(tap: str) -> None:
        start.wait()
        list(extractor.run([image], extractor.spec(loaded.name, [tap], size=32)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(taps)) as threads:
            list(threads.map(read, taps))
    finally:
        sys.setswitchinterval(interval)
    assert layout == [weight.stride() for weight in network.parameters()]
    assert all(map(torch.equal, before, network.parameters()))
