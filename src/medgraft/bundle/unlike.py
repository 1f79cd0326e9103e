"""Whether images are unlike anything that a saved classifier learned from."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgraft.bundle.model import bundle_folder
from medgraft.data.preprocess import recipe_of
from medgraft.errors import BackboneError, BundleError
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import run_feature_plans
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.network import BATCH, NetworkWithHead
from medgraft.profile.reference import Reference
from medgraft.profile.unlike import RATE, Unlikeness, check_rate
from medgraft.results.figures import UnlikeFigures
from medgraft.types import Canvas, FeatureSpec, FittedScenario, Floats, ImageTable, Source


@dataclass(frozen=True, eq=False)
class UnlikeJudge:
    """Judges files and tables by what a bundle keeps of the images it learned from.

    fitted : whose rule shows stored values. extractor : with the default network as it comes, which
    need not be the one in the bundle.
    """

    unlikeness: Unlikeness
    fitted: FittedScenario
    extractor: Extractor

    @classmethod
    def of(
        cls, model: Path | str, fitted: FittedScenario, extractor: Extractor, rate: float | None
    ) -> UnlikeJudge | None:
        """By the bundle of a run, or its folder; None where it keeps nothing to judge by.

        rate : of false alarms, by patient; None for the usual one.

        Raises
        ------
        DataError
            `rate` does not lie between 0 and 1.
        BundleError
            `rate` was given, and the bundle keeps nothing to judge by; or that is damaged.
        """
        if rate is not None:
            check_rate(rate)
        folder = bundle_folder(Path(model))
        reference = Reference.read(folder)
        if reference is None:
            if rate is None:
                return None
            raise BundleError(
                f"{folder} keeps nothing to hold new images to (it is of an earlier version, or "
                "was saved from Python); run its study again, whose codes are in the cache, or "
                "leave --unlike-rate out"
            )
        plain = Extractor(
            extractor.cache, engine=extractor.engine, workers=extractor.workers,
            progress=extractor.progress,
        )  # fmt: skip
        return cls(Unlikeness.of(reference, RATE if rate is None else rate), fitted, plain)

    def probabilities(self, canvases: Iterable[Canvas]) -> tuple[Floats, NDArray[np.bool_] | None]:
        """Of canvases made for the classifier: (n, n_classes), and whether each is unlike, (n,).

        Both from one decoded canvas, and from one forward pass where both read one network at one
        size. None where the classifier's canvases are others than these codes are of.
        """
        beside = self._beside
        if beside is None:
            return self.fitted.probabilities(canvases), None
        fitted, spec = beside
        specs = (*fitted.inputs, spec)
        outputs = run_feature_plans(canvases, fitted.spec, specs, fitted.extractor)
        scores: list[Floats] = [np.empty((0, len(fitted.classes)))]
        unlike: list[NDArray[np.bool_]] = [np.empty(0, np.bool_)]
        while batch := list(islice(outputs, BATCH)):
            scores.append(fitted.scores_from(batch))
            read = [one[spec] for one in batch]
            codes = self.unlikeness.reference.shortened(read, self.extractor)
            unlike.append(self.unlikeness.judge(codes))
        return fitted.calibrator(np.concatenate(scores)), np.concatenate(unlike)

    @functools.cached_property
    def _beside(self) -> tuple[NetworkWithHead | FittedEnsemble, FeatureSpec] | None:
        """The classifier, and what is read of its own canvases to judge them; None if it cannot be.

        The classifier may hold other weights under the default network's name.
        """
        if not isinstance(self.fitted, NetworkWithHead | FittedEnsemble):
            return None
        try:
            spec = self.unlikeness.reference.spec(self.fitted.extractor)
        except BackboneError:
            return None
        own = self.fitted.spec
        if recipe_of(spec) != recipe_of(own):
            return None
        if (spec.weights, spec.engine) == (own.weights, own.engine):
            # Its own recipe, which may say that an earlier version decoded the images.
            spec = replace(own, taps=spec.taps, poolings=spec.poolings)
        return self.fitted, spec

    def files(self, sources: Mapping[str, Source]) -> dict[str, bool]:
        """By name whether each image is unlike; those that can be read."""
        ids: list[str] = []

        def readable() -> Iterator[Canvas]:
            reference, rule = self.unlikeness.reference, self.fitted.rule
            recipe = reference.canvas_recipe(self.extractor)
            for row in self.extractor.decode(list(sources), list(sources.values()), recipe, rule):
                if isinstance(row, Canvas):
                    ids.append(row.id)
                    yield row

        unlike = self.canvases(readable()).tolist()
        return dict(zip(ids, unlike, strict=True))

    def canvases(self, canvases: Iterable[Canvas]) -> NDArray[np.bool_]:
        """Whether each of a stream of canvases is unlike, (n,); made as the reference's are."""
        codes = self.unlikeness.reference.encode_canvases(canvases, self.extractor)
        return self.unlikeness.judge(codes)

    def prepare(self, table: ImageTable) -> None:
        """Read what the classifier needs of a table and what judges it, of one decoded image each.

        Both then come from the cache; where it cannot be, nothing is done.
        """
        beside = self._beside
        if beside is not None:
            fitted, spec = beside
            fitted.extractor.prepare(table.shown_by(fitted.rule), *fitted.inputs, spec)

    def table(self, table: ImageTable) -> NDArray[np.bool_]:
        """Whether each image of a table is unlike, (n,); all can be read."""
        codes, _ = self.unlikeness.reference.encode(table, self.extractor)
        return self.unlikeness.judge(codes)

    def figures(self, table: ImageTable) -> UnlikeFigures:
        """How many of a table's images and patients are unlike; all can be read."""
        unlike = self.table(table.shown_by(self.fitted.rule))
        return self.unlikeness.figures(unlike, table.groups)
