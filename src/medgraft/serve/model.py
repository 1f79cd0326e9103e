"""The classifier that answers, with all that stands beside its label, read once.

Its answers are those of `medgraft predict`: the same steps on the same canvases. Where the images
learned from are held to by the network and canvas that the classifier itself reads, one pass gives
both, which rounds a probability differently by 1e-6 at most.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medgraft.bundle.explain import explained
from medgraft.bundle.model import bundle_folder, load_model
from medgraft.bundle.predict import Prediction, classified
from medgraft.bundle.prediction_sets import PredictionSets
from medgraft.bundle.unlike import UnlikeJudge
from medgraft.bundle.wished_operating import at_wish
from medgraft.data.preprocess import CanvasRecipe, recipe_of
from medgraft.errors import ScenarioError
from medgraft.evaluate.conformal import ALPHA
from medgraft.explain.cam import block_taps
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.weights import sha256_of
from medgraft.serve.about import About
from medgraft.types import Attribution, Canvas, FittedScenario, Floats


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """As of `medgraft predict`: operating point, sets, what is unlike, and what computes."""

    sensitivity: float | None = None
    specificity: float | None = None
    alpha: float | None = None
    unlike_rate: float | None = None
    engine: str = "openvino"
    workers: int | None = None
    cache: Path | None = None


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded classifier.

    sha256 : of the bundle, as `bundle_sha256` says. sets, unlike : None where the bundle keeps
    nothing to say them by. engine, workers : what computes, and with how many threads. alpha : the
    share of each class that sets may miss.
    """

    fitted: FittedScenario
    sets: PredictionSets | None
    unlike: UnlikeJudge | None
    sha256: str
    engine: str
    workers: int
    about: About = field(default_factory=About)
    alpha: float | None = None

    @classmethod
    def load(cls, model: Path, options: ModelOptions) -> Self:
        """Read a run or a bundle.

        Raises
        ------
        BundleError, DataError
            There is none, it was changed since it was saved, or it cannot do what was asked for.
        """
        folder = bundle_folder(model)
        cache = Cache(options.cache)
        plain = Extractor(cache, engine=options.engine, workers=options.workers)
        loaded = load_model(
            model, engine=options.engine, workers=options.workers, cache=cache.folder
        )
        fitted = at_wish(model, loaded, options.sensitivity, options.specificity)
        alpha = ALPHA if options.alpha is None else options.alpha
        sets = PredictionSets.of(folder, options.alpha)
        return cls(
            fitted,
            sets,
            UnlikeJudge.of(model, fitted, plain, options.unlike_rate),
            bundle_sha256(folder),
            plain.engine,
            plain.workers,
            About.of(folder, fitted),
            alpha if sets else None,
        )

    @functools.cached_property
    def recipes(self) -> tuple[CanvasRecipe, ...]:
        """The canvases of each image: the classifier's, and where it differs that of `unlike`."""
        own = recipe_of(self.fitted.spec)
        if self.unlike is None:
            return (own,)
        other = self.unlike.unlikeness.reference.canvas_recipe(self.unlike.extractor)
        return tuple(dict.fromkeys((own, other)))

    def predictions(self, images: Sequence[Sequence[Canvas]]) -> list[Prediction]:
        """What is said of images whose canvases were made by `recipes`, in order."""
        prob, unlike = self._answers(images)
        rows = [Prediction("", classified(self.fitted, p)) for p in prob]
        for k, image in enumerate(images):
            strange = None if unlike is None else bool(unlike[k])
            rows[k] = dataclasses.replace(
                rows[k], source=image[0].id, remark=image[0].remark, unlike=strange
            )
        return rows if self.sets is None else self.sets.beside(self.fitted, rows)

    def _answers(
        self, images: Sequence[Sequence[Canvas]]
    ) -> tuple[Floats, NDArray[np.bool_] | None]:
        """Probabilities (n, n_classes), and whether each is unlike (n,)."""
        own, others = [image[0] for image in images], [image[-1] for image in images]
        if self.unlike is None:
            return self.fitted.probabilities(own), None
        prob, strange = self.unlike.probabilities(own)
        if strange is None:
            strange = self.unlike.canvases(others)
        return prob, strange

    def explain(self, canvas: Canvas, method: str, taps: Sequence[str], target: str) -> Explained:
        """The maps of one image, and what is said of it; target : '' for the predicted class.

        Raises
        ------
        ScenarioError
            The classifier, or a tap, has no such map; or it does not know the class.
        BackboneError
            There is no such tap.
        """
        (p,) = self.fitted.probabilities([canvas])
        said = classified(self.fitted, p)
        target = target or said.label
        (maps,) = explained(self.fitted, [canvas], method, taps, [target])
        return Explained(
            Prediction("", said, remark=canvas.remark), target, maps, self._block_of_tap
        )

    @functools.cached_property
    def _block_of_tap(self) -> Mapping[str, int]:
        """The block that a tap stands for; nothing where the classifier is no network."""
        try:
            return {tap: block for block, tap in block_taps(self.fitted).items()}
        except ScenarioError:
            return {}

    def described(self) -> dict[str, Any]:
        """What each answer says of the model."""
        operating = self.fitted.operating
        return {
            "sha256": self.sha256,
            "scenario": self.fitted.scenario.key,
            "classes": list(self.fitted.classes),
            "positive": self.fitted.positive,
            "threshold": operating and operating.threshold,
            "threshold_rule": operating and operating.rule,
        }


@dataclass(frozen=True, eq=False, slots=True)
class Explained:
    """Maps of one image for one class; blocks : which block a tap stands for."""

    prediction: Prediction
    target: str
    maps: Sequence[Attribution]
    blocks: Mapping[str, int]


def bundle_sha256(folder: Path) -> str:
    """The sha256 of all files of a bundle: of the lines that `sha256sum` prints of them.

    It is what ``cd model && find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`` says.
    """
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    lines = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in files)
    return hashlib.sha256(lines.encode()).hexdigest()
