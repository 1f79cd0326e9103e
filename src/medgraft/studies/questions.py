"""Questions that a study answers for the data at hand: does this help, and does that family?

A variation is one thing done otherwise than plainly: contrast equalised, views added, larger
inputs. Each is asked about once, against a baseline, the scenario that is the same but for it.
Where two networks are joined, the second and the join are held against the best probe of the first.
Each family is asked about by its best scenario against the best probe. All are paired comparisons
out of fold. Where what is compared was the best of several, difference, interval and p discount
that choice; p values are corrected for the number of questions (Holm), and a difference counts as
seen where the corrected p is below .05.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medgraft.evaluate.compare import holm
from medgraft.evaluate.metrics import METRICS
from medgraft.evaluate.winners_curse import Resampled, best, compare_chosen
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import Answer, Question, Variation
from medgraft.types import Floats, Ints, Scenario

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Asked:
    """A variation, and among which scenarios its two sides are chosen, as places in the study.

    paired : `new` and `baselines` go together in this order, and the best baseline is taken with
    its own; else the best of each side is. tap, head, backbone : as of a `Question`.
    """

    variation: Variation
    new: tuple[int, ...]
    baselines: tuple[int, ...]
    metric: str
    paired: bool = False
    tap: str = ""
    head: str = ""
    backbone: str = ""

    def choose(self, values: Floats) -> tuple[Ints, Ints]:
        """What is new and its baseline, from the metric (n_scenarios, n_resamples) of all."""
        new, baselines = np.array(self.new), np.array(self.baselines)
        at = best(values[baselines], self.metric)
        return new[at if self.paired else best(values[new], self.metric)], baselines[at]

    def pair(self, values: Floats) -> tuple[int, int]:
        """The two that are compared, from the metric on all images (n_scenarios,)."""
        new, baseline = self.choose(values[:, None])
        return int(new[0]), int(baseline[0])


def answer(scenarios: Sequence[Scenario], drawn: Resampled) -> tuple[Question, ...]:
    """The questions that the compared scenarios allow, answered.

    scenarios : all that were judged, simplest first. drawn : their metric, in this order, from
    `resample_in_and_out`, which refuses test images.
    """
    sign = METRICS[drawn.metric].sign
    asked = [*_about_variations(scenarios, drawn), *_about_networks(scenarios, drawn.metric)]
    pairs = {one.pair(drawn.values) for one in asked}
    # A pair that was asked about is not asked about again, for each question weakens the others.
    families = _about_families(scenarios, drawn.metric)
    asked += [one for one in families if one.pair(drawn.values) not in pairs]
    found = [compare_chosen(drawn, one.choose) for one in asked]
    return tuple(
        _answered(one, dataclasses.replace(comparison, p=p), sign)
        for one, comparison, p in zip(asked, found, holm([c.p for c in found]), strict=True)
    )


def _answered(asked: Asked, comparison: Comparison, sign: int) -> Question:
    found: Answer = "no difference seen"
    if comparison.p < LEVEL and comparison.difference != 0:
        found = "better" if sign * comparison.difference > 0 else "worse"
    several = max(len(asked.new), len(asked.baselines)) > 1
    return Question(
        asked.variation, comparison, found, several, asked.tap, asked.head, asked.backbone
    )


# --------------------------------------------------------------------------- variations


def _about_variations(scenarios: Sequence[Scenario], drawn: Resampled) -> Iterator[Asked]:
    """Each variation once, where its baseline does best.

    Where some head and pooling were judged with every variation, all are asked about with these, so
    that the answers can be laid side by side.
    """
    places = {scenario.key: i for i, scenario in enumerate(scenarios)}
    found: dict[tuple[str, Variation], list[tuple[Scenario, Scenario]]] = {}
    for scenario in scenarios:
        asked = _variation(scenario)
        if asked is not None and asked[1].key in places:
            variation, baseline = asked
            found.setdefault((scenario.backbone, variation), []).append((scenario, baseline))
    by_all = [{(plain.head, plain.code) for _, plain in pairs} for pairs in found.values()]
    shared = set.intersection(*by_all) if by_all else set()
    several = len({backbone for backbone, _ in found}) > 1
    for (backbone, variation), pairs in found.items():
        usual = [pair for pair in pairs if (pair[1].head, pair[1].code) in shared] or pairs
        new, baselines = (tuple(places[pair[side].key] for pair in usual) for side in (0, 1))
        one = Asked(variation, new, baselines, drawn.metric, paired=True)
        plain = scenarios[one.pair(drawn.values)[1]]
        yield dataclasses.replace(
            one, tap=plain.tap, head=plain.head, backbone=backbone if several else ""
        )


def _variation(scenario: Scenario) -> tuple[Variation, Scenario] | None:
    """What a scenario does otherwise, and the baseline that does not; None where there is none.

    The baseline need not have been judged.
    """
    pixels = scenario.pixels
    if scenario.members:
        first, last = scenario.members[0], scenario.members[-1]
        if scenario.head != "mean" or not last.pixels.edits:
            return None
        return Variation("averaged", last.pixels.edits[0][:1]), first
    if pixels.views:
        return Variation("views", views=pixels.views.word), scenario.with_pixels(views=None)
    if scenario.family == "multiscale":
        variation = Variation("sizes", sizes=pixels.sizes, join=pixels.join)
        return variation, scenario.with_pixels(sizes=(), join="concat")
    if scenario.family == "probe" and len(pixels.edits) == 1:
        (keys,) = pixels.edits
        edits = tuple(key for key in keys if key != "raw")
        variation = Variation("beside" if len(keys) > 1 else "instead", edits)
        return variation, scenario.with_pixels(edits=())
    return None


# --------------------------------------------------------------------------- networks


def _about_networks(scenarios: Sequence[Scenario], metric: str) -> Iterator[Asked]:
    """Where networks were joined: each further one, and the join, against the first's probes."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, scenario in enumerate(scenarios):
        if scenario.family == "probe" or scenario.of_networks:
            found.setdefault(scenario.networks, []).append(place)
    for joined in [networks for networks in found if len(networks) > 1]:
        first, *others = joined
        for networks in [*((other,) for other in others), joined]:
            new, baselines = tuple(found[networks]), tuple(found[first,])
            variation = Variation("network", networks=networks)
            yield Asked(variation, new, baselines, metric, backbone=first)


# --------------------------------------------------------------------------- families


def _about_families(scenarios: Sequence[Scenario], metric: str) -> Iterator[Asked]:
    """The best scenario of each other family against the best probe."""
    members: dict[str, list[int]] = {}
    for place, scenario in enumerate(scenarios):
        members.setdefault(scenario.family, []).append(place)
    probes = tuple(members.pop("probe", []))
    for family, places in members.items():
        if probes:
            yield Asked(Variation("family", family=family), tuple(places), probes, metric)
