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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
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

Split = Literal["train", "val", "test", ""]
Severity = Literal["info", "warn", "severe"]
SEVERITIES: tuple[Severity, ...] = ("severe", "warn", "info")  # the gravest first
Verdict = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE"]

SCHEMA = 1  # of result.json


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
    "region_decides", "declared_regions", "suspect_regions", "sufficiency",
    "change_turns_labels", "changes",
    "place_tells_class", "places_alone", "alone_not_measured", "files_alone", "files_not_measured",
    "heatmaps_and_masks", "heatmaps_and_weights", "heatmaps_not_measured",
    "minority_strategy", "strategies",
]  # fmt: skip
AuditReason = Literal[
    "", "masks", "declared", "suspect", "ruled out", "not ruled out", "sure", "several networks",
    "failed", "no files", "alike", "telling", "not telling", "none turns", "whole image",
    "too few", "none apart", "no maps", "masks failed", "shuffle failed",
    "own patient", "any patient", "stay", "change", "partly",
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
    decoder: str = "3"
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

    def predict(self, table: ImageTable) -> tuple[Predictions, tuple[Skipped, ...]]:
        """The same of a table's images, through the cache; and those that cannot be read."""
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

    def save(self, folder: Path) -> None:
        """Write a bundle, which `learn.fit.load` reads."""
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


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether stated probabilities come true (`evaluate/recalibration.py`).

    slope : below 1 they are too extreme, above 1 too moderate; None where it cannot be told, which
    `reason` then says. intercept : of two classes, in log odds at slope 1; above 0 the positive
    class is more frequent than stated. averages : mean stated probability minus the class's share,
    by class (of two the positive one). curve : slope and intercept fitted together, of two classes.
    p : of the test that slope is 1 and there is no bias. needed : so many images like these would
    probably tell what is well enough calibrated from what is not; 0 where no number would.
    """

    slope: Estimate | None
    intercept: Estimate | None
    averages: Mapping[str, Estimate]
    curve: tuple[float, float] | None
    p: float
    needed: int
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All metrics of one set of predictions, and the table of counts they come from.

    confusion : (n_classes, n_classes) counts, rows the truth, columns the label given.
    calibration : None where it was not asked for.
    """

    estimates: Mapping[str, Estimate]
    confusion: Ints
    classes: tuple[str, ...]
    positive: str | None
    operating: Operating | None
    n_images: int
    n_groups: int
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired comparison, `difference` = metric of `a` minus metric of `b` on the same images."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float


NotGiven = Literal["", "few images", "still telling"]


@dataclass(frozen=True, slots=True)
class LowerEnd:
    """What a figure would be if how the images were made meant nothing elsewhere.

    estimate : of the selection metric, None where it is not given. surface_auroc : how well how the
    images were made (their surface) alone tells the classes; surface_auroc_weighted : under the
    weights that take this away. n_effective : groups that the weights leave, of the class with the
    fewest. reason : why it is not given: fewer than 20 such groups ("few images"), or the surface
    tells the classes under the weights too ("still telling").
    """

    estimate: Estimate | None
    n_effective: float
    surface_auroc: float
    surface_auroc_weighted: float
    reason: NotGiven = ""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """How often sets of classes hold the true one, and how large they are (`docs/sets.md`).

    alpha : the share of each class that sets may miss. by_class : the share of its images whose set
    holds it; None where there is no image of it. coverage : the same of all images. size : classes
    in a set, in the mean. single : the share of sets of one class. always : the classes that are in
    every set, for too few patients were learned from to say more. Every patient weighs the same.
    """

    alpha: float
    by_class: Mapping[str, Estimate | None]
    coverage: Estimate
    size: Estimate
    single: Estimate
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnlikeFigures:
    """How many of n images are unlike anything learned from (`profile/unlike.py`).

    rate : of false alarms: so many patients like those learned from have an image that is called
    unlike. known : False where too few patients were learned from, and no image is. images : that
    are called so. patients : the share of patients with such an image.
    """

    rate: float
    known: bool
    n: int
    images: int
    patients: Estimate


@dataclass(frozen=True, slots=True)
class Subgroup:
    """How one sub-group does, and how it differs from all that are not in it.

    estimate : None where the metric is not defined. few : it, or the rest, has too few groups of a
    class for its figure to say much; then it is not tested. difference : its figure minus the
    rest's, with the ends of the 95 % interval. p : that there is none, Holm's over all sub-groups.
    """

    name: str
    n_images: int
    n_groups: int
    estimate: Estimate | None
    few: bool
    difference: tuple[float, float, float] | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Subgroups:
    """The sub-groups of one column."""

    column: str
    figures: tuple[Subgroup, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """A sensitivity or a specificity that is asked for, and the threshold that promises it.

    threshold : None where too few patients of the class were learned from; `needed` are. found :
    sensitivity and specificity at it on other images, by name; empty where there is none.
    """

    of: Literal["sensitivity", "specificity"]
    wanted: float
    threshold: float | None
    needed: int
    found: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GradeCut:
    """One threshold between two grades: whether an image is of `grade` or a higher one.

    n_above : images that are, by their true grade. estimates : auroc, sensitivity and specificity,
    by name; sensitivity and specificity at the operating threshold on the probability of `grade` or
    higher. operating : of the deployed model, chosen out of fold. wishes : thresholds for a wanted
    sensitivity.
    """

    grade: str
    n_above: int
    estimates: Mapping[str, Estimate]
    operating: Operating
    wishes: tuple[Wish, ...] = ()


@dataclass(frozen=True, slots=True)
class GradeFigures:
    """How far from the truth the grades are that images are given.

    values : the number of each grade (`data.grades.grade_values`). kappa : quadratic weighted.
    exact, off_by_one, off_by_more : shares of the images by distance in places. mean_error : the
    mean distance. mean_grade_error : that between the true grade and the mean grade by the
    probabilities, which is no whole number. cuts : from the lowest threshold up.
    """

    values: tuple[int, ...]
    kappa: Estimate
    exact: Estimate
    off_by_one: Estimate
    off_by_more: Estimate
    mean_error: Estimate
    mean_grade_error: Estimate
    cuts: tuple[GradeCut, ...]


@dataclass(frozen=True, slots=True)
class SiteFigure:
    """How one site was judged by models that learned from others.

    fold : that the site was left out in; sites of one fold were left out together. estimate : of
    the selection metric, its interval as wide as to hold for all sites at once; None where it is
    not defined there (images of one class). few : it has so few groups of a class that its figure
    says next to nothing, and does not count towards the worst.
    """

    site: str
    n_images: int
    n_groups: int
    fold: int
    estimate: Estimate | None
    few: bool = False


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """The recommended scenario at each site, the worst first, then the few, then the undefined.

    asked : the column or pattern that names sites. worst : of the site that is worst in truth,
    whichever it is: the ends are the worst ends of the intervals of all sites that count. None
    where no site does.
    """

    asked: str
    figures: tuple[SiteFigure, ...]
    worst: Estimate | None


Answer = Literal["better", "worse", "no difference seen"]


VariationKind = Literal["instead", "beside", "averaged", "views", "sizes", "family", "network"]


@dataclass(frozen=True, slots=True)
class Variation:
    """What is done otherwise, of which a study asks whether it helps.

    kind : `edits` instead of the raw image, beside it, or with the probabilities of both averaged;
    augmented `views` (`xray4`); inputs of other `sizes`, with several joined as `join` says; the
    best of another `family` instead of the best probe; or another `network` instead of that of the
    question, or several joined: the best that has these `networks`.
    """

    kind: VariationKind
    edits: tuple[str, ...] = ()
    views: str = ""
    sizes: tuple[int, ...] = ()
    join: Join = "concat"
    family: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A question that a study answers for its data, `comparison` being what is new against what is.

    Its p is corrected for the number of questions of the study. corrected : there was a choice of
    what is compared, and the comparison discounts it. tap, head, backbone : where it was asked; ''
    of a family, and the backbone '' where all scenarios have one; of networks the backbone is what
    they are held against. `report/text/questions.py` says
    it in words.
    """

    variation: Variation
    comparison: Comparison
    answer: Answer
    corrected: bool = False
    tap: str = ""
    head: str = ""
    backbone: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One line of the study's table. `test` stays None until every scenario is frozen."""

    key: str
    family: str
    backbone: str
    seconds: float
    cost: Cost
    validation: Mapping[str, Estimate]
    test: Mapping[str, Estimate] | None = None
    operating: Operating | None = None


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


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The verdict on the evidence, and the smallest effect that would have been seen."""

    verdict: Verdict
    smallest_effect: float
    findings: tuple[AuditFinding, ...]


FOUR_IN_FIVE = 1.43  # (1.96 + 0.84) / 1.96: half a 95 % interval, as a gap seen 4 times in 5


@dataclass(frozen=True, slots=True)
class Rationale:
    """Why a scenario is recommended; `report/text/recommendation.py` says it in words.

    n_scenarios were judged out of fold by `metric`, on n_images of n_groups, of which n_smallest
    are of `smallest_class`. recommended, best : keys; figure, best_figure : their values of the
    metric. margin : the loss that was allowed. loss : what is lost against the best at most, by the
    paired 95 % interval. cost : what choosing so loses on average, judged out of bag. corrected :
    the figure once its having been chosen is discounted. by_tap : (tap, value) of the recommended
    backbone, from shallow to deep. audits : by key, in the order they were made, the recommended
    scenario's among them; none where none was asked for. for_all : whether it was decided for
    several findings together.
    """

    metric: str
    n_scenarios: int
    n_images: int
    n_groups: int
    smallest_class: str
    n_smallest: int
    recommended: str
    figure: Estimate
    best: str
    best_figure: Estimate
    margin: float
    loss: float
    cost: float
    corrected: Estimate
    by_tap: tuple[tuple[str, float], ...] = ()
    audits: Mapping[str, AuditResult] = field(default_factory=dict)
    for_all: bool = False

    @property
    def non_inferior(self) -> bool:
        """Whether no more than the margin is lost, by the interval: a test of non-inferiority."""
        return self.loss <= self.margin

    @property
    def gap(self) -> float:
        """By how much the figure lies behind the best, whichever way the metric counts."""
        return abs(self.best_figure.value - self.figure.value)

    @property
    def needed(self) -> float:
        """So many images like these would tell, four times in five, if the gap is what it seems.

        That no more than the margin is lost, where the gap is below it; else that the best is
        better. The interval narrows with the root of the images. 0 where it is told already.
        """
        half = self.loss - self.gap
        to_show = self.margin - self.gap if self.gap < self.margin else self.gap
        if self.non_inferior or half <= 0 or half < self.gap:
            return 0.0
        return self.n_images * (FOUR_IN_FIVE * half / max(to_show, 1e-12)) ** 2

    @property
    def failed(self) -> tuple[str, ...]:
        """Keys of what the audit fails."""
        return tuple(key for key, audit in self.audits.items() if audit.verdict == "FAIL")

    @property
    def barred(self) -> tuple[str, ...]:
        """What of this made way for the recommended one; nothing where all that were tried fail."""
        return () if self.recommended in self.failed else self.failed


@dataclass(frozen=True, slots=True)
class SecondNetwork:
    """A network that a study tries beside the default one of its own accord, or does not.

    images : forward passes that it would take, one an image where images are read in one way; they
    are tried where they are at most `most`.
    """

    backbone: str
    images: int
    most: int

    @property
    def tried(self) -> bool:
        """Whether the images are few enough."""
        return self.images <= self.most


StepName = Literal["probe", "vlad", "stack", "clahe", "second", "multiscale", "finetune"]
StepReason = Literal["first", "frozen", "many and unlike", "what is left", "few"]
StepOutcome = Literal["planned", "done", "no time", "cannot win", "stopped", "few images"]


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


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A public data set that ours was measured on (`profile/known_sets.py`).

    shows : what its images are, in words. n : images to learn from. distance, low, high : from
    ImageNet, with its 95 % interval. winner : the family that a written-down study recommends; ''
    where there is none.
    """

    name: str
    shows: str
    n: int
    distance: float
    low: float
    high: float
    winner: str = ""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How far images are from those of ImageNet, as the default network sees them.

    distance : of the deeper layers, 0 (the same) to 1; None where it cannot be told, which `reason`
    then says. shallow : the same of the layers before them, which see colour and contrast.
    by_layer : of each, from shallow to deep. n_groups : of the images that were looked at. known :
    the sets that it is held against, the nearest to ImageNet first.
    """

    distance: Estimate | None
    shallow: Estimate | None
    by_layer: tuple[tuple[str, float], ...]
    n_images: int
    n_groups: int
    known: tuple[KnownSet, ...]
    reason: Literal["", "one image", "one group", "other weights"] = ""

    @property
    def place(self) -> tuple[tuple[KnownSet, ...], tuple[KnownSet, ...], tuple[KnownSet, ...]]:
        """Of the larger known sets those nearer to ImageNet, those as far, and those farther.

        As far are those whose interval meets that of these images. Sets of fewer than 150 images
        are parts of larger ones.
        """
        known, own = [one for one in self.known if one.n >= 150], self.distance
        if own is None:
            return (), (), ()
        nearer = tuple(one for one in known if one.high < own.low)
        farther = tuple(one for one in known if one.low > own.high)
        return nearer, tuple(one for one in known if one not in (*nearer, *farther)), farther


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A figure out of fold of heads that learned from a share of the patients.

    n_images : that each fold's head learned from, on average. draws : of that share.
    """

    share: float
    n_images: int
    draws: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """What more images bring a scenario, from refits on fewer.

    scenario : the one that was refitted, the recommended one or the best that can be. points : from
    few images to all, () where there is none, which `reason` then says. twice : the figure with
    twice the images, gain : how much better that is (0 or more, whichever way the metric counts);
    None where nothing is left to gain. margin : the least gain that is worth naming.
    """

    scenario: str
    points: tuple[CurvePoint, ...]
    twice: Estimate | None
    gain: Estimate | None
    margin: float
    reason: Literal["", "few patients", "nothing to refit", "no error left", "metric"] = ""

    @property
    def verdict(self) -> Literal["", "helps", "hardly helps", "cannot be told"]:
        """What twice the images would do, as far as the interval of the gain tells."""
        if self.gain is None:
            return ""
        if self.gain.low >= self.margin:
            return "helps"
        return "hardly helps" if self.gain.high < self.margin else "cannot be told"


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What a study found; `result.json` is this and nothing else.

    second : where nobody named a network and another is installed that may be worth its time.
    calibration : of the recommended scenario, out of fold (`validation`) and on the `test`.
    by_site : of the recommended scenario, where folds were sites. sets : how well its prediction
    sets do, out of fold (`validation`) and on the `test`. unlike : how many test images are unlike
    those learned from; None without a test split. wishes : thresholds for a wanted sensitivity or
    specificity, with what they hold on the test, or out of fold without one. subgroups : of the
    columns asked for, on the same images.
    similarity : to ImageNet, of the images learned from. learning_curve : None where none was asked
    for. budget : what was run, stopped and not run where a budget decided that. grades : of classes
    that are some, how far mistakes go, out of fold (`validation`) and on the `test`.
    """

    metric: str
    table: ImageTable
    findings: tuple[Finding, ...]
    scenarios: tuple[ScenarioResult, ...]
    recommended: str
    why: Rationale
    corrected: Estimate
    comparisons: tuple[Comparison, ...]
    audit: AuditResult | None
    versions: Mapping[str, str]
    seconds: float
    questions: tuple[Question, ...] = ()
    lower_end: LowerEnd | None = None
    by_site: SiteFigures | None = None
    calibration: Mapping[str, Calibration | None] = field(default_factory=dict)
    second: SecondNetwork | None = None
    sets: Mapping[str, SetFigures] = field(default_factory=dict)
    unlike: UnlikeFigures | None = None
    wishes: tuple[Wish, ...] = ()
    subgroups: tuple[Subgroups, ...] = ()
    similarity: Similarity | None = None
    learning_curve: LearningCurve | None = None
    budget: BudgetUse | None = None
    grades: Mapping[str, GradeFigures] = field(default_factory=dict)


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
