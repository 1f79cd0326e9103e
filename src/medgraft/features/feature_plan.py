"""What a scenario reads of an image: several codes of one decoded picture, joined.

A scenario may look at an image at several input sizes, raw and with its contrast equalised, or in
several augmented views. Every such part is a `FeatureSpec` derived from one base canvas, so that
an image is decoded once; a `FeaturePlan` says how the parts come together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medgraft.data.augment import views
from medgraft.data.preprocess import edit_from_key
from medgraft.errors import ScenarioError, UnreadableDataError
from medgraft.features.backbones import Backbone
from medgraft.features.cache import Rows
from medgraft.features.codebooks import ENCODERS
from medgraft.features.encoders import BaseEncoder, check_pooling, half
from medgraft.features.extract import GRID, Extractor, without
from medgraft.features.scratch import scratch
from medgraft.features.subnetwork import last_map
from medgraft.scenario import ENCODER_FORM, Encoded, Head, Pooled, Scenario, Views
from medgraft.types import (
    Canvas,
    DescriptorBatch,
    DescriptorStream,
    Edit,
    FeatureSpec,
    ImageTable,
    Join,
    Skipped,
)

JOINED_ROWS = 4096  # rows of several parts that are averaged at once

Codes = NDArray[np.float32]
Outputs = Mapping[FeatureSpec, Mapping[str, NDArray[np.float32]]]
"""Of one canvas: what each recipe's blocks gave, (channels,) or (positions, channels)."""


@dataclass(frozen=True)
class FeaturePlan:
    """The codes of an image, as one array (views, d).

    canvas : how the base canvas is made; the parts are derived from it.
    views : for each augmented view its parts (one view, the image itself, where nothing is
        augmented). Parts are put side by side, or averaged (`join`).
    """

    canvas: FeatureSpec
    views: tuple[tuple[FeatureSpec, ...], ...]
    join: Join = "concat"

    @classmethod
    def one(cls, spec: FeatureSpec) -> FeaturePlan:
        """The reading of one recipe, whose canvases the network sees as they are."""
        return cls(spec, ((spec,),))

    @property
    def specs(self) -> tuple[FeatureSpec, ...]:
        """All parts of all views."""
        return tuple(spec for view in self.views for spec in view)

    def seen(self, view: Edit) -> FeaturePlan:
        """The same reading of images to which `view` was done first."""
        views = tuple(
            tuple(dataclasses.replace(spec, edits=(view, *spec.edits)) for spec in parts)
            for parts in self.views
        )
        canvas = dataclasses.replace(self.canvas, edits=())
        return dataclasses.replace(self, canvas=canvas, views=views)

    @property
    def grids(self) -> FeaturePlan:
        """The same reading of the descriptors that the codes are pooled from."""
        views = tuple(
            tuple(dataclasses.replace(spec, poolings=(GRID,)) for spec in view)
            for view in self.views
        )
        return dataclasses.replace(self, views=views)

    def numbers(self, extractor: Extractor) -> int:
        """How many numbers an image's descriptors are: channels × positions of all parts."""
        count = 0
        for spec in self.views[0]:
            taps = extractor.backbone(spec.backbone).taps_at(spec.size)
            count += sum(t.side**2 * t.channels for t in taps if t.name == spec.taps[0])
        return count

    def codes(
        self, table: ImageTable, extractor: Extractor
    ) -> tuple[Codes, ImageTable, tuple[Skipped, ...]]:
        """Codes (views, n, d) of the n images that can be read, those images, and the others."""
        skipped = extractor.prepare(table, *self.specs)
        rows = without(table, skipped)
        if not len(rows):
            return np.empty((len(self.views), 0, 0), np.float32), rows, skipped
        hashes = rows.content_hashes
        stores = {spec: extractor.cache.features(spec) for spec in self.specs}
        kept = [
            [[stores[spec].rows(hashes, block) for block in spec.blocks] for spec in view]
            for view in self.views
        ]
        widths = [sum(block.width for block in blocks) for blocks in kept[0]]
        averaged = self.join == "mean" and len(widths) > 1
        codes: Codes = scratch((len(kept), len(rows), widths[0] if averaged else sum(widths)))
        for out, view in zip(codes, kept, strict=True):
            if averaged:
                parts = [side_by_side(blocks) for blocks in view]
                for start in range(0, len(rows), JOINED_ROWS):
                    some = slice(start, start + JOINED_ROWS)
                    out[some] = self._joined([part[some] for part in parts])
            else:
                side_by_side([block for blocks in view for block in blocks], out)
        return codes, rows, skipped

    def codes_from(self, outputs: Sequence[Outputs]) -> Codes:
        """Codes (views, n, d) from what the network gave for each of n canvases."""
        found = []
        for view in self.views:
            parts = [
                np.stack([np.concatenate([one[spec][b] for b in spec.blocks]) for one in outputs])
                for spec in view
            ]
            found.append(self._joined(parts))
        return np.stack(found)

    def descriptors(self, table: ImageTable, extractor: Extractor) -> DescriptorStream:
        """Descriptors of the one tap, those of all parts of an image in one bag."""
        extractor.prepare(table, *self.grids.specs)
        streams = [extractor.descriptors(table, spec) for spec in self.specs]
        if len(streams) == 1:
            return streams[0]

        def start() -> Iterator[DescriptorBatch]:
            for batches in zip(*(stream() for stream in streams), strict=True):
                if any(not np.array_equal(ids, batches[0][0]) for ids, _ in batches):
                    raise UnreadableDataError(
                        f"images after {batches[0][0][0]} could be read at one input size and not "
                        "at another; see whether their disk is there, and start once more"
                    )
                yield batches[0][0], np.concatenate([values for _, values in batches], axis=1)

        return start

    def bags_from(self, outputs: Sequence[Outputs]) -> Iterator[NDArray[np.float16]]:
        """Descriptors (1, positions, channels) of each canvas from what the network gave."""
        for one in outputs:
            bags = [next(iter(one[spec].values())) for spec in self.grids.specs]
            yield half(np.concatenate(bags))[None]

    def _joined(self, parts: Sequence[Codes]) -> Codes:
        if len(parts) == 1:
            return parts[0]
        if self.join == "mean":
            mean: Codes = np.mean(parts, axis=0, dtype=np.float32)
            return mean
        return np.concatenate(parts, axis=1)


def side_by_side(blocks: Sequence[Rows], out: Codes | None = None) -> Codes:
    """Blocks of the cache side by side, (n, sum of their widths), in `out` where it is given."""
    ends = np.cumsum([block.width for block in blocks]).tolist()
    codes: Codes = scratch((len(blocks[0]), ends[-1])) if out is None else out
    for block, end in zip(blocks, ends, strict=True):
        block.into(codes[:, end - block.width : end])
    return codes


def feature_plan_of(scenario: Scenario, extractor: Extractor) -> FeaturePlan:
    """What a scenario of one backbone reads.

    Raises
    ------
    ScenarioError, BackboneError
        It names a tap, size, edit or preset that does not exist, or two that do not go together.
    """
    backbone = extractor.backbone(scenario.backbone)
    if scenario.trained:
        scenario = _served(scenario, backbone)
    taps = [tap.name for tap in backbone.named(scenario.tap)]
    pixels, code = scenario.pixels, scenario.code
    pooling = code.pooling if isinstance(code, Pooled) else "avg"
    check_pooling(pooling)
    sizes = pixels.sizes or (backbone.card.size,)
    base = max(sizes)

    def spec(size: int, edits: Sequence[Edit]) -> FeatureSpec:
        made = extractor.spec(
            scenario.backbone,
            taps,
            [pooling],
            size=size,
            resize=pixels.resize,
            edits=edits,
        )
        return dataclasses.replace(made, base=0 if size == base else base)

    chains = _chains(pixels.edits)
    augmented = _views(pixels.views, scenario.seed)
    found = tuple(
        tuple(spec(size, [*view, *chain]) for size in sizes for chain in chains)
        for view in augmented
    )
    if len(set(found[0])) < len(found[0]):
        raise ScenarioError(f"{scenario.key} reads one part twice; name sizes and edits once each")
    alone = len(found) == 1 and len(found[0]) == 1
    if pixels.join not in get_args(Join):
        raise ScenarioError(f"no join {pixels.join!r}; choose {', '.join(get_args(Join))}")
    if isinstance(code, Encoded) and len(taps) > 1:
        raise ScenarioError(
            f"{scenario.key} encodes the descriptors of {len(taps)} taps; an encoder takes those "
            f"of one, such as {taps[-1]}"
        )
    if isinstance(code, Encoded) and code.encoder == "pyramid" and not alone:
        raise ScenarioError(
            f"{scenario.key} puts several maps in one pyramid, which needs the one of the image; "
            "give one size, one preprocessing and no views, or another encoder"
        )
    return FeaturePlan(found[0][0] if alone else spec(base, []), found, pixels.join)


def _served(scenario: Scenario, backbone: Backbone) -> Scenario:
    """What a trained network reads in use: the mean of its last map, of the image as it is."""
    if scenario.pixels.several:
        raise ScenarioError(
            f"{scenario.key}: a network is trained on one picture of each image; give one size and "
            "one preprocessing"
        )
    tap = last_map(backbone).name
    frozen = dataclasses.replace(scenario, tap=tap, classifier=Head(scenario.head))
    return frozen.with_pixels(views=None)


def encoder_of(scenario: Scenario) -> tuple[str, BaseEncoder] | None:
    """Name and unfitted encoder of a scenario that encodes descriptors; None for the others.

    Raises
    ------
    ScenarioError
        A parameter that this encoder has not.
    """
    code = scenario.code
    if not isinstance(code, Encoded):
        return None
    kind = ENCODERS[code.encoder]
    settings: dict[str, Any] = {}
    if "seed" in signature(kind).parameters:
        settings["seed"] = scenario.seed
    for name, value in (("pca", code.pca), ("whiten", code.white)):
        settings |= {name: value or None} if value is not None else {}
    settings |= {"assignment": "hard"} if code.hard else {}
    try:
        # The number of a key is what an encoder asks for first; of a pyramid there are several.
        encoder = kind(code.size if code.encoder == "pyramid" else code.size[0], **settings)
    except TypeError as error:
        raise ScenarioError(
            f"{'.'.join(code.words)} names no encoder; give one such as {ENCODER_FORM}"
        ) from error
    encoder.check_parameters()
    return code.encoder, encoder


def _chains(edits: Sequence[Sequence[str]]) -> list[list[Edit]]:
    """The edits of each part: the step (`raw`, `clahe2-8`) gives a raw part and an edited one."""
    chains: list[list[Edit]] = [[]]
    for ways in edits:
        chains = [
            [*chain, *([] if way == "raw" else [edit_from_key(way)])]
            for chain in chains
            for way in ways
        ]
    return chains


def _views(asked: Views | None, seed: int) -> list[list[Edit]]:
    """The edits of each view: the image itself, then seeded views of it."""
    if asked is None:
        return [[]]
    if asked.number < 2:
        raise ScenarioError(
            f"{asked.word!r} does not name views; give a preset and a number from 2 on, as in xray4"
        )
    # View 0 is the image itself, and so has the codes that are in the cache already.
    changed: list[list[Edit]] = [[e] for e in views(asked.preset, asked.number, seed)[1:]]
    return [[], *changed]


def run_feature_plans(
    canvases: Iterable[Canvas], canvas: FeatureSpec, specs: Sequence[FeatureSpec], by: Extractor
) -> Iterator[Outputs]:
    """The outputs of several recipes for a stream of canvases made for `canvas`.

    Recipes that differ in taps and poolings only come out of one forward pass.
    """
    merged: dict[FeatureSpec, list[FeatureSpec]] = {}
    for spec in dict.fromkeys(specs):
        merged.setdefault(dataclasses.replace(spec, taps=(), poolings=()), []).append(spec)
    wanted = [
        (recipe, tuple(dict.fromkeys(block for spec in group for block in spec.blocks)))
        for recipe, group in merged.items()
    ]
    for _, results in by.run_each(canvases, canvas, wanted):
        yield {
            spec: {block: values[block] for block in spec.blocks}
            for values, group in zip(results, merged.values(), strict=True)
            for spec in group
        }
