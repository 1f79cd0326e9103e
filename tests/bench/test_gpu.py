"""The measurement on a GPU, tried at reduced size; `cpu:0` stands for the GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpu
import harness
from medgraft.features.engine import TorchEngine
from medgraft.learn.finetune import Training
from medgraft.types import Canvas


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the script then writes: gpu.json, gpu.md."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "PAGE", tmp_path / "gpu.md")
    monkeypatch.setattr(gpu, "Sizes", lambda: gpu.REDUCED)
    monkeypatch.setattr(gpu, "torch_device", lambda: "cpu:0")
    return tmp_path


def test_every_part_reports(place: Path) -> None:
    gpu.main([])
    figures = json.loads((place / "gpu.json").read_text())["figures"]
    page = (place / "gpu.md").read_text()
    for part in ("extraction", "training", "Grad-CAM"):
        assert 0 <= figures[part]["difference"] <= figures[part]["tolerance"] <= 1e-3
        assert figures[part]["pairs"]["torch"]["ratio"]["median"] > 0
        assert f"| {part} |" in page
    losses = figures["training"]["notes"]["holdout_losses"]
    assert losses["gpu"] == losses["cpu"] == losses["again"]  # it is the same processor
    assert len(losses["gpu"]) == 3
    assert losses["gpu"][0] == pytest.approx(np.log(2))
    assert losses["gpu"][0] != losses["gpu"][-1]
    assert "cpu:0 against" in page
    assert gpu.NEVER not in page


@pytest.mark.slow
def test_answers_too_far_apart_are_seen_in_every_part(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU whose numbers are a little larger."""
    run, logits, grad_cam = TorchEngine.run, Training.logits, gpu.grad_cam

    def larger(engine: TorchEngine, canvases: Sequence[Canvas]) -> Iterator[tuple[Canvas, Any]]:
        by = 1.001 if engine.device.index == 0 else 1.0
        for canvas, outputs in run(engine, canvases):
            yield canvas, tuple(values * by for values in outputs)

    def larger_scores(training: Training, *asked: Any) -> Any:
        return logits(training, *asked) * (1.01 if training.device.index == 0 else 1)

    def larger_maps(*asked: Any) -> Any:
        by = 1.01 if asked[-1] == "cpu:0" else 1.0
        return [
            {tap: replace(one, map=one.map * by) for tap, one in maps.items()}
            for maps in grad_cam(*asked)
        ]

    monkeypatch.setattr(TorchEngine, "run", larger)
    monkeypatch.setattr(Training, "logits", larger_scores)
    monkeypatch.setattr(gpu, "grad_cam", larger_maps)
    with pytest.raises(SystemExit, match="may be: extraction, training, Grad-CAM"):
        gpu.main(["--reduced"])
    assert not list(place.iterdir())


@pytest.mark.parametrize("found", [[1.0, np.nan], [1.0, np.inf]])
def test_what_is_no_number_is_not_equal(found: list[float]) -> None:
    for pair in ((np.array(found), np.ones(2)), (np.ones(2), np.array(found))):
        with pytest.raises(SystemExit, match="no numbers"):
            gpu.apart(*pair)


def test_apart_by_hand() -> None:
    assert gpu.apart(np.array([1.0, 2.5]), np.array([1.0, -2.0])) == 2.25
    assert gpu.apart(np.zeros(2), np.zeros(2)) == 0
    assert gpu.apart(np.full(2, 1e-9), np.zeros(2)) > 1


def test_without_a_gpu_the_page_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = Path(gpu.__file__).parents[1] / "docs" / "results" / "gpu.md"
    monkeypatch.setattr(gpu, "torch_device", lambda: "cpu")
    with pytest.raises(SystemExit, match="finds no GPU"):
        gpu.main([])
    assert gpu.NEVER in (place / "gpu.md").read_text()
    monkeypatch.undo()
    assert committed.read_text() == gpu.page(gpu.kept())
