"""The one door to an explanation that is honest for a scenario, and says what was done.

A score that is a sum over places is taken apart into its terms; one that is not is asked again with
a part left out. Which it was stands in `Attribution.method`. CAM maps by any method at any tap, as
a reader may ask for them, stand in `cam.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from medgraft.data.preprocess import derive, enlarge
from medgraft.explain.cam import cam_maps, has_cam, signed_maps, spread, usable_taps
from medgraft.explain.occlusion import occlusion, target_rows
from medgraft.features.taps import DENSE
from medgraft.types import (
    Attribution,
    Canvas,
    Contributions,
    FeatureSpec,
    FittedNetwork,
    FittedScenario,
    Floats,
    Maps,
)

Targets = str | Sequence[str] | None


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
    if fitted.members and not fitted.networks:
        return _of_members(fitted, canvases, target)
    names = _names(fitted, canvases, target)
    found = None
    if len(fitted.networks) == 1:
        found = _of_network(fitted.networks[0], canvases, names)
    elif has_cam(fitted):
        found = _of_networks(fitted, canvases, names)
    return occlusion(fitted, canvases, names) if found is None else found


def is_read_inside(fitted: FittedScenario) -> bool:
    """Whether `attribute` reads maps of parts inside the network, in about one pass an image each.

    So it does of linear probes of one view and of ensembles of these. Else descriptors are left out
    or parts of the image covered, which takes many times as long.
    """
    if fitted.networks:
        return all(_parts(network) for network in fitted.networks)
    used = [m for m, weight in zip(fitted.members, fitted.weights, strict=True) if weight]
    return bool(used) and all(is_read_inside(member) for member in used)


def _of_network(
    network: FittedNetwork, canvases: Sequence[Canvas], names: Sequence[str]
) -> list[Attribution] | None:
    """The maps of its parts, or what its descriptors add; None where it has neither."""
    if parts := _parts(network):
        return _of_parts(network, parts, canvases, names)
    found = network.contributions(canvases, names)
    return None if found is None else _of_descriptors(found, canvases, names)


# --------------------------------------------------------------------------- linear probes


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """A term of the score, which reads one tap at one size, and the tap where its map is read."""

    term: FittedNetwork
    tap: str


def _parts(network: FittedNetwork) -> list[_Part]:
    """The terms of a network's score; none where it is no sum, or a term has no map."""
    found = []
    for term in network.terms:
        (tap,) = term.spec.taps
        places = [place for place in usable_taps(term.backbone, tap) if place.side > 1]
        if not places:
            return []
        found.append(_Part(term, places[-1].name))
    return found


def _of_parts(
    network: FittedNetwork,
    parts: Sequence[_Part],
    canvases: Sequence[Canvas],
    names: Sequence[str],
) -> list[Attribution]:
    shapes = [canvas.pixels.shape[:2] for canvas in canvases]
    total = [np.zeros(shape, np.float32) for shape in shapes]
    for part in parts:
        spec = part.term.spec
        seen = [_seen(canvas, network.spec, spec) for canvas in canvases]
        if spec.taps == (part.tap,) and spec.poolings == ("avg",) and part.term.linear:
            maps = _mean_pooled(part.term, part.term.linear[0], seen, names)
        else:
            maps, _ = signed_maps(part.term, seen, "hirescam", part.tap, names)
        for sum_, map, shape in zip(total, maps, shapes, strict=True):
            sum_ += enlarge(map * map.size, shape)  # grids of all sizes count alike
    taps = ", ".join(dict.fromkeys(part.tap for part in parts))
    several = f", the sum of {len(parts)} parts" if len(parts) > 1 else ""
    method = f"gradient times activation (HiResCAM){several}"
    return [
        Attribution(np.maximum(map, 0), canvas.geometry, name, taps, method)
        for map, canvas, name in zip(total, canvases, names, strict=True)
    ]


def _mean_pooled(
    term: FittedNetwork, coef: Floats, canvases: Sequence[Canvas], names: Sequence[str]
) -> Maps:
    """HiResCAM (n, side, side) where the head reads the mean of the tap.

    The gradient is then the head's weights over the number of places, the same at each, so that the
    engine that the codes came from is enough, and several times as fast.
    """
    (tap,) = term.spec.taps
    found = []
    for (_, given), name in zip(term.activations(canvases, [tap]), names, strict=True):
        grid = given[tap]  # (places, channels)
        side = round(len(grid) ** 0.5)
        found.append((grid @ coef[term.classes.index(name)] / len(grid)).reshape(side, side))
    return _spread(np.asarray(found, np.float32), tap)


def _seen(canvas: Canvas, own: FeatureSpec, spec: FeatureSpec) -> Canvas:
    """The canvas as a part sees it; it was made for `own`, edits and all."""
    if (own.size, own.edits) == (spec.size, spec.edits):
        return canvas
    return derive(canvas, spec.size, spec.edits)


def _names(fitted: FittedScenario, canvases: Sequence[Canvas], target: Targets) -> list[str]:
    """The class explained of each canvas; scores are asked for where none is named."""
    scores = np.empty((len(canvases), 0)) if target is not None else fitted.scores(canvases)
    return [fitted.classes[row] for row in target_rows(fitted, scores, target)]


# --------------------------------------------------------------------------- encoders


def _of_descriptors(
    given: Contributions, canvases: Sequence[Canvas], names: Sequence[str]
) -> list[Attribution]:
    """Each position's descriptor left out, or where the code is a sum, taken alone."""
    method = "contributions of descriptors"
    if not given.exact:
        method = "one descriptor left out at a time"
    found = []
    for canvas, own, name in zip(canvases, given.maps, names, strict=True):
        shape = canvas.pixels.shape[:2]
        map = np.zeros(shape, np.float32)
        for grid in own:
            placed = _spread(grid, given.tap)
            map += enlarge(placed * placed.size, shape)
        found.append(Attribution(np.maximum(map, 0), canvas.geometry, name, given.tap, method))
    return found


def _spread(maps: Maps, tap: str) -> Maps:
    """`cam.spread`, of arrays; torch, which engines do without, is loaded where it is used."""
    if tap not in DENSE:
        return maps
    import torch

    return spread(torch.from_numpy(maps), tap).numpy()


# --------------------------------------------------------------------------- ensembles


def _of_networks(
    fitted: FittedScenario, canvases: Sequence[Canvas], names: Sequence[str]
) -> list[Attribution]:
    (tap,) = fitted.spec.taps
    found = cam_maps(fitted, canvases, ["hirescam"], [tap], names)
    n = len(fitted.networks)
    method = f"gradient times activation (HiResCAM), the mean of {n} networks"
    return [dataclasses.replace(one["hirescam"][tap], method=method) for one in found]


def _of_members(
    fitted: FittedScenario, canvases: Sequence[Canvas], target: Targets
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
