"""The files of a saved classifier: safetensors, and a `bundle.json` that names them all.

What every kind writes and reads stands here; the parts that only one kind has stand with its class
(`network.py`, `frozen.py`, `ensemble.py`). Which class reads a folder says `fit.py: LOADERS`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medgraft.data.preprocess import edit_from_key
from medgraft.errors import BackboneError, BundleError, ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.backbones import Backbone, restore_backbone, save_backbone
from medgraft.features.engine import versions
from medgraft.features.extract import Extractor
from medgraft.features.feature_plan import FeaturePlan
from medgraft.features.weights import PACKAGED, sha256_of
from medgraft.files import StorageError, explained, written_file
from medgraft.learn.bundle_checks import check_card, check_plan, check_said, check_spec
from medgraft.types import (
    DECODER,
    PLAIN,
    Card,
    FeatureSpec,
    FittedScenario,
    Grading,
    Operating,
    PixelRule,
    Scenario,
)

FORMAT = 2  # of a bundle
BACKBONE = "backbone.safetensors"


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
    except (OSError, ValueError, RecursionError) as error:
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


def described(fitted: FittedScenario, calibrator: Calibrator) -> dict[str, Any]:
    """What every bundle says of its classifier; `identity` reads it back."""
    return {
        "family": fitted.scenario.family,
        "scenario": {"key": fitted.scenario.full_key, "seed": fitted.scenario.seed},
        "key": fitted.scenario.key,
        "classes": fitted.classes,
        "positive": fitted.positive,
        "operating": fitted.operating and dataclasses.asdict(fitted.operating),
        "calibrator": dataclasses.asdict(calibrator),
        **({"grading": dataclasses.asdict(fitted.grading)} if fitted.grading else {}),
    }


def identity(content: dict[str, Any]) -> dict[str, Any]:
    """The fields that `described` wrote, as the classifiers want them."""
    check_said(content)
    operating, calibrator = content["operating"], content["calibrator"]
    grading = content.get("grading")
    return {
        "scenario": _scenario(content),
        "classes": tuple(content["classes"]),
        "positive": content["positive"],
        "operating": operating and Operating(**operating),
        "calibrator": Calibrator(calibrator["slope"], tuple(calibrator["biases"])),
        "grading": grading
        and Grading(
            tuple(grading["values"]),
            {grade: Operating(**cut) for grade, cut in grading["cuts"].items()},
        ),
    }


def rule_from(content: dict[str, Any] | None) -> PixelRule:
    """The rule by which stored values are shown; bundles of before 0.2 have none."""
    if content is None:
        return PLAIN
    window, page = content["window"], content["page"]
    if page is not None and (type(page) is not int or page < 1):
        raise ValueError(f"page {page!r} is none; pages are counted from 1")
    low, high = float(content["low"]), float(content["high"])
    if not low <= high < math.inf:
        raise ValueError(f"values from {low} to {high} are no range")
    return PixelRule(
        low,
        high,
        page,
        None if window is None else (float(window[0]), float(window[1])),
    )


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as safetensors, atomically, readable by whom the umask lets read."""
    from safetensors.numpy import save_file

    with written_file(path) as temporary:
        save_file(arrays, temporary)


def made(folder: str | os.PathLike[str]) -> Path:
    """The folder of a bundle that is to be written, which is now there.

    Raises
    ------
    StorageError
        It cannot be made.
    """
    path = Path(folder)
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def save_weights(folder: Path, backbone: Backbone, extractor: Extractor) -> None:
    """Write the backbone's weights, from the cache where it can keep them."""
    try:
        shutil.copyfile(extractor.weights_file(backbone.name), folder / BACKBONE)
    except StorageError:  # the cache cannot keep them, and need not
        save_backbone(backbone, folder / BACKBONE)


def restored(folder: Path, content: dict[str, Any], extractor: Extractor) -> Backbone:
    """The backbone of a bundle, which the extractor uses under its name from now on.

    What the cache keeps of it is kept under the sha256 of the bundle's file, not under what the
    bundle says of itself, so that no bundle can pass its codes off as another network's.
    """
    card = _card(content["card"])
    path = part_of(folder, BACKBONE)
    verified = _verified(card, content["sha256"][path.name], extractor)
    kept = _kept(card, extractor) if verified == card.sha256 else None
    backbone = restore_backbone(card, path, extractor.cache.notes, verified, kept)
    extractor.adopt(backbone)
    return backbone


def plan_json(feature_plan: FeaturePlan, card: Card) -> dict[str, Any]:
    """What is read of an image, as `plan_from` reads it."""
    return {
        "canvas": _spec_json(feature_plan.canvas, card),
        "views": [[_spec_json(spec, card) for spec in view] for view in feature_plan.views],
        "join": feature_plan.join,
    }


def plan_from(content: dict[str, Any], backbone: Backbone, extractor: Extractor) -> FeaturePlan:
    """What `plan_json` wrote, with the weights and the engine that are used here."""
    card = backbone.card

    def spec(fields: dict[str, Any]) -> FeatureSpec:
        return dataclasses.replace(
            _spec(fields, card),
            weights=backbone.key,
            engine=extractor.engine,
            mean=card.mean,
            std=card.std,
            versions=versions(extractor.engine),
            decoder=DECODER,  # as images are decoded here, whatever decoded those learned from
        )

    views = tuple(tuple(spec(part) for part in view) for view in content["views"])
    check_plan(views, content["join"])
    return FeaturePlan(spec(content["canvas"]), views, content["join"])


def _card(content: dict[str, Any]) -> Card:
    """The card of the bundle's backbone; its words become names of files, so they must be names."""
    card = Card(**{key: _tuple(value) for key, value in content.items()})
    for word in (card.name, card.sha256, card.tuned or "none", card.alias or "none"):
        if not re.fullmatch(r"\w[\w.-]*", word):
            raise ValueError(f"{word!r} cannot name a backbone or its weights")
    check_card(card)
    return card


def _verified(card: Card, sha256: str, extractor: Extractor) -> str:
    """The name of weights whose file has that sha256: the card's own, where this cache wrote it.

    Weights that came by pip it can write now, so that a bundle's are known on any machine.
    """
    kept = _kept(card, extractor)
    packaged = PACKAGED.get(card.id)
    if not kept.is_file() and packaged is not None and packaged.sha256 == card.sha256:
        with suppress(BackboneError, StorageError):
            extractor.weights_file(card.id)
    known = kept.is_file() and sha256_of(kept) == sha256
    return card.sha256 if known else f"bundle-{sha256}"


def _kept(card: Card, extractor: Extractor) -> Path:
    """Where the cache keeps weights of a card, if it does."""
    return extractor.cache.folder / "weights" / f"{card.id}-{card.sha256}.safetensors"


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
    check_spec(spec)
    if spec.backbone != card.id:
        raise ValueError(f"codes of {spec.backbone}, and the weights are of {card.id}")
    return spec


def _tuple(value: Any) -> Any:
    """JSON has lists where the dataclasses have tuples."""
    return tuple(value) if isinstance(value, list) else value
