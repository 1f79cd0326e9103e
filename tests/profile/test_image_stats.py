"""Is an image looked at again where something decides its pixels that was another before?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_duplicates import picture, write

from medgraft.data.ingest import load
from medgraft.data.preprocess import edit_from_key
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.profile import image_stats
from medgraft.profile.image_stats import read_image_stats
from medgraft.types import FeatureSpec, ImageTable


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    for i in range(3):
        write(tmp_path / "data", f"{'ab'[i % 2]}/{i}.png", picture(i))
    return load(tmp_path / "data")


@pytest.fixture
def looks(
    table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> Callable[[FeatureSpec], int]:
    """How many images are decoded for a look on canvases of a recipe."""
    made: list[Any] = []
    canvases = extractor.canvases
    monkeypatch.setattr(
        extractor, "canvases", lambda *asked: (made.append(c) or c for c in canvases(*asked))
    )

    def count(spec: FeatureSpec) -> int:
        made.clear()
        read_image_stats(table, spec, extractor)
        return len(made)

    return count


def test_what_was_looked_at_is_kept_under_all_that_decides_its_pixels(
    extractor: Extractor,
    looks: Callable[[FeatureSpec], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=64)
    others = [
        dataclasses.replace(spec, size=72),
        dataclasses.replace(spec, resize="pad"),
        dataclasses.replace(spec, edits=(edit_from_key("clahe2-8"),)),
        dataclasses.replace(spec, decoder="another"),
    ]
    assert [looks(one) for one in (spec, *others)] == [3] * 5
    assert [looks(one) for one in (spec, *others)] == [0] * 5
    alike = dataclasses.replace(spec, engine="torch", taps=("blocks.6",), weights="others")
    assert looks(alike) == 0  # the network has no say in the pixels
    monkeypatch.setattr(image_stats, "decoders", lambda: ("pillow 99",))
    assert looks(spec) == 3


def test_codes_too_are_kept_under_the_versions_of_what_decodes(extractor: Extractor) -> None:
    said = str(extractor.spec("tf_efficientnet_lite0", ["conv_head"]).recipe["versions"])
    assert all(name in said for name in ("openvino", "opencv", "pillow", "simplejpeg"))


def test_edits_change_what_is_seen(table: ImageTable, extractor: Extractor) -> None:
    plain = extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=64)
    edited = dataclasses.replace(plain, edits=(edit_from_key("clahe2-8"),))
    one, other = (read_image_stats(table, spec, extractor) for spec in (plain, edited))
    assert not np.allclose(one.spread, other.spread)
