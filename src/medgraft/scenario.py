"""A scenario, one complete recipe from pixels to probabilities, as a value of typed parts.

Whatever may differ between two scenarios is a field here. A key such as
`vlad/tf_efficientnet_lite0/blocks.5/k32/svm` names a scenario to people and in `result.json`; it is
written and read in this file and nowhere else:

    FAMILY/BACKBONE/TAP[/POOLING][/sSIZE+SIZE][/mean][/RESIZE][/EDIT…][/VIEWS][/SETTING…]/HEAD

What is as usual is left out. A probe of several networks whose probabilities are joined reads
`ensemble/NET+NET/TAP/HEAD/mean`. How a scenario is named in words stands in
`report/text/scenario_names.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

from medgraft.errors import ScenarioError
from medgraft.training_recipe import RECIPES, Recipe, recipe_of

ResizeRule = Literal["squash", "crop", "pad"]
Join = Literal["concat", "mean"]
Pooling = Literal["avg", "max", "gem"]
Joint = Literal["mean", "stack"]
EncoderName = Literal["vlad", "fisher", "bilinear", "pyramid"]

POOLINGS: tuple[str, ...] = get_args(Pooling)
DEFAULT_METRIC = "auroc"  # what scenarios are compared by
ENCODERS: Mapping[str, EncoderName] = {  # by the word that stands for them in a key
    "k" if name == "vlad" else name: name for name in get_args(EncoderName)
}
HEADS = ("svm", "logistic", "lda", "ordinal", "rbf", "knn")  # simplest first
TRAINED = ("finetune", "hybrid")  # families whose network is trained again
FAMILIES = ("probe", "multiscale", "vlad", *TRAINED, "ensemble")
MODALITIES = ("xray", "microscopy", "endoscopy", "natural")  # that presets and audits know
HYBRID = "hybrid_"  # how the names of backbones begin whose last blocks are our own
OLDER = (("probe", "multiscale"), ("finetune", "hybrid"))  # families as once written, and as now
BEST = "best"  # in the place of a tap: the depth to train from is searched, or members have theirs
INPUT = "input"  # stands before the first layer, wherever a tap is named: nothing is frozen
FORM = "FAMILY/BACKBONE/LAYER/…/HEAD, such as probe/tf_efficientnet_lite0/blocks.5/svm"
ENCODER_FORM = (
    "k64, fisher16, bilinear2048 or pyramid1-2-4, and where it fits pca128, white256 or hard"
)

CLAHE = r"clahe(?:0|[1-9]\d*)(?:\.\d*[1-9])?(?:e[+-]\d+)?-[1-9]\d*"
ONE_VIEW = r"[a-z-]+\.v\d+(?:\.s\d+)?"
EDIT = rf"(?:raw|{CLAHE}|{ONE_VIEW})(?:\+(?:raw|{CLAHE}|{ONE_VIEW}))*"
PRESET = rf"(?:(?P<modality>{'|'.join(MODALITIES)})(?P<strong>-strong)?|strong)"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Views:
    """Augmented views of each image.

    modality : of the preset, '' where the kind of image is not known. strong : its strong version.
    number : so many views, the image itself the first, whose scores are averaged; 0 : while a
    network is trained it sees another view every time, and in use the image as it is.
    """

    modality: str = ""
    strong: bool = False
    number: int = 0

    @property
    def preset(self) -> str:
        """The name in `data.augment.PRESETS`."""
        return "-".join(filter(None, (self.modality, "strong" if self.strong else "")))

    @property
    def word(self) -> str:
        """As it stands in a key: `xray4`, `xray-strong`."""
        return f"{self.preset}{self.number or ''}"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What becomes of an image before the network reads it.

    edits : keys of edits, done one after another; of each step the ways whose codes stand side by
    side, so that `(("raw", "clahe2-8"),)` reads the image twice. sizes : of the network's input in
    pixels, none for its own. join : whether the codes of several sizes and edits stand side by side
    or are averaged. resize : how an image is brought to a size.
    """

    edits: tuple[tuple[str, ...], ...] = ()
    sizes: tuple[int, ...] = ()
    join: Join = "concat"
    resize: ResizeRule = "squash"
    views: Views | None = None

    @property
    def several(self) -> bool:
        """Whether a view of an image is read more than once."""
        return len(self.sizes) > 1 or any(len(ways) > 1 for ways in self.edits)


@dataclass(frozen=True, slots=True)
class Pooled:
    """A tap's feature map becomes a code by pooling: `avg`, `max` or `gem`."""

    pooling: str = "avg"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The descriptors of a tap become a code by an encoder of `features.codebooks.ENCODERS`.

    size : centres of VLAD, components of a Fisher vector, numbers of a compact bilinear code, or
    the levels of a spatial pyramid. pca : dimensions that descriptors are brought to before, white
    : that the code is whitened to, 0 for none; None leaves either to the encoder. hard : each
    descriptor belongs to one centre only.
    """

    encoder: EncoderName
    size: tuple[int, ...]
    pca: int | None = None
    white: int | None = None
    hard: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """As they stand in a key: `k64`, `pca64`, `hard`."""
        word = next(word for word, name in ENCODERS.items() if name == self.encoder)
        further = [
            f"{name}{value}"
            for name, value in (("pca", self.pca), ("white", self.white))
            if value is not None
        ]
        return (f"{word}{'-'.join(map(str, self.size))}", *further, *(["hard"] * self.hard))

    @classmethod
    def of(cls, words: Sequence[str], where: str = "") -> Encoded:
        """What words such as `k64`, `pca64`, `hard` say of an encoder, in any order but the first.

        Raises
        ------
        ScenarioError
            They name no encoder, or say one thing twice. `where` is what they stand in.
        """
        found: dict[str, str] = {}
        for word in words:
            name = word.rstrip("0123456789-")
            if name in found:
                raise ScenarioError(f"{where or '.'.join(words)} says {name!r} twice; say it once")
            found[name] = word[len(name) :]
        first = next(iter(found), "")
        try:
            levels = tuple(int(level) for level in found.pop(first, "").split("-"))
            if first != "pyramid" and len(levels) != 1:
                raise ValueError("one number")
            numbers = {name: int(found.pop(name)) for name in ("pca", "white") if name in found}
            hard = found.pop("hard", None)
            if found or hard:
                raise ValueError(f"{found or hard} is unknown")
            return cls(ENCODERS[first], levels, **numbers, hard=hard is not None)
        except (KeyError, ValueError) as error:
            raise ScenarioError(
                f"{where or '.'.join(words)!r} names no encoder; give one such as {ENCODER_FORM}"
            ) from error


@dataclass(frozen=True, slots=True)
class Head:
    """A classifier on frozen codes, by its name in `learn.estimators.HEADS`."""

    name: str


@dataclass(frozen=True, slots=True)
class Finetune:
    """The network itself is trained, from its tap on, and decides.

    settings : name and value of what differs from the usual recipe, in the order in which they
    stand in the key; a preset such as `classic` has no value.
    """

    settings: tuple[tuple[str, str], ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The settings in full."""
        return recipe_of(self.settings)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members decide together: the mean of their probabilities, or a stack that weighs them."""

    how: Joint
    members: tuple[Scenario, ...]

    @property
    def of_one_kind(self) -> bool:
        """Whether the mean is of one probe that reads images under several edits."""
        kinds = {one.with_pixels(edits=()) for one in self.members}
        return self.how == "mean" and len(kinds) == 1 and self._of_plain_probes

    @property
    def of_networks(self) -> bool:
        """Whether it joins one probe of several networks, each of them once."""
        kinds = {dataclasses.replace(one, backbone="") for one in self.members}
        several = len({one.backbone for one in self.members}) == len(self.members)
        return len(kinds) == 1 and several and self._of_plain_probes

    @property
    def _of_plain_probes(self) -> bool:
        return len(self.members) > 1 and all(
            isinstance(one.code, Pooled)
            and isinstance(one.classifier, Head)
            and one.pixels.views is None
            and len(one.pixels.edits) < 2
            for one in self.members
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One complete recipe from pixels to probabilities, with its seed.

    backbone, tap : the network and where it is read, or from where it is trained. classifier : who
    decides. pixels : what becomes of an image before. code : how the tap becomes one vector.

    Examples
    --------
    >>> scenario = Scenario.from_key("multiscale/net/stages/s224+544/mean/svm")
    >>> scenario.pixels.sizes, scenario.pixels.join, scenario.classifier
    ((224, 544), 'mean', Head(name='svm'))
    """

    backbone: str
    tap: str
    classifier: Head | Finetune | Ensemble
    pixels: Preprocessing = Preprocessing()
    code: Pooled | Encoded = Pooled()
    seed: int = 0

    @classmethod
    def from_key(cls, key: str, seed: int = 0) -> Scenario:
        """The scenario of a key: `Scenario.from_key(s.full_key, s.seed) == s`.

        Raises
        ------
        ScenarioError
            The key has another form, or names what does not exist. Whether the backbone and its
            tap do turns out where they are loaded.
        """
        return _read(key.strip(), seed)

    @classmethod
    def joining(cls, how: Joint, members: Sequence[Scenario]) -> Scenario:
        """The ensemble of some scenarios; its other parts are the first one's."""
        first, decides = members[0], Ensemble(how, tuple(members))
        if decides.of_one_kind or decides.of_networks:
            return dataclasses.replace(first, classifier=decides)
        pixels = dataclasses.replace(first.pixels, join="concat", views=None)
        return cls(first.backbone, BEST, decides, pixels, seed=first.seed)

    def with_pixels(self, **changes: Any) -> Scenario:
        """The same recipe of images that are prepared otherwise."""
        return dataclasses.replace(self, pixels=dataclasses.replace(self.pixels, **changes))

    @property
    def family(self) -> str:
        """What the parts say it is: one of `FAMILIES`."""
        if isinstance(self.classifier, Ensemble):
            return "ensemble"
        if isinstance(self.classifier, Finetune):
            return "hybrid" if self.backbone.startswith(HYBRID) else "finetune"
        if isinstance(self.code, Encoded):
            return "vlad"
        return "multiscale" if self.pixels.sizes else "probe"

    @property
    def key(self) -> str:
        """Stable and readable; an ensemble's does not name its members (`full_key` does)."""
        return _written(self)

    @property
    def full_key(self) -> str:
        """The key, and of an ensemble in brackets those of its members: it says everything."""
        members = ", ".join(member.full_key for member in self.members)
        return f"{self.key}({members})" if members else self.key

    @property
    def head(self) -> str:
        """Who decides, in a word: the end of the key."""
        if isinstance(self.classifier, Ensemble):
            return self.classifier.how
        return self.classifier.name if isinstance(self.classifier, Head) else "logistic"

    @property
    def members(self) -> tuple[Scenario, ...]:
        """Of an ensemble."""
        return self.classifier.members if isinstance(self.classifier, Ensemble) else ()

    @property
    def networks(self) -> tuple[str, ...]:
        """The backbones that it reads images with, each once."""
        return tuple(dict.fromkeys(one.backbone for one in self.members or (self,)))

    @property
    def of_networks(self) -> bool:
        """Whether it joins one probe of several networks."""
        return isinstance(self.classifier, Ensemble) and self.classifier.of_networks

    @property
    def trained(self) -> bool:
        """Whether its network is trained again."""
        return isinstance(self.classifier, Finetune)


def steps_of(preprocess: str) -> tuple[tuple[str, ...], ...]:
    """What `raw`, `clahe2-8` or `raw+clahe2-8` does to an image, as `Preprocessing.edits`.

    >>> steps_of("raw"), steps_of("raw+clahe2-8")
    ((), (('raw', 'clahe2-8'),))
    """
    return () if preprocess == "raw" else (tuple(preprocess.split("+")),)


def encoding_of(word: str) -> Encoded:
    """The encoder that a user names, such as `k64`, `fisher16.pca64` or `pyramid1-2-4`.

    >>> encoding_of("k64.pca64.hard")
    Encoded(encoder='vlad', size=(64,), pca=64, white=None, hard=True)
    """
    return Encoded.of(word.split("."), word)


def views_of(word: str) -> Views:
    """The views that a preset's name and a number say: `xray4`, `strong`.

    >>> views_of("xray-strong")
    Views(modality='xray', strong=True, number=0)
    """
    found = re.fullmatch(rf"{PRESET}(?P<number>\d*)", word)
    if found is None:
        raise ScenarioError(f"{word!r} names no views; give a preset and a number, as in xray4")
    modality = found["modality"] or ""
    return Views(modality, bool(found["strong"]) or not modality, int(found["number"] or 0))


# --------------------------------------------------------------------------- writing


def _written(scenario: Scenario) -> str:
    pixels, code, decides = scenario.pixels, scenario.code, scenario.classifier
    parts = [scenario.family, scenario.backbone, scenario.tap]
    if isinstance(code, Pooled) and code.pooling != "avg":
        parts.append(code.pooling)
    if pixels.sizes:
        parts.append("s" + "+".join(map(str, pixels.sizes)))
    parts += [word for word in (pixels.join, pixels.resize) if word not in ("concat", "squash")]
    if scenario.of_networks:
        parts[1] = "+".join(scenario.networks)
        parts += ["+".join(ways) for ways in pixels.edits]
        parts.append(scenario.members[0].head)
    elif isinstance(decides, Ensemble) and decides.of_one_kind:
        ways = ["+".join(*one.pixels.edits or [("raw",)]) for one in decides.members]
        parts += [",".join(ways), decides.members[0].head]
    else:
        parts += ["+".join(ways) for ways in pixels.edits]
    if pixels.views:
        parts.append(pixels.views.word)
    if isinstance(code, Encoded):
        parts += code.words
    if isinstance(decides, Finetune):
        parts += [name + value for name, value in decides.settings]
    return "/".join([*parts, scenario.head])


# --------------------------------------------------------------------------- reading


def _read(key: str, seed: int) -> Scenario:
    if found := re.fullmatch(r"([^()]*)\((.*)\)", key):
        return _read_ensemble(key, found[1], found[2], seed)
    family, *parts = key.split("/")
    if family not in FAMILIES or len(parts) < 3:
        raise ScenarioError(
            f"{key!r} is no scenario's key: it must be {FORM}, its family one of "
            f"{', '.join(name for name in FAMILIES if name != 'ensemble')}; result.json lists the "
            "keys of a study"
        )
    if family == "ensemble":
        return _read_joined(key, parts, seed)
    backbone, tap, *words, head = parts
    known = ("logistic",) if family in TRAINED else HEADS
    if head not in known:
        raise ScenarioError(f"{key} ends with {head!r}; its head must be {' or '.join(known)}")
    pooling = _take(words, "|".join(POOLINGS), str) or "avg"
    pixels = _read_pixels(words)
    code: Pooled | Encoded = Pooled(pooling)
    decides: Head | Finetune = Head(head)
    if family == "vlad":
        code, words = Encoded.of(words, key), []
    elif family in TRAINED:
        decides, words = Finetune(tuple(_setting(word, key, family) for word in words)), []
        recipe_of(decides.settings)
    if words:
        raise ScenarioError(_says_nothing(words[0], key, family))
    scenario = Scenario(backbone, tap, decides, pixels, code, seed)
    if (family, scenario.family) in OLDER:
        key = key.replace(family, scenario.family, 1)
    if scenario.key != key:
        raise ScenarioError(f"{key} is not written as keys are; write {scenario.key}")
    return scenario


def _read_pixels(words: list[str]) -> Preprocessing:
    """What the first of the words say of the pixels; they are taken away."""
    sizes = _take(words, r"s\d+(?:\+\d+)*", lambda word: tuple(map(int, word[1:].split("+")))) or ()
    join: Join = "mean" if _take(words, "mean", str) else "concat"
    resize = _take(words, "crop|pad", str) or "squash"
    edits = []
    while ways := _take(words, rf"(?:{EDIT}|clahe)", lambda word: tuple(word.split("+"))):
        edits.append(tuple("clahe2-8" if way == "clahe" else way for way in ways))
    views = _take(words, rf"{PRESET}\d*", views_of)
    return Preprocessing(tuple(edits), sizes, join, resize, views)  # type: ignore[arg-type]


def _take(words: list[str], form: str, read: Callable[[str], T]) -> T | None:
    """What the first word says, if it is of this form; it is taken away."""
    return read(words.pop(0)) if words and re.fullmatch(form, words[0]) else None


def _setting(word: str, key: str, family: str) -> tuple[str, str]:
    """One setting of a training recipe: its name and its value."""
    if word in RECIPES:
        return word, ""
    names = [field.name for field in dataclasses.fields(Recipe) if word.startswith(field.name)]
    if not names:
        raise ScenarioError(_says_nothing(word, key, family))
    name = max(names, key=len)  # rate_decay0.5 begins with rate, too
    return name, word.removeprefix(name)


def _says_nothing(word: str, key: str, family: str) -> str:
    return f"{key}: {word!r} says nothing about a scenario of the family {family}"


def _read_joined(key: str, parts: Sequence[str], seed: int) -> Scenario:
    """An ensemble of one scenario with several networks or edits, whose key names them all."""
    networks, *rest, how = parts
    if "+" in networks and how in get_args(Joint):
        probes = ["/".join(["probe", name, *rest]) for name in networks.split("+")]
        joined = Scenario.joining(cast(Joint, how), [_read(one, seed) for one in probes])
        if joined.key != key:
            raise ScenarioError(f"{key} is not written as keys are; write {joined.key}")
        return joined
    *place, edits, head, how = parts
    if how != "mean" or "," not in edits:
        raise ScenarioError(
            f"{key} joins scenarios that its key does not name; run it in a study, with "
            "--families probe,ensemble"
        )
    members = [
        _read("/".join(["probe", *place, *([] if edit == "raw" else [edit]), head]), seed)
        for edit in edits.split(",")
    ]
    return Scenario.joining("mean", members)


def _read_ensemble(key: str, own: str, members: str, seed: int) -> Scenario:
    """An ensemble from its full key: `own` its key, `members` those of its members."""
    how = own.rpartition("/")[2]
    if how not in get_args(Joint):
        raise ScenarioError(f"{key} joins scenarios by {how!r}; it must be mean or stack")
    scenario = Scenario.joining(cast(Joint, how), [_read(one, seed) for one in members.split(", ")])
    if scenario.key != own:
        raise ScenarioError(f"{own} is not written as keys are; write {scenario.key}")
    return scenario
