"""One network with a head on the codes that it gives: what every classifier is made of.

It scores any stream of canvases, lets itself be looked into (`types.FittedNetwork`), and saves
itself as a bundle. What is particular of the kinds stands in `frozen.py` and `trained.py`; several
together are in `ensemble.py`.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from medgraft.data.listing import content_hash
from medgraft.data.preprocess import area_weights, recipe_of
from medgraft.data.unlabelled import table_of
from medgraft.errors import BundleError, ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.backbones import Backbone
from medgraft.features.engine import Output, tap_network
from medgraft.features.extract import GRID, Extractor
from medgraft.features.feature_plan import Codes, FeaturePlan, Outputs, run_feature_plans
from medgraft.features.weights import sha256_of
from medgraft.files import write_json
from medgraft.learn.bundle_checks import check_fit
from medgraft.learn.bundle_files import (
    FORMAT,
    described,
    identity,
    made,
    plan_from,
    plan_json,
    read_bundle,
    restored,
    rule_from,
    save_arrays,
    save_weights,
)
from medgraft.learn.estimators import Head, OrdinalHead, head_from_arrays
from medgraft.learn.ordinal import log_probabilities
from medgraft.types import (
    Activations,
    Canvas,
    CanvasStream,
    Contributions,
    FeatureSpec,
    FittedScenario,
    Floats,
    Grading,
    ImageTable,
    Operating,
    Paths,
    PixelRule,
    Predictions,
    Scenario,
    Skipped,
    Source,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 64  # canvases whose outputs are in memory at a time


@dataclass(frozen=True, eq=False)
class NetworkWithHead:
    """Pooled codes of a network → head → calibrated probabilities.

    feature_plan : what is read of an image, in parts and views.
    rule : how stored values were shown when it learned, and are shown to it.
    head : gives scores (n, n_classes) of codes (n, d); those of several views are averaged.
    """

    scenario: Scenario
    classes: tuple[str, ...]
    positive: str | None
    operating: Operating | None
    feature_plan: FeaturePlan
    head: Head
    calibrator: Calibrator
    extractor: Extractor
    rule: PixelRule
    grading: Grading | None = field(default=None, kw_only=True)

    @property
    def spec(self) -> FeatureSpec:
        """How a canvas for this classifier is made, and which tap it reads."""
        return self.feature_plan.canvas

    @property
    def inputs(self) -> tuple[FeatureSpec, ...]:
        """What the network is asked for."""
        return self.feature_plan.specs

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        return {"head": {"kind": type(self.head).__name__, **self.head.get_params()}}

    def canvases(
        self, ids: Iterable[str], sources: Iterable[Source | bytes], *, edited: bool = True
    ) -> CanvasStream:
        recipe = recipe_of(self.spec, edited=edited)
        return self.extractor.decode(ids, sources, recipe, self.rule)

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        outputs = run_feature_plans(canvases, self.spec, self.inputs, self.extractor)
        return in_batches(outputs, self.scores_from, len(self.classes))

    def scores_from(self, outputs: Sequence[Outputs]) -> Floats:
        """Scores (n, n_classes) from what the network gave for n canvases, at least one."""
        return self._scored(self.feature_plan.codes_from(outputs))

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        return self.calibrator(self.scores(canvases))

    def predict(self, images: ImageTable | Paths) -> tuple[Predictions, tuple[Skipped, ...]]:
        table, unread = table_of(images)
        codes, rows, skipped = self._codes_of(table.shown_by(self.rule))
        scores = self._scored(codes) if len(rows) else np.empty((0, len(self.classes)))
        return predictions_of(self, rows, scores, self.calibrator), (*unread, *skipped)

    def _codes_of(self, table: ImageTable) -> tuple[Codes, ImageTable, tuple[Skipped, ...]]:
        """Codes (views, n, d) of the n images that can be read, those images, and the others."""
        return self.feature_plan.codes(table, self.extractor)

    def _scored(self, codes: Codes) -> Floats:
        """Scores (n, n_classes) of codes (views, n, d), the mean over views."""
        views = [self.head.decision_function(view) for view in codes]
        return views[0] if len(views) == 1 else np.mean(views, axis=0)

    # ----------------------------------------------------------------------- looked into

    @property
    def networks(self) -> tuple[Self]:
        return (self,)

    @property
    def members(self) -> tuple[()]:
        return ()

    @property
    def weights(self) -> tuple[()]:
        return ()

    @property
    def backbone(self) -> Backbone:
        """The network that is read, with its taps."""
        return self.extractor.backbone(self.spec.backbone)

    @property
    def linear(self) -> tuple[Floats, Floats] | None:
        if isinstance(self.head, OrdinalHead):
            coef = self.head.directions[:, None] * self.head.latent_coef_
            return coef, np.zeros(len(coef))
        known = hasattr(self.head, "coef_")
        return (self.head.coef_, self.head.intercept_) if known else None

    @property
    def learned(self) -> dict[str, str]:
        arrays, _ = self.head.to_arrays()
        return {name: content_hash(array.tobytes()) for name, array in arrays.items()}

    def torch_graph(self) -> nn.Module | None:
        """Network and head as one module, from (batch, 3, size, size) in 0..255 to scores."""
        return probe_graph(self) if self.differentiable else None

    @property
    def differentiable(self) -> bool:
        """Not of heads that are not linear, encoders, and codes of several parts or views.

        These are derived outside the network. One part that is the canvas made smaller is made so
        inside.
        """
        seen, *others = self.feature_plan.specs
        whole = seen == self.spec or (seen.base == self.spec.size and not seen.edits)
        return self.linear is not None and whole and not others

    @property
    def terms(self) -> tuple[Self, ...]:
        if self.linear is None or len(self.feature_plan.views) > 1:
            return ()
        (specs,) = self.feature_plan.views
        mean = self.feature_plan.join == "mean"
        coef = self.linear[0] * (1 / len(specs) if mean else 1.0)
        found, start = [], 0
        for spec in specs:
            start = 0 if mean else start
            for tap, pooling in itertools.product(spec.taps, spec.poolings):
                end = start + self.backbone.tap(tap).channels
                own = dataclasses.replace(spec, taps=(tap,), poolings=(pooling,))
                head = _with_coef(self.head, coef[:, start:end])
                if not isinstance(head, OrdinalHead):
                    head.intercept_ = np.zeros(len(coef))
                found.append(
                    dataclasses.replace(self, feature_plan=FeaturePlan.one(own), head=head)
                )
                start = end
        return tuple(found)

    def codes(self, canvases: Iterable[Canvas]) -> NDArray[np.float32]:
        specs = self.feature_plan.specs
        outputs = list(run_feature_plans(canvases, self.spec, specs, self.extractor))
        codes: NDArray[np.float32] = self.feature_plan.codes_from(outputs).mean(axis=0)
        return codes

    def activations(
        self, canvases: Iterable[Canvas], taps: Sequence[str]
    ) -> Iterator[tuple[Canvas, Activations]]:
        names = {f"{tap}@{GRID}": tap for tap in taps}
        for canvas, values in self.extractor.run(canvases, self.spec, list(names)):
            yield canvas, {names[block]: grid for block, grid in values.items()}

    def contributions(
        self, canvases: Sequence[Canvas], targets: Sequence[str]
    ) -> Contributions | None:
        """None: what pools its codes has `terms`, or only occlusion."""
        return None

    def with_weights(self, *, coef: Floats | None = None, network: Any = None) -> Self:
        found = self
        if coef is not None:
            found = dataclasses.replace(found, head=_with_coef(self.head, coef))
        if network is not None:
            found = dataclasses.replace(found, extractor=_holding(self, network))
        return found

    # ----------------------------------------------------------------------- kept

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `bundle.json`, and as safetensors `head`, `backbone` and, if any, `encoder`."""
        folder = made(folder)
        save_weights(folder, self.backbone, self.extractor)
        arrays, settings = self.head.to_arrays()
        save_arrays(folder / "head.safetensors", arrays)
        encoder = self._save_encoder(folder)
        write_json(
            folder / "bundle.json",
            {
                "format": FORMAT,
                **described(self, self.calibrator),
                "reading": plan_json(self.feature_plan, self.backbone.card),
                "head": {"name": self.scenario.head, "settings": settings},
                "encoder": encoder,
                "rule": dataclasses.asdict(self.rule),
                "card": dataclasses.asdict(self.backbone.card),
                "sha256": {file.name: sha256_of(file) for file in folder.glob("*.safetensors")},
            },
        )

    def _save_encoder(self, folder: Path) -> dict[str, Any] | None:
        """Write what stands between network and head; None where nothing does."""
        return None

    @classmethod
    def load(cls, folder: Path, extractor: Extractor) -> Self:
        """Read what `save` wrote; the extractor from now on uses the bundle's own weights.

        Raises
        ------
        BundleError
            A part is missing, changed, or of a later format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        content = read_bundle(folder)
        try:
            backbone = restored(folder, content, extractor)
            fitted = cls(
                **identity(content),
                feature_plan=plan_from(content["reading"], backbone, extractor),
                head=head_from_arrays(
                    content["head"]["name"],
                    load_file(folder / "head.safetensors"),
                    content["head"]["settings"],
                ),
                extractor=extractor,
                rule=rule_from(content.get("rule")),
                **cls._load_encoder(folder, content["encoder"]),
            )
            fitted._check_parts()
            return fitted
        except (
            AttributeError,
            IndexError,
            KeyError,
            OSError,
            SafetensorError,
            ScenarioError,
            TypeError,
            ValueError,
        ) as error:
            raise BundleError.garbled(folder / "bundle.json", error) from error

    def _check_parts(self) -> None:
        """Whether what was read fits together; ValueError where not."""
        (specs, *_), n_classes = self.feature_plan.views, len(self.classes)
        widths = [
            len(spec.poolings) * sum(self.backbone.tap(tap).channels for tap in spec.taps)
            for spec in specs
        ]
        width = widths[0] if self.feature_plan.join == "mean" else sum(widths)
        check_fit(self.head, None, width, n_classes)

    @classmethod
    def _load_encoder(cls, folder: Path, encoder: dict[str, Any] | None) -> dict[str, Any]:
        """The fields that `_save_encoder` wrote."""
        return {}


def in_batches(
    outputs: Iterator[Outputs], score: Callable[[Sequence[Outputs]], Floats], n_classes: int
) -> Floats:
    """Scores (n, n_classes) of a stream of outputs, of which a batch is in memory at a time."""
    found = []
    while batch := list(islice(outputs, BATCH)):
        found.append(score(batch))
    return np.concatenate(found) if found else np.empty((0, n_classes))


def predictions_of(
    fitted: FittedScenario, table: ImageTable, scores: Floats, calibrator: Calibrator
) -> Predictions:
    """Predictions of a table's images from their scores (n, n_classes)."""
    said = Predictions.of(fitted.scenario.key, table, scores, calibrator(scores))
    return dataclasses.replace(said, classes=fitted.classes, positive=fitted.positive)


def _with_coef(head: Head, coef: Floats) -> Head:
    """A copy of a linear or ordinal head with other weights (n_classes, d), as of `linear`."""
    found = copy.copy(head)
    if isinstance(found, OrdinalHead):
        found.latent_coef_ = coef[-1:]  # of the highest grade
    else:
        found.coef_ = coef
    return found


def _holding(fitted: NetworkWithHead, network: nn.Module) -> Extractor:
    """An extractor of its own, by torch, that has this network under the backbone's name."""
    other = fitted.backbone.with_network(network)
    extractor = Extractor(fitted.extractor.cache, engine="torch", workers=fitted.extractor.workers)
    extractor.adopt(other)
    return extractor


def probe_graph(fitted: NetworkWithHead) -> nn.Module:
    """The network up to the deepest tap, pooling, and the head folded in as a linear layer.

    Its scores are the study's own, up to the engines' tolerance: `head.coef_ (n_classes,
    channels)` and `intercept_` act on raw codes, with the standardisation folded in. The gradient
    of an ordinal head's is that of its latent value (`OrdinalHead.directions`).
    """
    import torch
    from torch import nn

    (spec,) = fitted.feature_plan.specs
    backbone = fitted.backbone.at(spec.size)
    outputs = [Output(tap, pool) for tap in spec.taps for pool in spec.poolings]
    areas = torch.from_numpy(area_weights(fitted.spec.size, spec.size)).float()
    assert fitted.linear is not None
    coef, intercept = fitted.linear
    head = fitted.head

    class ProbeGraph(nn.Module):
        areas: torch.Tensor | None

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("areas", areas if spec.base else None, persistent=False)
            self.codes = tap_network(backbone, outputs)
            self.linear = nn.Linear(coef.shape[1], coef.shape[0])
            with torch.no_grad():
                self.linear.weight.copy_(torch.from_numpy(np.asarray(coef)))
                self.linear.bias.copy_(torch.from_numpy(np.asarray(intercept)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.areas is not None:  # whole grey levels, as in use, which gradients pass by
                means = self.areas @ images @ self.areas.T
                images = means + (means.round() - means).detach()
            scores: torch.Tensor = self.linear(torch.cat(self.codes(images), dim=1))
            if isinstance(head, OrdinalHead):
                latent = scores.detach()[:, -1:].double().cpu().numpy()
                found = log_probabilities(latent, head.thresholds_[:, None])[..., 0]
                values = torch.from_numpy(found).to(scores)
                return values + (scores - scores.detach())
            return scores

    return ProbeGraph().eval().requires_grad_(False)
