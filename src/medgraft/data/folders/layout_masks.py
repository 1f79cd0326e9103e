"""Masks that a layout names, such as `images/class/image + masks/class/mask`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from medgraft.data.folders.layout import Layout, Meaning
from medgraft.data.folders.mask_files import MaskFiles
from medgraft.data.scan import Parts


def masks_by_layout(layout: Layout, files: Sequence[Parts]) -> MaskFiles:
    """Masks that a layout names, each with the image of its name, class, group and split."""
    said = {path: meaning for path in files if (meaning := layout.read(path))}
    masks = {path: meaning for path, meaning in said.items() if meaning.is_mask}
    named: dict[str, list[tuple[Parts, Meaning]]] = defaultdict(list)
    for path, meaning in said.items():
        if not meaning.is_mask:
            named[meaning.name].append((path, meaning))
    found: dict[Parts, list[Parts]] = defaultdict(list)
    for mask, meaning in masks.items():
        options = [path for path, other in named[meaning.name] if _agree(meaning, other)]
        if len(options) == 1:
            found[options[0]].append(mask)
    used = {mask for of_image in found.values() for mask in of_image}
    return MaskFiles(
        [path for path in files if path not in masks],
        {image: tuple(sorted(of_image)) for image, of_image in found.items()},
        [mask for mask in masks if mask not in used],
        ("the layout",),
    )


def _agree(mask: Meaning, image: Meaning) -> bool:
    pairs = ((mask.split, image.split), (mask.label, image.label), (mask.group, image.group))
    return all(a == b or not a or not b for a, b in pairs)
