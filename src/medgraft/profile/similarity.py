"""How far images are from ImageNet, without an image of ImageNet.

The batch norms of the default network hold the mean and the variance that each channel had over
ImageNet and all positions. Those of other images are held against them: as normal distributions,
by the squared Hellinger distance, 0 where they are the same and 1 where they share nothing, which
no channel that is dead in ours can drive to infinity. The distance is the mean over the channels of
a layer, then over the layers from stride 16 on: those before see colour and contrast, and call a
grey photograph far (docs/decisions/0033, docs/results/similarity.md).

Few images are farther than many of the same kind, for their mean errs: the jackknife (Quenouille
1956; Tukey 1958), which leaves out a patient at a time, takes that away and gives the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.features.norms import BEFORE_NORM, MOMENTS, running_statistics
from medgraft.features.weights import PACKAGED
from medgraft.profile.hashes import evenly_drawn
from medgraft.profile.known_sets import known_sets
from medgraft.results.recommendation import Similarity
from medgraft.types import Estimate, Floats, ImageTable, Strings, digest

MOST = 128  # images that are looked at
EPSILON = 1e-3  # which the norms of the default network add to a variance before they divide
DEEP = 16  # pixels a position, from which on a layer counts
STATISTICS_VERSION = 1  # raise it when a change of code changes what is kept of the norms

Statistics = Mapping[str, NDArray[np.float32]]


def measure_similarity(table: ImageTable, extractor: Extractor) -> Similarity:
    """The distance of up to `MOST` images of a table from ImageNet, squashed to the network's size.

    Images that cannot be read are left out. Where the default network has other weights than those
    that come with it, nothing is known of what these were trained on.
    """
    backbone = extractor.backbone(DEFAULT)
    if backbone.key != PACKAGED[DEFAULT].sha256:
        return Similarity(None, None, (), 0, 0, known_sets(), "other weights")
    known, deep = _statistics(extractor), [tap.stride >= DEEP for tap in backbone.taps]
    taps = [f"{tap.name}{BEFORE_NORM}" for tap in backbone.taps]
    spec = replace(extractor.spec(DEFAULT, ()), taps=tuple(taps), poolings=(MOMENTS,))
    drawn = table.select(evenly_drawn(len(table), MOST, 0))
    codes, _ = extractor.codes(drawn, spec)
    groups = drawn.groups[np.isin(drawn.ids, codes.ids)]
    blocks = {tap.name: codes.blocks[f"{tap.name}{BEFORE_NORM}@{MOMENTS}"] for tap in backbone.taps}
    return similarity_of(blocks, groups, known, np.array(deep))


def similarity_of(
    moments: Statistics, groups: Strings, known: Statistics, deep: NDArray[np.bool_]
) -> Similarity:
    """The distance of images from what a network remembers.

    Parameters
    ----------
    moments : by layer (n, 2 channels), of each image the mean and the mean square of every channel.
    groups : (n,) patients, which are left out whole. known : by layer (2, channels), mean and
    variance. deep : (n_layers,) which count for `distance`; the others do for `shallow`.
    """
    names, index = np.unique(groups, return_inverse=True)
    n, g = len(groups), len(names)
    if g < 2:
        return Similarity(None, None, (), n, g, known_sets(), "one image" if n < 2 else "one group")
    images = np.bincount(index.ravel(), minlength=g)
    whole, without = [], []
    for layer, (mean, variance) in known.items():
        values = np.asarray(moments[layer], np.float64)
        of_group = np.zeros((g, values.shape[1]))
        np.add.at(of_group, index.ravel(), values)
        total = of_group.sum(axis=0)
        others = (total - of_group) / (n - images)[:, None]
        whole.append(squared_hellinger(total / n, mean, variance))
        without.append(squared_hellinger(others, mean, variance))
    full, left = np.array(whole), np.array(without)  # (layers,), (layers, groups)
    by_layer = _unbiased(full, left)

    def estimate(rows: NDArray[np.bool_]) -> Estimate:
        return _jackknife(full[rows].mean(), left[rows].mean(axis=0), n)

    return Similarity(
        distance=estimate(deep),
        shallow=estimate(~deep),
        by_layer=tuple(zip(known, by_layer.tolist(), strict=True)),
        n_images=n,
        n_groups=g,
        known=known_sets(),
    )


def squared_hellinger(moments: Floats, mean: Floats, variance: Floats) -> Floats:
    """Mean over channels of the squared Hellinger distance between normal distributions.

    moments : (..., 2 channels), means and mean squares of the images. mean, variance : (channels,)
    of ImageNet. With b the Bhattacharyya distance (Kailath 1967), it is 1 - exp(-b).

    >>> float(squared_hellinger(np.array([0.0, 1.0]), np.zeros(1), np.ones(1)))
    0.0
    """
    channels = len(mean)
    own = moments[..., :channels]
    spread = np.maximum(moments[..., channels:] - own**2, 0) + EPSILON
    theirs = variance + EPSILON
    middle = (spread + theirs) / 2
    apart = (own - mean) ** 2 / (8 * middle)
    unlike = np.log(middle / np.sqrt(spread * theirs)) / 2
    return np.asarray((1 - np.exp(-apart - unlike)).mean(axis=-1))


def _jackknife(full: float, left: Floats, n: int) -> Estimate:
    """The unbiased value of a figure, its interval from the figures without each group (g,)."""
    g = len(left)
    value = float(_unbiased(np.array([full]), left[None])[0])
    error = np.sqrt((g - 1) / g * np.square(left - left.mean()).sum())
    half = float(stats.t.isf(0.025, g - 1) * error)
    method = f"jackknife over {g} groups, t interval"
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n, method)


def _unbiased(full: Floats, left: Floats) -> Floats:
    """Figures (k,) less the bias that those without each group (k, g) show, at least 0."""
    g = left.shape[1]
    return np.asarray(np.maximum(g * full - (g - 1) * left.mean(axis=1), 0.0))


def _statistics(extractor: Extractor) -> Statistics:
    """What the default network's norms hold, by layer; kept, so that torch is not asked again."""
    backbone = extractor.backbone(DEFAULT)
    key = digest("norms", STATISTICS_VERSION, backbone.key, length=32)
    kept = extractor.cache.get("norms", key)
    if kept is None:
        kept = running_statistics(backbone.network, backbone.taps)
        extractor.cache.put("norms", key, kept)
    return {tap.name: kept[tap.name] for tap in backbone.taps}
