"""The command line as scripts rely on it: exit codes, one clear line, JSON, nothing half."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft import cli, files
from medgraft.data.phantom import write_phantoms


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
    assert set(rows[0]) == {"source", "label", "probabilities", "error"}
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


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "medgraft.cli", "study", str(tmp_path / "no"), "--debug"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "words", [["study"], ["study", "x", "--no-such-flag"], ["nonsense"], ["predict", "RUN"]]
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
    time.sleep(3)
    os.kill(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "--resume goes on" in error
    assert "Traceback" not in error
    assert not (out / "result.json").exists()
    assert subprocess.run([*words, "--resume", "--quiet"], check=False).returncode == 0
    assert (out / "result.json").is_file()
