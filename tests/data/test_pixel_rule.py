"""One rule a data set for stored values: found robustly, on development images, and kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from medgraft.data import pixel_rule
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.pixel_findings import compare_with_rule
from medgraft.data.pixel_rule import find_rule, range_of
from medgraft.data.pixels.decode import decode
from medgraft.data.pixels.values import Stored, to_8_bit
from medgraft.data.preprocess import CanvasRecipe, make_canvas
from medgraft.data.split import with_test_split
from medgraft.errors import DataError
from medgraft.types import PLAIN, Finding, ImageTable, PixelRule, StoredRange

Array = NDArray[Any]


def picture(label: int, number: int) -> Array:
    """(64, 64) 0..255: a disc on a texture of its own, brighter in the second class."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 150
    grey = rng.normal(90, 30, (64, 64)) + disc * (30 + 40 * label)
    return np.clip(grey, 0, 255).astype(np.uint16)


def folder(root: Path, change: Any, n: int = 12) -> Path:
    """Two classes of 16-bit PNGs: `change(values, label, number)` of 12-bit pictures."""
    for label, name in enumerate(("normal", "ill")):
        (root / name).mkdir(parents=True)
        for i in range(n):
            values = change(picture(label, 100 * label + i) * 16, label, i)
            Image.fromarray(values.astype(np.uint16)).save(root / name / f"{i}.png")
    return root


def hot(values: Array, label: int, _: int) -> Array:
    if label:
        values[:2, :2] = 4100
    return values


def means(table: ImageTable) -> Array:
    """The mean grey of each class, (2,)."""
    grey = np.array([decode(source).pixels.mean() for source in table.sources])
    return np.array([grey[table.labels == k].mean() for k in (0, 1)])


def of(table: ImageTable, check: str) -> Finding:
    (found,) = (one for one in table.findings if one.check == check)
    return found


# ------------------------------------------------------------------------ the rule


def test_hot_pixels_of_one_class_do_not_tell_it(tmp_path: Path) -> None:
    plain = load(folder(tmp_path / "plain", lambda values, *_: values))
    table = load(folder(tmp_path / "hot", hot))
    assert plain.rule == table.rule == PixelRule(0, 4095)
    np.testing.assert_allclose(means(table), means(plain), atol=0.5)
    loose = means(dataclasses.replace(table.shown_by(PLAIN)))  # each by its own largest value
    assert loose[0] > 3 * loose[1] or loose[1] > 3 * loose[0]
    found = of(table, "pixel_rule")
    assert found.severity == "warn"
    assert "100% of ill, 0% of normal" in found.text or "0% of normal, 100% of ill" in found.text
    assert of(plain, "pixel_rule").severity == "info"


def test_a_picture_does_not_hang_on_its_own_largest_value(tmp_path: Path) -> None:
    def dark(values: Array, _: int, number: int) -> Array:
        return values // 8 if number == 3 else values

    table = load(folder(tmp_path, dark))
    for source in table.sources:
        values = np.asarray(Image.open(source.path)).astype(float)
        expected = np.rint(np.clip(values / 4095, 0, 1) * 255)
        assert np.abs(decode(source).pixels - expected).max() <= 1


@pytest.mark.parametrize("offset", [32768, 31744])
def test_an_offset_is_brought_to_the_range_in_use(tmp_path: Path, offset: int) -> None:
    table = load(folder(tmp_path, lambda values, *_: values // 2 + offset))
    assert table.rule.low >= offset
    assert table.rule.high <= offset + 2047
    levels = np.concatenate([decode(source).pixels.ravel() for source in table.sources])
    assert np.subtract(*np.quantile(levels, [0.99, 0.01])) > 150
    assert "the range that they use" in of(table, "pixel_rule").text


def test_signed_numbers_floats_and_colour(tmp_path: Path) -> None:
    def written(name: str, make: Any) -> ImageTable:
        for label in (0, 1):
            (tmp_path / name / str(label)).mkdir(parents=True)
            for i in range(10):
                values = make(picture(label, 50 * label + i).astype(float) / 255)
                kind = "rgb" if values.ndim == 3 else "minisblack"
                tifffile.imwrite(
                    tmp_path / name / str(label) / f"{i}.tif", values, photometric=kind
                )
        return load(tmp_path / name)

    signed = written("signed", lambda x: (x * 3000 - 1000).astype(np.int16)).rule
    assert -1000 <= signed.low <= -900
    assert 1500 < signed.high <= 2000
    assert written("unit", lambda x: x.astype(np.float32)).rule == PixelRule(0, 1)
    assert written("float", lambda x: (x * 255).astype(np.float32)).rule == PixelRule(0, 255)
    table = written("colour", lambda x: np.stack([x, x / 2, x / 4], 2).astype(np.float64))
    assert table.rule == PixelRule(0, 1)
    wide = written("wide", lambda x: (np.stack([x, x / 2, x / 4], 2) * 65535).astype(np.uint16))
    assert wide.rule == PixelRule(0, 65535)
    assert decode(wide.sources[0]).pixels.shape == (64, 64, 3)


def test_by_hand() -> None:
    ramp = np.array([[-5, 0, 100, 200, 300]], np.int16)
    assert to_8_bit(ramp, PixelRule(0, 200)).tolist() == [[0, 0, 128, 255, 255]]
    assert to_8_bit(ramp.astype(">i2"), PixelRule(0, 200)).tolist() == [[0, 0, 128, 255, 255]]
    odd = np.array([[np.nan, np.inf, -np.inf, 0.5]])
    assert to_8_bit(odd, PixelRule(0, 1)).tolist() == [[0, 255, 0, 128]]
    assert to_8_bit(np.array([[7]], np.uint8), PixelRule(0, 4095)).tolist() == [[7]]
    stored = Stored(np.full((10, 10), 65535, np.uint16), (10, 10))
    assert "100% of its values lie beyond 0 to 4095" in stored.shown(PixelRule(0, 4095))[1]
    few = np.zeros((100, 100), np.uint16)
    few[0] = 65535
    assert Stored(few, (100, 100)).shown(PixelRule(0, 4095))[1] == ""
    assert range_of(Stored(few.astype(np.uint8), (100, 100))) is None


# ------------------------------------------------------------------------ on which images


def test_the_rule_is_found_without_the_test(tmp_path: Path) -> None:
    for split, times in (("train", 1), ("test", 16)):
        folder(tmp_path / split, lambda values, *_, times=times: values * times)
    table = load(tmp_path)
    assert table.rule == PixelRule(0, 4095)
    assert all(table.splits[table.byte_hashes == name] != "test" for name in table.stored)


def test_a_test_split_made_later_does_not_choose_it(tmp_path: Path) -> None:
    table = load(folder(tmp_path, lambda values, *_: values))
    split = with_test_split(table, 0.2, 0)
    rows = split.splits == "test"
    loud = StoredRange("uint16", 0, 0, 60000, 60000)
    told = dict(split.stored) | dict.fromkeys(split.byte_hashes[rows].tolist(), loud)
    assert find_rule(dataclasses.replace(split, stored=told))[0] == PixelRule(0, 4095)
    all_loud = dataclasses.replace(table, stored=told)
    assert find_rule(all_loud)[0] == PixelRule(0, 65535)  # as long as they are not the test
    assert with_test_split(all_loud, 0.2, 0).rule == PixelRule(0, 4095)
    assert len([one for one in split.findings if one.check == "pixel_rule"]) == 1


def test_a_sample_hangs_on_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_rule, "SAMPLED", 8)
    table = load(folder(tmp_path, lambda values, *_: values))
    assert len(table.stored) == 8
    labels = [table.labels[table.byte_hashes == name][0] for name in table.stored]
    assert sorted(labels) == [0] * 4 + [1] * 4
    (tmp_path / "ill" / "0.png").rename(tmp_path / "ill" / "zz.png")
    assert load(tmp_path).stored.keys() == table.stored.keys()


# ------------------------------------------------------------------------ who keeps it


def test_it_is_in_the_fingerprint_and_the_names_of_content_only_where_it_says_something(
    tmp_path: Path,
) -> None:
    table = load(folder(tmp_path / "deep", lambda values, *_: values))
    plain = table.shown_by(PLAIN)
    assert plain.fingerprint != table.fingerprint != table.shown_by(PixelRule(0, 65535)).fingerprint
    assert plain.content_hashes.tolist() == table.byte_hashes.tolist()
    assert plain.shown_by(table.rule).fingerprint == table.fingerprint
    assert not np.isin(table.content_hashes, plain.content_hashes).any()
    assert table.select(np.array([1, 0])).rule == table.rule
    for label in "ab":
        (tmp_path / "eight" / label).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(picture(0, i).astype(np.uint8)).save(
                tmp_path / "eight" / label / f"{i}.png"
            )
    eight = load(tmp_path / "eight")
    assert (eight.rule, dict(eight.stored), eight.findings) == (PLAIN, {}, eight.findings[:1])
    assert not any("~" in name for name in eight.content_hashes.tolist())


def test_what_a_user_says_is_taken(tmp_path: Path) -> None:
    root = folder(tmp_path, hot)
    table = load(root, LoadOptions(pixel_range=(0, 65535)))
    assert table.rule == with_test_split(table).rule == PixelRule(0, 65535)
    with pytest.raises(DataError, match=r"--pixel-range 9,1 is no range"):
        load(root, LoadOptions(pixel_range=(9, 1)))
    with pytest.raises(DataError, match="counts from 1"):
        load(root, LoadOptions(page=0))


def test_other_data_are_compared_with_a_models_rule(tmp_path: Path) -> None:
    table = load(folder(tmp_path / "12", lambda values, *_: values))
    wide = load(folder(tmp_path / "16", lambda values, *_: values * 16))
    assert compare_with_rule(table, table.rule) == ()
    assert "beyond 0 to 4095" in compare_with_rule(wide, table.rule)[0].text
    assert "less than a quarter" in compare_with_rule(table, wide.rule)[0].text
    assert "learned from images of 8 bits" in compare_with_rule(table, PLAIN)[0].text


def test_a_remark_goes_with_the_canvas(tmp_path: Path) -> None:
    table = load(folder(tmp_path, lambda values, *_: values * 16))
    decoded = decode(table.sources[0], rule=PixelRule(0, 4095))
    assert "lie beyond 0 to 4095" in decoded.remark
    assert make_canvas("a", decoded, CanvasRecipe(32)).remark == decoded.remark


# ------------------------------------------------------------------------ findings


def test_another_depth_or_offset_in_one_class_is_severe(tmp_path: Path) -> None:
    def deeper(values: Array, label: int, _: int) -> Array:
        return values * 16 if label else values

    def shifted(values: Array, label: int, _: int) -> Array:
        return values // 2 + 32768 * label

    for name, change, words in (("a", deeper, "times as large"), ("b", shifted, "an offset")):
        found = of(load(folder(tmp_path / name, change)), "pixel_depth")
        assert found.severity == "severe"
        assert words in found.text
        assert "0% of normal, 100% of ill" in found.text or "100% of ill" in found.text


def test_another_depth_in_both_classes_is_a_warning(tmp_path: Path) -> None:
    table = load(folder(tmp_path, lambda values, _, i: values * 16 if i % 2 else values))
    assert of(table, "pixel_depth").severity == "warn"
    assert table.rule == PixelRule(0, 65535)


def test_a_few_dark_pictures_are_no_other_depth(tmp_path: Path) -> None:
    def dark(values: Array, label: int, number: int) -> Array:
        return values // 20 if number == 0 and label else values

    table = load(folder(tmp_path, dark))
    assert [one.check for one in table.findings if one.check.startswith("pixel")] == ["pixel_rule"]


def test_eight_bits_among_sixteen_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path, lambda values, *_: values)
    for i in range(12):
        Image.fromarray((picture(1, i)).astype(np.uint8)).save(root / "ill" / f"{i}.png")
    found = of(load(root), "pixel_depth")
    assert found.severity == "severe"
    assert "12 of uint" in found.text


# ------------------------------------------------------------------------ pages


def pages(root: Path, *stack: Array, alike: bool = False) -> Path:
    """Eight files whose pages are those of `stack`, each a little brighter but for `alike`."""
    for label in (0, 1):
        (root / str(label)).mkdir(parents=True)
        for i in range(4):
            with tifffile.TiffWriter(root / str(label) / f"{i}.tif") as file:
                brighter = np.uint8(0 if alike else 4 * label + i)
                for page in (*stack, picture(label, 10 * label + i).astype(np.uint8)):
                    file.write(page + brighter, photometric="minisblack")
    return root


def test_a_first_page_that_is_no_picture_is_said(tmp_path: Path) -> None:
    black = of(load(pages(tmp_path / "black", np.zeros((64, 64), np.uint8))), "pages")
    assert black.severity == "severe"
    assert "8 files hold several pages (2 each)" in black.text
    assert "--page" in black.remedy
    small = load(pages(tmp_path / "small", picture(0, 1)[::4, ::4].astype(np.uint8)))
    assert of(small, "pages").severity == "warn"
    stack = load(pages(tmp_path / "stack", picture(0, 1).astype(np.uint8)))
    assert of(stack, "pages").severity == "info"
    same = load(pages(tmp_path / "same", picture(0, 1).astype(np.uint8), alike=True))
    assert of(same, "pages").severity == "severe"
    assert "In 8 of 8 it is the picture of another file, too" in of(same, "pages").text
    assert of(load(tmp_path / "same", LoadOptions(page=2)), "pages").severity == "info"


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_gif_of_several_pictures_is_said(tmp_path: Path, mode: str) -> None:
    for label in (0, 1):
        for i in range(3):
            path = tmp_path / str(label) / f"{i}.gif"
            path.parent.mkdir(exist_ok=True)
            shown = [picture(label, 10 * label + i + k).astype(np.uint8) for k in range(1 + 2 * i)]
            first, *more = [Image.fromarray(one).convert(mode) for one in shown]
            first.save(path, save_all=True, append_images=more, comment=b"made for a test")
    found = of(load(tmp_path), "pages")
    assert "4 files hold several pages (up to 5 each), of which the first is read" in found.text


def test_the_page_that_is_asked_for_is_read(tmp_path: Path) -> None:
    root = pages(tmp_path, np.zeros((64, 64), np.uint8))
    first, second = load(root), load(root, LoadOptions(page=2))
    assert second.fingerprint != first.fingerprint
    for table, page in ((first, 0), (second, 1)):
        expected = tifffile.imread(table.sources[0].path, key=page)
        np.testing.assert_array_equal(decode(table.sources[0]).pixels, expected)
    third = load(root, LoadOptions(page=3))
    with pytest.raises(Exception, match=r"page 3"):
        decode(third.sources[0])
    png = tmp_path / "a.png"
    Image.fromarray(picture(0, 1).astype(np.uint8)).save(png)
    assert decode(png.read_bytes(), rule=PixelRule(page=2)).pixels.shape == (64, 64)
