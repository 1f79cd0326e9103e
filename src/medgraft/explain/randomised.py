"""Do maps depend on what was learned: the same maps of a network whose weights mean nothing.

A map that stays as it was when the weights above some layer are lost shows the image, or the form
of the network, and not the model (Adebayo et al., "Sanity checks for saliency maps", 2018).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import DataError, ScenarioError
from medgraft.evaluate.intervals import DEFAULT, Sampling
from medgraft.explain.cam import signed_maps
from medgraft.explain.chance_baseline import mean_estimate
from medgraft.features.backbones import Backbone
from medgraft.types import Canvas, Estimate, FittedNetwork, Floats, Strings

HEAD, ALL = "head", "input"  # the first and the last step


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How alike maps are once everything from the head down to behind `down_to` was randomised.

    correlation : mean rank correlation with the model's own maps, -1 to 1: 1 where the weights do
    not matter. left_out : images one of whose maps is the same everywhere.
    """

    down_to: str
    correlation: Estimate
    left_out: int


def randomisation(
    fitted: FittedNetwork,
    canvases: Sequence[Canvas],
    groups: Strings,
    method: str = "gradcam",
    sampling: Sampling = DEFAULT,
    only: Sequence[str] | None = None,
) -> tuple[Estimate, tuple[Sensitivity, ...]]:
    """Cascading randomisation: the head first, then block after block from the deepest up.

    A layer is randomised by shuffling its weights, so that their distribution, and with it the
    scale of what follows, stays. Maps are those of the head's tap on its own grid, of the class
    that the model gives, with what speaks against it, for a map that is 0 has no ranks.

    Parameters
    ----------
    canvases
        Made for `fitted.spec`, n of them.
    groups
        (n,), whole in the intervals' resamples.
    method
        Of `methods.METHODS`.
    only
        The steps whose maps are made, of `cascade`'s names; all by default.

    Returns
    -------
    tuple
        The chance level, which is the correlation of each image's map with the next image's (maps
        share a centre and a form), and a line for each step of the cascade.

    Raises
    ------
    DataError
        There are fewer than two images, or no two maps can be compared.
    ScenarioError
        The classifier has no CAM.
    """
    if len(canvases) < 2 or len(groups) != len(canvases):
        raise DataError(
            f"{len(canvases)} canvases and {len(groups)} groups: the chance level needs the maps "
            "of two images or more, and a group each"
        )
    tap = fitted.spec.taps[-1]
    maps, names = signed_maps(fitted, canvases, method, tap, None)
    chance = rank_correlations(maps, np.roll(maps, 1, axis=0))
    steps = []
    for name, other in cascade(fitted, sampling.seed):
        if only is not None and name not in only:
            continue
        changed, _ = signed_maps(other, canvases, method, tap, names)
        values = rank_correlations(maps, changed)
        steps.append(
            Sensitivity(name, _mean(values, groups, sampling), int(np.isnan(values).sum()))
        )
    return _mean(chance, groups, sampling), tuple(steps)


def cascade(fitted: FittedNetwork, seed: int = 0) -> Iterator[tuple[str, FittedNetwork]]:
    """The classifier with more and more of it randomised, and what was randomised last.

    The head, then the layers behind each block's tap, deepest first, at last all of the network.
    The classifier given stays as it is.

    Raises
    ------
    ScenarioError
        Its head is not linear.
    """
    rng = np.random.default_rng(seed)
    if fitted.linear is None:
        raise ScenarioError(f"{fitted.scenario.key} has no linear head to randomise")
    fitted = fitted.with_weights(coef=rng.permuted(np.asarray(fitted.linear[0]), axis=1))
    yield HEAD, fitted
    backbone: Backbone = fitted.backbone
    limit = backbone.tap(fitted.spec.taps[-1]).cost.parameters
    blocks = [tap for tap in backbone.taps if tap.block and tap.cost.parameters < limit]
    network = copy.deepcopy(backbone.network)
    done: set[str] = set()
    for start, name in [
        *((tap.cost.parameters, tap.name) for tap in reversed(blocks)),
        (0, ALL),
    ]:
        _shuffle(network, start, done, rng)
        yield name, fitted.with_weights(network=network)


def rank_correlations(a: NDArray[np.float32], b: NDArray[np.float32]) -> Floats:
    """Spearman's correlation of each pair of maps (n, height, width), (n,); nan if one is flat."""
    from scipy.stats import rankdata

    # SciPy from 1.18 on ranks in the type that it is given, and float32 would round the sums.
    ranks = [rankdata(maps.reshape(len(maps), -1).astype(np.float64), axis=1) for maps in (a, b)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    lengths = [np.sqrt((rank**2).sum(axis=1)) for rank in centred]
    product = (centred[0] * centred[1]).sum(axis=1)
    scale = lengths[0] * lengths[1]
    found: Floats = np.where(scale > 0, product / np.where(scale > 0, scale, 1), np.nan)
    return found


def _mean(values: Floats, groups: Strings, sampling: Sampling) -> Estimate:
    known = np.isfinite(values)
    if not known.any():
        raise DataError(
            "every map, or every randomised one, is the same everywhere, so none can be ranked; "
            "choose another method, such as hirescam, or another class"
        )
    return mean_estimate(values[known], groups[known], sampling, least=-1.0)


def _shuffle(network: object, start: int, done: set[str], rng: np.random.Generator) -> None:
    """Shuffle the tensors behind the first `start` parameters that are not `done` yet.

    Parameters come in the order in which layers run, which is how `Tap.cost` counts them. Running
    means and variances are shuffled with the layer they belong to.
    """
    import torch

    assert isinstance(network, torch.nn.Module)
    count = 0
    for path, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        size = sum(parameter.numel() for parameter in own.values())
        if size and count >= start and path not in done:
            done.add(path)
            tensors = [*own.values(), *module.buffers(recurse=False)]
            with torch.no_grad():
                for tensor in tensors:
                    order = torch.from_numpy(rng.permutation(tensor.numel()))
                    tensor.copy_(tensor.flatten()[order].view_as(tensor))
        count += size
