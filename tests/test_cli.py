"""The command line as scripts rely on it: exit codes, one clear line, JSON, nothing half."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from medgraft import cli, files, terminal
from medgraft.bundle import predict
from medgraft.bundle.model import load_model
from medgraft.bundle.predict import predict_files
from medgraft.bundle.unlike import UnlikeJudge
from medgraft.cli import program
from medgraft.cli.option_parsing import training_settings
from medgraft.data.phantom import write_phantoms
from medgraft.data.pool import worker_process
from medgraft.features import extract
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.studies.run_lock import locked
from medgraft.types import CanvasStream, Source


def call(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command line in this process and give its exit code."""
    monkeypatch.setattr(sys, "argv", ["medgraft", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "images with späces"
    write_phantoms(folder, n_patients=24, seed=5)
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of other patients, which no model here learned from."""
    folder = tmp_path_factory.mktemp("elsewhere") / "images"
    write_phantoms(folder, n_patients=8, seed=6)
    return folder


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Path:
    folder = tmp_path_factory.mktemp("cli-cache")
    (folder / "graphs").symlink_to(graphs)
    return folder


@pytest.fixture(scope="module")
def run(images: Path, cache_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli-run") / "R"
    words = ["study", str(images), "--out", str(out), "--heads", "svm", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        assert call(*words, "--cache", str(cache_folder), monkeypatch=patch) == 0
    return out


def test_study_leaves_a_run(run: Path) -> None:
    assert json.loads((run / "result.json").read_text())["schema"] == 1
    assert "<h1" in (run / "report.html").read_text()


def test_quiet_is_quiet(
    images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["study", str(images), "--out", str(tmp_path / "R"), "--heads", "svm", "--quiet"]
    assert call(*words, "--cache", str(cache_folder), monkeypatch=monkeypatch) == 0
    assert capfd.readouterr() == ("", "")


def test_predict_prints_the_json_that_scripts_read(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    good = sorted((images / "lesion").iterdir())[0]
    bad = tmp_path / "cut.png"
    bad.write_bytes(good.read_bytes()[:100])
    missing = tmp_path / "missing.png"
    words = ["predict", str(run), str(good), str(bad), str(missing), "--json"]
    assert call(*words, monkeypatch=monkeypatch) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["source"] for row in rows] == [str(good), str(bad), str(missing)]
    assert set(rows[0]) == {"source", "label", "probabilities", "error", "set", "unlike"}
    assert rows[0]["label"] in rows[0]["set"]
    assert rows[0]["unlike"] is False
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    assert rows[0]["label"] in rows[0]["probabilities"]
    assert rows[0]["error"] is None
    for row in rows[1:]:
        assert row["label"] is None
        assert row["error"]


def test_predict_takes_folders_and_patterns_and_the_bundle(
    run: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for where in (str(images / "lesion"), str(images / "lesion" / "*.png")):
        assert call("predict", str(run / "model"), where, "--json", monkeypatch=monkeypatch) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(list((images / "lesion").iterdir()))


@pytest.mark.slow
def test_a_served_model_says_what_predict_says(
    run: Path, elsewhere: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In batches and alone, in one pass of the network or in two."""
    from medgraft.data.pool.pool import DecodePool
    from medgraft.serve.model import ModelOptions, ServedModel
    from medgraft.serve.service import answer_json

    files = sorted(map(str, elsewhere.rglob("*.png")))[::2]
    words = ["predict", str(run), *files, "--alpha", "0.2", "--unlike-rate", "0.3", "--json"]
    assert call(*words, "--cache", str(cache_folder), monkeypatch=monkeypatch) == 0
    expected = json.loads(capsys.readouterr().out)
    assert len({str(row["set"]) for row in expected}) > 1
    assert {row["unlike"] for row in expected} == {True, False}
    options = ModelOptions(alpha=0.2, unlike_rate=0.3, workers=1, cache=cache_folder)
    model = ServedModel.load(run, options)
    with DecodePool(1) as pool:
        images = [
            [pool.canvas(Path(file).read_bytes(), recipe, model.fitted.rule)]
            for file in files
            for recipe in model.recipes
        ]
    assert model.unlike is not None
    assert model.unlike._beside is not None
    both = [model.predictions(images), [model.predictions([one])[0] for one in images]]
    model.unlike.__dict__["_beside"] = None
    for rows in (*both, model.predictions(images)):
        for row, said in zip(map(answer_json, rows), expected, strict=True):
            for name in ("label", "set", "unlike"):
                assert row[name] == said[name]
            assert row["probabilities"] == pytest.approx(said["probabilities"], abs=1e-6)
            assert row["remark"] == said.get("remark", "")


def test_predictions_are_those_of_the_study(
    run: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    frame = pq.read_table(run / "predictions.parquet").to_pandas()
    recommended = json.loads((run / "result.json").read_text())["recommended"]
    test = frame[(frame["scenario"] == recommended) & (frame["split"] == "test")].head(5)
    paths = [str(images / id) for id in test["id"]]
    assert call("predict", str(run), *paths, "--json", monkeypatch=monkeypatch) == 0
    rows = json.loads(capsys.readouterr().out)
    found = [row["probabilities"]["lesion"] for row in rows]
    np.testing.assert_allclose(found, test["probability:lesion"], atol=1e-4)


def test_evaluate_judges_by_image_and_by_patient(
    run: Path, images: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["evaluate", str(run), str(images), "--json", "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["by_image"]["n_images"] > found["by_patient"]["n_images"]
    for estimate in found["by_image"]["metrics"].values():
        if estimate["value"] is not None:  # a predictive value of a label never given
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_an_image_is_decoded_once_to_be_predicted_and_held_to_those_learned_from(
    run: Path, images: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, extractor = load_model(run, cache=cache_folder), Extractor(Cache(cache_folder))
    judge = UnlikeJudge.of(run, fitted, extractor, None)
    assert judge is not None
    files = [str(file) for file in sorted(images.rglob("*.png"))[::8]]
    alone = [row.answer for row in predict_files(fitted, files)]
    strange = judge.files({file: Source(file) for file in files})
    decoded, decode = list[str](), Extractor.decode

    def noted(self: Extractor, ids: Iterable[str], *rest: Any) -> CanvasStream:
        names = list(ids)
        decoded.extend(names)
        return decode(self, names, *rest)

    monkeypatch.setattr(Extractor, "decode", noted)
    rows = predict_files(fitted, files, judge)
    assert decoded == files
    assert {row.source: row.unlike for row in rows} == strange
    for row, other in zip(rows, alone, strict=True):
        assert row.answer is not None
        assert other is not None
        assert row.answer.probabilities == pytest.approx(other.probabilities, abs=1e-5)

    cut = dataclasses.replace(judge.unlikeness.reference, resize="crop")  # of another canvas
    other_judge = dataclasses.replace(
        judge, unlikeness=dataclasses.replace(judge.unlikeness, reference=cut)
    )
    rows = predict_files(fitted, files, other_judge)
    assert decoded == files * 3
    assert {row.source: row.unlike for row in rows} == other_judge.files(
        {file: Source(file) for file in files}
    )


def test_a_model_says_where_it_is_not_sure(
    run: Path, elsewhere: Path, cache_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Noise is unlike anything; at so small an alpha no class can be left out."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    words = ["--json", "--cache", str(cache_folder)]
    assert call("predict", str(run), str(tmp_path), *words, "--alpha", "0.001", "--unlike-rate",
                "0.2", monkeypatch=monkeypatch) == 0  # fmt: skip
    (said,) = json.loads(capsys.readouterr().out)
    assert len(said["set"]) == 2
    assert said["unlike"] is True
    assert call("evaluate", str(run), str(elsewhere), *words, "--sensitivity", "0.5",
                monkeypatch=monkeypatch) == 0  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert found["by_image"]["operating"]["rule"] == "a sensitivity of 0.5"
    assert set(found["sets"]["by_class"]) == set(found["by_image"]["classes"])
    assert found["unlike"]["n"] == found["by_image"]["n_images"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--alpha", "1.5"), "between 0 and 1"),
        (("--unlike-rate", "0"), "between 0 and 1"),
        (("--sensitivity", "0.999"), "no threshold promises a sensitivity of 0.999"),
        (("--sensitivity", "0.9", "--specificity", "0.9"), "give one"),
        (("--subgroups", "sex"), "no column 'sex'"),
    ],
)
def test_what_a_model_cannot_promise_is_one_clear_line(
    asked: tuple[str, ...], said: str, run: Path, elsewhere: Path, cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["evaluate", str(run), str(elsewhere), "--cache", str(cache_folder), *asked]
    assert call(*words, monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_evaluate_leaves_out_what_was_learned_from_under_whatever_name(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A training set with new names alone is refused; beside new images it is left out."""
    import pyarrow.parquet as pq

    frame = pq.read_table(run / "predictions.parquet").to_pandas().drop_duplicates("id")
    learned = sorted(frame[frame["split"] != "test"]["id"])
    new = sorted(frame[frame["split"] == "test"]["id"])
    for number, id in enumerate(learned):
        file = tmp_path / "data" / Path(id).parent / f"scan{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number % 3:
            shutil.copy(images / id, file)
        else:
            Image.open(images / id).convert("L").resize((200, 200)).save(file.with_suffix(".jpg"))
    shutil.copytree(run / "model", tmp_path / "model")  # apart from its run
    words = ["evaluate", str(tmp_path / "model"), str(tmp_path / "data"), "--json", "--no-groups"]
    words += ["--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 1
    assert f"learned from all {len(learned)} images" in capsys.readouterr().err
    for id in new:
        shutil.copy(images / id, tmp_path / "data" / id)
    assert call(*words, monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    stored_anew = -(-len(learned) // 3)
    assert found["seen"] == {
        "n": len(learned) + len(new), "same_file": len(learned) - stored_anew,
        "same_picture": stored_anew, "same_name": None, "same_patient": None,
    }  # fmt: skip
    assert found["by_image"]["n_images"] == len(new)
    assert found["with_seen"]["n_images"] == len(learned) + len(new)
    (tmp_path / "model" / "seen.safetensors").write_bytes(b"other")
    assert call(*words, monkeypatch=monkeypatch) == 1
    assert "is missing or was changed" in capsys.readouterr().err


def test_a_model_without_traces_is_judged_on_everything_and_that_is_said(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = tmp_path / "model"
    shutil.copytree(run / "model", model)
    (model / "seen.safetensors").unlink()
    content = json.loads((model / "bundle.json").read_text())
    del content["sha256"]["seen.safetensors"]
    (model / "bundle.json").write_text(json.dumps(content))
    words = ["evaluate", str(model), str(images), "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    assert "cannot be known" in capsys.readouterr().err
    assert call(*words, "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    n_images = sum(len(list((images / name).iterdir())) for name in ("lesion", "normal"))
    assert found["by_image"]["n_images"] == found["seen"]["n"] == n_images
    assert (found["seen"]["same_file"], found["with_seen"]) == (None, None)


def test_evaluate_refuses_classes_the_model_does_not_know(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lesion", "fracture"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    assert call("evaluate", str(run), str(tmp_path), monkeypatch=monkeypatch) == 1
    assert "class fracture, which the model does not know" in capsys.readouterr().err


def test_explain_writes_a_strip(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image = sorted((images / "lesion").iterdir())[0]
    words = ["explain", str(run), str(image), "--taps", "stem", "--out", str(tmp_path)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    (written,) = capsys.readouterr().out.split()
    with Image.open(written) as strip:
        assert strip.width > 1.5 * strip.height  # the image and its map


def test_explain_overwrites_no_strip_and_goes_on_past_a_bad_image(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    good = sorted((images / "lesion").iterdir())[0]
    twins = [tmp_path / name / "1.png" for name in ("a", "b")]
    for twin in twins:
        twin.parent.mkdir()
        twin.write_bytes(good.read_bytes())
    bad = tmp_path / "cut.png"
    bad.write_bytes(good.read_bytes()[:100])
    words = ["explain", str(run), "--taps", "stem", "--out", str(tmp_path / "out")]
    words += ["--cache", str(cache_folder)]
    assert call(*words, str(twins[0]), str(bad), str(twins[1]), monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    assert [Path(line).name for line in said.out.split()] == ["a-1-cam.png", "b-1-cam.png"]
    assert all(Path(line).is_file() for line in said.out.split())
    assert f"skipped {bad}: " in said.err
    assert call(*words, str(bad), monkeypatch=monkeypatch) == 4
    assert f"none of 1 images can be explained; the first: {bad}" in capsys.readouterr().err


def test_predict_shows_names_as_they_are(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    odd = tmp_path / "[red]x.png"
    odd.write_bytes(sorted((images / "lesion").iterdir())[0].read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    words = ["predict", str(run), odd.name, "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    assert "[red]x.png" in capsys.readouterr().out
    good = predict.Prediction("s", predict.Classification("[i]", {"[i]": 1.0}))
    missing = predict.Prediction("[/b]", None, "no [u]file")
    terminal.show_predictions([good, missing], ("[i]",))
    out = capsys.readouterr().out
    assert out.count("[i]") == 2
    assert "[/b]" in out
    assert "no [u]file" in out


def test_predict_prints_names_that_are_not_utf8(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    odd.write_bytes(sorted((images / "lesion").iterdir())[0].read_bytes())
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    words = ["predict", str(run), str(tmp_path), str(odd), "--json", "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    stdout.seek(0)
    (row,) = json.loads(stdout.read())  # the folder's image and the one named are one
    assert row["source"] == f"{tmp_path}/\\udcff.png"
    assert row["error"] is None


def test_predict_says_why_a_folder_or_path_was_not_read(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "open" / "1.png").write_bytes(sorted((images / "lesion").iterdir())[0].read_bytes())
    closed, scandir = str(tmp_path / "closed"), os.scandir

    def refuse(path: str) -> object:
        if str(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    long = str(tmp_path / ("x" * 300))
    words = ["predict", str(run), str(tmp_path), long, "--json", "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["source"] for row in rows] == [closed, str(tmp_path / "open" / "1.png"), long]
    assert "Permission denied" in rows[0]["error"]
    assert rows[1]["error"] is None
    assert rows[2]["error"]


def test_predict_keeps_to_its_workers_and_its_cache(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked = []

    class Pool(extract.DecodePool):
        def __init__(self, workers: int) -> None:
            asked.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(extract, "DecodePool", Pool)
    cache, image = tmp_path / "cache", sorted((images / "lesion").iterdir())[0]
    words = ["predict", str(run), str(image), "--workers", "7", "--cache", str(cache), "--json"]
    assert call(*words, monkeypatch=monkeypatch) == 0
    assert set(asked) == {7}
    assert any((cache / "graphs").iterdir())


def test_safe_decodes_every_file_in_processes_and_says_the_same(
    run: Path, images: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    started = []
    start = worker_process.WorkerProcess.__init__

    def noted(self: worker_process.WorkerProcess) -> None:
        started.append(1)
        start(self)

    monkeypatch.setattr(worker_process.WorkerProcess, "__init__", noted)
    words = ["predict", str(run), str(images / "lesion"), "--json", "--cache", str(cache_folder)]
    found = []
    for more in ([], ["--safe"], []):
        assert call(*words, *more, monkeypatch=monkeypatch) == 0
        found.append((json.loads(capsys.readouterr().out), bool(started)))
        started.clear()
    assert found[0][0] == found[1][0] == found[2][0]
    assert [workers for _, workers in found] == [False, True, False]


def test_evaluate_takes_data_of_one_class(
    run: Path, elsewhere: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    normals = tmp_path / "normals"
    shutil.copytree(elsewhere / "normal", normals / "normal")
    words = ["evaluate", str(run), str(normals), "--json", "--cache", str(cache_folder)]
    assert call(*words, "--out", str(tmp_path / "E"), monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)["by_image"]
    assert call("predict", str(run), str(normals), "--json", monkeypatch=monkeypatch) == 0
    labels = [row["label"] for row in json.loads(capsys.readouterr().out)]
    specificity = found["metrics"]["specificity"]["value"]
    assert specificity == pytest.approx(labels.count("normal") / len(labels))
    assert found["metrics"]["auroc"]["value"] is None


def test_evaluate_counts_a_patient_of_several_splits_once(
    run: Path, elsewhere: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("lesion", "normal"):
        pictures = sorted((elsewhere / name).iterdir())[:4]
        for number, picture in enumerate(pictures):  # two patients a class, an image a split
            split = ("train", "test")[number % 2]
            file = tmp_path / split / name / f"{name}{number // 2}_{number % 2}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture.read_bytes())
    words = ["evaluate", str(run), str(tmp_path), "--group", r"regex:^([a-z]+\d)_", "--json"]
    assert call(*words, "--cache", str(cache_folder), monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["by_image"]["n_images"] == 8
    assert found["by_patient"]["n_images"] == found["by_patient"]["n_groups"] == 4


def test_audit_says_how_many_images_the_model_learned_from(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import pyarrow.parquet as pq

    words = ["audit", str(run), str(images), "--cache", str(cache_folder)]
    assert call(*words, "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    frame = pq.read_table(run / "predictions.parquet").to_pandas()
    ours = frame[frame["scenario"] == found["scenario"]]
    assert found["images"] == len(ours)
    assert found["names_learned_from"] == (ours["split"] != "test").sum() > 0
    assert found["verdict"] == "INCONCLUSIVE"  # of 24 patients
    assert call(*words, monkeypatch=monkeypatch) == 0
    warning = f"learned from {found['names_learned_from']} of the {len(ours)} images"
    assert warning in capsys.readouterr().err
    shutil.copytree(run / "model", tmp_path / "model")  # apart from its run, names are not known
    words[1] = str(tmp_path / "model")
    assert call(*words, "--json", monkeypatch=monkeypatch) == 0
    apart = json.loads(capsys.readouterr().out)
    assert apart["names_learned_from"] == 0
    assert apart["seen"]["same_file"] == found["names_learned_from"]


@pytest.mark.parametrize("name", ["predictions.parquet", "result.json"])
def test_evaluate_names_a_damaged_run(
    name: str, run: Path, images: Path, cache_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    copy = tmp_path / "R"
    shutil.copytree(run, copy)
    (copy / name).write_bytes((copy / name).read_bytes()[:50])
    words = ["evaluate", str(copy), str(images), "--json", "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert "is damaged" in error
    assert error.startswith("medgraft: ")
    assert error.count("\n") == 1


def test_a_demo_leaves_one_alone_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "truth.json").write_text("{}")
    (tmp_path / "run" / "run.jsonl").write_text("")
    with locked(tmp_path / "run"):
        assert call("demo", "--out", str(tmp_path), "-q", monkeypatch=monkeypatch) == 1
    assert "is written to by another process" in capsys.readouterr().err
    assert (tmp_path / "images" / "truth.json").is_file()
    assert (tmp_path / "run" / "run.jsonl").is_file()


def test_demo_into_a_file_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").write_text("precious")
    assert call("demo", "--out", str(tmp_path / "f"), "-q", monkeypatch=monkeypatch) == 1
    assert "Not a directory; choose another --out" in capsys.readouterr().err


def test_a_warning_is_one_plain_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn() -> None:
        warnings.simplefilter("always")
        warnings.warn("the solver\nstopped early", RuntimeWarning, stacklevel=2)
        raise SystemExit(0)

    monkeypatch.setattr(program, "app", warn)
    assert call(monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().err == "medgraft: warning: the solver stopped early\n"


def one_class(folder: Path) -> Path:
    (folder / "a").mkdir()
    for k in range(3):
        Image.new("L", (8, 8), k).save(folder / "a" / f"{k}.png")
    return folder


def text_as_jpg(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir()
        for k in range(3):
            (folder / name / f"{k}.jpg").write_text("not an image")
    return folder


def csv_of_missing_files(folder: Path) -> Path:
    (folder / "t.csv").write_text("path,label\nx.png,a\ny.png,b\n")
    return folder / "t.csv"


def csv_not_utf8(folder: Path) -> Path:
    (folder / "t.csv").write_bytes("path,label\nä.png,a\n".encode("latin-1"))
    return folder / "t.csv"


def case_twins(folder: Path) -> Path:
    for name in ("Normal", "normal"):
        (folder / name).mkdir()
        Image.new("L", (8, 8)).save(folder / name / "a.png")
    return folder


def nothing_there(folder: Path) -> Path:
    return folder / "nowhere"


@pytest.mark.parametrize(
    "make", [one_class, text_as_jpg, csv_of_missing_files, csv_not_utf8, case_twins, nothing_there]
)
def test_bad_data_is_one_clear_line_and_exit_1(
    make,
    cache_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # type: ignore[no-untyped-def]
    data = tmp_path / "data"
    data.mkdir()
    out = tmp_path / "R"
    words = ["study", str(make(data)), "--out", str(out), "--quiet", "--cache", str(cache_folder)]
    code = call(*words, monkeypatch=monkeypatch)
    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("medgraft: ")
    assert "Traceback" not in error
    assert len(error.strip()) > 40  # says what, why and what to do
    assert not (out / "result.json").exists()


def test_a_study_of_nothing_but_damaged_images_leaves_no_run(
    images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    good = sorted((images / "lesion").iterdir())[0].read_bytes()
    for i in range(12):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good[: 200 + i])
    words = ["study", str(tmp_path / "data"), "--quiet", "--cache", str(cache_folder), "--out"]
    assert call(*words, str(tmp_path / "R"), monkeypatch=monkeypatch) == 4
    assert "can be read" in capsys.readouterr().err
    assert not (tmp_path / "R").exists()
    (tmp_path / "mine").mkdir()
    assert call(*words, str(tmp_path / "mine"), monkeypatch=monkeypatch) == 4
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        "predict M a.png --out FILE/x.csv", "predict M a.png --out FOLDER",
        "predict M a.png --cache FILE", "evaluate M D --out FILE", "explain M a.png --out FILE",
        "explain M a.png --cache FILE/x", "audit M D --out FILE/x", "profile D --out FILE",
        "encode a.png --out FOLDER", "views D --out FOLDER", "train D --recipe classic --out FILE",
        "study D --out FILE/x", "study D --cache FILE",
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said_before_anything_is_read(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither model nor data are there, of which nothing is said."""
    (tmp_path / "FILE").touch()
    (tmp_path / "FOLDER").mkdir()
    monkeypatch.chdir(tmp_path)
    assert call(*words.split(), monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"medgraft: cannot write {words.split()[-1]}: ")
    assert f"another {words.split()[-2]}" in error
    assert {path.name for path in tmp_path.iterdir()} == {"FILE", "FOLDER"}


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "medgraft.cli", "study", str(tmp_path / "no"), "--debug"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["study"],
        ["study", "x", "--no-such-flag"],
        ["study", "x", "--seed", "-1"],
        ["nonsense"],
        ["predict", "RUN"],
    ],
)
def test_wrong_usage_is_exit_2(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words, monkeypatch=monkeypatch) == 2


def test_an_unknown_model_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", str(tmp_path), "a.png", monkeypatch=monkeypatch) == 1
    assert "give the folder of a finished study" in capsys.readouterr().err


def test_a_full_disk_is_explained_and_leaves_nothing_half(
    images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "R"
    flush = files.flush

    def full(path: Path) -> None:
        if out in path.parents and "json" not in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    monkeypatch.setattr(files, "flush", full)
    words = ["study", str(images), "--out", str(out), "--heads", "svm", "--quiet"]
    assert call(*words, "--cache", str(cache_folder), monkeypatch=monkeypatch) == 1
    assert "No space left on device; free some space" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "run.jsonl"]


def test_backbones_and_cache_answer(
    cache_folder: Path, run: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert call("backbones", monkeypatch=monkeypatch) == 0
    assert "tf_efficientnet_lite0" in capsys.readouterr().out
    assert call("cache", "--cache", str(cache_folder), monkeypatch=monkeypatch) == 0
    assert re.search(r"features\s+tf_efficientnet_lite0 at 224 px", capsys.readouterr().out)


@pytest.mark.slow
def test_ctrl_c_stops_with_130_and_resume_goes_on(images: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "R", tmp_path / "cache"
    words = [sys.executable, "-m", "medgraft.cli", "study", str(images), "--out", str(out)]
    words += ["--cache", str(cache), "--heads", "svm"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (out / "run.jsonl").is_file():
            break
        time.sleep(0.1)
    time.sleep(0.5)  # a study of few images takes seconds
    os.kill(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "--resume goes on" in error
    assert "Traceback" not in error
    assert not (out / "result.json").exists()
    assert subprocess.run([*words, "--resume", "--quiet"], check=False).returncode == 0
    assert (out / "result.json").is_file()


# --------------------------------------------------------------------------- vectors and pages


def test_encode_writes_named_vectors_and_names_what_cannot_be_read(
    images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import pandas as pd

    good = sorted((images / "lesion").iterdir())[:3]
    bad = tmp_path / "cut.png"
    bad.write_bytes(good[0].read_bytes()[:100])
    words = ["encode", *map(str, good), str(bad), "--out", str(tmp_path / "codes.parquet")]
    words += ["--tap", "stem", "--sizes", "32,64", "--preprocess", "raw+clahe", "--quiet"]
    words += ["--engine", "torch", "--cache", str(cache_folder)]
    assert call(*words, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    assert f"skipped {bad}: " in said.err
    assert "3 rows of 128 numbers" in said.out
    found = pd.read_parquet(tmp_path / "codes.parquet")
    assert found.index.tolist() == [str(path) for path in good]
    assert found.columns.is_unique
    assert found.columns[-1] == "64px.clahe2-8.stem@avg:31"
    words[words.index(str(good[0])) : words.index(str(bad))] = []
    assert call(*words, monkeypatch=monkeypatch) == 1
    assert "none of 1 images can be read; the first: " in capsys.readouterr().err


def test_views_writes_one_page(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "views.html"
    words = ["views", str(images), "--presets", "xray", "--out", str(out), "--quiet"]
    assert call(*words, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"written: {out}\n"
    page = out.read_text()
    assert "<h1" in page
    assert "https://" not in page.replace("https://www.w3.org", "")
    assert call(*[w.replace("xray", "dream") for w in words], monkeypatch=monkeypatch) == 1
    assert "dream" in capsys.readouterr().err


def test_explain_layers_writes_an_atlas_an_image(
    run: Path, images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    good = sorted((images / "lesion").iterdir())[:2]
    bad = tmp_path / "cut.png"
    bad.write_bytes(good[0].read_bytes()[:100])
    words = ["explain", str(run), *map(str, good), str(bad), "--layers", "--out", str(tmp_path)]
    assert call(*words, "--cache", str(cache_folder), monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    written = said.out.split()
    assert [Path(line).name for line in written] == [f"{path.stem}-layers.png" for path in good]
    assert f"skipped {bad}: " in said.err
    more = [*words, "--target", "lesion", "--cache", str(cache_folder)]
    assert call(*more, monkeypatch=monkeypatch) == 1
    assert "leave --method, --taps and --target away" in " ".join(capsys.readouterr().err.split())
    for path in written:
        with Image.open(path) as atlas:
            assert min(atlas.size) > 200


@pytest.mark.parametrize("command", ["study", "encode"])
@pytest.mark.parametrize("sizes", ["224;544", "large", "224,5.5"])
def test_sizes_that_are_not_numbers_are_wrong_usage(
    command: str, sizes: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    words = [command, str(images), "--sizes", sizes, "--out", str(out)]
    assert call(*words, monkeypatch=monkeypatch) == 2
    assert "is not numbers with commas" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--augment", "auto"), 2, "needs --modality"),
        (("--augment", "auto", "--modality", "dream"), 1, "dream"),
        (("--augment", "dream"), 1, "no preset of views 'dream'"),
        (("--augment", "xray", "--views", "1"), 1, "1 views of an image"),
        (("--families", "multiscale"), 1, "for multiscale: it needs further input sizes"),
        (("--families", "dream"), 1, "no family 'dream'; there are: probe, multiscale, vlad"),
        (("--families", "vlad", "--encoders", "x"), 1, "names no encoder"),
        (("--preprocess", "sharpen"), 1, "no edit 'sharpen'"),
        (("--recipe", "classic"), 1, "only finetune and hybrid read it; add finetune to"),
        (("--training", "epochs=20"), 1, "only finetune and hybrid read it"),
        (("--training-size", "448"), 1, "training_size is 448"),
        (("--depths", "blocks.4"), 1, "depths is"),
        (("--encoders", "k64"), 1, "only vlad reads it; add vlad to --families (now probe)"),
    ],
)
def test_a_study_that_makes_no_sense_is_one_clear_line(
    words: tuple[str, ...], code: int, said: str, images: Path, cache_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "R"
    more = ["--out", str(out), "--quiet", "--cache", str(cache_folder)]
    assert call("study", str(images), *words, *more, monkeypatch=monkeypatch) == code
    err = capsys.readouterr().err
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    if code == 1:
        assert len(err.splitlines()) == 1


def test_train_needs_one_way_to_say_what(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", str(images), monkeypatch=monkeypatch) == 2
    words = ["train", str(images), "--scenario", "probe/a/b/svm", "--from", "b"]
    assert call(*words, monkeypatch=monkeypatch) == 2
    words = ["train", str(images), "--recipe", "unheard"]
    assert call(*words, monkeypatch=monkeypatch) == 1
    assert "no training setting 'unheard'" in capsys.readouterr().err


def test_train_runs_one_scenario(
    images: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    key = "probe/tf_efficientnet_lite0/blocks.4/svm"
    words = ["train", str(images), "--scenario", key, "--out", str(tmp_path / "T")]
    assert call(*words, "--cache", str(cache_folder), monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "Out of fold" in said
    assert "AUROC" in said
    assert "test split" not in said
    assert (tmp_path / "T" / "model" / "bundle.json").is_file()


def test_training_settings_reach_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_settings("classic", "rate=1e-4, epochs=5") == (
        ("classic", ""), ("rate", "1e-4"), ("epochs", "5"),
    )  # fmt: skip
    assert training_settings("", "") == ()
    with pytest.raises(typer.BadParameter, match="'rate' is no setting"):
        training_settings("", "rate")


def test_adapt_says_what_unlabelled_images_say_and_the_new_model_is_served(
    run: Path, elsewhere: Path, cache_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Darker images of other patients, by which a threshold is set."""
    files = sorted(elsewhere.rglob("*.png"))
    (tmp_path / "new").mkdir()
    for number in range(100):
        pixels = np.asarray(Image.open(files[number % len(files)]))
        dark = pixels // 2 + number // len(files)
        Image.fromarray(dark.astype(np.uint8)).save(tmp_path / "new" / f"{number}.png")
    options = ["--cache", str(cache_folder), "--quiet"]
    words = ["adapt", str(run), str(tmp_path / "new"), *options]
    assert call(*words, monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out.replace("\n", " ")
    assert "look different" in told
    assert "Nothing was changed" in told
    adapted = str(tmp_path / "adapted")
    assert call(*words, "--json", "--out", adapted, monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "other look"
    assert found["written"]
    table = tmp_path / "new.csv"
    table.write_text("path,label\nnew/0.png,x\n", encoding="utf-8")
    for paths in ((table, tmp_path / "new"), (tmp_path / "new", table)):
        refused = ["adapt", str(run), *map(str, paths), *options]
        assert call(*refused, monkeypatch=monkeypatch) == 1
        assert "is a table, and stands beside 1 other paths" in " ".join(
            capsys.readouterr().err.split()
        )
    words = ["evaluate", adapted, str(elsewhere), "--json", *options]
    assert call(*words, monkeypatch=monkeypatch) == 0
    operating = json.loads(capsys.readouterr().out)["by_image"]["operating"]
    assert operating == found["threshold"]["operating"]
