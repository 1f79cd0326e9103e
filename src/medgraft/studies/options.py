"""The options of a study, and whether they make sense together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import get_args

from medgraft.audit.regions import layout_of
from medgraft.data.augment import PRESETS
from medgraft.data.preprocess import Clahe, edit_from_key
from medgraft.data.split import SET_ASIDE
from medgraft.errors import ScenarioError
from medgraft.evaluate.conformal import ALPHA, check_alpha
from medgraft.evaluate.metrics import STUDIED
from medgraft.features.backbones import DEFAULT
from medgraft.features.encoders import check_pooling
from medgraft.features.feature_plan import encoder_of
from medgraft.learn.estimators import HEADS
from medgraft.results.recommendation import SecondNetwork
from medgraft.scenario import FAMILIES, TRAINED, Head, Scenario, encoding_of, steps_of, views_of
from medgraft.training_recipe import recipe_of
from medgraft.types import ResizeRule

VALIDATE = ("auto", "plain", "changed")
AUTO = ("auto",)
AUDIT_PAIRS = 80  # of donors, fewer where a network is slow (`audit_budget.pairs_suited`)
PLAIN_HEADS = ("svm", "logistic", "knn")  # compared where none are named


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What a study can be asked for; every default is the one to use when in doubt.

    Whatever holds several names is a tuple, such as `heads=("svm",)`. What is named twice is
    compared once. `medgraft study --help` has the same options.

    Parameters
    ----------
    backbones
        Networks by their timm names; by default `tf_efficientnet_lite0`, and a second one beside it
        where it pays (`second` then holds it).
    families
        `probe`, `multiscale`, `vlad`, `finetune`, `hybrid`, `ensemble`. By default probes alone, or
        with a budget `auto`: what is worth running within it.
    heads
        Classifiers on the codes, such as `svm`, `logistic` or `knn`; by default those that suit the
        images. Families other than `probe` use the first.
    poolings
        How the positions of a layer become one code: `avg`, `max`, `gem`, ….
    preprocess
        `raw`, `clahe`, or both side by side (`raw+clahe`), each compared with the others; families
        other than `probe` use the first.
    sizes
        Input sizes of `multiscale` in pixels; by default the network's own and what the images hold
        beyond it, in steps of 320.
    encoders
        Of `vlad`, such as `k64`, `fisher16` or `bilinear2048`.
    augment, views
        A preset, of which so many views of each image are compared with the image alone. Networks
        that are trained use its strong version.
    depths
        From which layers networks are trained; `best` finds it out.
    training, training_size
        Settings of training, as (name, value), and its input size in pixels; 0 is the network's.
    validate
        Out of fold images are judged as they are (`plain`), in `changed` views, or `auto`: changed
        where networks are trained and exposure, sharpness or frame tell much.
    site
        A column, or `regex:PATTERN` of the images' paths, that names hospital, scanner or the like:
        folds are then sites.
    budget
        Seconds that the whole study may take; 0 cuts nothing.
    resize
        `squash`, `crop` or `pad` to the network's input size.
    metric
        What scenarios are chosen by; by default AUROC, of grades quadratic weighted kappa.
    n_folds, test_fraction
        Folds out of which images are judged, and the share of them that is set aside where no test
        split is given.
    alpha
        The share of each class that prediction sets may miss in the report.
    subgroups
        Columns by whose values what is recommended is judged too.
    seed
        Deals folds and test split and seeds whatever is drawn. Another seed is another test split,
        whose figures of few patients differ by chance.
    audit, audit_pairs
        Whether the evidence of what is recommended is audited, and by how many pairs of images at
        most; of the usual number fewer are drawn where the network is slow.
    modality
        What the images are, such as `xray`, by which the audit knows regions that are no evidence.
    masks
        The table's masks hold the evidence of every class, and what is outside of them is none.
    second
        Set by the study itself.
    learning_curve
        Whether heads are fitted again on fewer patients, to say what more would bring.
    """

    backbones: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    poolings: tuple[str, ...] = ("avg",)
    preprocess: tuple[str, ...] = ("raw",)
    sizes: tuple[int, ...] = ()
    encoders: tuple[str, ...] = ("k16", "k64")
    augment: str = ""
    views: int = 4
    depths: tuple[str, ...] = ("best",)
    training: tuple[tuple[str, str], ...] = ()
    training_size: int = 0
    validate: str = "auto"
    site: str = ""
    budget: float = 0.0
    resize: ResizeRule = "squash"
    metric: str = ""
    n_folds: int = 5
    test_fraction: float = SET_ASIDE
    alpha: float = ALPHA
    subgroups: tuple[str, ...] = ()
    seed: int = 0
    audit: bool = True
    audit_pairs: int = AUDIT_PAIRS
    modality: str = ""
    masks: bool = False
    second: SecondNetwork | None = None
    learning_curve: bool = True

    @property
    def automatic(self) -> bool:
        """Whether the budget decides what is run."""
        return self.families == AUTO

    @property
    def networks(self) -> tuple[str, ...]:
        """The backbones that are compared."""
        return self.backbones or (DEFAULT,)

    @property
    def compared_heads(self) -> tuple[str, ...]:
        """The heads that are compared."""
        return self.heads or PLAIN_HEADS

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            given = getattr(self, one.name)
            if str(one.type).startswith("tuple[str, ...") and isinstance(given, str):
                raise ScenarioError(
                    f"{one.name} is the text {given!r}, and a tuple of names is wanted; give "
                    f"{one.name}=({given!r},)"
                )
        layout_of(self.modality)
        if not self.families:
            object.__setattr__(self, "families", AUTO if self.budget else ("probe",))
        if not self.automatic:
            _check("family", self.families, (*FAMILIES, *AUTO))
        if set(AUTO) & set(self.families) and (len(self.families) > 1 or not self.budget):
            raise ScenarioError(
                "the family auto stands alone and needs a budget to decide by; pass --budget 30m "
                "without other families"
            )
        if self.heads:
            _check("head", self.heads, tuple(HEADS))
        if self.metric:
            _check("metric", (self.metric,), STUDIED)
        _check("resize rule", (self.resize,), get_args(ResizeRule))
        _check("way to validate", (self.validate,), VALIDATE)
        check_alpha(self.alpha)
        recipe_of(self.training)
        if self.augment:
            _check("preset of views", (self.augment,), tuple(PRESETS))
            views_of(self.augment)
        for pooling in self.poolings:
            check_pooling(pooling)
        if self.augment and not {"probe", *TRAINED, *AUTO} & set(self.families):
            raise ScenarioError("augmented views are compared with probes; add probe to --families")
        if not 0 <= self.seed < 2**32:
            raise ScenarioError(f"the seed is {self.seed}; it must be from 0 to 2**32 - 1")
        if self.augment and not 2 <= self.views <= 64:
            raise ScenarioError(f"{self.views} views of an image; choose from 2 to 64")
        if self.audit_pairs < 1:
            raise ScenarioError(f"{self.audit_pairs} pairs of donors; an audit needs at least one")
        if any(not 1 <= size <= 4096 for size in self.sizes):
            raise ScenarioError(
                f"input sizes {', '.join(map(str, self.sizes))}: each must be from 1 to 4096 "
                "pixels; usual are 224,544,864"
            )
        if self.sizes and not {"multiscale", "vlad", *AUTO} & set(self.families):
            raise ScenarioError(
                "several input sizes are read by multiscale and vlad; add one to --families"
            )
        object.__setattr__(self, "preprocess", tuple(map(_full_key, self.preprocess)))
        object.__setattr__(self, "sizes", tuple(sorted(set(self.sizes))))
        for name in ("backbones", "families", "heads", "poolings", "preprocess", "encoders"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for name in ("preprocess", "poolings", "encoders"):
            if not getattr(self, name):
                raise ScenarioError(f"a study needs at least one of its {name}")
        for encoder in self.encoders:
            encoder_of(Scenario("any", "any", Head("svm"), code=encoding_of(encoder)))

    def refuse_unused(self) -> None:
        """Refuse what no family of the study reads: whoever gives it expects another study.

        Raises
        ------
        ScenarioError
            It names the option, and the family that it is for.
        """
        if self.automatic:
            return
        default = {one.name: one.default for one in dataclasses.fields(self)}
        readers = {
            "training": TRAINED, "training_size": TRAINED, "depths": TRAINED, "encoders": ("vlad",),
        }  # fmt: skip
        for name, families in readers.items():
            if getattr(self, name) != default[name] and not {*families} & {*self.families}:
                raise ScenarioError(
                    f"{name} is {getattr(self, name)!r}, and only {' and '.join(families)} "
                    f"{'reads' if len(families) == 1 else 'read'} it; add {families[0]} to "
                    f"--families (now {','.join(self.families)}), or leave it out"
                )


def _check(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not given:
        raise ScenarioError(f"no {what} was given; choose among: {', '.join(known)}")
    for name in given:
        if not isinstance(name, str):
            raise ScenarioError(
                f"a {what} is given as {type(name).__name__}, and a name is wanted: "
                f"{', '.join(known)}; to use an estimator of your own, take the codes "
                "(medgraft.encode) and fit it on them"
            )
        if name not in known:
            raise ScenarioError(f"no {what} {name!r}; there are: {', '.join(known)}")


def _full_key(preprocess: str) -> str:
    """`raw+clahe` as `raw+clahe2-8`."""
    ways = [way for step in steps_of(preprocess) or (("raw",),) for way in step]
    edits = [way if way == "raw" else edit_from_key(way) for way in ways]
    if not all(edit == "raw" or isinstance(edit, Clahe) for edit in edits):
        raise ScenarioError(
            f"{preprocess!r} is no preprocessing; there are raw, clahe and raw+clahe (views of an "
            "image come by --augment)"
        )
    ways = [edit if isinstance(edit, str) else edit.key for edit in edits]
    if len(set(ways)) < len(ways):
        raise ScenarioError(f"{preprocess!r} names one preprocessing twice; name each once")
    return "+".join(ways)
