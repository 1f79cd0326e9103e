"""A second network beside the default one: when it is tried, what is planned then, what is said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.features.backbones import DEFAULT
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.weights import PACKAGED
from medgraft.report.text.second_network import sentence
from medgraft.results.recommendation import SecondNetwork
from medgraft.run_folders import study_to_folder
from medgraft.scenario import Scenario
from medgraft.studies import second_network
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import plan
from medgraft.studies.second_network import MOST, with_networks
from medgraft.types import ImageTable

INSTALLED = second_network._installed  # which conftest.py replaces
OTHER = "tf_efficientnet_lite1"  # stands for VGG-16, which need not be installed


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_network, "SECOND", OTHER)
    monkeypatch.setattr(second_network, "_installed", INSTALLED)
    # Networks are joined on one canvas: VGG-16's input is as large as the default network's.
    monkeypatch.setitem(PACKAGED, OTHER, dataclasses.replace(PACKAGED[OTHER], size=224))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), workers=2)


def images(n: int, unlabelled: int = 0) -> ImageTable:
    """A table of `n` labelled images that lie nowhere."""
    labels = np.array([i % 2 for i in range(n)] + [-1] * unlabelled)
    names = np.array([f"i{i}" for i in range(len(labels))])
    nothing = np.full(len(labels), "")
    return ImageTable(names, (), names, labels, names, nothing, nothing, ("a", "b"))


@pytest.mark.parametrize(
    ("n", "asked", "readings"),
    [
        (MOST, {}, MOST),
        (MOST + 1, {}, MOST + 1),
        (200, {"preprocess": ("raw", "clahe", "raw+clahe")}, 400),  # two readings of an image
        (200, {"augment": "xray", "views": 4}, 800),  # the image itself and three views
    ],
)
def test_it_is_tried_where_readings_are_few(
    n: int, asked: dict[str, object], readings: int, installed: None, extractor: Extractor
) -> None:
    options = StudyOptions(**asked)  # type: ignore[arg-type]
    found = with_networks(options, images(n, unlabelled=900), extractor)
    assert found.second == SecondNetwork(OTHER, readings, MOST)
    few = readings <= MOST
    assert found.networks == ((DEFAULT, OTHER) if few else (DEFAULT,))
    assert ("was tried beside" in sentence(found.second)) == few
    assert with_networks(found, images(1), extractor) is found


@pytest.mark.parametrize(
    "asked", [{"backbones": (DEFAULT,)}, {"families": ("probe", "vlad")}, {"families": ("vlad",)}]
)
def test_whoever_names_a_network_or_families_gets_these_alone(
    asked: dict[str, object], installed: None, extractor: Extractor
) -> None:
    options = StudyOptions(**asked)  # type: ignore[arg-type]
    found = with_networks(options, images(10), extractor)
    assert found == dataclasses.replace(options, backbones=(DEFAULT,))
    given = Extractor(extractor.cache, weights={DEFAULT: "file.pth"})
    assert with_networks(StudyOptions(), images(10), given).second is None


def test_without_the_extra_nothing_changes(
    monkeypatch: pytest.MonkeyPatch, extractor: Extractor
) -> None:
    absent = dataclasses.replace(PACKAGED["vgg16"], distribution="no-such-package")
    monkeypatch.setattr(second_network, "_installed", INSTALLED)
    monkeypatch.setitem(PACKAGED, "vgg16", absent)
    found = with_networks(StudyOptions(), images(10), extractor)
    assert found == StudyOptions(backbones=(DEFAULT,))
    assert sentence(found.second) == ""


def test_both_networks_and_their_join_are_planned(installed: None, extractor: Extractor) -> None:
    named = StudyOptions(backbones=(DEFAULT, OTHER))
    tried = with_networks(StudyOptions(), images(10), extractor)
    one, both = (
        {entry.scenario.key: entry for entry in plan(options, extractor, 10, 2)}
        for options in (named, tried)
    )
    key = f"ensemble/{DEFAULT}+{OTHER}/stages/svm/mean"
    assert set(both) - set(one) == {key}
    members = [both[f"probe/{name}/stages/svm"] for name in (DEFAULT, OTHER)]
    assert both[key].scenario.members == tuple(entry.scenario for entry in members)
    assert Scenario.from_key(key) == both[key].scenario
    for number in ("multiply_adds", "parameters"):
        costs = [getattr(entry.cost, number) for entry in members]
        assert getattr(both[key].cost, number) == sum(costs)
    assert list(both)[-1] == key  # the dearest


@pytest.mark.slow
def test_a_study_of_both_says_what_the_second_gained(
    installed: None, extractor: Extractor, tmp_path: Path
) -> None:
    write_phantoms(tmp_path / "images", n_patients=24, seed=3)
    options = StudyOptions(heads=("svm",), audit=False)
    out = tmp_path / "R"
    study_to_folder(load(tmp_path / "images"), options, extractor, out)
    config, result = (json.loads((out / f"{n}.json").read_text()) for n in ("config", "result"))
    assert config["backbones"] == [DEFAULT, OTHER]
    assert set(config["weights"]) == {DEFAULT, OTHER}
    n = result["data"]["n_images"]
    second = {"backbone": OTHER, "images": n, "most": MOST}
    assert config["second"] == second
    assert result["second_network"] == {**second, "tried": True}
    asked = [row["question"] for row in result["questions"]]
    assert asked[:2] == [
        f"Is the best probe of {OTHER} better than the best probe of {DEFAULT}?",
        f"Are {DEFAULT} and {OTHER} joined better than the best probe of {DEFAULT}?",
    ]
    assert sentence(SecondNetwork(**second)) in (out / "report.html").read_text()
