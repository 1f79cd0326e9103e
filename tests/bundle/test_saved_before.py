"""A model that commit 2066f8b saved, the first that made bundles, answers today as it did then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.bundle.archive import write_archive
from medgraft.bundle.model import load_model
from medgraft.bundle.predict import predict_files
from medgraft.features.backbones import DEFAULT
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.weights import sha256_of
from medgraft.learn.bundle_files import BACKBONE, save_weights

SAVED = Path(__file__).with_name("saved")  # without the network, which comes by pip
LESION = [0.000752474840332937, 0.00022354711974669763, 0.0006726423505649508]


def _squares(folder: Path) -> list[str]:
    rng, paths = np.random.default_rng(0), []
    for row in range(3):
        coarse = rng.integers(0, 256, (8, 8)).astype(np.uint8)
        path = folder / f"{row}.png"
        Image.fromarray(np.kron(coarse, np.ones((32, 32), np.uint8))).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Path:
    """The folder of the model as it was saved; a cache lies beside it."""
    home = tmp_path_factory.mktemp("saved")
    (home / "cache").mkdir()
    (home / "cache" / "graphs").symlink_to(graphs)
    extractor = Extractor(Cache(home / "cache"), workers=1)
    folder = Path(shutil.copytree(SAVED, home / "model"))
    save_weights(folder, extractor.backbone(DEFAULT), extractor)
    content = json.loads((folder / "bundle.json").read_text())
    content["sha256"][BACKBONE] = sha256_of(folder / BACKBONE)
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("kind", ["folder", pytest.param("file", marks=pytest.mark.slow)])
def test_it_answers_as_it_did(kind: str, model: Path, tmp_path: Path) -> None:
    saved = model
    if kind == "file":
        saved = tmp_path / "model.medgraft"
        write_archive(model, saved, "a card", {})
    fitted = load_model(saved, workers=1, cache=model.parent / "cache")
    said = predict_files(fitted, _squares(tmp_path))
    found = [one.answer.probabilities["lesion"] for one in said if one.answer]
    assert found == pytest.approx(LESION, rel=1e-3)
