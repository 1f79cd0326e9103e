"""A bundled model of a real network: its card, the hub's layout, every command, wrong arrays."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from medgraft import api
from medgraft.bundle.archive import write_archive
from medgraft.bundle.model import load_model
from medgraft.bundle.predict import predict_files
from medgraft.bundle.publish import bundle_model
from medgraft.cli import app
from medgraft.errors import BundleError, MedgraftError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.weights import sha256_of
from medgraft.studies.options import StudyOptions

SECRET = "Jane_Doe"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of named patients, those of class sick brighter."""
    return pictures(tmp_path_factory.mktemp("images"), 40, seed=0)


def pictures(folder: Path, n: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for row in range(n):
        path = folder / ("normal", "sick")[row % 2] / f"{SECRET}{row // 2}_{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 200, (48, 48)) + 40 * (row % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "graphs").symlink_to(graphs)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, images: Path, cache: Path) -> Path:
    """A small study's folder; a test split is set aside."""
    out = tmp_path_factory.mktemp("study") / "run"
    options = StudyOptions(heads=("logistic",), n_folds=2, audit=False, learning_curve=False)
    table = api.load(images, group=r"regex:(\w+)_\d+", positive="sick")
    api.study(table, options, out=out, extractor=Extractor(Cache(cache), workers=1))
    return out


@pytest.fixture(scope="module")
def written(run: Path, cache: Path) -> Path:
    extractor = Extractor(Cache(cache), workers=1)
    return bundle_model(run, run.parent / "model.medgraft", extractor)


@pytest.mark.slow
def test_every_command_answers_from_the_file_as_from_the_folder(
    run: Path, written: Path, images: Path, cache: Path, tmp_path: Path
) -> None:
    others = pictures(tmp_path / "others", 60, seed=1)

    def answers(model: Path) -> list[str]:
        found = []
        for words in (["predict"], ["evaluate"], ["adapt", "--quiet"], ["audit", "--pairs", "4"]):
            command = [words[0], str(model), str(others), "--json", "--cache", str(cache)]
            done = CliRunner().invoke(app, command + words[1:])
            assert done.exit_code == 0, done.output
            found.append(done.stdout)
        return found

    here, there = answers(run / "model"), answers(written)
    for name in (str(run / "model"), str(written)):
        here, there = ([text.replace(name, "MODEL") for text in both] for both in (here, there))
    assert here[0] == there[0]
    assert here[2] == there[2]
    audited = [json.loads(both[3]) for both in (here, there)]
    for one in audited:  # only the run knows names of what was learned from; the file has none
        del one["names_learned_from"], one["seen"]["same_name"], one["seen"]["same_patient"]
    assert audited[0] == audited[1]
    judged = [json.loads(both[1])["by_image"] for both in (here, there)]
    assert judged[0] == judged[1]
    out = tmp_path / "maps"
    image = next(images.rglob("*.png"))
    done = CliRunner().invoke(app, ["explain", str(written), str(image), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert len([*out.iterdir()]) == 1


def test_nobody_is_named_in_it(written: Path, images: Path) -> None:
    content = written.read_bytes()
    for word in (SECRET, images.name, str(images.parent)):
        assert word.encode() not in content


def test_the_hub_reads_the_card(
    run: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    huggingface_hub = pytest.importorskip("huggingface_hub")
    extractor = Extractor(Cache(cache), workers=1)
    folder = bundle_model(run, tmp_path / "hub", extractor, "hub")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.medgraft"]
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "medgraft")
    result = json.loads((run / "result.json").read_text())
    expected = result["scenarios"][0]["test"]["auroc"]["value"]
    tested = [one for one in card.data.eval_results if one.dataset_name.endswith("test")]
    (auroc,) = [one.metric_value for one in tested if one.metric_type == "auroc"]
    assert auroc == pytest.approx(expected, abs=1e-6)
    assert "For research only" in card.text
    assert f"`{json.loads((run / 'config.json').read_text())['data']}`" in card.text


def _head(folder: Path, **changes: np.ndarray) -> None:
    """Other arrays in the head, with hashes that fit."""
    path = folder / "head.safetensors"
    save_file(load_file(path) | changes, path)
    content = json.loads((folder / "bundle.json").read_text())
    content["sha256"][path.name] = sha256_of(path)
    (folder / "bundle.json").write_text(json.dumps(content))


class Bomb:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("canary"),))


def test_pickled_weights_are_not_opened(
    run: Path, cache: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(run / "model", tmp_path / "model"))
    (folder / "backbone.safetensors").write_bytes(pickle.dumps({"weight": Bomb()}))
    content = json.loads((folder / "bundle.json").read_text())
    content["sha256"]["backbone.safetensors"] = sha256_of(folder / "backbone.safetensors")
    (folder / "bundle.json").write_text(json.dumps(content))
    write_archive(folder, tmp_path / "x.medgraft", "", {})
    with pytest.raises(MedgraftError, match="refused"):
        predict_files(load_model(tmp_path / "x.medgraft", cache=cache, workers=1), [str(images)])
    assert not Path("canary").exists()
    pickle.loads(pickle.dumps(Bomb()))  # noqa: S301  it does go off
    assert Path("canary").exists()


def _said(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "bundle.json").read_text())
    for name, value in changes.items():
        place: Any = content
        *above, last = name.split("__")
        for step in above:
            place = place[step]
        place[last] = value
    (folder / "bundle.json").write_text(json.dumps(content))


WRONG: list[Any] = [
    lambda folder: _head(folder, coef_=np.zeros((2, 5))),
    lambda folder: _head(folder, coef_=np.zeros((3, 1104))),
    lambda folder: _head(folder, intercept_=np.zeros(3)),
    lambda folder: _head(folder, intercept_=np.full(2, np.nan)),
    lambda folder: _head(folder, coef_=np.zeros(2)),
    lambda folder: _said(folder, classes=["a"]),
    lambda folder: _said(folder, classes=["a", "a"]),
    lambda folder: _said(folder, classes=["a", 1]),
    lambda folder: _said(folder, classes="ab"),
    lambda folder: _said(folder, positive="b"),
    lambda folder: _said(folder, calibrator__slope=-1.0),
    lambda folder: _said(folder, calibrator__slope=float("nan")),
    lambda folder: _said(folder, calibrator__biases=[0.0]),
    lambda folder: _said(folder, calibrator__biases=["0", "1"]),
    lambda folder: _said(folder, operating__threshold="0.5"),
    lambda folder: _said(folder, operating__threshold=float("inf")),
    lambda folder: _said(folder, operating__rule=5),
    lambda folder: _said(folder, reading__canvas__size=10**9),
    lambda folder: _said(folder, reading__canvas__size="224"),
    lambda folder: _said(folder, reading__canvas__edits=["python"]),
    lambda folder: _said(folder, reading__canvas__resize="stretch"),
    lambda folder: _said(folder, reading__join="product"),
    lambda folder: _said(folder, reading__views=[]),
    lambda folder: _said(folder, card__size=-1),
    lambda folder: _said(folder, card__mean=[0.5]),
    lambda folder: _said(folder, card__std=[0.0, 0.5, 0.5]),
    lambda folder: _said(folder, card__name="../../etc"),
    lambda folder: _said(folder, rule__low="dark"),
    lambda folder: _said(folder, head__name="pickle"),
    lambda folder: _said(folder, sha256={"../../x": "0"}),
    lambda folder: (folder / "head.safetensors").write_bytes(b"\x80\x04."),
    lambda folder: (folder / "bundle.json").write_text("[" * 100_000),
]


@pytest.mark.parametrize("harm", WRONG, ids=range(len(WRONG)))
def test_every_field_is_checked(harm: Any, run: Path, cache: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run / "model", tmp_path / "model"))
    harm(folder)
    write_archive(folder, tmp_path / "x.medgraft", "", {})
    for model in (folder, tmp_path / "x.medgraft"):
        with pytest.raises(BundleError):
            load_model(model, cache=cache, workers=1)
