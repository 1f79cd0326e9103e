"""What a saved classifier keeps of the images it learned from, to hold those of another place to.

Of each image two short codes, and what was said of it out of fold; no name, no path, no patient.
A short code is a random projection (Johnson and Lindenstrauss 1984) of what the default backbone
gives, standardised: it keeps distances, about which all is asked, in few numbers, and does not
depend on the images, so that new ones of the same place are projected neither better nor worse. One
is of all stages, which see exposure and sharpness too, and tells whether images differ; one of the
last stage, which sees what is shown, tells whether they are of another sort.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from medgraft.data.preprocess import CanvasRecipe, recipe_of
from medgraft.errors import BackboneError
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.features.taps import STAGES
from medgraft.profile.hashes import evenly_drawn
from medgraft.profile.kept import Arrays, Words, check_shapes, keep, kept
from medgraft.profile.shift import Shift, measure_shift
from medgraft.types import (
    Canvas,
    Edit,
    FeatureSpec,
    FeatureTable,
    Floats,
    ImageTable,
    Ints,
    Predictions,
    ResizeRule,
    Skipped,
    Source,
    Strings,
)

if TYPE_CHECKING:
    from pathlib import Path

FILE = "reference.safetensors"
WIDTH = 128  # numbers of each short code
MOST = 2000  # images that are kept
NEIGHBOURS = 5  # the distance to the fifth nearest says how unlike the others an image is
EXPECTED = 0.05  # share of the images learned from that are called unlike the others


@dataclass(frozen=True, eq=False)
class Reference:
    """Short codes of m images learned from, and what was said of them out of fold.

    codes : (m, 2 WIDTH) float32, of all stages and of the last. prob : (m, n_classes) out of fold,
    of the images as they are. truth : (m,) index of the class. groups : (m,) numbers in place of
    names. counts : (n_classes,) of all images learned from. mean, scale : (d,) of the stages'
    codes, by which they are standardised. weights, resize : of the network and the canvases that
    gave these.
    """

    codes: NDArray[np.float32]
    prob: Floats
    truth: Ints
    groups: Strings
    counts: Ints
    mean: Floats
    scale: Floats
    weights: str
    resize: ResizeRule

    @classmethod
    def of(
        cls,
        table: ImageTable,
        predictions: Predictions,
        extractor: Extractor,
        resize: ResizeRule = "squash",
    ) -> Self:
        """Of the images of a table that predictions were made of out of fold; all can be read."""
        row_of = {id: row for row, id in enumerate(table.ids.tolist())}
        judged = np.array([row_of[id] for id in predictions.ids.tolist()], np.int64)
        drawn = evenly_drawn(len(judged), MOST, 0)
        spec = _spec(extractor, resize)
        stages = extractor.codes(table.select(judged[drawn]), spec)[0].matrix()
        mean, scale = stages.mean(axis=0), np.maximum(stages.std(axis=0), 1e-6)
        codes = _short(stages, mean, scale, _deepest(extractor))
        order = np.argsort(codes[:, 0], kind="stable")  # where an image stood may not be told
        rows = drawn[order]
        groups = np.unique(predictions.groups[rows], return_inverse=True)[1].ravel()
        return cls(
            codes=codes[order],
            prob=predictions.y_prob[rows],
            truth=predictions.y_true[rows],
            groups=groups.astype(str),
            counts=np.bincount(table.labels, minlength=len(table.classes)),
            mean=mean,
            scale=scale,
            weights=spec.weights,
            resize=resize,
        )

    @property
    def shares(self) -> NDArray[np.float64]:
        """The shares of the classes (n_classes,) among the images learned from."""
        return np.asarray(self.counts / self.counts.sum(), np.float64)

    def encode(
        self, table: ImageTable, extractor: Extractor, edit: Edit | None = None
    ) -> tuple[NDArray[np.float32], tuple[Skipped, ...]]:
        """Short codes of the images of a table that can be read, in their order; and the others.

        edit : done to each image first, if any.

        Raises
        ------
        BackboneError
            The default backbone has other weights here.
        """
        spec = self.spec(extractor)
        spec = spec if edit is None else replace(spec, edits=(edit,))
        codes, skipped = extractor.codes(table, spec)
        if not len(codes.ids):
            return np.empty((0, 2 * WIDTH), np.float32), skipped
        return _short(codes.matrix(), self.mean, self.scale, _deepest(extractor)), skipped

    def canvas_recipe(self, extractor: Extractor) -> CanvasRecipe:
        """How canvases are made for `encode_canvases`."""
        return recipe_of(self.spec(extractor))

    def encode_canvases(
        self, canvases: Iterable[Canvas], extractor: Extractor
    ) -> NDArray[np.float32]:
        """Short codes (n, 2 WIDTH) of a stream of canvases, uncached; errors as of `encode`."""
        outputs = [values for _, values in extractor.run(canvases, self.spec(extractor))]
        return self.shortened(outputs, extractor)

    def shortened(
        self, outputs: Sequence[Mapping[str, NDArray[np.float32]]], extractor: Extractor
    ) -> NDArray[np.float32]:
        """Short codes (n, 2 WIDTH) of what the network gave for the blocks of `spec`."""
        blocks = self.spec(extractor).blocks
        stages = [np.concatenate([values[block] for block in blocks]) for values in outputs]
        if not stages:
            return np.empty((0, 2 * WIDTH), np.float32)
        return _short(np.stack(stages), self.mean, self.scale, _deepest(extractor))

    def spec(self, extractor: Extractor) -> FeatureSpec:
        """The recipe of the stages' codes, refused where the network has other weights here."""
        spec = _spec(extractor, self.resize)
        if spec.weights != self.weights:
            raise BackboneError(
                f"the weights of {DEFAULT} here (sha256 {spec.weights[:12]}…) are not those by "
                f"which the model's images were kept ({self.weights[:12]}…); install the same"
            )
        return spec

    def shift(
        self, codes: NDArray[np.float32], labels: Ints, groups: Strings, given: Ints
    ) -> Shift | None:
        """How well new images can be told from these, labels held equal; None if too few.

        codes : (n, 2 WIDTH) of the new ones. labels : (n,) that the classifier gave them. groups :
        (n,). given : (m,) the labels that it gave these, out of fold.

        Raises
        ------
        FitError
            As `measure_shift`.
        """
        m, n = len(self.codes), len(codes)
        ids = np.array([f"learned {i}" for i in range(m)] + [f"new {i}" for i in range(n)])
        table = ImageTable(
            ids=ids,
            sources=tuple(map(Source, ids.tolist())),
            content_hashes=ids,
            labels=np.concatenate([given, labels]),
            groups=np.concatenate([self.groups, groups]),
            splits=np.repeat(["train", "test"], [m, n]),
            masks=np.full(m + n, ""),
            classes=tuple(map(str, range(self.prob.shape[1]))),
        )
        blocks = {"short": np.concatenate([self.codes, codes])[:, :WIDTH]}
        return measure_shift(table, FeatureTable(ids, blocks))

    def distances(
        self, codes: NDArray[np.float32], own: Sequence[str] = (), *, stages: bool = False
    ) -> Floats:
        """(n,) by what is shown, or by all stages, from the fifth nearest of these images.

        codes : (n, 2 WIDTH). own : (n,) groups among these that are not counted; none by default.
        """
        k = min(NEIGHBOURS, len(self.codes)) - 1
        part = slice(WIDTH) if stages else slice(WIDTH, None)
        mine, codes = self.codes[:, part], codes[:, part]
        square = np.square(mine).sum(axis=1)
        here = theirs = np.empty(0, np.int64)
        if len(own):  # sorting all groups takes longer than an image's distances
            both = np.append(self.groups, np.array(own, str))
            numbers = np.unique(both, return_inverse=True)[1]
            here, theirs = numbers[: len(mine)], numbers[len(mine) :]
        found = []
        for start in range(0, len(codes), 512):
            some = codes[start : start + 512]
            far = square - 2 * some @ mine.T + np.square(some).sum(axis=1)[:, None]
            if len(theirs):
                far[theirs[start : start + 512, None] == here] = np.inf
            found.append(np.partition(far, k, axis=1)[:, k])
        return np.sqrt(np.maximum(np.concatenate(found), 0)) if found else np.empty(0)

    def write(self, folder: Path) -> None:
        """Add the reference to a bundle."""
        arrays: dict[str, NDArray[Any]] = {
            "codes": self.codes.astype(np.float16),
            "prob": np.asarray(self.prob, np.float64),
            "truth": self.truth,
            "groups": self.groups.astype(np.int64),
            "counts": self.counts,
            "mean": np.asarray(self.mean, np.float32),
            "scale": np.asarray(self.scale, np.float32),
        }
        keep(folder, FILE, arrays, {"weights": self.weights, "resize": self.resize})

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The reference in a bundle; None in one that keeps none.

        Raises
        ------
        BundleError
            It is damaged.
        """
        return kept(folder, FILE, cls._from)

    @classmethod
    def _from(cls, arrays: Arrays, words: Words) -> Self:
        check_shapes(
            arrays, codes=("m", 2 * WIDTH), prob=("m", "k"), truth=("m",), groups=("m",),
            counts=("k",), mean=("d",), scale=("d",),
        )  # fmt: skip
        return cls(
            arrays["codes"].astype(np.float32),
            arrays["prob"],
            arrays["truth"],
            arrays["groups"].astype(str),
            arrays["counts"],
            arrays["mean"],
            arrays["scale"],
            words["weights"],
            cast(ResizeRule, words["resize"]),
        )


def _spec(extractor: Extractor, resize: ResizeRule) -> FeatureSpec:
    taps = [tap.name for tap in extractor.backbone(DEFAULT).named(STAGES)]
    return extractor.spec(DEFAULT, taps, resize=resize)


def _deepest(extractor: Extractor) -> int:
    """How many channels the last stage has."""
    return extractor.backbone(DEFAULT).named(STAGES)[-1].channels


@functools.lru_cache(maxsize=2)
def _axes(width: int) -> NDArray[np.float32]:
    """(width, WIDTH) directions that codes are projected on, drawn once in a process."""
    # Of numpy's generators this alone promises the same numbers in every version.
    drawn = np.random.RandomState(0).standard_normal((width, WIDTH))
    return np.asarray(drawn / np.sqrt(WIDTH), np.float32)


def _short(
    stages: NDArray[np.float32], mean: Floats, scale: Floats, deepest: int
) -> NDArray[np.float32]:
    """(n, 2 WIDTH) float32 of codes (n, d), the last stage's at their end, rounded as kept."""
    axes = _axes(stages.shape[1])
    unit = ((stages - mean) / scale).astype(np.float32)
    short = np.concatenate([unit @ axes, unit[:, -deepest:] @ axes[-deepest:]], axis=1)
    return np.asarray(short.astype(np.float16), np.float32)
