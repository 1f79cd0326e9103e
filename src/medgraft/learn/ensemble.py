"""Several classifiers that answer as one.

The family `ensemble` joins scenarios that were judged already by their calibrated probabilities:
averaged (`mean`), or multiplied with weights that out-of-fold predictions choose (`stack`, see
`stacking.py`). A scenario whose networks were trained in every fold is the mean of their scores.
All members see canvases derived from one base canvas, so that an image is decoded once and taps of
one recipe share a forward pass.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medgraft.data.preprocess import recipe_of
from medgraft.data.unlabelled import table_of
from medgraft.errors import BundleError, ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.features.extract import Extractor, without
from medgraft.features.feature_plan import Outputs, run_feature_plans
from medgraft.features.weights import sha256_of
from medgraft.files import write_json
from medgraft.learn.bundle_checks import check_stack
from medgraft.learn.bundle_files import BACKBONE, FORMAT, described, identity, made, read_bundle
from medgraft.learn.network import NetworkWithHead, in_batches, predictions_of
from medgraft.learn.stacking import Stack, log_mean, stacked
from medgraft.types import (
    Canvas,
    CanvasStream,
    FeatureSpec,
    FittedScenario,
    Floats,
    Grading,
    ImageTable,
    Operating,
    Paths,
    PixelRule,
    Predictions,
    Scenario,
    Skipped,
    Source,
)


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """Members → their probabilities averaged, or combined by a `stack` → calibrated again.

    Where the members are the networks of one scenario's folds, their scores are averaged.
    """

    scenario: Scenario
    classes: tuple[str, ...]
    positive: str | None
    operating: Operating | None
    members: tuple[NetworkWithHead | FittedEnsemble, ...]
    stack: Stack | None
    calibrator: Calibrator
    extractor: Extractor
    grading: Grading | None = field(default=None, kw_only=True)

    @property
    def alike(self) -> bool:
        """Whether the members are the networks of one scenario, whose scores have one unit."""
        return all(member.scenario == self.scenario for member in self.members)

    @property
    def spec(self) -> FeatureSpec:
        """The base canvas that every member's is derived from."""
        first = self.members[0].spec
        same = self.alike and all(member.spec == first for member in self.members)
        return first if same else dataclasses.replace(first, edits=(), base=0)

    @property
    def rule(self) -> PixelRule:
        """How stored values were shown when its members learned, from the same images."""
        return self.members[0].rule

    @property
    def inputs(self) -> tuple[FeatureSpec, ...]:
        """What the members' networks are asked for."""
        return tuple(spec for member in self.members for spec in member.inputs)

    @property
    def weights(self) -> tuple[float, ...]:
        """How much each member counts; they sum to 1."""
        n = len(self.members)
        return (1 / n,) * n if self.stack is None else self.stack.weights

    @property
    def networks(self) -> tuple[NetworkWithHead, ...]:
        """Those of the folds; none where scores without a common unit are joined."""
        each = [member.networks for member in self.members] if self.alike else []
        return tuple(network for networks in each for network in networks)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """None of its own: ask the members."""
        return {}

    def canvases(
        self, ids: Iterable[str], sources: Iterable[Source | bytes], *, edited: bool = True
    ) -> CanvasStream:
        recipe = recipe_of(self.spec, edited=edited)
        return self.extractor.decode(ids, sources, recipe, self.rule)

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        outputs = run_feature_plans(canvases, self.spec, self.inputs, self.extractor)
        return in_batches(outputs, self.scores_from, len(self.classes))

    def scores_from(self, outputs: Sequence[Outputs]) -> Floats:
        """Scores (n, n_classes) from what the network gave for n canvases, at least one."""
        return self._joined([member.scores_from(outputs) for member in self.members])

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        return self.calibrator(self.scores(canvases))

    def predict(self, images: ImageTable | Paths) -> tuple[Predictions, tuple[Skipped, ...]]:
        table, unread = table_of(images)
        table = table.shown_by(self.rule)
        # One decode of an image, and one forward pass a recipe, for all members.
        skipped = self.extractor.prepare(table, *self.inputs)
        rows = without(table, skipped)
        scores = self._joined([member.predict(rows)[0].scores for member in self.members])
        return predictions_of(self, rows, scores, self.calibrator), (*unread, *skipped)

    def torch_graph(self) -> None:
        """No one graph holds several members."""
        return

    def _joined(self, scores: Sequence[Floats]) -> Floats:
        if self.alike:
            return np.asarray(np.mean(scores, axis=0))
        prob = [one.calibrator(own) for one, own in zip(self.members, scores, strict=True)]
        return log_mean(prob) if self.stack is None else stacked(prob, self.stack)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `bundle.json` and a bundle a member; a backbone that all share is kept once."""
        folder = made(folder)
        for i, member in enumerate(self.members):
            own = made(folder / f"member{i}")
            member.save(own)
            if isinstance(member, NetworkWithHead):
                share(own / BACKBONE, folder / BACKBONE)
        write_json(
            folder / "bundle.json",
            {
                "format": FORMAT,
                **described(self, self.calibrator),
                "n_members": len(self.members),
                "stack": self.stack and dataclasses.asdict(self.stack),
                "sha256": {},
            },
        )


def share(own: Path, shared: Path) -> None:
    """Keep a file once, beside the members' folders, where it is the same for all of them."""
    if not shared.exists():
        own.replace(shared)
    elif sha256_of(own) == sha256_of(shared):
        own.unlink()


def checked(
    scenario: Scenario, members: Sequence[FittedScenario]
) -> tuple[NetworkWithHead | FittedEnsemble, ...]:
    """The members, after refusing those whose canvases cannot be derived from one.

    Raises
    ------
    ScenarioError
        They differ in size, resize rule or classes, are fewer than two, or one joins scenarios
        itself.
    """
    frozen = tuple(
        member
        for member in members
        if isinstance(member, NetworkWithHead)
        or (isinstance(member, FittedEnsemble) and member.alike)
    )
    canvases = {(member.spec.size, member.spec.resize) for member in frozen}
    classes = {member.classes for member in frozen}
    if not 1 < len(members) == len(frozen) or len(canvases) > 1 or len(classes) > 1:
        raise ScenarioError(
            f"{scenario.key} joins {len(members)} members with canvases {sorted(canvases)} and "
            f"{len(classes)} lists of classes; it needs two or more that join none "
            "themselves, all of one size, resize rule and list of classes"
        )
    return frozen


def read_ensemble(
    folder: Path, extractor: Extractor, load: Callable[[Path, Extractor], FittedScenario]
) -> FittedScenario:
    """Read what `FittedEnsemble.save` wrote; `load` reads a member.

    Raises
    ------
    BundleError
        A part is missing, changed, or of a later format.
    """
    content = read_bundle(folder)
    try:
        known = identity(content)
        members = [load(folder / f"member{i}", extractor) for i in range(content["n_members"])]
        own = known["scenario"]
        expected = own.members or (own,) * len(members)
        if tuple(member.scenario for member in members) != expected:
            raise ValueError("its members are not, or not in this order, those of its scenario")
        stack = content["stack"]
        if stack is not None:
            check_stack(stack, len(members))
        return FittedEnsemble(
            **known,
            members=checked(own, members),
            stack=stack and Stack(tuple(stack["weights"]), tuple(stack["scales"])),
            extractor=extractor,
        )
    except (AttributeError, KeyError, TypeError, ValueError, ScenarioError) as error:
        raise BundleError.garbled(folder / "bundle.json", error) from error
