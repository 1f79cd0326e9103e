"""What scenarios read of images, and how long reading and judging them should take.

Reading is timed on a few images of the data at hand, with the networks at hand; nothing of it is
kept. What heads and encoders take is reckoned by their sizes: it is the smaller part, and what was
reckoned wrongly shows in the first step of a race (`race.py`).
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from medgraft.features.extract import Extractor, base_of, pixels
from medgraft.features.feature_plan import encoder_of, feature_plan_of
from medgraft.profile.hashes import evenly_drawn
from medgraft.scenario import Scenario
from medgraft.studies.plan import PlannedScenario
from medgraft.types import Canvas, Edit, FeatureSpec, ImageTable

TIMED = 12  # images that are read to know how long all take
WARM = 2  # of them before, for a network is set up with the first
OVERHEAD = 0.2  # seconds of a scenario, however few images: judged, compared, tested
HEAD_NUMBERS = {"knn": 1e7, "logistic": 5e6, "rbf": 4e5, "svm": 2e6, "lda": 2e6, "ordinal": 5e6}
"""Numbers (images x channels x scores of an image) a second that a head learns from, all folds."""
ENCODED_NUMBERS = 2e6  # descriptors' numbers a second that encoders are fitted to and encode


def inputs_of(
    planned: Sequence[PlannedScenario], extractor: Extractor, view: Edit | None = None
) -> list[FeatureSpec]:
    """What the network is asked for by any scenario: codes, or the descriptors to be encoded.

    view : of what frozen scenarios are asked for, in the view in which images are judged.
    """
    found: dict[FeatureSpec, None] = {}
    for entry in planned:
        if view is not None and entry.scenario.trained:
            continue
        for scenario in entry.scenario.members or (entry.scenario,):
            feature_plan = feature_plan_of(scenario, extractor)
            if encoder_of(scenario) is None:
                found |= dict.fromkeys(feature_plan.specs)
            else:
                found |= dict.fromkeys(feature_plan.grids.specs)
    if view is None:
        return list(found)
    return [dataclasses.replace(spec, edits=(view, *spec.edits)) for spec in found]


def still_to_read(
    planned: Sequence[PlannedScenario], table: ImageTable, extractor: Extractor
) -> int:
    """How many images of a table the cache lacks something of that scenarios read."""
    lacking = np.zeros(len(table), bool)
    for spec in inputs_of(planned, extractor):
        lacking |= extractor.cache.features(spec).missing(table.content_hashes, spec.blocks)
    return int(lacking.sum())


def seconds_an_image(
    planned: Sequence[PlannedScenario], table: ImageTable, extractor: Extractor
) -> float:
    """What reading an image for these scenarios takes, by a few of the table."""
    specs = inputs_of(planned, extractor)
    drawn = evenly_drawn(len(table), TIMED, 0)
    _read_once(table.select(drawn[:WARM]), specs, extractor)
    began = time.perf_counter()
    _read_once(table.select(drawn), specs, extractor)
    return (time.perf_counter() - began) / len(drawn)


def _read_once(table: ImageTable, specs: Sequence[FeatureSpec], extractor: Extractor) -> None:
    """Read images as `Extractor.prepare` would, and keep nothing."""
    by_base: dict[tuple[object, ...], dict[FeatureSpec, list[str]]] = {}
    for spec in specs:
        recipe = dataclasses.replace(spec, taps=(), poolings=())
        blocks = by_base.setdefault(pixels(base_of(spec)), {}).setdefault(recipe, [])
        blocks += [block for block in spec.blocks if block not in blocks]
    for recipes in by_base.values():
        base = base_of(next(iter(recipes)))
        stream = (row for row in extractor.canvases(table, base) if isinstance(row, Canvas))
        deque(extractor.run_each(stream, base, list(recipes.items())), maxlen=0)


def judging_seconds(
    scenario: Scenario, n_images: int, n_classes: int, n_folds: int, extractor: Extractor
) -> float:
    """About what it takes to judge a frozen scenario out of fold, all that it reads being read."""
    if scenario.members:
        return OVERHEAD
    backbone = extractor.backbone(scenario.backbone)
    feature_plan = feature_plan_of(scenario, extractor)
    parts = len(feature_plan.specs) if scenario.pixels.join == "concat" else 1
    width = parts * sum(tap.channels for tap in backbone.named(scenario.tap))
    seconds = OVERHEAD
    found = encoder_of(scenario)
    if found is not None:
        width = found[1].size(width)[0]
        descriptors = n_images * feature_plan.numbers(extractor)
        seconds += (n_folds + 1) * descriptors / ENCODED_NUMBERS
    scores = 1 if n_classes == 2 else n_classes
    speed = HEAD_NUMBERS[scenario.head]
    return seconds + n_images * width * scores / speed
