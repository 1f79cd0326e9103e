"""The network that a study tries beside the default one, where nobody named any.

VGG-16's codes often tell more of few images than the default network's, and its forward pass costs
forty times as many multiply-adds. So it is tried where it is installed and the images are so few
that its pass is not felt. Whoever names a network gets that one alone.
"""

from __future__ import annotations

import dataclasses

from medgraft.errors import BackboneError, MissingExtraError
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.features.weights import PACKAGED
from medgraft.results.recommendation import SecondNetwork
from medgraft.studies.options import AUTO, StudyOptions
from medgraft.types import ImageTable

SECOND = "vgg16"
MOST = 600  # forward passes: two minutes, at the 5.9 images a second of two cores


def with_networks(options: StudyOptions, table: ImageTable, extractor: Extractor) -> StudyOptions:
    """The options with the networks that are compared, where they name none.

    Only frozen probes are doubled: what is trained takes the time that there is. Where a budget
    decides, the second network is offered, however many images there are. Weights that were given
    belong to the default network.
    """
    if options.backbones:
        return options
    plain = options.families in (("probe",), AUTO) and not extractor.weights
    passes = _passes(options, table)
    most = passes if options.automatic else MOST
    second = SecondNetwork(SECOND, passes, most) if plain else None
    if second is None or not _installed(second.backbone):
        return dataclasses.replace(options, backbones=(DEFAULT,))
    tried = (second.backbone,) if second.tried and not options.automatic else ()
    return dataclasses.replace(options, backbones=(DEFAULT, *tried), second=second)


def _passes(options: StudyOptions, table: ImageTable) -> int:
    """How often the network would read an image, over all images."""
    ways = {way for preprocess in options.preprocess for way in preprocess.split("+")}
    views = options.views - 1 if options.augment else 0
    return int((table.labels != -1).sum()) * (len(ways) + views)


def _installed(backbone: str) -> bool:
    """Whether the weights lie here."""
    try:
        PACKAGED[backbone].locate()
    except (BackboneError, MissingExtraError):
        return False
    return True
