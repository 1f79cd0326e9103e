"""A scenario from its key: what `Scenario.key` writes, read back.

An ensemble's key names its members by their number only, so it belongs to a study and is refused.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from medgraft.data.augment import PRESETS
from medgraft.data.preprocess import edit_from_key
from medgraft.errors import ScenarioError
from medgraft.features.encoders import POOLINGS
from medgraft.features.feature_plan import TRAINED, encoder_of
from medgraft.learn.fit import FAMILIES
from medgraft.learn.heads import HEADS
from medgraft.learn.training_recipe import RECIPES, Recipe, recipe_of
from medgraft.studies.plan import encoder_params
from medgraft.types import Scenario

FORM = "FAMILY/BACKBONE/LAYER/…/HEAD, such as probe/tf_efficientnet_lite0/blocks.5/svm"


def scenario_from_key(key: str, seed: int = 0) -> Scenario:
    """The scenario of that key: `scenario_from_key(s.key, s.seed) == s`, but for ensembles.

    Raises
    ------
    ScenarioError
        The key has another form, or names what does not exist. Whether the backbone and its layer
        do turns out where they are loaded.

    Examples
    --------
    >>> scenario_from_key("finetune/net/blocks.4/strong/rate1e-4/logistic").params
    (('rate', '1e-4'),)
    >>> scenario_from_key("multiscale/net/stages/s224+544/mean/clahe2-8/svm").sizes
    (224, 544)
    """
    family, *parts = key.strip().split("/")
    if family == "ensemble":
        raise ScenarioError(
            f"{key} joins scenarios that its key does not name; run it in a study, with "
            "--families probe,ensemble"
        )
    if family not in FAMILIES or len(parts) < 3:
        raise ScenarioError(
            f"{key!r} is no scenario's key: it must be {FORM}, its family one of "
            f"{', '.join(name for name in FAMILIES if name != 'ensemble')}; result.json lists the "
            "keys of a study"
        )
    backbone, tap, *rest, head = parts
    known = ("logistic",) if family in TRAINED else tuple(HEADS)
    if head not in known:
        raise ScenarioError(f"{key} ends with {head!r}; its head must be {' or '.join(known)}")
    fields = _fields(rest)
    words = fields.pop("rest")
    params = tuple(one for word in words for one in _params(family, word, key))
    found = Scenario(family, backbone, tap, head, params=params, seed=seed, **fields)
    if family == "vlad":
        encoder_of(found)
    elif family in TRAINED:
        recipe_of(params)
    if found.key != key.strip():
        raise ScenarioError(f"{key} is not written as keys are; write {found.key}")
    return found


def _fields(words: list[str]) -> dict[str, Any]:
    """The fields that a key's middle parts name, in the order in which `Scenario.key` writes them.

    `rest` is what is left: the family's params.
    """
    waiting = [*words, ""]  # '' stands for the end and is nothing's name
    found: dict[str, Any] = {}
    if waiting[0] in POOLINGS:
        found["pooling"] = waiting.pop(0)
    if re.fullmatch(r"s\d+(\+\d+)*", waiting[0]):
        found["sizes"] = tuple(int(size) for size in waiting.pop(0)[1:].split("+"))
    if waiting[0] == "mean":
        found["join"] = waiting.pop(0)
    if waiting[0] in ("crop", "pad"):
        found["resize"] = waiting.pop(0)
    edits = []
    while edit := _edit(waiting[0]):
        edits.append(edit)
        waiting.pop(0)
    preset = re.fullmatch(r"(.+?)\d*", waiting[0])
    if preset and preset[1] in PRESETS:
        found["augment"] = waiting.pop(0)
    return {**found, "edits": tuple(edits), "rest": waiting[:-1]}


def _edit(word: str) -> str:
    """An edit's full key, such as `raw+clahe2-8`; '' where the word names none."""
    ways = word.split("+")
    try:
        keys = [way if way == "raw" else edit_from_key(way).key for way in ways]
    except ScenarioError:
        return ""
    return "+".join(keys)


def _params(family: str, word: str, key: str) -> tuple[tuple[str, str], ...]:
    """One part of a key as `params`: an encoder's setting, or a training recipe's."""
    if family == "vlad":
        return encoder_params(word)
    if family in TRAINED:
        if word in RECIPES:
            return ((word, ""),)
        names = [field.name for field in dataclasses.fields(Recipe) if word.startswith(field.name)]
        if names:
            name = max(names, key=len)  # rate_decay0.5 begins with rate, too
            return ((name, word.removeprefix(name)),)
    raise ScenarioError(f"{key}: {word!r} says nothing about a scenario of the family {family}")
