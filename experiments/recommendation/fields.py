"""The scenarios among which a cell chooses, and the policies that know one beforehand.

A field is what a person could ask of a study: options, of which the first deal the folds and say
how images are judged. All of this was fixed before the first cell was run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medgraft.scenario import BEST, INPUT, Encoded, Scenario
from medgraft.studies.options import StudyOptions

LITE0, LITE2, VGG = "tf_efficientnet_lite0", "tf_efficientnet_lite2", "vgg16"
LAST = {LITE0: "conv_head", LITE2: "conv_head", VGG: "block5_pool"}
BEST_NETWORK = LITE2  # of those that come by pip, by the accuracy on ImageNet that is published
METRIC = "auroc"
LARGE = 544  # pixels


@dataclass(frozen=True, slots=True)
class Field:
    """options : of the studies whose scenarios are put together. draws : of each size.

    draws_of_all : where all images are learned from and only the folds are dealt anew. trained :
    whether networks are trained.
    """

    options: tuple[StudyOptions, ...]
    draws: int
    draws_of_all: int
    trained: bool = False


def _probes(backbone: str) -> StudyOptions:
    return StudyOptions(backbones=(backbone,), heads=("svm",))


FIELDS: Mapping[str, Field] = {
    "frozen": Field(
        (
            StudyOptions(
                backbones=(LITE0,), families=("probe", "multiscale"), sizes=(224, LARGE)
            ),
            StudyOptions(backbones=(LITE0,), families=("vlad",)),
            _probes(LITE2),
        ),
        20,
        3,
    ),
    "networks": Field((_probes(LITE0), _probes(LITE2), _probes(VGG)), 20, 3),
    "trained": Field(
        (
            StudyOptions(
                backbones=(LITE0,), families=("probe", "finetune"), heads=("svm",),
                depths=(INPUT, BEST), training_size=128,
            ),
            _probes(LITE2),
        ),
        3,
        1,
        trained=True,
    ),
}  # fmt: skip


def _plain(scenario: Scenario, backbone: str, tap: str) -> bool:
    """Whether it is a linear SVM on the pooled codes of a tap, of the image as it is."""
    plain = (scenario.family, scenario.head) == ("probe", "svm")
    return plain and (scenario.backbone, scenario.tap) == (backbone, tap)


def _last_vlad(scenario: Scenario) -> bool:
    code = scenario.code
    return isinstance(code, Encoded) and (scenario.tap, code.size) == ("conv_head", (64,))


def _two_sizes(scenario: Scenario) -> bool:
    pixels = scenario.pixels
    return (scenario.tap, pixels.sizes, pixels.join) == ("conv_head", (224, LARGE), "concat")


LINEAR, BETTER = "linear SVM, last layer", "best network's last layer"
EVERYTHING = "fine-tune all"
CONSTANTS: Mapping[str, Callable[[Scenario], bool]] = {
    LINEAR: lambda s: _plain(s, LITE0, "conv_head"),
    "linear SVM, stages": lambda s: _plain(s, LITE0, "stages"),
    "VLAD of the last layer": _last_vlad,
    "last layer at 224 and 544 px": _two_sizes,
    BETTER: lambda s: _plain(s, BEST_NETWORK, LAST[BEST_NETWORK]),
    "VGG-16's last layer": lambda s: _plain(s, VGG, LAST[VGG]),
    EVERYTHING: lambda s: s.family == "finetune" and s.tap == INPUT,
    "fine-tune, best depth": lambda s: s.family == "finetune" and s.tap == BEST,
}


def constants(scenarios: list[Scenario]) -> dict[str, str]:
    """The key of each policy that takes one scenario whatever the data, as far as it is planned."""
    found = {}
    for name, meant in CONSTANTS.items():
        keys = [scenario.key for scenario in scenarios if meant(scenario)]
        if keys:
            (found[name],) = keys
    return found
