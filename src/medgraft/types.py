"""What flows between the rooms: frozen dataclasses and protocols.

Every room may import this file. It imports nothing heavier than numpy, and of ours only
`scenario.py`, so that it can be read first and loaded at once. It holds shapes and words, not
behaviour: how a table is read from disk, a canvas resized or a prediction judged stands in the
rooms.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medgraft.scenario import DEFAULT_METRIC
from medgraft.scenario import Join as Join
from medgraft.scenario import ResizeRule as ResizeRule
from medgraft.scenario import Scenario as Scenario

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
Pixels = NDArray[np.uint8]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

Split = Literal["train", "val", "test", ""]
Severity = Literal["info", "warn", "severe"]
SEVERITIES: tuple[Severity, ...] = ("severe", "warn", "info")  # the gravest first
Verdict = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE"]

SCHEMA = 1  # of result.json
DECODER = "3"  # how images become canvases; part of what names their codes


def digest(*parts: object, length: int = 16) -> str:
    """Hash the JSON form of `parts` into `length` hexadecimal digits; equal parts, equal digest."""
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:length]


# --------------------------------------------------------------------------- images


@dataclass(frozen=True, slots=True)
class PixelRule:
    """How stored values become the 256 levels of a picture: one rule for a whole data set.

    low, high : the stored values shown as 0 and 255, where brighter is larger; what lies beyond
        them is clipped. Both 0: eight bits, shown as they are. An image of eight bits always is.
    page : of files with several, counted from 1; None is the first.
    window : (centre, width) of a DICOM image, in its own units; None is the one that it names.
    """

    low: float = 0.0
    high: float = 0.0
    page: int | None = None
    window: tuple[float, float] | None = None

    @property
    def plain(self) -> bool:
        """Whether it says nothing: eight bits as they are, the first page, the file's window."""
        return self == PLAIN

    @property
    def key(self) -> str:
        """What tells codes made under this rule from others; '' for the plain one."""
        return "" if self.plain else digest(*dataclasses.astuple(self))


PLAIN = PixelRule()


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Which values one image of more than eight bits stores, where brighter is larger.

    kind : their type, such as uint16. least, most : the extremes. low, high : what all but 0.5 % of
    the values at either end lie between.
    """

    kind: str
    least: float
    low: float
    high: float
    most: float


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bytes of one image lie: a file, or frame `frame` of array `member` in a file.

    rule : how its stored values are shown. It travels with the source, so that nothing that reads
    an image can forget it.
    """

    path: str
    frame: int | None = None
    member: str = ""
    rule: PixelRule = PLAIN


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be used, and why, in words for the person who owns it."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a data check.

    `numbers` are what the text rests on, `images` the ids to look at, `remedy` what to do next.
    """

    check: str
    severity: Severity
    text: str
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    remedy: str = ""


AuditCheck = Literal[
    "one_class", "few_images", "weak_model", "one_answer", "few_pairs", "few_groups", "power",
    "absent_classes", "padded", "not_exchanged", "region_against",
    "region_decides", "region_undecided", "declared_regions", "suspect_regions", "sufficiency",
    "change_turns_labels", "changes",
    "place_tells_class", "places_alone", "alone_not_measured", "files_alone", "files_not_measured",
    "heatmaps_and_masks", "heatmaps_and_weights", "heatmaps_not_measured",
    "minority_strategy", "strategies",
]  # fmt: skip
AuditReason = Literal[
    "", "masks", "declared", "suspect", "ruled out", "not ruled out", "sure", "several networks",
    "failed", "no files", "alike", "telling", "not telling", "none turns", "whole image",
    "too few", "none apart", "no maps", "masks failed", "shuffle failed",
    "own patient", "any patient", "stay", "change", "partly", "of a class", "against",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One result of an audit; `report/text/audit_findings.py` says it, and what to do, in words.

    reason : which of its check's outcomes it is, '' where there is one only. numbers : what it
    rests on. images : ids to look at. names : of the regions, changes or classes it is about.
    estimates : figures that it cites with their intervals, by name. counts : images by class.
    limit : the one that its rule sets. error : why something could not be measured.
    """

    check: AuditCheck
    severity: Severity
    reason: AuditReason = ""
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    limit: float = 0.0
    error: str = ""


F = TypeVar("F", Finding, AuditFinding)


def gravest_first(findings: Iterable[F]) -> list[F]:
    """The findings, the gravest first; of equal severity as they came."""
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


@dataclass(frozen=True, slots=True)
class Reading:
    """How what a user has was read; it is shown before anything is learned.

    by : 'layout' (given), 'folders' (recognised) or the name of the table that gave the labels.
    layout : what to pass to `--layout` to get the same, '' where no folder was read. masks : how
    masks were known. left_out : (what, number of files, why). unread : files that are no picture,
    by their suffix.
    """

    by: str = ""
    layout: str = ""
    masks: tuple[str, ...] = ()
    left_out: tuple[tuple[str, int, str], ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grouping:
    """How images were joined into groups that no split may tear.

    `rule` is what a user would type to get the same (`regex:…`, a column's name, or `none`),
    `guessed` whether medgraft proposed it, `text` what was done, in a sentence.
    """

    rule: str = "none"
    guessed: bool = False
    text: str = "Each image is its own group."


@dataclass(frozen=True, eq=False)
class ImageTable:
    """n labelled images and what is known of each; the columns have equal length n.

    ids : (n,) opaque and unique, a path relative to `root` with forward slashes, plus `#frame`.
    sources : (n,) where the bytes lie.
    content_hashes : (n,) hash of the bytes, and the key of the pixel rule where it is not the plain
        one (`shown_by`); two files of equal bytes are two rows.
    labels : (n,) int64 index into `classes`; -1 where the label is missing.
    groups : (n,) what must stay together; an image without a group is its own.
    splits : (n,) 'train', 'val', 'test' or '' where nothing was said.
    masks : (n,) path of a mask, or ''; several, which mark together, with a NUL between.
    metadata : further columns of the user's, each (n,).
    positive : the positive class of a two-class problem, else None.
    stored : what is known of images of more than eight bits, by the hash of their bytes.
    ordered : the classes are grades, the lowest first; it changes no number of a given scenario.
    """

    ids: Strings
    sources: tuple[Source, ...]
    content_hashes: Strings
    labels: Ints
    groups: Strings
    splits: Strings
    masks: Strings
    classes: tuple[str, ...]
    positive: str | None = None
    root: str = ""
    metadata: Mapping[str, Strings] = field(default_factory=dict)
    grouping: Grouping = Grouping()
    skipped: tuple[Skipped, ...] = ()
    findings: tuple[Finding, ...] = ()
    reading: Reading = Reading()
    stored: Mapping[str, StoredRange] = field(default_factory=dict)
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rule(self) -> PixelRule:
        """How the stored values of its images are shown: one rule for all of them."""
        return self.sources[0].rule if self.sources else PLAIN

    @property
    def byte_hashes(self) -> Strings:
        """(n,) hashes of the bytes alone."""
        return self.content_hashes if self.rule.plain else _before_mark(self.content_hashes)

    def shown_by(self, rule: PixelRule) -> Self:
        """The same images under this rule, which names their content too.

        Everything computed is kept by content, so nothing made under another rule is taken for it.
        """
        if rule == self.rule:
            return self
        hashes = self.byte_hashes.tolist()
        marked = hashes if rule.plain else [f"{name}{RULE_MARK}{rule.key}" for name in hashes]
        return dataclasses.replace(
            self,
            sources=tuple(dataclasses.replace(source, rule=rule) for source in self.sources),
            content_hashes=np.array(marked, dtype=np.str_),
        )

    def select(self, rows: NDArray[np.bool_] | Ints) -> Self:
        """The table of some rows, by mask or by index, in the order given."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        return dataclasses.replace(
            self,
            ids=self.ids[index],
            sources=tuple(self.sources[i] for i in index),
            content_hashes=self.content_hashes[index],
            labels=self.labels[index],
            groups=self.groups[index],
            splits=self.splits[index],
            masks=self.masks[index],
            metadata={name: column[index] for name, column in self.metadata.items()},
        )

    @property
    def development(self) -> Self:
        """The images that may be learned from and chosen by: everything but the test split."""
        return self.select(self.splits != "test")

    @property
    def test(self) -> Self:
        """The images that are looked at once, at the end."""
        return self.select(self.splits == "test")

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of everything that can change a number: ids, bytes, labels, groups, splits."""
        columns = (self.ids, self.content_hashes, self.labels, self.groups, self.splits)
        return digest([column.tolist() for column in columns], self.classes, self.positive)


RULE_MARK = "~"  # between the hash of an image's bytes and the key of its rule


def _before_mark(names: Strings) -> Strings:
    return np.array([name.partition(RULE_MARK)[0] for name in names.tolist()], dtype=np.str_)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: rows `top` to `top + height`, columns `left` to `left + width`."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a canvas came from its source: turned, then cropped, then resized, then padded.

    source : (height, width) of the stored image in pixels.
    orientation : EXIF 1 to 8, undone first.
    crop : the part kept, in pixels of the turned source.
    size : (height, width) of the canvas.
    content : where in the canvas the picture lies; what is around it is padding.
    """

    source: tuple[int, int]
    orientation: int
    crop: Box
    size: tuple[int, int]
    content: Box

    @classmethod
    def identity(cls, height: int, width: int) -> Self:
        """The geometry of a canvas that is its source, pixel for pixel."""
        whole = Box(0, 0, height, width)
        return cls((height, width), 1, whole, (height, width), whole)


@dataclass(frozen=True, eq=False, slots=True)
class Canvas:
    """Pixels ready for a network, `(height, width[, 3]) uint8`, and how they came about.

    remark : what the person who owns the image should know of how it was read, or ''.
    """

    id: str
    pixels: Pixels
    geometry: Geometry
    remark: str = ""


@runtime_checkable
class Edit(Protocol):
    """A named, hashable change of a canvas that keeps its size: CLAHE, a view, a swapped region."""

    @property
    def key(self) -> str:
        """Stable and readable; equal keys mean equal pixels."""
        ...

    def __call__(self, canvas: Canvas) -> Canvas:
        """Return a changed copy; the canvas given stays as it was."""
        ...


CanvasStream = Iterable[Canvas | Skipped]


# --------------------------------------------------------------------------- features


@dataclass(frozen=True, slots=True)
class Card:
    """The provenance of a backbone: what it is, where its weights are from, what it wants to see.

    name : of the architecture, in timm. alias : what it is called here, where that is another name.
    mean, std : of RGB in 0..1. sha256 : of the weights. size : height and width in pixels.
    dense : whether the weights hold VGG's dense layers, so that `fc6` and `fc7` are taps.
    pretraining : the data that the weights were learned from, '' where nobody said.
    """

    name: str
    source: str
    licence: str
    credit: str
    sha256: str
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dense: bool = False
    tuned: str = ""
    alias: str = ""
    pretraining: str = ""

    @property
    def id(self) -> str:
        """What the network goes by: its name, and of a fine-tuned one what it was tuned to."""
        name = self.alias or self.name
        return f"{name}~{self.tuned}" if self.tuned else name


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Everything that decides the value of a code: the recipe of the pixels, network and taps.

    `taps` and `poolings` choose columns of one pass; the rest (`recipe`) names the store that the
    columns lie in, so that one more tap adds only its own block. `base` is the side of the canvas
    that this one was shrunk from, 0 where it was made from the image directly.
    """

    backbone: str
    weights: str
    size: int
    taps: tuple[str, ...]
    poolings: tuple[str, ...] = ("avg",)
    resize: ResizeRule = "squash"
    edits: tuple[Edit, ...] = ()
    engine: str = "openvino"
    precision: str = "f32"
    decoder: str = DECODER
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    versions: tuple[str, ...] = ()
    base: int = 0

    @property
    def recipe(self) -> dict[str, object]:
        """What all blocks of one store have in common."""
        return {
            "decoder": self.decoder,
            "edits": [edit.key for edit in self.edits],
            "resize": self.resize,
            "size": self.size,
            "backbone": self.backbone,
            "weights": self.weights,
            "engine": self.engine,
            "precision": self.precision,
            "mean": list(self.mean),
            "std": list(self.std),
            "versions": list(self.versions),
            "base": self.base,
        }

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the column blocks, `tap@pooling`, in order."""
        return tuple(f"{tap}@{pooling}" for tap in self.taps for pooling in self.poolings)


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Codes of n images: `ids (n,)` and named blocks `tap@pooling`, each (n, channels) float32."""

    ids: Strings
    blocks: Mapping[str, NDArray[np.float32]]

    def matrix(self, *names: str) -> NDArray[np.float32]:
        """The named blocks side by side, (n, sum of their channels); all of them by default."""
        chosen = [self.blocks[name] for name in names or self.blocks]
        return chosen[0] if len(chosen) == 1 else np.concatenate(chosen, axis=1)


DescriptorBatch = tuple[Strings, NDArray[np.float16]]
"""Ids `(batch,)` and descriptors `(batch, positions, channels)` of one tap, in half precision."""

DescriptorStream = Callable[[], Iterator[DescriptorBatch]]
"""A function that starts the stream afresh, for codebooks and encoders that pass several times."""


# --------------------------------------------------------------------------- learning


@dataclass(frozen=True, slots=True)
class SeenBefore:
    """How many of n images a classifier learned from, as far as that can be told.

    same_file, same_picture : by their bytes, and by what they show though their bytes are others;
    None where the classifier keeps no traces of its images. same_name : that bear the id of an
    image learned from. same_patient : that are neither file nor picture, but of a group learned
    from. These two are None where the predictions of its study are not beside it.
    """

    n: int = 0
    same_file: int | None = None
    same_picture: int | None = None
    same_name: int | None = None
    same_patient: int | None = None

    @property
    def certain(self) -> int:
        """How many are images learned from, by file or picture."""
        return (self.same_file or 0) + (self.same_picture or 0)


@dataclass(frozen=True, eq=False)
class Folds:
    """One stored assignment of the development images to folds, shared by every scenario.

    ids, groups, assignment : (n,); `assignment[i]` in 0 .. n_folds - 1 is the fold that judges
    image i. Groups are whole in it. view : what is done to images when they are judged, though
    never when they teach (`data.augment.judging_view`); None judges them as they are. metric : by
    which scenarios are compared, and what a scenario leaves open is chosen inside of the folds.
    """

    ids: Strings
    groups: Strings
    assignment: Ints
    n_folds: int
    seed: int
    view: Edit | None = None
    metric: str = DEFAULT_METRIC

    @functools.cached_property
    def fingerprint(self) -> str:
        view = self.view.key if self.view else ""
        columns = (self.ids, self.groups, self.assignment)
        return digest([column.tolist() for column in columns], view, self.metric)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one scenario said of n images, and what is known of them.

    ids, groups, splits : (n,). fold : (n,) the fold that judged, -1 outside cross-validation.
    y_true : (n,) index into `classes`. scores : (n, n_classes) before calibration, higher for the
    more likely class. y_prob : (n, n_classes), rows sum to 1.
    """

    scenario: str
    classes: tuple[str, ...]
    positive: str | None
    ids: Strings
    groups: Strings
    splits: Strings
    fold: Ints
    y_true: Ints
    scores: Floats
    y_prob: Floats

    @classmethod
    def of(
        cls, scenario: str, table: ImageTable, scores: Floats, y_prob: Floats, fold: Ints | int = -1
    ) -> Self:
        """What a scenario said of a table's images."""
        return cls(
            scenario=scenario,
            classes=table.classes,
            positive=table.positive,
            ids=table.ids,
            groups=table.groups,
            splits=table.splits,
            fold=np.broadcast_to(np.asarray(fold, np.int64), len(table)),
            y_true=table.labels,
            scores=scores,
            y_prob=y_prob,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.bool_] | Ints) -> Self:
        """The predictions of some rows, by mask or by index."""
        columns = ("ids", "groups", "splits", "fold", "y_true", "scores", "y_prob")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in columns})


@dataclass(frozen=True, slots=True)
class Operating:
    """The threshold on the positive class's probability, and the rule that chose it.

    by_group : the threshold for the mean probability of a group's images; None where no group
    repeated among the images it was chosen on.
    """

    threshold: float
    rule: str
    by_group: float | None = None


@dataclass(frozen=True, slots=True)
class Grading:
    """That classes are grades, the lowest first: the number of each, and thresholds between them.

    values : (n_classes,) see `data.grades.grade_values`. cuts : by grade, from the second on, the
    threshold on the probability of this grade or a higher one.
    """

    values: tuple[int, ...]
    cuts: Mapping[str, Operating]


Maps = NDArray[np.float32]
Activations = Mapping[str, NDArray[np.float32]]
"""Of one canvas, tap → `(positions, channels)` row by row; a tap without extent is one position."""


@runtime_checkable
class FittedScenario(Protocol):
    """A trained classifier: what it answers, and what of it can be looked into.

    Explain, audit, report, bundle and serve know nothing else of a classifier. One of which nothing
    can be looked into has no `networks` and no `members`, and is explained by occlusion.
    """

    @property
    def scenario(self) -> Scenario: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def positive(self) -> str | None: ...

    @property
    def operating(self) -> Operating | None: ...

    @property
    def grading(self) -> Grading | None:
        """Of classes that are grades; else None."""
        ...

    @property
    def rule(self) -> PixelRule:
        """How stored values are shown to it: as those that it learned from, never otherwise."""
        ...

    @property
    def spec(self) -> FeatureSpec:
        """How a canvas for this classifier is made, and which tap it reads."""
        ...

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        """What `head` and `encoder` were set to, each with its `kind`, where it has them."""
        ...

    def canvases(
        self, ids: Iterable[str], sources: Iterable[Source | bytes], *, edited: bool = True
    ) -> CanvasStream:
        """Decode images for `scores`, by its own rule; what cannot be read comes as `Skipped`.

        edited : with the classifier's own edits; else they are still to be done (`spec.edits`).
        """
        ...

    def scores(self, canvases: Iterable[Canvas]) -> Floats:
        """(n, n_classes) before calibration."""
        ...

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        """(n, n_classes), rows sum to 1."""
        ...

    def predict(self, images: ImageTable | Paths) -> tuple[Predictions, tuple[Skipped, ...]]:
        """The same of a table's images or of files, through the cache; and what cannot be read.

        images : what `medgraft.load` gives, or paths of image files, folders or patterns. Rows of
        the predictions are named by `ids`, of files their paths; columns are `classes`.
        """
        ...

    def torch_graph(self) -> Any | None:
        """A `torch.nn.Module` from float images to scores, or None where no gradient exists."""
        ...

    @property
    def networks(self) -> tuple[FittedNetwork, ...]:
        """The networks whose mean score is its own, often itself; () where it is no such mean."""
        ...

    @property
    def members(self) -> tuple[FittedScenario, ...]:
        """The classifiers that an ensemble joins; () of what joins none."""
        ...

    @property
    def weights(self) -> tuple[float, ...]:
        """How much each member counts; they sum to 1."""
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a bundle into a folder, made where it is not there; `load_model` reads it.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        ...


@runtime_checkable
class FittedNetwork(FittedScenario, Protocol):
    """One network with a head, which can be looked into; canvases are made as for `scores`."""

    @property
    def backbone(self) -> Any:
        """The `features.backbones.Backbone` that is read."""
        ...

    @property
    def linear(self) -> tuple[Floats, Floats] | None:
        """Weights (n_classes, d) and intercepts (n_classes,) on the codes.

        None of a head that is not linear, and where an encoder stands between. Of an ordinal head
        those of its latent value, turned for the lowest grade; they give no scores.
        """
        ...

    @property
    def differentiable(self) -> bool:
        """Whether a gradient leads from its scores to one canvas, and `torch_graph` is one."""
        ...

    @property
    def learned(self) -> Mapping[str, str]:
        """By name the content hash of what the head learned; it tells two of one recipe apart."""
        ...

    @property
    def terms(self) -> tuple[FittedNetwork, ...]:
        """One for each tap, pooling, size and edit, whose scores sum to its own but for intercepts.

        () where the score is no such sum: augmented views, or no linear head.
        """
        ...

    def codes(self, canvases: Iterable[Canvas]) -> NDArray[np.float32]:
        """(n, d) pooled codes of its taps, the mean over views."""
        ...

    def activations(
        self, canvases: Iterable[Canvas], taps: Sequence[str]
    ) -> Iterator[tuple[Canvas, Activations]]:
        """What taps of the network give, by the engine that the codes come from."""
        ...

    def contributions(
        self, canvases: Sequence[Canvas], targets: Sequence[str]
    ) -> Contributions | None:
        """What each place adds to the score of a class, where no graph exists (encoders).

        None where it cannot say. targets : the class of each canvas.
        """
        ...

    def with_weights(self, *, coef: Floats | None = None, network: Any = None) -> FittedNetwork:
        """A copy with other weights of its linear head, or another `torch.nn.Module` below."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Contributions:
    """What each place of a tap adds to the score of a class.

    exact : they add up to the score. Else each is the score minus the score without its place.
    maps : of each canvas one (rows, columns) for each input size.
    """

    tap: str
    exact: bool
    maps: Iterator[tuple[Maps, ...]]


# --------------------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval: `n` images it rests on, `method` how the interval was got."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def __str__(self) -> str:
        """`0.918 (0.629 to 0.987, n = 164)`."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n = {self.n})"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one image costs in use: multiply-adds of the forward pass, and numbers to be kept."""

    multiply_adds: int
    parameters: int


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where the score of one class comes from: `map (height, width) float32` on a canvas.

    `tap` is the layer or layers it was read from, `method` what was done, in words.
    """

    map: NDArray[np.float32]
    geometry: Geometry
    target: str
    tap: str
    method: str = ""


StepName = Literal["probe", "vlad", "stack", "clahe", "second", "multiscale", "finetune"]
StepReason = Literal["first", "frozen", "many and unlike", "what is left", "few"]
StepOutcome = Literal[
    "planned", "done", "no time", "no audit", "cannot win", "stopped", "few images"
]
"""`no audit`: it would fit, and not the audit of what wins in it, too."""


@dataclass(frozen=True, slots=True)
class StoppedScenario:
    """A scenario that could not win any more; `gain` is its figure minus that of the best `than`.

    share : of the patients, that had been read. low, high : 95 % interval of the gain there.
    """

    key: str
    than: str
    share: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BudgetStep:
    """Scenarios of a study under a budget that are run together, for they read images alike.

    scenarios : how many. predicted, seconds : that it should take, and that it took. reason : why
    it stands where it does. stopped : those of its scenarios that could not win. judged : how many
    were judged on all images.
    """

    name: StepName
    scenarios: int
    predicted: float
    reason: StepReason
    outcome: StepOutcome = "planned"
    seconds: float = 0.0
    judged: int = 0
    stopped: tuple[StoppedScenario, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """What became of a study's budget, step by step in the order of the plan.

    seconds : of the budget. finish : predicted, of what comes after the scenarios: comparing them,
    the audit, the report; a_pair : of each of the audit's pairs. deciding : that were spent on
    finding out what cannot win. interrupted : somebody pressed Ctrl-C. audit_pairs : that the audit
    had time for, where it was cut; 0 where it was left out.
    """

    seconds: float
    finish: float
    a_pair: float
    steps: tuple[BudgetStep, ...]
    deciding: float = 0.0
    interrupted: bool = False
    audit_pairs: int | None = None


# --------------------------------------------------------------------------- being watched


class Progress(Protocol):
    """What long work tells the person who waits; the surface draws it, the rooms only report."""

    def task(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar of `total` steps; the function given advances it by so many steps."""
        ...

    def say(self, text: str) -> None:
        """Tell one thing that has just become known."""
        ...

    def budget(self) -> AbstractContextManager[Callable[[BudgetUse], None]]:
        """Open a table of a budget's steps; the function given shows them as they stand now."""
        ...


class Silent:
    """A `Progress` that shows nothing, for libraries and tests."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda steps: None

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def budget(self) -> Iterator[Callable[[BudgetUse], None]]:
        yield lambda use: None
