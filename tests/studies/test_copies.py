"""A study of noise: copies must not make it look like knowledge, and little data must fail soon."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.ingest import LoadOptions, load, load_any
from medgraft.data.panel_split import divided_panel
from medgraft.errors import FitError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.panel import Panel
from medgraft.studies.near_copies import divided_without_torn_copies
from medgraft.studies.options import StudyOptions
from medgraft.studies.run import run_study

OPTIONS = StudyOptions(heads=("logistic",))


def write_noise(folder: Path, n_images: int, n_copies: int) -> Path:
    """Images of pure noise in two classes, each so many times under names of other patients."""
    rng = np.random.default_rng(0)
    for image in range(n_images):
        pixels = Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8))
        for copy in range(n_copies):
            path = folder / "ab"[image % 2] / f"{image:02d}x{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.save(path)
    return folder


def test_copies_of_noise_are_not_recognised(tmp_path: Path, cache: Cache) -> None:
    table = load(write_noise(tmp_path / "noise", 40, 3))
    study = run_study(table, OPTIONS, Extractor(cache, workers=2))
    seen = study.result.table
    assert not set(seen.test.content_hashes) & set(seen.development.content_hashes)
    (joined,) = [f for f in study.result.findings if f.check == "copies_kept_together"]
    assert joined.numbers == {"groups": 120, "joined_into": 40, "before": 120, "after": 40}
    assert study.tested is not None
    tested = study.tested.estimates["auroc"]
    assert tested.low < 0.5 < tested.high  # they were 1.000 when copies stood on both sides
    assert tested.n == len(seen.test) == 24


def test_what_cannot_be_judged_fails_before_an_image_is_read(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(Extractor, "prepare", refuse)
    table = load(write_noise(tmp_path / "noise", 3, 1))  # two of class a, one of class b
    with pytest.raises(FitError, match=r"the class 'b' has 1 group"):
        run_study(table, OPTIONS, Extractor(cache))


def test_three_images_a_class_are_enough(tmp_path: Path, cache: Cache) -> None:
    table = load(write_noise(tmp_path / "noise", 6, 1))
    study = run_study(table, OPTIONS, Extractor(cache))
    assert study.folds.n_folds == 2
    assert len(study.result.table.test) == 2


def test_blank_pictures_are_judged_as_chance(tmp_path: Path, cache: Cache) -> None:
    """Blank pictures whose bytes differ only in a comment: nothing to learn, nothing to crash."""
    from PIL.PngImagePlugin import PngInfo

    for image in range(20):
        path = tmp_path / "blank" / "ab"[image % 2] / f"{image:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        comment = PngInfo()
        comment.add_text("number", str(image))
        Image.new("L", (32, 32), 128).save(path, pnginfo=comment)
    study = run_study(load(tmp_path / "blank"), OPTIONS, Extractor(cache))
    assert study.validation.estimates["auroc"].value == pytest.approx(0.5, abs=0.2)


def test_near_copies_are_not_torn_by_the_test_split_that_a_study_sets_aside(
    tmp_path: Path, cache: Cache
) -> None:
    rng = np.random.default_rng(1)
    for image in range(30):  # smooth pictures, each stored three times at other qualities
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
        pixels = coarse.resize((96, 96), Image.Resampling.BICUBIC)
        for name, quality in (
            (f"x{image}w.jpg", 60),
            (f"y{image}w.jpg", 80),
            (f"z{image}w.jpg", 95),
        ):
            path = tmp_path / "set" / "ab"[image % 2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.save(path, quality=quality)
    study = run_study(load(tmp_path / "set"), OPTIONS, Extractor(cache, workers=2))
    seen = study.result.table
    (joined,) = [f for f in study.result.findings if f.check == "copies_kept_together"]
    assert "near copies" in joined.text
    assert joined.numbers["after"] == 30
    pictures = np.array([Path(id_).stem.strip("xyzw") for id_ in seen.ids.tolist()])
    test = seen.splits == "test"
    assert test.any()
    assert not set(pictures[test]) & set(pictures[~test])


def test_nor_by_the_test_split_of_several_findings(tmp_path: Path, cache: Cache) -> None:
    rng, rows = np.random.default_rng(1), ["path,p,q"]
    for image in range(24):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
        pixels = coarse.resize((96, 96), Image.Resampling.BICUBIC)
        for letter, quality in zip("xyz", (60, 80, 95), strict=True):
            pixels.save(tmp_path / f"{letter}{image}w.jpg", quality=quality)
            rows.append(f"{letter}{image}w.jpg,{image % 2},{int(image % 3 > 0)}")
    (tmp_path / "findings.csv").write_text("\n".join(rows))
    whole = load_any(tmp_path / "findings.csv", LoadOptions(no_groups=True))
    assert isinstance(whole, Panel)
    extractor = Extractor(cache, workers=2)

    def torn(panel: Panel) -> set[str]:
        pictures = np.array([Path(i).stem.strip("xyzw") for i in panel.images.ids.tolist()])
        test = panel.images.splits == "test"
        assert test.any()
        return set(pictures[test]) & set(pictures[~test])

    assert torn(divided_panel(whole, OPTIONS.test_fraction, OPTIONS.seed))
    divided = divided_without_torn_copies(whole, dataclasses.replace(OPTIONS, n_folds=2), extractor)
    assert not torn(divided)
    assert len(np.unique(divided.images.groups)) == 24
    assert "near copies" in next(
        f.text for f in divided.images.findings if f.check == "copies_kept_together"
    )
