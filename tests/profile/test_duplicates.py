"""Are pictures found that occur twice, strangers left alone, and the right thing suggested?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.ingest import load
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.profile import duplicates
from medgraft.profile.duplicates import find_pairs, near_duplicates, suggest
from medgraft.profile.image_stats import ImageStats, read_image_stats
from medgraft.profile.profile import ProfileInputs, examine
from medgraft.profile.suggestions import one_each
from medgraft.results.data import DataAudit
from medgraft.types import FeatureTable, ImageTable, Source

PICTURES = 40


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9)).astype(np.uint8))
    return coarse.resize((96, 96), Image.Resampling.BICUBIC)


def write(folder: Path, name: str, image: Image.Image, **options: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty strangers a class, and copies: recompressed, stored otherwise, empty."""
    data = tmp_path / "data"
    for i in range(PICTURES):
        write(data, f"train/{'ab'[i % 2]}/{i:02}.png", picture(i))
    write(data, "test/a/copy00.jpg", picture(0), quality=60)  # near, across the border
    write(data, "train/b/copy02.jpg", picture(2), quality=60)  # near, under another label
    write(data, "train/a/copy04.bmp", picture(4))  # equal pixels, one class
    write(data, "test/b/copy01.bmp", picture(1))  # equal pixels, across the border
    write(data, "train/b/copy06.tiff", picture(6))  # equal pixels, under another label
    for i in range(3):
        write(data, f"train/a/black{i}.png", Image.new("L", (60 + i, 60)))
    write(data, "train/a/white.png", Image.new("L", (60, 60), 255))
    return data


def seen(data: Path, tmp_path: Path) -> tuple[ImageTable, ImageStats]:
    extractor = Extractor(Cache(tmp_path / "cache"), workers=1)
    table = load(data)
    spec = extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=64)
    return table, read_image_stats(table, spec, extractor)


def test_what_follows_from_a_page_that_is_no_picture_is_not_said_again(tmp_path: Path) -> None:
    for i in range(24):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = picture(0) if i % 4 < 2 else Image.new("L", (96, 96))
        first.save(path, save_all=True, append_images=[picture(i)])
    table, stats = seen(tmp_path / "data", tmp_path)
    audit = DataAudit(table, examine(table, ProfileInputs(image_stats=stats)))
    assert audit.findings[0].check == "pages"
    assert not {"pixel_identical_across_classes", "empty_images"} & {
        one.check for one in audit.findings
    }
    assert audit.checked.suggestions == ()
    bare = replace(table, findings=())
    others = {one.check for one in examine(bare, ProfileInputs(image_stats=stats)).findings}
    assert others >= {"pixel_identical_across_classes", "empty_images"}


def codes_of(table: ImageTable) -> FeatureTable:
    """Codes far apart for every picture, near for copies of one, in another order."""
    names = [id.split("/")[-1].split(".")[0].removeprefix("copy") for id in table.ids.tolist()]
    names = ["black" if name.startswith("black") else name for name in names]
    values = np.stack(
        [
            np.random.default_rng([ord(c) for c in name]).normal(size=32)
            + 0.01 * np.random.default_rng(row).normal(size=32)
            for row, name in enumerate(names)
        ]
    )
    return FeatureTable(table.ids[::-1], {"tap@avg": values[::-1].astype(np.float32)})


def named(table: ImageTable, rows: np.ndarray) -> set[frozenset[str]]:  # type: ignore[type-arg]
    return {frozenset(id.split("/")[-1] for id in table.ids[pair].tolist()) for pair in rows}


def test_copies_are_found_and_sorted_by_kind(folder: Path, tmp_path: Path) -> None:
    table, image_stats = seen(folder, tmp_path)
    pairs = find_pairs(table, image_stats, codes_of(table))
    assert pairs.confirmed
    assert named(table, pairs.rows[pairs.same]) == {
        frozenset(("04.png", "copy04.bmp")),
        frozenset(("01.png", "copy01.bmp")),
        frozenset(("06.png", "copy06.tiff")),
    }
    near = named(table, pairs.rows[~pairs.same])
    assert {frozenset(("00.png", "copy00.jpg")), frozenset(("02.png", "copy02.jpg"))} <= near
    # All else are black images of other sizes, which are one picture once they are resized.
    assert {name for pair in near for name in pair if not name.startswith("black")} == {
        "00.png", "copy00.jpg", "02.png", "copy02.jpg",
    }  # fmt: skip


def test_codes_rule_out_strangers_whose_hashes_are_close(folder: Path, tmp_path: Path) -> None:
    table, image_stats = seen(folder, tmp_path)
    # 10 and 11 get one hash, as two chest X-rays do; their codes differ, as those of strangers.
    row = {id.split("/")[-1]: i for i, id in enumerate(table.ids.tolist())}
    hashes = image_stats.hashes.copy()
    hashes[row["11.png"]] = hashes[row["10.png"]]
    image_stats = replace(image_stats, hashes=hashes)
    strangers = frozenset(("10.png", "11.png"))
    alone = find_pairs(table, image_stats, None)
    assert strangers in named(table, alone.rows)
    assert not alone.confirmed
    judged = find_pairs(table, image_stats, codes_of(table))
    assert strangers not in named(table, judged.rows)
    assert judged.refused == 1
    findings = {f.check: f for f in near_duplicates(table, judged)}
    assert "1 further pair with close hashes" in findings["near_duplicates"].text
    by_hash = {f.check: f for f in near_duplicates(table, alone)}
    assert "no codes confirmed it" in by_hash["near_duplicates"].text
    assert by_hash["near_duplicates_across_splits"].severity == "warn"
    assert findings["near_duplicates_across_splits"].severity == "severe"


def test_harm_is_counted_where_it_is(folder: Path, tmp_path: Path) -> None:
    table, image_stats = seen(folder, tmp_path)
    found = {f.check: f for f in near_duplicates(table, find_pairs(table, image_stats, None))}
    assert dict(found["pixel_identical"].numbers) == {
        "pairs": 3, "images": 6,
        "pairs_across_splits": 1, "pairs_across_classes": 1, "pairs_across_groups": 2,
    }  # fmt: skip
    assert found["pixel_identical_across_classes"].severity == "severe"
    across = found["near_duplicates_across_splits"]
    assert across.images == ("test/a/copy00.jpg", "train/a/00.png")
    assert across.numbers["test_images"] == 1
    assert found["near_duplicates_across_classes"].images == (
        "train/a/02.png",
        "train/b/copy02.jpg",
    )


def test_suggestions_keep_the_test_and_hold_copies_together(folder: Path, tmp_path: Path) -> None:
    table, image_stats = seen(folder, tmp_path)
    suggested = one_each(suggest(table, find_pairs(table, image_stats, codes_of(table))))
    actions = {one.path: (one.action, one.value) for one in suggested}
    gone = {path for path, (action, _) in actions.items() if action == "exclude"}
    assert gone == {"train/a/00.png", "train/b/01.png", "train/a/06.png", "train/b/copy06.tiff"}
    group = dict(zip(table.ids.tolist(), table.groups.tolist(), strict=True))
    assert actions["train/b/copy02.jpg"] == ("group", group["train/a/02.png"])
    assert actions["train/a/copy04.bmp"] == ("group", group["train/a/04.png"])
    assert not any(path.startswith("test/") for path in actions)


def test_joining_takes_the_whole_of_both_groups() -> None:
    """A copy that moved to its twin's group alone would be torn from its own patient."""
    table = _table(["p", "p", "q", "q", "r"])
    pairs = duplicates.Pairs(
        np.array([[1, 2]]), np.array([3]), np.array([False]), confirmed=True, refused=0
    )
    assert {(one.path, one.value) for one in suggest(table, pairs)} == {("2", "p"), ("3", "p")}


def test_every_copy_of_a_test_image_goes() -> None:
    """Two copies to learn from and one in the test, linked through one of them only."""
    table = replace(_table(["p", "q", "r"]), splits=np.array(["train", "train", "test"]))
    rows = np.array([[0, 1], [0, 2]])
    pairs = duplicates.Pairs(rows, np.zeros(2, int), np.array([True, True]), True, 0)
    gone = {one.path for one in one_each(suggest(table, pairs)) if one.action == "exclude"}
    assert gone == {"0", "1"}


def test_all_images_equal_or_black(tmp_path: Path) -> None:
    for i in range(6):
        write(tmp_path / "data", f"{'ab'[i % 2]}/{i}.png", Image.new("L", (60, 60)))
    table, image_stats = seen(tmp_path / "data", tmp_path)
    codes = FeatureTable(table.ids, {"tap@avg": np.ones((6, 4), np.float32)})
    pairs = find_pairs(table, image_stats, codes)
    assert not len(pairs.rows)  # equal bytes are for `identical_files`
    assert {one.action for one in one_each(suggest(table, pairs))} == {"exclude"}


def _table(groups: list[str]) -> ImageTable:
    n = len(groups)
    ids = np.array([str(i) for i in range(n)])
    empty = np.array([""] * n)
    sources = tuple(Source(id) for id in ids.tolist())
    return ImageTable(
        ids, sources, ids, np.zeros(n, np.int64), np.array(groups), empty, empty, ("a", "b")
    )
