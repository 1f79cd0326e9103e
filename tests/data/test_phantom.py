"""The phantoms: truth.json tells the truth, same seed same bytes, lesions are to be seen."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraft.data.phantom import PhantomTruth, write_phantoms
from medgraft.errors import DataError
from medgraft.files import StorageError

PATIENTS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PhantomTruth]:
    folder = tmp_path_factory.mktemp("made") / "phantoms"
    return folder, write_phantoms(folder, PATIENTS, seed=3)


def films(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for kind in ("normal", "lesion")
        for path in sorted((folder / kind).iterdir())
    }


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(float)


def test_the_truth_is_what_lies_in_the_folder(made: tuple[Path, PhantomTruth]) -> None:
    folder, truth = made
    found = films(folder)
    assert len(found) == truth.n_images
    assert sum(name.startswith("lesion/") for name in found) == truth.n_lesion
    patients = {re.search(r"patient(\d+)_view\d+\.png$", name)[1] for name in found}
    assert len(patients) == truth.n_patients == PATIENTS
    assert json.loads((folder / "truth.json").read_text()) == {
        "folder": "phantoms", "seed": 3, "n_images": truth.n_images, "n_patients": PATIENTS,
        "n_lesion": truth.n_lesion, "wrongly_labelled": truth.wrongly_labelled,
        "duplicate": truth.duplicate, "duplicate_of": truth.duplicate_of,
    }  # fmt: skip


def test_one_film_lies_under_two_patients_and_no_other_does(
    made: tuple[Path, PhantomTruth],
) -> None:
    folder, truth = made
    names = defaultdict(list)
    for name, data in films(folder).items():
        names[data].append(name)
    assert [sorted(each) for each in names.values() if len(each) > 1] == [
        sorted([truth.duplicate_of, truth.duplicate])
    ]
    assert truth.duplicate_of.split("_")[0] != truth.duplicate.split("_")[0]


def test_each_film_of_a_lesion_has_its_mask(made: tuple[Path, PhantomTruth]) -> None:
    folder, truth = made
    masks = {path.name: path for path in (folder / "masks" / "lesion").iterdir()}
    assert set(masks) == {path.name for path in (folder / "lesion").iterdir()}
    assert Path(truth.wrongly_labelled).name not in masks
    for path in masks.values():
        mask = pixels(path)
        assert mask.shape == (256, 256)
        assert set(np.unique(mask)) == {0, 255}
        assert 50 < (mask > 0).sum() < 256 * 256 / 10


def test_the_lesion_is_brighter_than_the_same_place_of_the_healthy(
    made: tuple[Path, PhantomTruth],
) -> None:
    folder, truth = made
    healthy = [
        pixels(path)
        for path in (folder / "normal").iterdir()
        if path.name != Path(truth.wrongly_labelled).name
    ]
    usual = np.mean([each / each.mean() for each in healthy], axis=0)
    excess = []
    for path in (folder / "masks" / "lesion").iterdir():
        film, inside = pixels(folder / "lesion" / path.name), pixels(path) > 0
        excess.append((film / film.mean() - usual)[inside].mean())
    assert np.mean(excess) > 0.1
    assert np.mean(np.array(excess) > 0) > 0.8


def test_the_wrongly_labelled_film_is_of_a_patient_with_a_lesion(
    made: tuple[Path, PhantomTruth],
) -> None:
    folder, truth = made
    assert truth.wrongly_labelled.startswith("normal/")
    patient = int(re.search(r"patient(\d+)", truth.wrongly_labelled)[1])
    assert patient % 2 == 0  # every second patient is ill
    assert not (folder / truth.wrongly_labelled.replace("normal", "lesion")).exists()


def test_the_films_are_grey_and_use_the_range(made: tuple[Path, PhantomTruth]) -> None:
    folder, _ = made
    for name in films(folder):
        film = Image.open(folder / name)
        assert (film.mode, film.size) == ("L", (256, 256))
        low, high = np.percentile(np.asarray(film), [1, 99])
        assert low < 60
        assert high > 150


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_phantoms(tmp_path / name, 4, seed)
    first, again, other = (films(tmp_path / name) for name in "abc")
    assert first == again
    assert not set(first.values()) & set(other.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]  # nothing left over


def test_a_patient_does_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "few", 4)
    write_phantoms(tmp_path / "more", 6)
    name = "normal/patient0001_view1.png"
    assert films(tmp_path / "few")[name] == films(tmp_path / "more")[name]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(DataError, match="not empty"):
        write_phantoms(tmp_path / "mine", 4)
    (tmp_path / "empty").mkdir()
    write_phantoms(tmp_path / "empty", 4)
    with pytest.raises(DataError, match="not empty"):
        write_phantoms(tmp_path / "empty", 4)


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 4"):
        write_phantoms(tmp_path / "a", 3)


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space"):
        write_phantoms(tmp_path / "a", 4)
    assert list(tmp_path.iterdir()) == []
