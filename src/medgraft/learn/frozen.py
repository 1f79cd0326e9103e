"""Frozen networks with a head on top: what the families `probe`, `multiscale` and `vlad` leave.

Fitting across folds stands in `fit.py`; here is what comes of it: a `FittedFrozen` that scores any
stream of canvases, folds into one torch graph for explanations where that is possible, and saves
itself as a bundle of safetensors and JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.preprocess import edit_from_key
from medgraft.errors import BundleError, ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.backbones import restore_backbone, save_backbone
from medgraft.features.codebooks import encoder_from_arrays
from medgraft.features.encoders import BaseEncoder
from medgraft.features.engine import Output, tap_network, versions
from medgraft.features.extract import Extractor, without
from medgraft.features.feature_plan import FeaturePlan, Outputs, run_feature_plans
from medgraft.features.weights import sha256_of
from medgraft.files import StorageError, write_json
from medgraft.learn.heads import Head, head_from_arrays
from medgraft.scenario import Encoded
from medgraft.types import (
    Canvas,
    Card,
    FeatureSpec,
    FittedScenario,
    Floats,
    ImageTable,
    Operating,
    Predictions,
    Scenario,
    Skipped,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMAT = 2  # of a bundle
BATCH = 64  # canvases whose outputs are in memory at a time


@dataclass(frozen=True, eq=False)
class FittedFrozen:
    """What is read of an image → encoder, if any → head → calibrated probabilities.

    reading : the codes, or with an encoder the descriptors, of the parts and views of an image.
    encoder : from descriptors to one code; None where codes are pooled in the network's graph.
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
    encoder: BaseEncoder | None = None

    @property
    def spec(self) -> FeatureSpec:
        """How a canvas for this classifier is made, and which tap it reads."""
        return self.feature_plan.canvas

    @property
    def inputs(self) -> tuple[FeatureSpec, ...]:
        """What the network is asked for."""
        return self.feature_plan.specs if self.encoder is None else self.feature_plan.grids.specs

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        outputs = run_feature_plans(canvases, self.spec, self.inputs, self.extractor)
        return in_batches(outputs, self.scores_from, len(self.classes))

    def scores_from(self, outputs: Sequence[Outputs]) -> Floats:
        """Scores (n, n_classes) from what the network gave for n canvases, at least one."""
        if self.encoder is None:
            return self._scored(self.feature_plan.codes_from(outputs))
        bags = self.feature_plan.bags_from(outputs)
        return self._scored(np.concatenate([self.encoder.transform(bag) for bag in bags])[None])

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        return self.calibrator(self.scores(canvases))

    def predict(self, table: ImageTable) -> tuple[Predictions, tuple[Skipped, ...]]:
        if self.encoder is None:
            codes, rows, skipped = self.feature_plan.codes(table, self.extractor)
        else:
            skipped = self.extractor.prepare(table, *self.inputs)
            rows = without(table, skipped)
            codes = encoded([self.encoder], self.feature_plan, rows, self.extractor)[0][None]
        scores = self._scored(codes) if len(rows) else np.empty((0, len(self.classes)))
        return predictions_of(self, rows, scores, self.calibrator), skipped

    def torch_graph(self) -> nn.Module | None:
        """Network and head as one module, from (batch, 3, size, size) in 0..255 to scores.

        None where no gradient leads from the scores to the canvas: heads that are not linear,
        encoders, and codes of several parts or views, which are derived outside the network.
        """
        linear = hasattr(self.head, "coef_") and self.encoder is None
        return probe_graph(self) if linear and self.feature_plan.specs == (self.spec,) else None

    def _scored(self, codes: NDArray[np.float32]) -> Floats:
        """Scores (n, n_classes) of codes (views, n, d), the mean over views."""
        views = [self.head.decision_function(view) for view in codes]
        return views[0] if len(views) == 1 else np.mean(views, axis=0)

    def save(self, folder: Path) -> None:
        """Write `bundle.json`, and as safetensors `head`, `backbone` and, if any, `encoder`."""
        from safetensors.numpy import save_file

        backbone = self.extractor.backbone(self.spec.backbone)
        try:
            weights = self.extractor.weights_file(self.spec.backbone)
            shutil.copyfile(weights, folder / "backbone.safetensors")
        except StorageError:  # the cache cannot keep them, and need not
            save_backbone(backbone, folder / "backbone.safetensors")
        arrays, settings = self.head.to_arrays()
        save_file(arrays, folder / "head.safetensors")
        encoder = None
        code = self.scenario.code
        if self.encoder is not None and isinstance(code, Encoded):
            fitted, chosen = self.encoder.to_arrays()
            save_file(fitted, folder / "encoder.safetensors")
            encoder = {"name": code.encoder, "settings": chosen}
        write_json(
            folder / "bundle.json",
            {
                "format": FORMAT,
                **described(self),
                "reading": {
                    "canvas": _spec_json(self.feature_plan.canvas, backbone.card),
                    "views": [
                        [_spec_json(spec, backbone.card) for spec in view]
                        for view in self.feature_plan.views
                    ],
                    "join": self.feature_plan.join,
                },
                "head": {"name": self.scenario.head, "settings": settings},
                "encoder": encoder,
                "card": dataclasses.asdict(backbone.card),
                "sha256": {file.name: sha256_of(file) for file in folder.glob("*.safetensors")},
            },
        )

    @classmethod
    def load(cls, folder: Path, extractor: Extractor) -> FittedFrozen:
        """Read what `save` wrote; the extractor from now on uses the bundle's own weights.

        What the cache keeps of them is kept under the sha256 of the bundle's file, not under what
        the bundle says of itself, so that no bundle can pass its codes off as another network's.

        Raises
        ------
        BundleError
            A part is missing, changed, or of a later format.
        """
        content = read_bundle(folder)
        try:
            card = _card(content["card"])
            path = part_of(folder, "backbone.safetensors")
            verified = _verified(card, content["sha256"][path.name], extractor)
            backbone = restore_backbone(card, path, extractor.cache.notes, verified)
            extractor.adopt(backbone)
            from safetensors.numpy import load_file

            def spec(fields: dict[str, Any]) -> FeatureSpec:
                return dataclasses.replace(
                    _spec(fields, card),
                    weights=backbone.key,
                    engine=extractor.engine,
                    mean=card.mean,
                    std=card.std,
                    versions=versions(extractor.engine),
                )

            feature_plan, encoder = content["reading"], content["encoder"]
            return cls(
                **identity(content),
                feature_plan=FeaturePlan(
                    spec(feature_plan["canvas"]),
                    tuple(tuple(spec(part) for part in view) for view in feature_plan["views"]),
                    feature_plan["join"],
                ),
                head=head_from_arrays(
                    content["head"]["name"],
                    load_file(folder / "head.safetensors"),
                    content["head"]["settings"],
                ),
                extractor=extractor,
                encoder=encoder
                and encoder_from_arrays(
                    encoder["name"],
                    load_file(folder / "encoder.safetensors"),
                    encoder["settings"],
                ),
            )
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            raise BundleError.garbled(folder / "bundle.json", error) from error


def in_batches(
    outputs: Iterator[Outputs], score: Callable[[Sequence[Outputs]], Floats], n_classes: int
) -> Floats:
    """Scores (n, n_classes) of a stream of outputs, of which a batch is in memory at a time."""
    found = []
    while batch := list(islice(outputs, BATCH)):
        found.append(score(batch))
    return np.concatenate(found) if found else np.empty((0, n_classes))


def encoded(
    encoders: Sequence[BaseEncoder],
    feature_plan: FeaturePlan,
    table: ImageTable,
    extractor: Extractor,
) -> list[NDArray[np.float32]]:
    """Codes (n, d) of a table's images, all readable, by each encoder; one pass serves all."""
    found: list[list[NDArray[np.float32]]] = [[] for _ in encoders]
    for _, bags in feature_plan.descriptors(table, extractor)():
        for encoder, codes in zip(encoders, found, strict=True):
            codes.append(encoder.transform(bags))
    return [np.concatenate(codes) if codes else np.empty((0, 0), np.float32) for codes in found]


def predictions_of(
    fitted: FittedScenario, table: ImageTable, scores: Floats, calibrator: Calibrator
) -> Predictions:
    """Predictions of a table's images from their scores (n, n_classes)."""
    said = Predictions.of(fitted.scenario.key, table, scores, calibrator(scores))
    return dataclasses.replace(said, classes=fitted.classes, positive=fitted.positive)


def read_bundle(folder: Path) -> dict[str, Any]:
    """The JSON of a bundle, after checking that its parts are the ones it was written with.

    Raises
    ------
    BundleError
        There is no bundle, it is of another format, or a file was changed.
    """
    path = folder / "bundle.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"no model in {folder} (bundle.json is missing); give the folder of a finished study, "
            "or its folder `model`"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise BundleError(
            f"{path} has format {found!r}, and this version of medgraft reads {FORMAT}"
        )
    parts = content.get("sha256")
    if not isinstance(parts, dict):
        raise BundleError(f"{path} does not name its parts with their sha256; save it again")
    for name, expected in parts.items():
        file = part_of(folder, Path(name).name)  # a bundle names its own files, never others
        if not file.is_file() or sha256_of(file) != expected:
            raise BundleError(f"{file} is missing or was changed since it was saved; save it again")
    return content


def part_of(folder: Path, name: str) -> Path:
    """A file of a bundle; what the members of an ensemble share lies beside their folders."""
    own, shared = folder / name, folder.parent / name
    return shared if not own.exists() and (folder.parent / "bundle.json").exists() else own


def described(fitted: FittedFrozen | Any) -> dict[str, Any]:
    """What every bundle says of its classifier; `identity` reads it back."""
    return {
        "family": fitted.scenario.family,
        "scenario": {"key": fitted.scenario.full_key, "seed": fitted.scenario.seed},
        "key": fitted.scenario.key,
        "classes": fitted.classes,
        "positive": fitted.positive,
        "operating": fitted.operating and dataclasses.asdict(fitted.operating),
        "calibrator": dataclasses.asdict(fitted.calibrator),
    }


def identity(content: dict[str, Any]) -> dict[str, Any]:
    """The fields that `described` wrote, as the classifiers want them."""
    operating, calibrator = content["operating"], content["calibrator"]
    return {
        "scenario": _scenario(content),
        "classes": tuple(content["classes"]),
        "positive": content["positive"],
        "operating": operating and Operating(**operating),
        "calibrator": Calibrator(calibrator["slope"], tuple(calibrator["biases"])),
    }


def _card(content: dict[str, Any]) -> Card:
    """The card of the bundle's backbone; its words become names of files, so they must be names."""
    card = Card(**{key: _tuple(value) for key, value in content.items()})
    for word in (card.name, card.sha256, card.tuned or "none"):
        if not re.fullmatch(r"\w[\w.-]*", word):
            raise ValueError(f"{word!r} cannot name a backbone or its weights")
    return card


def _verified(card: Card, sha256: str, extractor: Extractor) -> str:
    """The name of weights whose file has that sha256: the card's own, where this cache wrote it."""
    kept = extractor.cache.folder / "weights" / f"{card.id}-{card.sha256}.safetensors"
    known = kept.is_file() and sha256_of(kept) == sha256
    return card.sha256 if known else f"bundle-{sha256}"


def _scenario(content: dict[str, Any]) -> Scenario:
    """The bundle's scenario; before 0.2 it stood there field by field, and in `key` as well."""
    named = content["scenario"]
    try:
        return Scenario.from_key(named.get("key", content["key"]), int(named["seed"]))
    except ScenarioError as error:
        raise ValueError(
            f"{error}. Where an earlier version of medgraft saved it, run its study again: what it "
            "computed is in the cache"
        ) from error


def _spec_json(spec: FeatureSpec, card: Card) -> dict[str, Any]:
    return {
        **dataclasses.asdict(spec),
        "weights": card.sha256,
        "edits": [edit.key for edit in spec.edits],
    }


def _spec(content: dict[str, Any], card: Card) -> FeatureSpec:
    fields = {key: _tuple(value) for key, value in content.items()}
    fields["edits"] = tuple(edit_from_key(key) for key in content["edits"])
    spec = FeatureSpec(**fields)
    if spec.backbone != card.id:
        raise ValueError(f"codes of {spec.backbone}, and the weights are of {card.id}")
    return spec


def _tuple(value: Any) -> Any:
    """JSON has lists where the dataclasses have tuples."""
    return tuple(value) if isinstance(value, list) else value


def probe_graph(fitted: FittedFrozen) -> nn.Module:
    """The network up to the deepest tap, pooling, and the head folded in as a linear layer.

    Its scores are the study's own, up to the engines' tolerance: `head.coef_ (n_classes,
    channels)` and `intercept_` act on raw codes, with the standardisation folded in.
    """
    import torch
    from torch import nn

    backbone = fitted.extractor.backbone(fitted.spec.backbone)
    outputs = [Output(tap, pool) for tap in fitted.spec.taps for pool in fitted.spec.poolings]
    coef: NDArray[np.floating[Any]] = fitted.head.coef_
    intercept = fitted.head.intercept_

    class ProbeGraph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes = tap_network(backbone, outputs)
            self.linear = nn.Linear(coef.shape[1], coef.shape[0])
            with torch.no_grad():
                self.linear.weight.copy_(torch.from_numpy(np.asarray(coef)))
                self.linear.bias.copy_(torch.from_numpy(np.asarray(intercept)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.linear(torch.cat(self.codes(images), dim=1))  # type: ignore[no-any-return]

    return ProbeGraph().eval().requires_grad_(False)
