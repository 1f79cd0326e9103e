"""The folders and tables that the pages speak of, and a way to type their commands."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import DOCS, blocks
from PIL import Image

from medgraft import cli
from medgraft.data.phantom import write_phantoms
from medgraft.features.weights import import_timm
from onnx_models import write_onnx


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders and tables that the pages speak of, small."""
    root = tmp_path_factory.mktemp("docs")
    for name, patients, seed in (("xrays", 24, 1), ("elsewhere", 24, 2)):
        write_phantoms(root / name, n_patients=patients, seed=seed)
    _dicom(root / "clinic")
    rng = np.random.default_rng(3)
    rows = []
    for index in range(48):
        kind = ("naevus", "melanoma")[index % 2]
        photo = _spot(rng, dark=index % 2 == 1)
        photos, cells = root / "photos", root / "cells" / kind
        for file in (photos / f"ISIC_{index:04d}.png", cells / f"c{index}.png"):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(file)
        lesion = index // 4 * 2 + index % 2  # two photographs each
        rows.append((f"ISIC_{index:04d}", kind, f"L{lesion}", "mf"[index % 3 == 0]))
    columns = ["image_id", "dx", "lesion_id", "sex"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "skin.csv", index=False)
    films = sorted((root / "xrays").glob("*/*.png"))
    films = [film for film in films if film.parent.name in ("lesion", "normal")]
    patients = [film.name.split("_")[0] for film in films]
    pd.DataFrame(
        {
            "path": [film.relative_to(root).as_posix() for film in films],
            "label": [film.parent.name for film in films],
            "patient": patients,
            "hospital": [("north", "south")[int(name[-4:]) // 2 % 2] for name in patients],
        }
    ).to_csv(root / "hospitals.csv", index=False)
    write_onnx(root / "model.onnx", (slice(60, 150), slice(40, 100)), side=224, scale=1 / 255)
    code = next(blocks(DOCS / "how" / "audit-your-model.md", "python"))
    (root / "mine.py").write_text(code, encoding="utf-8")
    code = next(blocks(DOCS / "how" / "audit-your-model.md", "py"))
    (root / "predict.py").write_text(code, encoding="utf-8")
    _checkpoint(root / "small.pth")
    return root


def _checkpoint(path: Path) -> None:
    import torch

    network = import_timm().create_model("test_resnet", num_classes=2)
    torch.save(network.state_dict(), path)


def _spot(rng: np.random.Generator, *, dark: bool) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : 96 * 1j, -1 : 1 : 96 * 1j]
    wide, tall = rng.uniform(0.1, 0.4, 2)
    spot = np.exp(-(x**2 / wide + y**2 / (tall if dark else wide)))
    skin = np.array([225, 180, 160]) - spot[..., None] * np.array([90, 110, 110])
    return np.clip(skin + rng.normal(0, 9, (96, 96, 3)), 0, 255).astype(np.uint8)


def _dicom(folder: Path) -> None:
    from dicom_files import data_set, written

    rng = np.random.default_rng(4)
    for index in range(48):
        pixels = rng.integers(0, 120, (64, 64)).astype(np.uint8)
        pixels[16:48, 16:48] += np.uint8(90 * (index % 2))
        file = folder / ("well", "ill")[index % 2] / f"IM{index:04d}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(written(data_set(pixels, PatientID=f"P{index}", Modality="DX")))


def _matching(word: str) -> list[str]:
    """What a shell makes of a word: the files that it names, or itself."""
    found = sorted(str(path) for path in Path().glob(word)) if "*" in word else []
    return found or [word]


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world, which is the working folder."""
    folder = Path(shutil.copytree(world, tmp_path / "here"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def type_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Run a command as a shell would in `here`; it must not fail."""

    def run(words: list[str]) -> None:
        typed = [name for word in words for name in _matching(word)]
        if words[0] == "demo":
            typed += ["--patients", "24"]
        if words[0] == "study":
            typed += ["--quiet"]
        monkeypatch.setattr(sys, "argv", ["medgraft", *typed])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code, words

    return run
