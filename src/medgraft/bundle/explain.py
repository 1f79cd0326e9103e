"""Pictures of what a saved classifier makes of an image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np

from medgraft.bundle.model import label_of, load_model
from medgraft.data.dicom.identity import public_names
from medgraft.data.listing import shown
from medgraft.data.unlabelled import images_named, readable, unreadable
from medgraft.errors import ScenarioError, UnreadableDataError
from medgraft.explain.attribute import attribute
from medgraft.explain.cam import block_taps, cam_maps
from medgraft.explain.methods import METHODS
from medgraft.explain.occlusion import occlusion
from medgraft.types import Attribution, Canvas, FittedScenario, Floats, Skipped

OCCLUSION, AUTO = "occlusion", "auto"  # ways to explain besides the CAM methods


def explain_files(
    path: Path,
    images: Sequence[Path],
    out: Path,
    *,
    method: str = "",
    taps: Sequence[str] = (),
    target: str | None = None,
    cache: Path | None = None,
) -> tuple[list[Path], list[Skipped]]:
    """Write one strip an image: the image with the model's words, and its maps.

    method : `auto`, one map by the most exact way that the scenario has; one of the CAM methods, a
    map for each tap; or `occlusion`, one map. By default `gradcam` where taps are named, else
    `auto`.

    Returns
    -------
    tuple
        The files written, in the order of the images, and the images that cannot be read.

    Raises
    ------
    DataError
        None of the images can be read.
    ScenarioError
        There is no such method, or the classifier or a tap has no such map.
    """
    from medgraft.report.charts.heatmap_strip import write_strip

    method = method or ("gradcam" if taps else AUTO)
    if method not in (*METHODS, OCCLUSION, AUTO):
        raise ScenarioError(
            f"no method {method!r}; there are: {', '.join((*METHODS, OCCLUSION, AUTO))}"
        )
    fitted = load_model(path, cache=cache)
    canvases, skipped = _readable(fitted, images)
    probabilities = fitted.probabilities(canvases)
    labels = [label_of(fitted, p) for p in probabilities]
    maps = explained(fitted, canvases, method, taps, [target or label for label in labels])
    written = []
    strips = _strip_names([Path(name) for name in public_names([canvas.id for canvas in canvases])])
    for name, canvas, p, found in zip(strips, canvases, probabilities, maps, strict=True):
        file = out / f"{name}-{'cam' if method in METHODS else method}.png"
        where = f"where {found[0].target} comes from"
        panels = [(one.tap if method in METHODS else where, one.map) for one in found]
        words = _said(fitted, p, found[0].target, Path(canvas.id), canvas.remark)
        write_strip(file, canvas.pixels, panels, words, found[0].method)
        written.append(file)
    return written, skipped


def explained(
    fitted: FittedScenario,
    canvases: Sequence[Canvas],
    method: str,
    taps: Sequence[str],
    targets: Sequence[str],
) -> list[list[Attribution]]:
    """The maps of each canvas: one for each tap, or the one that occlusion and `auto` have."""
    if method not in METHODS:
        if taps:
            raise ScenarioError(
                f"--method {method} looks at no single layer, and --taps names {', '.join(taps)}; "
                f"leave one of them away"
            )
        explain = occlusion if method == OCCLUSION else attribute
        return [[one] for one in explain(fitted, canvases, targets)]
    names = list(taps) or list(block_taps(fitted).values())
    found = cam_maps(fitted, canvases, [method], names, targets)
    return [[one[method][name] for name in names] for one in found]


def _said(fitted: FittedScenario, p: Floats, target: str, image: Path, remark: str) -> str:
    """What the model says of an image, in lines, and whether its folder's name says so too.

    remark : what is to be said of how it was read, or ''.

    A label that is not the most probable class is the threshold's, which is then named.
    """
    label, truth = label_of(fitted, p), image.absolute().parent.name
    verdict = "right" if truth == label else f"wrong, it is {truth}"
    lines = [f"called {label}" + (f": {verdict}" if truth in fitted.classes else "")]
    shown_of = dict.fromkeys([label, target])
    lines += [f"{name}: probability {p[fitted.classes.index(name)]:.2f}" for name in shown_of]
    if fitted.operating and label != fitted.classes[int(np.argmax(p))]:
        lines.append(f"({fitted.positive} is called from {fitted.operating.threshold:.2f} on)")
    return "\n".join([*lines, *filter(None, [remark])])


def explain_layers(
    path: Path, images: Sequence[Path], out: Path, *, cache: Path | None = None
) -> tuple[list[Path], list[Skipped]]:
    """Write one atlas an image: what each block of the classifier's backbone singles out in it.

    Returns
    -------
    tuple
        The files written, in the order of the images, and the images that cannot be read.

    Raises
    ------
    DataError
        None of the images can be read.
    ScenarioError
        The classifier has no network to look into.
    """
    from medgraft.explain.layers import layer_atlases
    from medgraft.report.sections.atlas import write_atlas

    fitted = load_model(path, cache=cache)
    canvases, skipped = _readable(fitted, images)
    atlases = layer_atlases(fitted, canvases)
    written = []
    for name, atlas, p in zip(
        _strip_names([Path(name) for name in public_names([canvas.id for canvas in canvases])]),
        atlases,
        fitted.probabilities(canvases),
        strict=True,
    ):
        label = label_of(fitted, p)
        file = out / f"{name}-layers.png"
        write_atlas(file, atlas, f"{label}: {p[fitted.classes.index(label)]:.3f}")
        written.append(file)
    return written, skipped


def _readable(fitted: FittedScenario, images: Sequence[Path]) -> tuple[list[Canvas], list[Skipped]]:
    """The images as the classifier sees them, and those that cannot be read.

    Raises
    ------
    DataError
        That is all of them.
    """
    found = images_named([os.fspath(image) for image in images])
    sources = readable(found)
    rows = list(fitted.canvases(list(sources), list(sources.values())))
    skipped = [Skipped(shown(row.source), row.reason) for row in rows if isinstance(row, Skipped)]
    skipped += [Skipped(shown(name), problem) for name, problem in unreadable(found).items()]
    canvases = [row for row in rows if isinstance(row, Canvas)]
    if not canvases:
        raise UnreadableDataError(
            f"none of {len(found)} images can be explained; the first: {skipped[0].source}: "
            f"{skipped[0].reason}"
        )
    return canvases, skipped


def _strip_names(images: Sequence[Path]) -> list[str]:
    """A name for each image's strip: its stem, with its folder where stems repeat, then a number.

    >>> _strip_names([Path("a/1.png"), Path("b/1.png"), Path("b/1.jpg"), Path("b/2.png")])
    ['a-1', 'b-1', 'b-1-2', '2']
    """
    stems = Counter(image.stem for image in images)
    names: dict[str, None] = {}
    for image in images:
        name = image.stem
        if stems[image.stem] > 1:
            name = f"{image.absolute().parent.name}-{image.stem}"
        numbered = (f"{name}-{number}" for number in count(2))
        while name in names:
            name = next(numbered)
        names[name] = None
    return list(names)
