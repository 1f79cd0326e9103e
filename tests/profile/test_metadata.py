"""Does the probe name what gives the class away, and keep quiet where nothing does?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from medgraft.data.ingest import load
from medgraft.profile.metadata import (
    LUMINANCE_TABLE,
    filled,
    header,
    kinds,
    metadata_probe,
    numbers_of,
    read_properties,
)
from medgraft.types import Finding, ImageTable, Source


def files(folder: Path, n: int, *, sick_quality: int = 90, sick_mode: str = "L") -> ImageTable:
    """n noisy JPEGs, the sick stored with this quality and in this mode."""
    rng = np.random.default_rng(0)
    for i in range(n):
        sick = i % 2 == 1
        pixels = rng.integers(0, 256, (24, 24)).astype(np.uint8)
        path = folder / ("sick" if sick else "normal") / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels).convert(sick_mode if sick else "L")
        image.save(path, quality=sick_quality if sick else 90)
    return load(folder)


def probe(table: ImageTable) -> Finding:
    (finding,) = metadata_probe(table, read_properties(table, None))
    return finding


def test_a_header_is_read_without_decoding(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    image.save(tmp_path / "a.jpg", quality=50, exif=exif)
    size, bands, coarse, has_exif, kind = header(Source(str(tmp_path / "a.jpg")))
    assert size == np.log((tmp_path / "a.jpg").stat().st_size)
    # Quality 50 is the standard's own table, whose sum the constant holds.
    assert (bands, coarse, has_exif, kind) == (3, 0, 1, 1)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert sum(stored.quantization[0]) == LUMINANCE_TABLE  # type: ignore[attr-defined]
    image.save(tmp_path / "b.png")
    assert np.isnan(header(Source(str(tmp_path / "b.png")))[2])
    (tmp_path / "c.bin").write_bytes(b"no image that Pillow knows")
    assert np.isnan(header(Source(str(tmp_path / "c.bin")))[1:]).all()


def test_tables_and_mode_that_go_with_the_class_are_named(tmp_path: Path) -> None:
    finding = probe(files(tmp_path / "tables", 60, sick_quality=40))
    assert (finding.check, finding.severity) == ("metadata_tells_class", "severe")
    assert "compression tables 1.00" in finding.text
    assert "colour mode" not in finding.text
    assert len(finding.images) == 6
    finding = probe(files(tmp_path / "mode", 60, sick_mode="RGB"))
    assert "colour mode 1.00" in finding.text


def test_it_never_fires_on_labels_dealt_at_random(tmp_path: Path) -> None:
    """Forty deals of labels over files that differ in every way; groups are single images."""
    table = files(tmp_path / "data", 80, sick_quality=40, sick_mode="RGB")
    properties = read_properties(table, None)
    rng = np.random.default_rng(0)
    checks = [
        metadata_probe(replace(table, labels=rng.permutation(table.labels)), properties)[0].check
        for _ in range(40)
    ]
    assert set(checks) == {"metadata"}


def test_what_follows_from_the_picture_is_no_alarm(tmp_path: Path) -> None:
    """Files of smooth pictures are small: that tells the class, and is no fault of the files."""
    rng = np.random.default_rng(0)
    for i in range(60):
        spread = 60 if i % 2 else 5
        pixels = np.clip(rng.normal(128, spread, (24, 24)), 0, 255).astype(np.uint8)
        path = tmp_path / ("sick" if i % 2 else "normal") / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    finding = probe(load(tmp_path))
    assert finding.check == "content_tells_class"
    assert finding.severity != "severe"
    assert "file size 1.00" in finding.text


def test_columns_of_the_user_are_judged_too(tmp_path: Path) -> None:
    table = files(tmp_path, 60)
    scanner = np.where(table.labels == 1, "A", "B")
    age = np.array([str(20 + i % 7) for i in range(60)])
    named = replace(table, metadata={"scanner": scanner, "age": age})
    files_alone, columns = metadata_probe(named, read_properties(named, None))
    assert files_alone.check == probe(table).check
    assert (columns.check, columns.severity) == ("columns_tell_class", "warn")
    assert "scanner 1.00" in columns.text
    assert "age" not in columns.text.split("By itself:")[1].split(".")[0]
    assert float(files_alone.numbers["auroc column age"]) < 0.6


def test_numbers_kinds_and_gaps() -> None:
    np.testing.assert_array_equal(kinds(np.array(["x", "y", "x"])), [[1, 0], [0, 1], [1, 0]])
    values = numbers_of(np.array(["1.5", "", "3"]))
    assert values is not None
    np.testing.assert_array_equal(filled(values)[:, 0], [1.5, 2.25, 3])
    assert numbers_of(np.array([f"name {i}" for i in range(20)])) is None
    assert filled(np.full((2, 1), np.nan)).tolist() == [[0], [0]]


def test_one_class_and_few_images(tmp_path: Path) -> None:
    table = files(tmp_path, 4)
    one = replace(table, labels=np.zeros(4, np.int64))
    assert metadata_probe(one, read_properties(one, None)) == ()
    three = table.select(np.array([0, 1, 2]))
    assert metadata_probe(three, read_properties(three, None))[0].check == "metadata_not_checked"
