"""VLAD with k = 64 on the last convolutional tap: against a plain script, extraction, and 2 GB.

Three questions: how much faster than what one writes with numpy and scikit-learn, at the same
numbers; how much a codebook and its codes add to the time of extraction; and whether memory stays
flat as images become many. Only the last takes long, and is asked for by hand:
`python bench/vlad.py --memory 5856 50000`, where `--anew` has descriptors computed again each time,
as when the cache has no room for them.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from harness import Spread, paired, peak_memory, save
from medgraft.data.ingest import load
from medgraft.features.backbones import DEFAULT
from medgraft.features.cache import DEFAULT_LIMIT, Cache
from medgraft.features.codebooks import FIRST_TO_SECOND, TRAINING_WORDS, VLAD
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.learn.fit import LEARN_FROM
from medgraft.learn.frozen import encoded
from medgraft.types import Canvas, DescriptorStream, Edit, Floats, ImageTable

TAP = "conv_head"
K, DIMENSIONS, WHITEN = 64, 128, 256
IMAGES = 1000  # for the plain script
ROUNDS = 3
FITS = 6  # five folds and the refit
TOLERANCE = 1e-4
SHARED = Path(__file__).parents[1].parent / "shared"

Codes = NDArray[np.float32]


# --------------------------------------------------------------------------- the plain script


@dataclass(frozen=True, eq=False)
class Plain:
    """What a plain VLAD needs to encode: the arrays that `VLAD` has under the same names."""

    axes: Floats
    shift: Floats
    centres: Floats
    alpha: float
    whiten_mean: Floats
    whiten_axes: Floats

    @classmethod
    def of(cls, vlad: VLAD) -> Plain:
        assert vlad.axes_ is not None
        assert vlad.shift_ is not None
        assert vlad.whiten_mean_ is not None
        assert vlad.whiten_axes_ is not None
        return cls(
            vlad.axes_, vlad.shift_, vlad.centres_, float(vlad.alpha_[0]),
            vlad.whiten_mean_, vlad.whiten_axes_,
        )  # fmt: skip


def plain_long(words: Floats, centres: Floats, alpha: float) -> Floats:
    """One image's VLAD from its words (positions, dimensions): shares, residuals, three norms."""
    residuals = words[:, None, :] - centres  # (positions, k, dimensions)
    distances = (residuals**2).sum(axis=2)
    shares = np.exp(-alpha * (distances - distances.min(axis=1, keepdims=True)))
    shares /= shares.sum(axis=1, keepdims=True)
    V = (shares[:, :, None] * residuals).sum(axis=0)
    V /= np.maximum(np.linalg.norm(V, axis=1, keepdims=True), np.finfo(V.dtype).tiny)
    long = np.sign(V) * np.sqrt(np.abs(V))
    found: Floats = long.ravel() / np.linalg.norm(long)
    return found


def plain_fit(X: NDArray[np.float16]) -> Plain:
    """PCA, k-means and whitening of descriptors (n, positions, channels), as scikit-learn has them.

    k-means is given one start and as many words as ours sees, for more would only cost it more.
    """
    n, positions, channels = X.shape
    x = normalize(X.reshape(-1, channels).astype(np.float32))
    pca = PCA(DIMENSIONS, random_state=0).fit(x)
    words = pca.transform(x)
    some = np.random.default_rng(0).choice(len(words), min(TRAINING_WORDS, len(words)), False)
    kmeans = KMeans(K, n_init=1, random_state=0).fit(words[some])
    squares = np.sort(kmeans.transform(words[some]) ** 2, axis=1)
    alpha = math.log(FIRST_TO_SECOND) / float((squares[:, 1] - squares[:, 0]).mean())
    centres = kmeans.cluster_centers_
    bags = words.reshape(n, positions, -1)
    long = np.stack([plain_long(bag, centres, alpha) for bag in bags])
    whitening = PCA(WHITEN, whiten=True, random_state=0).fit(long)
    scale = np.sqrt(whitening.explained_variance_)[:, None]
    shift = pca.mean_ @ pca.components_.T
    return Plain(
        pca.components_, shift, centres, alpha, whitening.mean_, whitening.components_ / scale
    )


def plain_codes(stream: DescriptorStream, fitted: Plain) -> Floats:
    """Codes (n, length) of a stream of descriptors, image by image."""
    codes = []
    for _, descriptors in stream():
        for bag in descriptors:
            words = normalize(bag.astype(np.float32)) @ fitted.axes.T - fitted.shift
            long = plain_long(words, fitted.centres, fitted.alpha)
            codes.append(fitted.whiten_axes @ (long - fitted.whiten_mean))
    found: Floats = normalize(np.stack(codes))
    return found


# --------------------------------------------------------------------------- ours


def feature_plan_of(extractor: Extractor, edits: tuple[Edit, ...] = ()) -> FeaturePlan:
    return FeaturePlan.one(extractor.spec(DEFAULT, [TAP], edits=edits))


def extract(table: ImageTable, feature_plan: FeaturePlan, extractor: Extractor) -> float:
    """Seconds of reading descriptors of the tap, and all taps pooled, as a study does."""
    (spec,) = feature_plan.specs
    taps = tuple(tap.name for tap in extractor.backbone(spec.backbone).taps)
    began = time.perf_counter()
    extractor.prepare(table, dataclasses.replace(spec, taps=taps), *feature_plan.grids.specs)
    return time.perf_counter() - began


def drawn(table: ImageTable, seed: int) -> ImageTable:
    """The images that a codebook learns from."""
    count = min(LEARN_FROM, len(table))
    return table.select(np.sort(np.random.default_rng(seed).choice(len(table), count, False)))


def gathered(stream: DescriptorStream) -> NDArray[np.float16]:
    return np.concatenate([bag for _, bag in stream()])


def one_fit(
    table: ImageTable, feature_plan: FeaturePlan, extractor: Extractor, seed: int = 0
) -> float:
    """Seconds of a codebook on a draw of images and the codes of all, as in each fold."""
    began = time.perf_counter()
    sample = gathered(feature_plan.descriptors(drawn(table, seed), extractor))
    vlad = VLAD(K, DIMENSIONS, whiten=WHITEN, seed=seed).fit(sample)
    del sample
    (codes,) = encoded([vlad], feature_plan, table, extractor)
    assert len(codes) == len(table)
    return time.perf_counter() - began


# --------------------------------------------------------------------------- 1 the plain script


def against_plain(table: ImageTable, extractor: Extractor) -> dict[str, object]:
    """Images a second of codebook and codes, ours and the plain script's, and how far they differ.

    Descriptors come from the same cache. Both have one core, as a study gives each scenario one.
    """
    feature_plan = feature_plan_of(extractor)
    extract(table, feature_plan, extractor)
    stream = feature_plan.descriptors(table, extractor)
    to_learn = feature_plan.descriptors(drawn(table, 0), extractor)

    def fit() -> VLAD:
        return VLAD(K, DIMENSIONS, whiten=WHITEN).fit(gathered(to_learn))

    def codes(vlad: VLAD) -> Codes:
        return np.concatenate([vlad.transform(bag) for _, bag in stream()])

    def plain() -> Plain:
        return plain_fit(gathered(to_learn))

    with threadpool_limits(1):
        vlad = fit()
        same = Plain.of(vlad)
        difference = float(np.abs(codes(vlad) - plain_codes(stream, same)).max())
        if difference > TOLERANCE:
            raise AssertionError(f"ours and the plain script differ by {difference:.1e}")
        pairs = {
            "codebook and codes": paired(
                lambda: len(codes(fit())), lambda: len(plain_codes(stream, plain())), ROUNDS
            ),
            "codes alone": paired(
                lambda: len(codes(vlad)), lambda: len(plain_codes(stream, same)), ROUNDS
            ),
        }
    print(f"VLAD, k = {K}, {len(table)} X-rays, one core, images/s and ratios, {ROUNDS} rounds")
    for name, pair in pairs.items():
        print(f"  {name}: medgraft {pair.a}, numpy and scikit-learn {pair.b}, ratio {pair.ratio}")
    print(f"  largest difference of a code, given the same codebook: {difference:.1e}")
    return {"images": len(table), "images_a_second": pairs, "largest_difference": difference}


# --------------------------------------------------------------------------- 2 share of extraction


def share_of_extraction(table: ImageTable, extractor: Extractor) -> dict[str, object]:
    """Seconds of extraction, on all cores, and of the fits that follow, on one.

    A study runs as many scenarios side by side as there are cores, each on one.
    """
    feature_plan = feature_plan_of(extractor)
    extract(table.select(np.arange(8)), feature_plan, extractor)  # compiles the network
    extraction = extract(table, feature_plan, extractor)
    with threadpool_limits(1):
        fits = [one_fit(table, feature_plan, extractor, seed) for seed in range(FITS)]
    shares = Spread.of([fit / extraction for fit in fits])
    print(f"extraction of {len(table)} X-rays: {extraction:.1f} s")
    print(f"  one fit, one core: {Spread.of(fits)} s, {shares} of extraction")
    print(f"  {FITS} fits, one core: {sum(fits):.1f} s, {sum(fits) / extraction:.2f} of extraction")
    return {
        "images": len(table),
        "extraction_seconds": extraction,
        "one_fit_seconds": Spread.of(fits),
        "one_fit_over_extraction": shares,
        f"all_{FITS}_fits_over_extraction": sum(fits) / extraction,
    }


# --------------------------------------------------------------------------- 3 memory


@dataclass(frozen=True, slots=True)
class Touched:
    """Copy c of an image, whose id ends in `#c`, has its cth pixel changed by one grey level."""

    @property
    def key(self) -> str:
        return "touched"

    def __call__(self, canvas: Canvas) -> Canvas:
        pixels = canvas.pixels.copy()
        pixels.reshape(-1)[int(canvas.id.rsplit("#", 1)[1])] ^= 1
        return dataclasses.replace(canvas, pixels=pixels)


def repeated(table: ImageTable, count: int) -> ImageTable:
    """So many images: the table over and over, no two rows of one content."""
    copy, row = np.divmod(np.arange(count), len(table))
    rows = table.select(row)
    return dataclasses.replace(
        rows,
        ids=np.char.add(np.char.add(rows.ids, "#"), copy.astype(str)),
        content_hashes=np.char.add(np.char.add(rows.content_hashes, "#"), copy.astype(str)),
    )


def resident(folder: str, count: int, limit: int) -> dict[str, float]:
    """Peaks, in MiB, and seconds of extraction and one fit of so many images, in this process.

    The resident peak is what the system says of the whole life of the process, mapped files and
    libraries included.
    """
    table = repeated(load(SHARED / "data" / "chest_xray"), count)
    extractor = Extractor(Cache(Path(folder), limit))
    feature_plan = feature_plan_of(extractor, (Touched(),))
    seconds: dict[str, float] = {}

    def work() -> None:
        seconds["extraction_seconds"] = extract(table, feature_plan, extractor)
        with threadpool_limits(1):
            seconds["one_fit_seconds"] = one_fit(table, feature_plan, extractor)

    anonymous = peak_memory(work)
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line for line in status if line.startswith("VmHWM"))
    return {"peak_resident": int(peak.split()[1]) / 1024, "peak_anonymous": anonymous, **seconds}


def memory(counts: list[int], anew: bool) -> dict[str, object]:
    """`resident` of each count, in a fresh process with an empty cache of its own."""
    figures: dict[str, object] = {}
    for count in counts:
        with (
            tempfile.TemporaryDirectory() as folder,
            multiprocessing.get_context("spawn").Pool(1) as pool,
        ):
            found = pool.apply(resident, (folder, count, 0 if anew else DEFAULT_LIMIT))
        figures[str(count)] = found
        print(
            f"{count} images, descriptors {'computed anew' if anew else 'kept'}: "
            + ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in found.items()),
            flush=True,
        )
    return figures


# --------------------------------------------------------------------------- all


def in_own_cache(
    work: Callable[[ImageTable, Extractor], dict[str, object]], table: ImageTable
) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        return work(table, Extractor(Cache(Path(folder))))


def main(shared: Path) -> None:
    """What `make bench` runs: the plain script, and the share of extraction."""
    table = load(shared / "data" / "chest_xray")
    some = table.select(np.linspace(0, len(table) - 1, IMAGES).astype(np.int64))
    figures: dict[str, object] = {"load_average_before": os.getloadavg()[0]}
    figures["against numpy and scikit-learn"] = in_own_cache(against_plain, some)
    figures["share of extraction"] = in_own_cache(share_of_extraction, table)
    save("vlad", figures)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory", type=int, nargs="+", metavar="IMAGES")
    arguments.add_argument("--anew", action="store_true", help="descriptors are not kept")
    asked = arguments.parse_args()
    if asked.memory:
        save("vlad-anew" if asked.anew else "vlad-memory", memory(asked.memory, asked.anew))
    else:
        main(SHARED)
