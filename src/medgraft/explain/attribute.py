"""The one door to an explanation that is honest for a scenario, and says what was done.

A score that is a sum over places is taken apart into its terms; one that is not is asked again with
a part left out. Which it was stands in `Attribution.method`. CAM maps by any method at any tap, as
a reader may ask for them, stand in `cam.py`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.data.preprocess import derive, enlarge
from medgraft.explain.cam import cam_maps, has_cam, signed_maps, usable_taps
from medgraft.explain.occlusion import occlusion, target_rows
from medgraft.features.encoders import PoolEncoder, SpatialPyramid
from medgraft.features.feature_plan import FeaturePlan, run_feature_plans
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.frozen import FittedFrozen
from medgraft.types import Attribution, Canvas, FeatureSpec, FittedScenario, Floats

Maps = NDArray[np.float32]
Targets = str | Sequence[str] | None
NUMBERS = 1 << 24  # of descriptors in memory at once when positions are left out: 64 MB of float32


def attribute(
    fitted: FittedScenario, canvases: Sequence[Canvas], target: Targets = None
) -> list[Attribution]:
    """Where the score of a class comes from, by the most exact way the scenario has.

    - Linear head on pooled codes of one view: gradient times activation (HiResCAM) at every tap
      read, one map a part, size or tap, summed on the canvas. Of an average-pooled tap that is
      Grad-CAM, and exact: the mean of the map, before what speaks against the class is left out
      and but for the enlarging, is the score without its intercept. Of a tap without extent (a
      class token, a dense layer) it is read at the deepest tap before it that has places.
    - Encoders (VLAD, Fisher, …), one view: the score minus the score without a position's
      descriptor, each position in turn. Their codes are normalised as a whole, so that such
      differences do not add up to the score. Average pooling in a pyramid, with a linear head, is a
      sum, and is taken apart exactly.
    - The networks of one scenario's folds: the mean of their maps, if each has such a one.
    - Ensembles: the members' maps, each brought to mean 1 (their scores have no common unit),
      weighted by the members' weights.
    - Everything else (kNN, RBF, augmented views): occlusion.

    Maps are (height, width) float32, never negative, and not scaled to 0..1.

    Parameters
    ----------
    canvases
        Made for `fitted.spec`.
    target
        The class explained, one for all or one for each canvas; by default the one of the highest
        score.

    Raises
    ------
    ScenarioError
        The target is no class.
    """
    if not canvases:
        return []
    if isinstance(fitted, FittedEnsemble) and not fitted.alike:
        return _of_members(fitted, canvases, target)
    if isinstance(fitted, FittedEnsemble) and has_cam(fitted):
        return _of_networks(fitted, canvases, target)
    if not isinstance(fitted, FittedFrozen) or len(fitted.feature_plan.views) > 1:
        return occlusion(fitted, canvases, target)
    if fitted.encoder is not None:
        return _of_descriptors(fitted, canvases, target)
    parts = _parts(fitted)
    return (
        _of_parts(fitted, parts, canvases, target) if parts else occlusion(fitted, canvases, target)
    )


def is_read_inside(fitted: FittedScenario) -> bool:
    """Whether `attribute` reads maps of parts inside the network, in about one pass an image each.

    So it does of linear probes of one view and of ensembles of these. Else descriptors are left out
    or parts of the image covered, which takes many times as long.
    """
    if isinstance(fitted, FittedEnsemble):
        used = [m for m, weight in zip(fitted.members, fitted.weights, strict=True) if weight]
        return all(is_read_inside(member) for member in used)
    if not isinstance(fitted, FittedFrozen) or len(fitted.feature_plan.views) > 1:
        return False
    return fitted.encoder is None and bool(_parts(fitted))


# --------------------------------------------------------------------------- linear probes


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """One tap at one size as a probe of its own, and the tap at which its map is read."""

    probe: FittedFrozen
    spec: FeatureSpec
    tap: str


def _parts(fitted: FittedFrozen) -> list[_Part]:
    """A probe for each block of each spec, with its share of the head; none if one has no map."""
    if not hasattr(fitted.head, "coef_"):
        return []
    (specs,) = fitted.feature_plan.views
    coef: NDArray[np.floating[Any]] = fitted.head.coef_
    backbone = fitted.extractor.backbone(fitted.spec.backbone)
    share = 1 / len(specs) if fitted.feature_plan.join == "mean" else 1.0
    found, start = [], 0
    for spec in specs:
        start = 0 if fitted.feature_plan.join == "mean" else start
        for tap in spec.taps:
            places = [place for place in usable_taps(backbone, tap) if place.side > 1]
            for pooling in spec.poolings:
                end = start + backbone.tap(tap).channels
                head = copy.copy(fitted.head)
                head.coef_ = coef[:, start:end] * share
                head.intercept_ = np.zeros(len(coef))
                start = end
                if not places:
                    return []
                own = dataclasses.replace(spec, taps=(tap,), poolings=(pooling,))
                probe = dataclasses.replace(fitted, feature_plan=FeaturePlan.one(own), head=head)
                found.append(_Part(probe, own, places[-1].name))
    return found


def _of_parts(
    fitted: FittedFrozen, parts: Sequence[_Part], canvases: Sequence[Canvas], target: Targets
) -> list[Attribution]:
    names = _names(fitted, canvases, target)
    shapes = [canvas.pixels.shape[:2] for canvas in canvases]
    total = [np.zeros(shape, np.float32) for shape in shapes]
    for part in parts:
        seen = [_seen(canvas, fitted, part.spec) for canvas in canvases]
        if part.spec.taps == (part.tap,) and part.spec.poolings == ("avg",):
            maps = _terms(part, seen, names)
        else:
            maps, _ = signed_maps(part.probe, seen, "hirescam", part.tap, names)
        for sum_, map, shape in zip(total, maps, shapes, strict=True):
            sum_ += enlarge(map * map.size, shape)  # grids of all sizes count alike
    taps = ", ".join(dict.fromkeys(part.tap for part in parts))
    several = f", the sum of {len(parts)} parts" if len(parts) > 1 else ""
    method = f"gradient times activation (HiResCAM){several}"
    return [
        Attribution(np.maximum(map, 0), canvas.geometry, name, taps, method)
        for map, canvas, name in zip(total, canvases, names, strict=True)
    ]


def _terms(part: _Part, canvases: Sequence[Canvas], names: Sequence[str]) -> Maps:
    """HiResCAM (n, side, side) where the head reads the mean of the tap.

    The gradient is then the head's weights over the number of places, the same at each, so that the
    engine that the codes came from is enough, and several times as fast.
    """
    probe, grids = part.probe, part.probe.feature_plan.grids
    coef: NDArray[np.floating[Any]] = probe.head.coef_
    outputs = run_feature_plans(canvases, part.spec, grids.specs, probe.extractor)
    found = []
    for output, name in zip(outputs, names, strict=True):
        (grid,) = output[grids.specs[0]].values()
        side = round(len(grid) ** 0.5)  # of (places, channels)
        found.append((grid @ coef[probe.classes.index(name)] / len(grid)).reshape(side, side))
    return np.asarray(found, np.float32)


def _seen(canvas: Canvas, fitted: FittedFrozen, spec: FeatureSpec) -> Canvas:
    """The canvas as a part sees it; it was made for `fitted.spec`, edits and all."""
    own = fitted.spec
    if (own.size, own.edits) == (spec.size, spec.edits):
        return canvas
    return derive(canvas, spec.size, spec.edits)


def _names(fitted: FittedScenario, canvases: Sequence[Canvas], target: Targets) -> list[str]:
    """The class explained of each canvas; scores are asked for where none is named."""
    scores = np.empty((len(canvases), 0)) if target is not None else fitted.scores(canvases)
    return [fitted.classes[row] for row in target_rows(fitted, scores, target)]


# --------------------------------------------------------------------------- encoders


def _of_descriptors(
    fitted: FittedFrozen, canvases: Sequence[Canvas], target: Targets
) -> list[Attribution]:
    """Each position's descriptor left out, or where the code is a sum, taken alone."""
    (specs,) = fitted.feature_plan.views
    backbone = fitted.extractor.backbone(fitted.spec.backbone)
    sides = []
    for spec in specs:
        sides += [tap.side for tap in backbone.taps_at(spec.size) if tap.name == spec.taps[0]]
    exact = (
        isinstance(fitted.encoder, (PoolEncoder, SpatialPyramid))
        and fitted.encoder.pooling == "avg"
        and hasattr(fitted.head, "coef_")
    )
    if (isinstance(fitted.encoder, SpatialPyramid) and not exact) or min(sides) < 2:
        return occlusion(fitted, canvases, target)  # a grid with a hole is no pyramid
    method = "contributions of descriptors" if exact else "one descriptor left out at a time"
    found = []
    names = _names(fitted, canvases, target)
    outputs = run_feature_plans(canvases, fitted.spec, fitted.inputs, fitted.extractor)
    for canvas, output, name in zip(canvases, outputs, names, strict=True):
        (bag,) = next(fitted.feature_plan.bags_from([output]))  # (positions, channels)
        row = fitted.classes.index(name)
        values = _alone(fitted, bag, row) if exact else _left_out(fitted, bag, row)
        shape = canvas.pixels.shape[:2]
        map, start = np.zeros(shape, np.float32), 0
        for side in sides:
            own = values[start : start + side**2].reshape(side, side)
            map += enlarge(own.astype(np.float32) * own.size, shape)
            start += side**2
        found.append(
            Attribution(np.maximum(map, 0), canvas.geometry, name, specs[0].taps[0], method)
        )
    return found


def _left_out(fitted: FittedFrozen, bag: NDArray[np.float16], row: int) -> Floats:
    """The score of a class minus the score without each position, (positions,)."""
    whole = _score(fitted, bag[None], row)
    kept = ~np.eye(len(bag), dtype=bool)  # (left out, positions)
    return whole - _in_chunks(fitted, bag, kept, row)


def _in_chunks(
    fitted: FittedFrozen, bag: NDArray[np.float16], kept: NDArray[np.bool_], row: int
) -> Floats:
    step = max(1, NUMBERS // bag.size)
    scores = [
        _score(fitted, np.stack([bag[keep] for keep in kept[start : start + step]]), row)
        for start in range(0, len(kept), step)
    ]
    return np.concatenate(scores)


def _alone(fitted: FittedFrozen, bag: NDArray[np.float16], row: int) -> Floats:
    """The score of each position with all others zero, minus that of nothing: (positions,)."""
    nothing = np.zeros_like(bag)
    empty = _score(fitted, nothing[None], row)
    step = max(1, NUMBERS // bag.size)
    found = []
    for start in range(0, len(bag), step):
        rows = range(start, min(start + step, len(bag)))
        bags = np.zeros((len(rows), *bag.shape), bag.dtype)
        bags[np.arange(len(rows)), rows] = bag[start : start + step]
        found.append(_score(fitted, bags, row))
    return np.concatenate(found) - empty


def _score(fitted: FittedFrozen, bags: NDArray[np.float16], row: int) -> Floats:
    """Scores (n,) of one class from descriptors (n, positions, channels)."""
    assert fitted.encoder is not None  # for the type checker
    scores: Floats = fitted.head.decision_function(fitted.encoder.transform(bags))[:, row]
    return np.asarray(scores, np.float64)


# --------------------------------------------------------------------------- ensembles


def _of_networks(
    fitted: FittedEnsemble, canvases: Sequence[Canvas], target: Targets
) -> list[Attribution]:
    (tap,) = fitted.spec.taps
    found = cam_maps(fitted, canvases, ["hirescam"], [tap], _names(fitted, canvases, target))
    n = len(fitted.members)
    method = f"gradient times activation (HiResCAM), the mean of {n} networks"
    return [dataclasses.replace(one["hirescam"][tap], method=method) for one in found]


def _of_members(
    fitted: FittedEnsemble, canvases: Sequence[Canvas], target: Targets
) -> list[Attribution]:
    names = _names(fitted, canvases, target)
    total = [np.zeros(canvas.pixels.shape[:2], np.float32) for canvas in canvases]
    did: dict[str, None] = {}
    taps: dict[str, None] = {}
    for member, weight in zip(fitted.members, fitted.weights, strict=True):
        if not weight:
            continue
        seen = [derive(canvas, member.spec.size, member.spec.edits) for canvas in canvases]
        for sum_, one in zip(total, attribute(member, seen, names), strict=True):
            mean = float(one.map.mean())
            sum_ += weight * (one.map / mean if mean > 0 else one.map)
            did[one.method] = None
            taps[one.tap] = None
    method = f"members' maps, each of mean 1, by their weights: {'; '.join(did)}"
    return [
        Attribution(map, canvas.geometry, name, ", ".join(taps), method)
        for map, canvas, name in zip(total, canvases, names, strict=True)
    ]
