"""The family `probe`: CNN codes of one tap or of all stages, and a head on top, servable.

Fitting across folds stands in `fit.py`; here is what it leaves: a `FittedProbe` that scores any
stream of canvases, folds into one torch graph for explanations, and saves itself as a bundle of
safetensors and JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.preprocess import edit_from_key
from medgraft.errors import BundleError
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.backbones import Card, restore_backbone, save_backbone
from medgraft.features.engine import Output, tap_network, versions
from medgraft.features.extract import Extractor
from medgraft.features.weights import sha256_of
from medgraft.files import StorageError, write_json
from medgraft.learn.heads import Head, head_from_arrays
from medgraft.types import (
    Canvas,
    FeatureSpec,
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

FORMAT = 1  # of a bundle


@dataclass(frozen=True, eq=False)
class FittedProbe:
    """Codes of one tap, or of all stages side by side → head → calibrated probabilities.

    head : gives scores (n, n_classes) of codes (n, channels). extractor : reads the codes.
    """

    scenario: Scenario
    classes: tuple[str, ...]
    positive: str | None
    operating: Operating | None
    spec: FeatureSpec
    head: Head
    calibrator: Calibrator
    extractor: Extractor

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        codes = [
            np.concatenate([values[block] for block in self.spec.blocks])
            for _, values in self.extractor.run(canvases, self.spec)
        ]
        if not codes:
            return np.empty((0, len(self.classes)))
        return self.head.decision_function(np.stack(codes))

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        return self.calibrator(self.scores(canvases))

    def predict(self, table: ImageTable) -> tuple[Predictions, tuple[Skipped, ...]]:
        codes, skipped = self.extractor.codes(table, self.spec)
        rows = table.select(np.isin(table.ids, codes.ids))
        scores = (
            self.head.decision_function(codes.matrix(*self.spec.blocks))
            if len(rows)
            else np.empty((0, len(self.classes)))
        )
        return predictions_of(self, rows, scores), skipped

    def torch_graph(self) -> nn.Module | None:
        """Network and head as one module, from (batch, 3, size, size) in 0..255 to scores.

        None for kNN, which no gradient passes.
        """
        if not hasattr(self.head, "coef_"):
            return None
        return probe_graph(self)

    def save(self, folder: Path) -> None:
        """Write `bundle.json`, `head.safetensors` and `backbone.safetensors` into `folder`."""
        from safetensors.numpy import save_file

        backbone = self.extractor.backbone(self.spec.backbone)
        try:
            weights = self.extractor.weights_file(self.spec.backbone)
            shutil.copyfile(weights, folder / "backbone.safetensors")
        except StorageError:  # the cache cannot keep them, and need not
            save_backbone(backbone, folder / "backbone.safetensors")
        arrays, settings = self.head.to_arrays()
        save_file(arrays, folder / "head.safetensors")
        write_json(
            folder / "bundle.json",
            {
                "format": FORMAT,
                "family": self.scenario.family,
                "scenario": dataclasses.asdict(self.scenario),
                "key": self.scenario.key,
                "classes": self.classes,
                "positive": self.positive,
                "operating": self.operating and dataclasses.asdict(self.operating),
                "spec": {
                    **dataclasses.asdict(self.spec),
                    "weights": backbone.card.sha256,
                    "edits": [edit.key for edit in self.spec.edits],
                },
                "calibrator": dataclasses.asdict(self.calibrator),
                "head": {"name": self.scenario.head, "settings": settings},
                "card": dataclasses.asdict(backbone.card),
                "sha256": {
                    name: sha256_of(folder / name)
                    for name in ("backbone.safetensors", "head.safetensors")
                },
            },
        )

    @classmethod
    def load(cls, folder: Path, extractor: Extractor) -> FittedProbe:
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
            spec = _spec(content["spec"])
            operating = content["operating"]
            card = _card(content["card"], spec)
            path = folder / "backbone.safetensors"
            verified = _verified(card, content["sha256"][path.name], extractor)
            backbone = restore_backbone(card, path, extractor.cache.notes, verified)
            extractor.adopt(backbone)
            from safetensors.numpy import load_file

            return cls(
                scenario=_scenario(content["scenario"]),
                classes=tuple(content["classes"]),
                positive=content["positive"],
                operating=operating and Operating(**operating),
                spec=dataclasses.replace(
                    spec,
                    weights=backbone.key,
                    engine=extractor.engine,
                    mean=card.mean,
                    std=card.std,
                    versions=versions(extractor.engine),
                ),
                head=head_from_arrays(
                    content["head"]["name"],
                    load_file(folder / "head.safetensors"),
                    content["head"]["settings"],
                ),
                calibrator=Calibrator(
                    content["calibrator"]["slope"], tuple(content["calibrator"]["biases"])
                ),
                extractor=extractor,
            )
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            raise BundleError(
                f"{folder / 'bundle.json'} lacks or garbles a part ({error}); "
                "it was not written by this version of medgraft"
            ) from error


def predictions_of(fitted: FittedProbe, table: ImageTable, scores: Floats) -> Predictions:
    """Predictions of a table's images from their scores (n, n_classes)."""
    return Predictions(
        scenario=fitted.scenario.key,
        classes=fitted.classes,
        positive=fitted.positive,
        ids=table.ids,
        groups=table.groups,
        splits=table.splits,
        fold=np.full(len(table), -1, np.int64),
        y_true=table.labels,
        scores=scores,
        y_prob=fitted.calibrator(scores),
    )


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
        file = folder / Path(name).name  # a bundle names its own files, never others
        if not file.is_file() or sha256_of(file) != expected:
            raise BundleError(f"{file} is missing or was changed since it was saved; save it again")
    return content


def _card(content: dict[str, Any], spec: FeatureSpec) -> Card:
    """The card of the bundle's backbone; its words become names of files, so they must be names."""
    card = Card(**{key: _tuple(value) for key, value in content.items()})
    for word in (card.name, card.sha256):
        if not re.fullmatch(r"\w[\w.-]*", word):
            raise ValueError(f"{word!r} cannot name a backbone or its weights")
    if spec.backbone != card.name:
        raise ValueError(f"codes of {spec.backbone}, and the weights are of {card.name}")
    return card


def _verified(card: Card, sha256: str, extractor: Extractor) -> str:
    """The name of weights whose file has that sha256: the card's own, where this cache wrote it."""
    kept = extractor.cache.folder / "weights" / f"{card.name}-{card.sha256}.safetensors"
    known = kept.is_file() and sha256_of(kept) == sha256
    return card.sha256 if known else f"bundle-{sha256}"


def _scenario(content: dict[str, Any]) -> Scenario:
    fields = {key: _tuple(value) for key, value in content.items()}
    fields["params"] = tuple((str(name), str(value)) for name, value in content["params"])
    return Scenario(**fields)


def _spec(content: dict[str, Any]) -> FeatureSpec:
    fields = {key: _tuple(value) for key, value in content.items()}
    fields["edits"] = tuple(edit_from_key(key) for key in content["edits"])
    return FeatureSpec(**fields)


def _tuple(value: Any) -> Any:
    """JSON has lists where the dataclasses have tuples."""
    return tuple(value) if isinstance(value, list) else value


def probe_graph(fitted: FittedProbe) -> nn.Module:
    """The network up to the deepest tap, pooling, and the head folded in as a linear layer.

    Its scores are the study's own, up to the engines' tolerance: `head.coef_ (n_classes,
    channels)` and `intercept_` act on raw codes, with the standardisation folded in.
    """
    import torch
    from torch import nn

    backbone = fitted.extractor.backbone(fitted.spec.backbone)
    outputs = [Output(tap, pool) for tap in fitted.spec.taps for pool in fitted.spec.poolings]
    coef: NDArray[np.floating[Any]] = fitted.head.coef_

    class ProbeGraph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes = tap_network(backbone, outputs)
            self.linear = nn.Linear(coef.shape[1], coef.shape[0])
            with torch.no_grad():
                self.linear.weight.copy_(torch.from_numpy(np.asarray(coef)))
                self.linear.bias.copy_(torch.from_numpy(np.asarray(fitted.head.intercept_)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.linear(torch.cat(self.codes(images), dim=1))  # type: ignore[no-any-return]

    return ProbeGraph().eval().requires_grad_(False)
