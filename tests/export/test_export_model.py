"""`medgraft export`: what is written, what is refused, and the program that needs no medgraft."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medgraft.bundle.predict import predict_files
from medgraft.cli import app
from medgraft.errors import DataError, ExportError, MissingExtraError
from medgraft.export import export_model as exporting
from medgraft.export import parity
from medgraft.export.export_model import export_model
from medgraft.export.graph import classifier_graph
from medgraft.features.extract import Extractor
from medgraft.files import StorageError
from medgraft.types import FittedScenario
from numpy_model import ByBrightness

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(fitted: dict[str, FittedScenario], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved probe of two input sizes."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    folder.mkdir()
    one: Any = fitted["sizes"]
    one.save(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of many kinds: grey, colour, 4:2:0, on its side, palette, alpha, of 16 bits."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(1)
    coarse = np.kron(rng.integers(0, 256, (20, 30, 3)), np.ones((9, 9, 1))).astype(np.uint8)
    colour = Image.fromarray(coarse)  # 270 x 180
    small = colour.resize((50, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(folder / "colour.jpg", quality=90)
    colour.save(folder / "turned.jpg", exif=exif)
    colour.convert("L").save(folder / "grey.jpg")
    colour.resize((900, 700)).save(folder / "large.jpg", subsampling="4:2:0")
    small.save(folder / "small.png")
    small.convert("L").save(folder / "grey.tif")
    colour.quantize(32).save(folder / "palette.png")
    colour.convert("1").save(folder / "bits.png")
    alpha = colour.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(colour.size))
    alpha.save(folder / "alpha.png")
    deep = (coarse[..., 0].astype(np.uint16) << 4) + 3
    Image.fromarray(deep).save(folder / "deep.png")
    return folder


def test_a_model_is_written_with_its_program_and_answers_the_same(
    model: Path, files: Path, extractor: Extractor, fitted: dict[str, FittedScenario],
    tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "export"
    found = export_model(model, out, "onnx", extractor, parity=[str(files)], runtime=True)
    assert {one.name for one in out.iterdir()} == {
        "README.md", "export.json", "model.onnx", "predict.py", "requirements.txt",
    }  # fmt: skip
    assert found.parity.n == 10
    assert found.parity.difference < 1e-5
    assert found.parity.from_files is not None
    assert found.parity.from_files.unread == 0
    assert found.parity.from_files.difference < 5e-3
    said = json.loads((out / "export.json").read_text())
    assert (said["input"]["size"], said["classes"]) == (96, ["normal", "sick"])
    command = [sys.executable, "-I", str(out / "predict.py"), str(files / "large.jpg"), "nothing"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout)
    (expected,) = predict_files(fitted["sizes"], [str(files / "large.jpg")])
    assert expected.answer is not None
    assert first["label"] == expected.answer.label
    assert first["probabilities"] == pytest.approx(expected.answer.probabilities, abs=5e-3)
    assert "No such file" in second["error"]


def test_a_changed_graph_does_not_run(
    model: Path, files: Path, extractor: Extractor, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    export_model(model, out, "onnx", extractor, parity=[str(files / "grey.jpg")], runtime=True)
    with (out / "model.onnx").open("ab") as file:
        file.write(b"\0")
    command = [sys.executable, "-I", str(out / "predict.py"), str(files / "grey.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "was changed since" in done.stderr


def _wrong(graph: Any) -> Any:
    """The graph with another calibrator: a wrong one, as exporters have given."""
    graph.probabilities.slope *= 1.01
    return graph


def test_a_graph_that_answers_otherwise_is_refused_and_nothing_is_left(
    model: Path, files: Path, extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = "medgraft.export.graph.classifier_graph"
    monkeypatch.setattr(graph, lambda fitted: _wrong(classifier_graph(fitted)))
    with pytest.raises(ExportError, match=r"from the same canvas probabilities differ by"):
        export_model(model, tmp_path / "export", "onnx", extractor, parity=[str(files)])
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("changed", "n", "refused"), [(0, 10, False), (1, 500, True),
                                                       (1, 501, False), (1, 10, True)])  # fmt: skip
def test_one_label_of_500_is_too_many(changed: int, n: int, refused: bool) -> None:
    if refused:
        with pytest.raises(ExportError, match=f"1 of {n} labels"):
            parity._refuse(0.0, 1e-4, changed, n, "here")
    else:
        parity._refuse(0.0, 1e-4, changed, n, "here")


def test_a_number_that_is_none_differs() -> None:
    assert parity._difference(np.array([np.nan]), np.array([0.5])) == np.inf
    assert parity._difference(np.zeros((1, 2)), np.zeros((2, 2))) == np.inf


def test_what_cannot_be_exported_says_why(
    model: Path, files: Path, extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(format: str = "onnx", **more: Any) -> None:
        export_model(model, tmp_path / "out", format, extractor, **more)

    with pytest.raises(ExportError, match="no format 'keras'"):
        export("keras")
    with pytest.raises(ExportError, match="choose --format onnx or openvino"):
        export("torchscript", runtime=True)
    with pytest.raises(ExportError, match="pass --parity"):
        export()
    with pytest.raises(DataError, match="none of 1 images for --parity"):
        export(parity=["nothing.png"])
    with pytest.raises(ExportError, match="not made of networks"):
        classifier_graph(ByBrightness((slice(4), slice(4))))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(StorageError, match="not empty"):
        export_model(model, tmp_path / "taken", "onnx", extractor, parity=[str(files)])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"medgraft\[onnx\]"):
        export(parity=[str(files)])
    assert not (tmp_path / "out").exists()


def test_the_program_does_not_pretend_to_equalise(
    fitted: dict[str, FittedScenario], files: Path, extractor: Extractor, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    edited: Any = fitted["edited alike"]
    edited.save(tmp_path / "model")
    with pytest.raises(ExportError, match="does not equalise"):
        export_model(
            tmp_path / "model", tmp_path / "out", "onnx", extractor, parity=[str(files)],
            runtime=True,
        )  # fmt: skip


def test_the_studys_own_images_are_known(model: Path, files: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    event = {"event": "started", "command": f"medgraft study '{files}' --seed 1"}
    (run / "run.jsonl").write_text(json.dumps(event) + "\n")
    assert exporting._known_images(run / "model") == [str(files)]


def test_the_command_says_what_it_did(model: Path, files: Path, tmp_path: Path) -> None:
    command = ["export", str(model), "--format", "torchscript", "--parity", str(files), "-q",
               "--out", str(tmp_path / "out"), "--engine", "torch"]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "on 10 images, from the same canvas" in done.output
    assert "0 labels changed" in done.output
