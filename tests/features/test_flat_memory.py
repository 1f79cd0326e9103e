"""What is worked out of a stream of descriptors takes no more memory for more images."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from medgraft.features import extract
from medgraft.features.cache import Cache
from medgraft.features.codebooks import VLAD
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.types import ImageTable, Source
from traced_memory import peak

LEARNED, FEW, MANY = 32, 80, 320
SIZE = 64  # a map of 2 × 2 positions and 1280 channels: 10 kB an image
MARGIN = 1.5  # holding all descriptors would make it nearly 4


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    """Images that all differ, as frames of one array."""
    path = tmp_path_factory.mktemp("noise") / "noise.npz"
    n = LEARNED + FEW + MANY
    pixels = np.random.default_rng(0).integers(0, 256, (n, 16, 16)).astype(np.uint8)
    np.savez(path, images=pixels)
    names = np.array([f"{i:03d}" for i in range(n)])
    return ImageTable(
        ids=names,
        sources=tuple(Source(str(path), i, "images") for i in range(n)),
        content_hashes=names,
        labels=np.arange(n) % 2,
        groups=names,
        splits=np.full(n, "train"),
        masks=np.full(n, ""),
        classes=("a", "b"),
    )


@pytest.mark.parametrize("kept", [True, False])
def test_encoding_takes_no_more_memory_for_more_images(
    kept: bool, noise: ImageTable, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extraction, cache and encoding; with descriptors kept, and computed at every pass."""
    monkeypatch.setattr(extract, "SEGMENT_ROWS", 32)  # of which so many are held until written
    cache.limit = cache.limit if kept else 0
    extractor = Extractor(cache, engine="torch", workers=2)  # nothing to convert
    feature_plan = FeaturePlan.one(
        extractor.spec("tf_efficientnet_lite0", ["conv_head"], size=SIZE)
    )

    def encode(start: int, n: int) -> None:
        stream = feature_plan.descriptors(noise.select(np.arange(start, start + n)), extractor)
        assert sum(len(vlad.transform(bag)) for _, bag in stream()) == n

    with threadpool_limits(1):
        stream = feature_plan.descriptors(noise.select(np.arange(LEARNED)), extractor)
        vlad = VLAD(k=4, pca=16, whiten=8).fit(np.concatenate([bag for _, bag in stream()]))
        few = peak(lambda: encode(LEARNED, FEW))
        many = peak(lambda: encode(LEARNED + FEW, MANY))
    assert many < MARGIN * few
