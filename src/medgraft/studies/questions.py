"""Questions that a study answers for the data at hand: does this way help, and does that family?

A *way* is one thing done otherwise than plainly: contrast equalised, views added, larger inputs.
Each way is asked about once, against the twin that is the same scenario but for it. Each family is
asked about by its best scenario against the best probe. All are paired comparisons out of fold; p
values are corrected for the number of questions (Holm), and a difference counts as seen where the
corrected p is below .05.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from medgraft.evaluate.compare import compare, holm
from medgraft.evaluate.metrics import LOWER_IS_BETTER
from medgraft.types import Answer, Comparison, Predictions, Question, Scenario

LEVEL = 0.05
FAMILY_WORDS = {
    "multiscale": "other input sizes",
    "vlad": "encoded descriptors",
    "ensemble": "several scenarios joined",
    "finetune": "a network trained again",
    "hybrid": "VGG's first blocks with trained separable ones",
}

Asked = tuple[str, str, str]
"""A question, the key of what is new, and the key of what it is held against."""


def answer(
    scenarios: Sequence[Scenario],
    oof: Mapping[str, Predictions],
    values: Mapping[str, float],
    metric: str,
) -> tuple[Question, ...]:
    """The questions that the compared scenarios allow, answered.

    Parameters
    ----------
    scenarios : all that were judged, simplest first.
    oof : out-of-fold predictions by key.
    values : the metric by key.

    Raises
    ------
    LeakError
        Test images are among the predictions.
    """
    sign = -1 if metric in LOWER_IS_BETTER else 1
    worth = {key: sign * v if math.isfinite(v) else -math.inf for key, v in values.items()}
    asked = list(_about_ways(scenarios, worth))
    pairs = {(new, held) for _, new, held in asked}
    # A pair that was asked about is not asked about again, for each question weakens the others.
    asked += [one for one in _about_families(scenarios, worth) if one[1:] not in pairs]
    found = [compare(oof[new], [oof[held]], metric)[0] for _, new, held in asked]
    corrected = holm([comparison.p for comparison in found])
    return tuple(
        _answered(text, dataclasses.replace(comparison, p=p), sign)
        for (text, _, _), comparison, p in zip(asked, found, corrected, strict=True)
    )


def _answered(text: str, comparison: Comparison, sign: int) -> Question:
    found: Answer = "no difference seen"
    if comparison.p < LEVEL and comparison.difference != 0:
        found = "better" if sign * comparison.difference > 0 else "worse"
    return Question(text, comparison, found)


# --------------------------------------------------------------------------- ways


def _about_ways(scenarios: Sequence[Scenario], worth: Mapping[str, float]) -> Iterator[Asked]:
    """Each way once, where its twin does best.

    Where some head and pooling were judged with every way, all are asked about with these, so that
    the answers can be laid side by side.
    """
    found: dict[tuple[str, str], list[tuple[Scenario, Scenario]]] = {}
    for scenario in scenarios:
        way, twin = _way(scenario)
        if twin is not None and twin.key in worth:
            found.setdefault((scenario.backbone, way), []).append((scenario, twin))
    by_all = [{(twin.head, twin.pooling) for _, twin in pairs} for pairs in found.values()]
    shared = set.intersection(*by_all) if by_all else set()
    several = len({backbone for backbone, _ in found}) > 1
    for (backbone, way), pairs in found.items():
        usual = [pair for pair in pairs if (pair[1].head, pair[1].pooling) in shared]
        new, twin = max(usual or pairs, key=lambda pair: worth[pair[1].key])
        place = f"{twin.tap} of {backbone}" if several else twin.tap
        yield f"{way} ({place}, {twin.head})?", new.key, twin.key


def _way(scenario: Scenario) -> tuple[str, Scenario | None]:
    """What a scenario does otherwise, in words, and its twin that does not; None where it has none.

    The twin need not have been judged.
    """
    if scenario.members:
        first, last = scenario.members[0], scenario.members[-1]
        if scenario.head != "mean" or not last.edits:
            return "", None
        return f"Does it help to average raw and {edit_name(last.edits[0])} probabilities", first
    if scenario.augment:
        twin = dataclasses.replace(scenario, augment="")
        return f"Do augmented views ({scenario.augment}) help", twin
    if scenario.family == "multiscale":
        twin = dataclasses.replace(scenario, family="probe", sizes=(), join="concat")
        if len(scenario.sizes) == 1:
            return f"Does an input of {scenario.sizes[0]} pixels help", twin
        sizes = " and ".join(map(str, scenario.sizes))
        how = "averaged" if scenario.join == "mean" else "side by side"
        return f"Do codes at {sizes} pixels, {how}, help", twin
    if scenario.family == "probe" and len(scenario.edits) == 1:
        twin = dataclasses.replace(scenario, edits=())
        edit = scenario.edits[0]
        if "+" in edit:
            beside = " and ".join(edit_name(part) for part in edit.split("+") if part != "raw")
            return f"Does {beside} help beside the raw image", twin
        return f"Does {edit_name(edit)} help instead of the raw image", twin
    return "", None


def edit_name(edit: str) -> str:
    """An edit in words; its parameters are told where they are not the usual ones.

    >>> edit_name("raw"), edit_name("clahe2-8"), edit_name("clahe4-8")
    ('raw', 'CLAHE', 'CLAHE 4-8')
    """
    return "CLAHE" if edit == "clahe2-8" else edit.replace("clahe", "CLAHE ")


# --------------------------------------------------------------------------- families


def _about_families(scenarios: Sequence[Scenario], worth: Mapping[str, float]) -> Iterator[Asked]:
    """The best scenario of each other family against the best probe."""
    best: dict[str, Scenario] = {}
    for scenario in scenarios:  # the simplest of equals stays
        held = best.get(scenario.family)
        if held is None or worth[scenario.key] > worth[held.key]:
            best[scenario.family] = scenario
    probe = best.pop("probe", None)
    for family, scenario in best.items():
        if probe is not None:
            words = FAMILY_WORDS.get(family, family)
            text = f"Is the best of {family} ({words}) better than the best probe?"
            yield text, scenario.key, probe.key
