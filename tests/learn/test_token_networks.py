"""A small DINOv2, Swin and ConvNeXt through every family: judged, kept, looked into alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_networks  # noqa: F401  registers them
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.split import Development, make_folds
from medgraft.explain.attribute import attribute
from medgraft.explain.cam import block_taps, grad_cam, signed_maps
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn import fit as fitting
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.types import Canvas, ImageTable, Scenario

CUT = {"tiny_dinov2": "blocks.1", "tiny_swin": "layers.0", "test_convnext": "stages.1"}
END = {"tiny_dinov2": "norm", "tiny_swin": "norm", "test_convnext": "stages.3"}


def scenarios_of(name: str) -> dict[str, Scenario]:
    """One of each family at 96 px, which is neither network's own size."""
    cut, end = CUT[name], END[name]
    keys = {
        "finetune": f"finetune/{name}/{cut}/s96/xray-strong/epochs1/logistic",
        "whole": f"finetune/{name}/input/s96/epochs1/logistic",
        "sizes": f"multiscale/{name}/{end}/s96+128/svm",
        "vlad": f"vlad/{name}/{end}/s96/k4/svm",
        "stages": f"multiscale/{name}/stages/s96/svm",
    }
    if name == "tiny_dinov2":
        keys["token"] = f"multiscale/{name}/norm.cls/s96/svm"
    return {what: Scenario.from_key(key) for what, key in keys.items()}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Sixteen noisy images, the bright ones sick."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(16):
        path = folder / ("sick" if index % 2 else "normal") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 180, (100, 100)) + 60 * (index % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load(folder, LoadOptions(no_groups=True))


def extractor_of(folder: Path, name: str) -> Extractor:
    return Extractor(Cache(folder), engine="torch", workers=1, weights={name: "random"})


@pytest.mark.parametrize(
    "name",
    ["tiny_dinov2"]
    + [pytest.param(one, marks=pytest.mark.slow) for one in ("tiny_swin", "test_convnext")],
)
def test_every_family_is_judged_kept_and_looked_into(
    name: str, table: ImageTable, tmp_path: Path
) -> None:
    extractor = extractor_of(tmp_path / "cache", name)
    asked = scenarios_of(name)
    judged = cross_fitted_all(
        list(asked.values()), Development(table, make_folds(table, 2)), extractor
    )
    by_key = {one.predictions.scenario: one for one in judged}
    for what, scenario in asked.items():
        one = by_key[scenario.key]
        made = list(extractor.canvases(table.select(np.arange(3)), one.fitted.spec))
        canvases = [canvas for canvas in made if isinstance(canvas, Canvas)]
        scores = one.fitted.scores(canvases)
        kept_and_read_elsewhere(one, canvases, tmp_path / what)
        maps = attribute(one.fitted, canvases)
        assert {map.map.shape for map in maps} == {(one.fitted.spec.size,) * 2}
        assert all(np.isfinite(map.map).all() for map in maps)
        if what in ("finetune", "whole"):
            taps = list(block_taps(one.fitted).values())
            found = grad_cam(one.fitted, canvases, taps)
            assert all(np.isfinite(map[tap].map).all() for map in found for tap in taps)
            adds_up(one, canvases, scores)


def kept_and_read_elsewhere(one: CrossFitted, canvases: list[Canvas], folder: Path) -> None:
    """A bundle answers the same on a machine that knows nothing of the weights."""
    folder.mkdir()
    one.fitted.save(folder)
    loaded = fitting.load(folder, Extractor(Cache(folder / "cache"), engine="torch", workers=1))
    expected = one.fitted.scores(canvases)
    np.testing.assert_allclose(loaded.scores(canvases), expected, rtol=1e-5, atol=1e-5)


def adds_up(one: CrossFitted, canvases: list[Canvas], scores: np.ndarray) -> None:
    """Of a mean of places HiResCAM adds up to the score without the intercept, tokens or not."""
    fitted = one.fitted
    last = fitted.networks[0].spec.taps[-1]
    maps, _ = signed_maps(fitted, canvases, "hirescam", last, fitted.classes[1])
    bias = np.mean([network.linear[1][1] for network in fitted.networks if network.linear])
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), scores[:, 1] - bias, atol=1e-3)
