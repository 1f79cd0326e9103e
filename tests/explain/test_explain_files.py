"""What `medgraft explain` writes: which maps, and which words under the image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_attribute import COEF, Linear, Reddest, fitted_of

from medgraft.bundle import explain
from medgraft.errors import ScenarioError
from medgraft.explain.methods import METHODS
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import Operating

Strip = tuple[list[str], str, str]


@pytest.fixture
def strips(monkeypatch: pytest.MonkeyPatch) -> list[Strip]:
    """The panels' names, the words and the method of every strip that is written."""
    from medgraft.report.charts import heatmap_strip

    drawn: list[Strip] = []
    write = heatmap_strip.write_strip

    def noted(path: Path, pixels: Any, maps: Any, words: str, method: str) -> None:
        drawn.append(([name for name, _ in maps], words, method))
        write(path, pixels, maps, words, method)

    monkeypatch.setattr(heatmap_strip, "write_strip", noted)
    return drawn


def use(fitted: FittedFrozen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "load_model", lambda _path, cache: fitted)


def red_image(folder: Path) -> Path:
    """The model of `LINEAR` scores .5 * 50 for red, as `test_cam` has it by hand."""
    folder.mkdir(exist_ok=True)
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2, 0] = 200
    Image.fromarray(pixels).save(folder / "1.png")
    return folder / "1.png"


@pytest.mark.parametrize("method", [*METHODS, "occlusion", "auto"])
def test_every_method_writes_a_strip(
    method: str, strips: list[Strip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(fitted_of(Linear(COEF / 100, np.zeros(2))), monkeypatch)
    image = red_image(tmp_path / "red")
    (file,), skipped = explain.explain_files(tmp_path, [image], tmp_path / "out", method=method)
    assert skipped == []
    kind = "cam" if method in METHODS else method
    assert file == tmp_path / "out" / f"1-{kind}.png"
    ((names, words, _),) = strips
    assert names == (["second"] if kind == "cam" else ["where red comes from"])
    # Scores -.25 and .25: probability of red 1 / (1 + e^-.5).
    assert words == "called red: right\nred: probability 0.62"


@pytest.mark.parametrize(("taps", "kind"), [((), "auto"), (["second"], "cam")])
def test_the_most_exact_way_is_taken_unless_layers_are_named(
    taps: list[str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(fitted_of(Linear(COEF / 100, np.zeros(2))), monkeypatch)
    image = red_image(tmp_path / "red")
    (file,), _ = explain.explain_files(tmp_path, [image], tmp_path / "out", taps=taps)
    assert file.name == f"1-{kind}.png"


def test_words_tell_wrong_from_unknown_and_name_the_threshold(
    strips: list[Strip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fitted_of(Linear(COEF / 100, np.zeros(2)))
    use(dataclasses.replace(fitted, operating=Operating(0.7, "by hand")), monkeypatch)
    images = [red_image(tmp_path / name) for name in ("red", "elsewhere")]
    explain.explain_files(tmp_path, images, tmp_path / "out", target="red")
    green = "green: probability 0.38\nred: probability 0.62\n(red is called from 0.70 on)"
    assert [words for _, words, _ in strips] == [
        f"called green: wrong, it is red\n{green}",
        f"called green\n{green}",
    ]


def test_what_cannot_be_explained_so_is_refused_with_what_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(fitted_of(Reddest()), monkeypatch)
    image = red_image(tmp_path / "red")
    with pytest.raises(ScenarioError, match="ask for occlusion, which any classifier has"):
        explain.explain_files(tmp_path, [image], tmp_path, taps=["second"])
    with pytest.raises(ScenarioError, match="no method 'lime'; there are: gradcam, "):
        explain.explain_files(tmp_path, [image], tmp_path, method="lime")
    with pytest.raises(ScenarioError, match="looks at no single layer, and --taps names second"):
        explain.explain_files(tmp_path, [image], tmp_path, method="occlusion", taps=["second"])
