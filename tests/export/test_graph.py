"""Whole classifiers as one graph: every family answers as it does in use, at any batch size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from medgraft.data.preprocess import area_weights, derive
from medgraft.errors import ExportError
from medgraft.export.encoder_graphs import head_graph
from medgraft.export.formats import FORMATS, open_graph, write_graph
from medgraft.export.graph import _Shrink, classifier_graph
from medgraft.features.engine import to_rgb
from medgraft.features.extract import Extractor
from medgraft.learn.estimators import OrdinalHead
from medgraft.types import Canvas, FittedScenario, Geometry, ImageTable

CAN = (
    "probe", "edited alike", "sizes", "sizes averaged", "rbf", "ordinal", "vlad", "vlad, hard",
    "vlad, two sizes", "fisher", "bilinear", "pyramid", "finetune", "mean", "stack",
)  # fmt: skip
CANNOT = ("knn", "beside", "views", "some edited")


@pytest.fixture(scope="module")
def asked(table: ImageTable, extractor: Extractor) -> Callable[..., Any]:
    """Seven canvases as pixels, and what a classifier says of them."""

    def ask(one: FittedScenario) -> tuple[np.ndarray, np.ndarray]:
        made = [c for c in extractor.canvases(table, one.spec) if isinstance(c, Canvas)][:7]
        pixels = np.empty((7, one.spec.size, one.spec.size, 3), np.uint8)
        for row, canvas in zip(pixels, made, strict=True):
            to_rgb(canvas.pixels, row)
        return pixels, one.probabilities(made)

    return ask


@pytest.mark.parametrize("name", CAN)
def test_a_graph_answers_as_the_classifier(
    name: str, fitted: dict[str, FittedScenario], asked: Callable[..., Any]
) -> None:
    pixels, expected = asked(fitted[name])
    graph = classifier_graph(fitted[name])
    with torch.inference_mode():
        found = graph(torch.from_numpy(pixels)).numpy()
    assert np.ptp(expected[:, 0]) > 1e-3  # else a constant would do
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CANNOT)
def test_what_has_no_graph_says_what_has(name: str, fitted: dict[str, FittedScenario]) -> None:
    with pytest.raises(ExportError, match="svm, logistic, lda, ordinal or"):
        classifier_graph(fitted[name])


def test_grades_in_a_graph_are_the_heads_own() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 5)).astype(np.float32)
    y = np.searchsorted([-1.0, 0.0, 0.1], X[:, 0] + rng.normal(size=90))
    head = OrdinalHead(C=1.0).fit(X, y)
    wild = np.concatenate([X, 40 * X])  # where a logarithm of a sum would be -inf
    found = head_graph(head)(torch.from_numpy(wild)).numpy()
    np.testing.assert_allclose(found, head.decision_function(wild), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        *((name, "onnx") for name in ("sizes", "rbf", "ordinal", "vlad", "vlad, hard", "fisher",
                                      "bilinear", "pyramid", "stack")),
        ("sizes averaged", "torchscript"),
        ("vlad, two sizes", "torchscript"),
        ("probe", "openvino"),
    ],
)  # fmt: skip
def test_a_written_graph_answers_so_in_batches_of_any_size(
    name: str,
    format: str,
    fitted: dict[str, FittedScenario],
    asked: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnx")
    one = fitted[name]
    pixels, expected = asked(one)
    path = write_graph(format, classifier_graph(one), one.spec.size, tmp_path, {"classes": 2})
    run = open_graph(format, path, 1)
    for batch in (1, 2, 7):
        parts = [run(pixels[start : start + batch]) for start in range(0, 7, batch)]
        np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=2e-5)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    """Torch's own writer of files ends it by a signal."""
    (tmp_path / "model.pt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_graph("torchscript", torch.nn.Flatten(), 8, tmp_path, {})


def test_there_are_three_formats(tmp_path: Path) -> None:
    assert set(FORMATS) == {"onnx", "openvino", "torchscript"}
    with pytest.raises(ExportError, match="no format 'pickle'"):
        write_graph("pickle", torch.nn.Identity(), 8, tmp_path, {})


@pytest.mark.parametrize(("side", "to"), [(128, 64), (96, 64), (64, 63), (224, 100), (90, 30)])
def test_a_smaller_canvas_is_opencvs_to_a_grey_level(side: int, to: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    expected = derive(Canvas("a", pixels, Geometry.identity(side, side)), to).pixels
    shrunk = _Shrink(side, to)(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float())
    away = np.abs(shrunk[0].permute(1, 2, 0).numpy() - expected)
    assert away.max() <= 1
    assert (away > 0).mean() < 1e-3


def test_areas_are_shares() -> None:
    weights = area_weights(7, 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.sum(axis=0), 3 / 7)
    column = np.arange(7, dtype=np.float32)[:, None]
    by_opencv = cv2.resize(column, (1, 3), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(weights @ column, by_opencv, atol=1e-5)
