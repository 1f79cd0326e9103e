"""`medgraft profile` as it is typed: its exit codes, its files, its JSON, and bad input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medgraft.cli import app
from medgraft.data.ingest import load
from medgraft.data.overrides import apply_overrides
from medgraft.features.cache import Cache


def typed(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9)).astype(np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Thirty strangers, a black image, a copy under another label, and a file that is no image."""
    folder = tmp_path / "data"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    for i in range(30):
        picture(i).save(folder / "ab"[i % 2] / f"{i:02}.png")
    picture(0).save(folder / "b" / "copy.bmp")
    Image.new("L", (96, 96)).save(folder / "a" / "black.png")
    (folder / "a" / "broken.png").write_bytes(b"no image")
    return folder


def test_findings_are_printed_written_and_taken_back(
    data: Path, tmp_path: Path, cache: Cache
) -> None:
    out = tmp_path / "out"
    common = ("profile", data, "--no-codes", "--cache", cache.folder, "-q")
    code, said, skipped = typed(*common, "--out", out, "--fail-on", "severe")
    assert code == 3
    assert "severe  Equal pixels under different labels" in said
    assert "broken.png" in skipped
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("written"))
    page = (out / "data.html").read_text()
    assert page.count("data:image/webp") >= 3
    assert not re.search(r"(src|href)=.https?:", page)
    with (out / "suggestions.csv").open() as file:
        rows = {row["path"]: row["action"] for row in csv.DictReader(file)}
    assert rows == {"a/00.png": "exclude", "b/copy.bmp": "exclude", "a/black.png": "exclude"}
    code, said, _ = typed(*common, "--overrides", out / "suggestions.csv", "--fail-on", "severe")
    assert code == 0
    assert "severe" not in said
    fixed = apply_overrides(load(data), out / "suggestions.csv")
    assert not set(rows) & set(fixed.ids.tolist())
    kept = (out / "suggestions.csv").read_bytes()
    again = ("--overrides", out / "suggestions.csv", "--out", out)
    code, _, why = typed(*common, *again)
    assert code == 1
    assert "holds other suggestions, which you may have edited" in why
    assert (out / "suggestions.csv").read_bytes() == kept
    assert typed(*common, "--out", out)[0] == 0  # the same ones again


def test_json_is_for_scripts(data: Path, cache: Cache) -> None:
    code, said, _ = typed("profile", data, "--no-codes", "--cache", cache.folder, "--json")
    found = json.loads(said)
    assert code == 0
    assert set(found) == {"schema", "data", "findings", "suggestions"}
    assert found["data"]["n_images"] == 32
    assert [row["source"] for row in found["data"]["skipped"]] == ["a/broken.png"]
    checks = {row["check"] for row in found["findings"]}
    assert {"pixel_identical_across_classes", "empty_images", "not_checked", "size"} <= checks
    ranks = [("severe", "warn", "info").index(row["severity"]) for row in found["findings"]]
    assert ranks == sorted(ranks)


@pytest.mark.slow
def test_with_codes_labels_and_copies_are_judged(data: Path, cache: Cache) -> None:
    code, said, _ = typed("profile", data, "--cache", cache.folder, "--json")
    found = {row["check"]: row for row in json.loads(said)["findings"]}
    assert code == 0
    assert "not_checked" not in found
    assert {"wrong_labels", "suspected_labels"} & set(found)


@pytest.mark.parametrize("command", ["profile", "study"])
def test_a_wrong_line_is_named_by_its_number(data: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "fix.csv").write_text("path,action,value\na/02.png,exclude,\na/99.png,exclude,\n")
    code, _, said = typed(command, data, "-q", "--overrides", tmp_path / "fix.csv")
    assert code == 1
    assert "fix.csv, line 3: 'a/99.png'" in said


def black(_: int) -> Image.Image:
    return Image.new("L", (64, 64))


def same(_: int) -> Image.Image:
    return picture(0)


@pytest.mark.parametrize(
    ("classes", "n", "image"), [("ab", 3, picture), ("a", 6, picture), ("ab", 8, same),
                                ("ab", 8, black)],
)  # fmt: skip
@pytest.mark.parametrize("codes", [pytest.param("--codes", marks=pytest.mark.slow), "--no-codes"])
def test_poor_data_is_checked_as_far_as_it_goes(
    tmp_path: Path, cache: Cache, classes: str, n: int, image: object, codes: str
) -> None:
    for i in range(n):
        path = tmp_path / "data" / classes[i % len(classes)] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image(i).save(path)  # type: ignore[operator]
    code, said, error = typed(
        "profile", tmp_path / "data", codes, "--cache", cache.folder, "--json"
    )
    assert (code, error) == (0, "")
    assert "size" in {row["check"] for row in json.loads(said)["findings"]}


def test_nothing_readable_is_one_line(tmp_path: Path, cache: Cache) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x.png").write_bytes(b"no image")
    code, _, said = typed("profile", tmp_path / "data", "--cache", cache.folder, "-q")
    assert code == 4
    assert "no image can be checked" in said
    assert typed("profile", tmp_path / "data", "--fail-on", "info")[0] == 2
