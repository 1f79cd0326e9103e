"""Small classifiers of every family, fitted once for all tests of exports."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from medgraft.data.ingest import LoadOptions, load
from medgraft.data.split import Development, make_folds
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.cross_validation import CrossFitted
from medgraft.learn.fit import cross_fitted_all
from medgraft.scenario import Finetune, Head, encoding_of, views_of
from medgraft.types import FittedScenario, ImageTable, Scenario

PROBE = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
SIZES = PROBE.with_pixels(sizes=(64, 96))
EQUALISED = PROBE.with_pixels(edits=(("clahe2-8",),))
TUNED = dataclasses.replace(PROBE, tap="blocks.5", classifier=Finetune((("epochs", "1"),)))
DEEPER = dataclasses.replace(PROBE, tap="blocks.2", classifier=Head("logistic"))


def encoded(word: str, sizes: tuple[int, ...] = (64,)) -> Scenario:
    made = dataclasses.replace(PROBE, tap="blocks.2", code=encoding_of(word))
    return made.with_pixels(sizes=sizes)


CAN = {
    "probe": PROBE,
    "edited alike": EQUALISED,
    "sizes": SIZES,
    "sizes averaged": PROBE.with_pixels(sizes=(64, 128), join="mean"),
    "rbf": dataclasses.replace(PROBE, classifier=Head("rbf")),
    "ordinal": dataclasses.replace(PROBE, classifier=Head("ordinal")),
    "vlad": encoded("k4.pca8.white6"),
    "vlad, hard": encoded("k4.pca8.white6.hard"),
    "vlad, two sizes": encoded("k4.pca8.white6", (64, 96)),
    "fisher": encoded("fisher2.pca8.white6"),
    "bilinear": encoded("bilinear64"),
    "pyramid": encoded("pyramid1-2"),
    "finetune": TUNED,
    "mean": Scenario.joining("mean", (PROBE, DEEPER)),
    "stack": Scenario.joining("stack", (PROBE, encoded("k4"), TUNED)),
}
CANNOT = {
    "knn": dataclasses.replace(PROBE, classifier=Head("knn")),
    "beside": PROBE.with_pixels(edits=(("raw", "clahe2-8"),)),
    "views": PROBE.with_pixels(views=views_of("xray3")),
    "some edited": Scenario.joining("mean", (PROBE, EQUALISED)),
}


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Twenty-four noisy images, those of coarse grain sick."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(24):
        grain = (3, 6)[index % 2]
        pixels = np.kron(rng.integers(60, 200, (50, 45)), np.ones((grain, grain)))[:150, :140]
        path = folder / ("normal", "sick")[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return load(folder, LoadOptions(no_groups=True))


@pytest.fixture(scope="session")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")), engine="torch", workers=1)


@pytest.fixture(scope="session")
def fitted(table: ImageTable, extractor: Extractor) -> dict[str, FittedScenario]:
    every = {**CAN, **CANNOT}
    development = Development(table, make_folds(table, 2))
    by_key: dict[str, CrossFitted] = {
        one.predictions.scenario: one
        for one in cross_fitted_all([*every.values()], development, extractor)
    }
    return {name: by_key[scenario.key].fitted for name, scenario in every.items()}
