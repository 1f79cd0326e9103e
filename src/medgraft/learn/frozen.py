"""Frozen networks with a head on top: what the families `probe`, `multiscale` and `vlad` leave.

Fitting across folds stands in `fit.py`; here is what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgraft.errors import UnreadableDataError
from medgraft.features.codebooks import encoder_from_arrays
from medgraft.features.encoders import BaseEncoder, SpatialPyramid
from medgraft.features.extract import Extractor, without
from medgraft.features.feature_plan import (
    Codes,
    FeaturePlan,
    Outputs,
    run_feature_plans,
)
from medgraft.features.scratch import scratch
from medgraft.learn.bundle_checks import check_fit
from medgraft.learn.bundle_files import save_arrays
from medgraft.learn.network import NetworkWithHead
from medgraft.learn.places import DescriptorScores
from medgraft.scenario import Encoded
from medgraft.types import (
    Canvas,
    Contributions,
    FeatureSpec,
    Floats,
    ImageTable,
    Maps,
    Skipped,
    Strings,
)


@dataclass(frozen=True, eq=False)
class FittedFrozen(NetworkWithHead):
    """What is read of an image → encoder, if any → head → calibrated probabilities.

    encoder : from descriptors to one code; None where codes are pooled in the network's graph.
    """

    encoder: BaseEncoder | None = None

    @property
    def inputs(self) -> tuple[FeatureSpec, ...]:
        return self.feature_plan.specs if self.encoder is None else self.feature_plan.grids.specs

    def scores_from(self, outputs: Sequence[Outputs]) -> Floats:
        if self.encoder is None:
            return super().scores_from(outputs)
        bags = self.feature_plan.bags_from(outputs)
        return self._scored(np.concatenate([self.encoder.transform(bag) for bag in bags])[None])

    def _codes_of(self, table: ImageTable) -> tuple[Codes, ImageTable, tuple[Skipped, ...]]:
        if self.encoder is None:
            return super()._codes_of(table)
        skipped = self.extractor.prepare(table, *self.inputs)
        rows = without(table, skipped)
        (codes,) = encoded([self.encoder], self.feature_plan, rows, self.extractor)
        return codes[None], rows, skipped

    @property
    def linear(self) -> tuple[Floats, Floats] | None:
        return super().linear if self.encoder is None else None

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        if self.encoder is None:
            return super().settings
        own = {"kind": type(self.encoder).__name__, **self.encoder.get_params()}
        return {**super().settings, "encoder": own}

    def contributions(
        self, canvases: Sequence[Canvas], targets: Sequence[str]
    ) -> Contributions | None:
        """Of an encoder's code by its descriptors (`places.py`); None without an encoder.

        Nor of a pyramid that is no sum (a grid with a hole is no pyramid), of a tap without places
        or of augmented views.
        """
        if self.encoder is None or len(self.feature_plan.views) > 1:
            return None
        (specs,) = self.feature_plan.views
        tap = specs[0].taps[0]
        sides = [
            one.side
            for spec in specs
            for one in self.backbone.taps_at(spec.size)
            if one.name == spec.taps[0]
        ]
        reads = DescriptorScores(self.encoder, self.head)
        if (isinstance(self.encoder, SpatialPyramid) and not reads.is_sum) or min(sides) < 2:
            return None

        def maps() -> Iterator[tuple[Maps, ...]]:
            outputs = run_feature_plans(canvases, self.spec, self.inputs, self.extractor)
            for output, target in zip(outputs, targets, strict=True):
                (bag,) = next(self.feature_plan.bags_from([output]))  # (positions, channels)
                values = reads.by_place(bag, self.classes.index(target)).astype(np.float32)
                ends = np.cumsum([side**2 for side in sides])[:-1]
                parts = zip(np.split(values, ends), sides, strict=True)
                yield tuple(part.reshape(side, side) for part, side in parts)

        return Contributions(tap, reads.is_sum, maps())

    def _check_parts(self) -> None:
        if self.encoder is None:
            super()._check_parts()
            return
        (spec, *_), *_ = self.feature_plan.views
        channels = self.backbone.tap(spec.taps[0]).channels
        check_fit(self.head, self.encoder, channels, len(self.classes))

    def _save_encoder(self, folder: Path) -> dict[str, Any] | None:
        if self.encoder is None:
            return None
        arrays, settings = self.encoder.to_arrays()
        save_arrays(folder / "encoder.safetensors", arrays)
        assert isinstance(self.scenario.code, Encoded)
        return {"name": self.scenario.code.encoder, "settings": settings}

    @classmethod
    def _load_encoder(cls, folder: Path, encoder: dict[str, Any] | None) -> dict[str, Any]:
        from safetensors.numpy import load_file

        if not encoder:
            return {}
        arrays = load_file(folder / "encoder.safetensors")
        return {"encoder": encoder_from_arrays(encoder["name"], arrays, encoder["settings"])}


def _refuse_others(ids: Strings, wanted: Strings) -> None:
    """Refuse rows that would be taken for other images: one between them was not read."""
    if np.array_equal(ids, wanted):
        return
    lacking = wanted[~np.isin(wanted, ids)]
    gone = lacking[0] if len(lacking) else wanted[0]
    raise UnreadableDataError(
        f"{gone} could be read before and cannot be read now; see whether its disk is there and "
        "what reads it is installed, and start once more"
    )


def encoded(
    encoders: Sequence[BaseEncoder],
    feature_plan: FeaturePlan,
    table: ImageTable,
    extractor: Extractor,
) -> list[NDArray[np.float32]]:
    """Codes (n, d) of a table's images, all readable, by each encoder; one pass serves all.

    Raises
    ------
    UnreadableDataError
        An image that could be read before cannot be now.
    """
    found: list[NDArray[np.float32]] = []
    done = 0
    for ids, bags in feature_plan.descriptors(table, extractor)():
        _refuse_others(ids, table.ids[done : done + len(bags)])
        some = [encoder.transform(bags) for encoder in encoders]
        found = found or [scratch((len(table), codes.shape[1])) for codes in some]
        for codes, whole in zip(some, found, strict=True):
            whole[done : done + len(codes)] = codes
        done += len(bags)
    _refuse_others(table.ids[:done], table.ids)
    return found or [np.empty((0, 0), np.float32) for _ in encoders]
