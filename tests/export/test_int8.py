"""Networks in 8 bits: ranges by some patients, the cost by others, refused where it is too much."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import DataError, ExportError, MissingExtraError
from medgraft.export.export_model import export_model
from medgraft.export.int8 import halves, judged
from medgraft.features.extract import Extractor
from medgraft.types import FittedScenario, ImageTable, Pixels


def by_grain(noise: float) -> Any:
    """A graph that tells coarse canvases from fine ones, as well as its noise allows."""
    rng = np.random.default_rng(0)

    def run(canvases: Pixels) -> np.ndarray:
        smooth = np.abs(np.diff(canvases[..., 0].astype(float), axis=2)).mean(axis=(1, 2))
        p = 1 / (1 + np.exp(smooth - 14 + noise * rng.normal(size=len(smooth))))
        return np.stack([1 - p, p], axis=1)

    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Eighty images of forty patients, those of coarse grain sick."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for index in range(80):
        sick = index // 2 % 2
        grain = (3, 6)[sick]
        pixels = np.kron(rng.integers(60, 200, (40, 40)), np.ones((grain, grain)))[:120, :120]
        path = folder / ("normal", "sick")[sick] / f"p{index // 2}_{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load(folder, LoadOptions(group=r"regex:(p\d+)_"))


def test_no_patient_sets_ranges_and_judges(
    many: ImageTable, fitted: dict[str, FittedScenario]
) -> None:
    none = np.zeros(len(many), bool)
    (some, by), (others, on) = halves(fitted["probe"], many, none)
    assert len(some) == len(by) == 40
    assert len(others) == len(on) == 40
    assert not set(by.groups) & set(on.groups)


def test_patients_that_were_not_learned_from_judge(
    many: ImageTable, fitted: dict[str, FittedScenario]
) -> None:
    """Where there are enough; the learned ones then set the ranges, if those are enough."""
    patients = np.array([int(group.rpartition("p")[2]) for group in many.groups.tolist()])
    for below, judges in ((25, 30), (8, 32), (35, 40)):
        learned = (patients < below) & (np.arange(len(many)) % 2 == 0)  # of two images each, one
        (_, by), (_, on) = halves(fitted["probe"], many, learned)
        unseen = ~np.isin(on.groups, many.groups[learned])
        assert (len(on), unseen.all()) == (judges, below < 35)
        assert not set(by.groups) & set(on.groups)


def test_too_few_images_are_refused(table: ImageTable, fitted: dict[str, FittedScenario]) -> None:
    with pytest.raises(DataError, match="20 labelled images of each half"):
        halves(fitted["probe"], table, np.zeros(len(table), bool))


def test_what_is_lost_is_measured_and_refused_above_the_limit(
    many: ImageTable, fitted: dict[str, FittedScenario]
) -> None:
    _, on = halves(fitted["probe"], many, np.zeros(len(many), bool))
    exact, noisy = by_grain(0), by_grain(30)
    found = judged(fitted["probe"], exact, exact, 40, on)
    assert (found.lost.difference, found.changed, found.n) == (0, 0, 40)
    assert found.before.value > 0.9
    with pytest.raises(ExportError, match=r"in 8 bits the model loses 0\.\d+ of AUROC"):
        judged(fitted["probe"], exact, noisy, 40, on)
    allowed = judged(fitted["probe"], exact, noisy, 40, on, limit=1)
    assert allowed.lost.difference > 0.05
    assert allowed.lost.low < allowed.lost.difference < allowed.lost.high


def test_it_is_of_one_format_and_an_extra(
    many: ImageTable, extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="--format openvino, not onnx"):
        export_model(tmp_path, tmp_path / "out", "onnx", extractor, int8=many)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"medgraft\[int8\]"):
        export_model(tmp_path, tmp_path / "out", "openvino", extractor, int8=many)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of nncf's own packages
def test_a_model_in_8_bits_keeps_its_ranking_and_its_program(
    many: ImageTable, fitted: dict[str, FittedScenario], extractor: Extractor, tmp_path: Path
) -> None:
    pytest.importorskip("nncf")
    (tmp_path / "model").mkdir()
    one: Any = fitted["vlad, hard"]
    one.save(tmp_path / "model")
    found = export_model(
        tmp_path / "model", tmp_path / "out", "openvino", extractor, parity=[str(many.root)],
        runtime=True, int8=many, int8_limit=0.05,
    )  # fmt: skip
    assert found.int8 is not None
    assert 0 < found.int8.difference < 0.5
    assert found.int8.learned is None  # a model without traces
    assert found.parity.from_files is not None
    assert found.parity.from_files.difference < 5e-3
    assert "FakeQuantize" in (tmp_path / "out" / "model.xml").read_text()
