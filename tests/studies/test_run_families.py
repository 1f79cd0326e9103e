"""One study of all families, from images to a run that is resumed with the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medgraft.api import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import Development
from medgraft.features.cache import Cache
from medgraft.features.encoders import BaseEncoder
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted
from medgraft.learn.fit import load as load_bundle
from medgraft.run_folders import study_to_folder
from medgraft.studies.options import StudyOptions

OPTIONS = StudyOptions(
    families=("ensemble", "vlad", "multiscale", "probe"),
    heads=("svm",),
    preprocess=("raw", "clahe"),
    sizes=(96,),
    encoders=("k4.white8",),
    augment="xray",
    views=2,
)


@pytest.mark.slow
def test_a_study_of_all_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_phantoms(tmp_path / "images", n_patients=20, seed=5)
    table = load(tmp_path / "images")
    extractor = Extractor(Cache(tmp_path / "cache"), engine="torch", workers=2)
    first = study_to_folder(table, OPTIONS, extractor, tmp_path / "first")
    result = first.result
    assert {row.family for row in result.scenarios} == {"probe", "multiscale", "vlad", "ensemble"}
    assert len({row.key for row in result.scenarios}) == len(result.scenarios)
    assert all(row.validation["auroc"] and row.test for row in result.scenarios)
    assert result.questions
    assert (tmp_path / "first" / "report.html").stat().st_size > 10_000

    # What is kept of every family is read back with the study's own numbers.
    taken = {row.family: row.key for row in reversed(result.scenarios)}
    for entry in first.planned:
        if entry.scenario.key not in taken.values():
            continue
        crossed = cross_fitted(
            entry.scenario, Development(result.table.development, first.folds), extractor
        )
        bundle = tmp_path / entry.scenario.family
        bundle.mkdir()
        crossed.fitted.save(bundle)
        found, _ = load_bundle(bundle, extractor).predict(result.table.test)
        np.testing.assert_allclose(found.scores, first.test[entry.scenario.key].scores, atol=1e-5)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed twice")

    monkeypatch.setattr(Extractor, "fill", never)
    monkeypatch.setattr(BaseEncoder, "fit", never)
    again = Extractor(Cache(tmp_path / "cache"), engine="torch", workers=2)
    study_to_folder(table, OPTIONS, again, tmp_path / "second")

    def figures(name: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((tmp_path / name / "result.json").read_text())
        del content["seconds"]
        for row in content["scenarios"]:  # type: ignore[attr-defined]
            del row["seconds"]
        return content

    assert figures("second") == figures("first")
