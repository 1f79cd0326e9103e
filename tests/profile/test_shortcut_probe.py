"""The surface of images: measured right, judged out of fold, and folds that it misleads about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medgraft.data.ingest import LoadOptions, load
from medgraft.evaluate.metrics import auroc
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.profile.image_stats import read_image_stats, surface_of
from medgraft.profile.profile import ProfileInputs, examine
from medgraft.profile.shortcut_probe import predict_from_surface, surface_finding
from medgraft.studies.options import StudyOptions
from medgraft.studies.prepare import divided
from medgraft.types import Canvas, Geometry, ImageTable, Predictions


def canvas_of(pixels: np.ndarray, source: tuple[int, int] = (32, 32)) -> Canvas:  # type: ignore[type-arg]
    geometry = Geometry.identity(*pixels.shape[:2])
    return Canvas("", pixels, Geometry(source, 1, geometry.crop, geometry.size, geometry.content))


def images(folder: Path, n: int, *, darker: int, seed: int = 0) -> ImageTable:
    """n noisy pictures, two a patient; those of the sick darker by so much on average."""
    rng = np.random.default_rng(seed)
    for index in range(n):
        sick = index % 4 >= 2
        level = rng.normal(140 - (darker if sick else 0), 12)
        pixels = np.clip(rng.normal(level, 20, (48, 48)), 0, 255).astype(np.uint8)
        path = folder / ("sick" if sick else "normal") / f"p{index // 2}_{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return load(folder, LoadOptions(group=r"regex:(p\d+)_"))


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


def told(table: ImageTable, extractor: Extractor) -> Predictions:
    spec = extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=48)
    return predict_from_surface(read_image_stats(table, spec, extractor).surface, table)


# --------------------------------------------------------------------------- what is measured


def test_a_flat_picture_has_its_level_and_no_sharpness() -> None:
    numbers = surface_of(canvas_of(np.full((32, 32), 77, np.uint8), source=(100, 200)))
    assert len(numbers) == 20
    assert numbers[:2] == [77, 0]
    assert numbers[2:9] == [77] * 7
    assert numbers[9:11] == [77, 0]
    assert numbers[11:14] == [0, 0, 0]
    assert numbers[14:18] == [128, 128, 0, 0]
    np.testing.assert_allclose(numbers[18:], [np.log(2), np.log(20_000)])


def test_the_border_is_its_own_and_grey_in_colour_is_grey() -> None:
    pixels = np.full((32, 32), 50, np.uint8)
    pixels[:2] = pixels[-2:] = 200
    pixels[:, :2] = pixels[:, -2:] = 200
    grey = surface_of(canvas_of(pixels))
    assert grey[9:11] == [200, 0]
    colour = surface_of(canvas_of(np.repeat(pixels[..., None], 3, axis=2)))
    np.testing.assert_allclose(colour, grey, atol=1e-4)


def test_sharpness_falls_where_a_picture_is_blurred_and_colour_is_seen() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 2), np.uint8)
    fine, coarse = (surface_of(canvas_of(pixels))[11] for pixels in (sharp, blurred))
    assert coarse < fine - 2
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert surface_of(canvas_of(red))[14] > 180  # a of Lab: red


def test_quantiles_and_moments_are_numpys() -> None:
    pixels = np.random.default_rng(1).integers(3, 250, (37, 41)).astype(np.uint8)
    numbers = surface_of(canvas_of(pixels))
    levels = np.array([1, 10, 25, 50, 75, 90, 99]) / 100
    expected = [pixels.mean(), pixels.std(), *np.quantile(pixels, levels)]
    np.testing.assert_allclose(numbers[:9], expected, atol=1e-9)
    laplacian = cv2.Laplacian(pixels, cv2.CV_64F)
    assert numbers[11] == pytest.approx(np.log1p(laplacian.var()))


# --------------------------------------------------------------------------- what it tells


def test_exposure_that_goes_with_the_class_is_found_and_kept(
    tmp_path: Path, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = images(tmp_path / "images", 120, darker=60)
    surface = told(table, extractor)
    finding = surface_finding(surface)
    assert (finding.check, finding.severity) == ("surface_tells_class", "warn")
    assert float(finding.numbers["auroc"]) > 0.97
    monkeypatch.setattr(extractor, "canvases", lambda *args: pytest.fail("measured again"))
    np.testing.assert_array_equal(told(table, extractor).y_prob, surface.y_prob)


def test_exposure_that_goes_with_nothing_is_not_found(tmp_path: Path, extractor: Extractor) -> None:
    table = images(tmp_path / "images", 120, darker=0)
    surface = told(table, extractor)
    finding = surface_finding(surface)
    assert (finding.check, finding.severity) == ("surface", "info")
    assert "not sure that how the images were made" in finding.text
    assert auroc(surface.y_true == 1, surface.y_prob[:, 1]) < 0.75
    for k in range(5):  # judged out of fold, patients whole
        inside = set(surface.groups[surface.fold == k])
        assert not inside & set(surface.groups[surface.fold != k])


def test_a_check_says_what_a_study_of_the_same_images_says(
    tmp_path: Path, extractor: Extractor
) -> None:
    """A study sets test images aside; the check asks those that are left, too."""
    plain = images(tmp_path / "images", 60, darker=20)
    plain = replace(plain, metadata={"age": np.array([str(40 + label) for label in plain.labels])})
    studied = divided(plain, StudyOptions())
    spec = extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=48)
    stats = read_image_stats(plain, spec, extractor)
    asked = ("surface", "surface_tells_class", "metadata", "columns_tell_class")
    check, study = (
        {one.check: one for one in examine(table, inputs).findings if one.check in asked}
        for table, inputs in (
            (plain, ProfileInputs(image_stats=stats, divided=studied)),
            (studied, ProfileInputs(image_stats=stats)),
        )
    )
    assert check == study
    assert check["columns_tell_class"].severity == "warn"
    assert check["surface"].numbers["n"] == (studied.splits != "test").sum() == 48
