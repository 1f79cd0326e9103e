"""A scenario in few words, in a sentence, and in full: what charts, tables and texts call it.

Keys such as `multiscale/NET/stages/s224+544/mean/svm` stay what one types; people read
`stages · 224, 544 px averaged · svm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medgraft.report.text import formatting
from medgraft.results.study import ClassifierFacts, DepthPoint, NoMap
from medgraft.results.training import TrainedStages
from medgraft.scenario import BEST, INPUT, Encoded, Finetune, Pooled, Scenario

HEAD_WORDS = {
    "svm": "a linear support vector machine",
    "logistic": "logistic regression",
    "lda": "a linear discriminant",
    "ordinal": "one value that rises with the grade, cut at thresholds (cumulative logits)",
    "rbf": "a support vector machine with curved borders (RBF)",
    "knn": "a vote of the most alike development images (kNN)",
}
ENCODER_WORDS = {  # in a word, and what becomes of what was found at each place
    "vlad": (
        "VLAD",
        "sorted into {number} kinds learned from your images, and how it departs from its kind is "
        "summed up (VLAD)",
    ),
    "fisher": ("Fisher", "held against {number} kinds learned from your images (Fisher vector)"),
    "bilinear": ("bilinear", "summed up by which findings occur together (bilinear)"),
    "pyramid": ("pyramid", "summed up over parts of the picture (spatial pyramid)"),
}


def short_names(scenarios: Sequence[Scenario]) -> tuple[str, dict[str, str]]:
    """What all scenarios share, and by key what tells each from the others.

    >>> short_names([Scenario.from_key(f"probe/net/{tap}/svm") for tap in ("stem", "blocks.6")])
    ('net', {'probe/net/stem/svm': 'stem · svm', 'probe/net/blocks.6/svm': 'blocks.6 · svm'})
    """
    slots = {scenario.key: _slots(scenario) for scenario in scenarios}
    trained = [slots[scenario.key] for scenario in scenarios if scenario.trained]
    for name in ("encoder", "augment"):  # settings and views that all trained ones share
        if len({one[name] for one in trained}) == 1:
            for one in trained:
                one[name] = ""
    # Left out of the names is what every scenario has, but for the layer and the head.
    same = [
        name
        for name in ("backbone", "pooling", "edits", "resize")
        if len({one[name] for one in slots.values()}) == 1
    ]
    common = " · ".join(filter(None, (next(iter(slots.values()))[name] for name in same)))
    names = {
        key: " · ".join(text for name, text in one.items() if text and name not in same)
        for key, one in slots.items()
    }
    given = list(names.values())
    return common, {
        key: name if given.count(name) == 1 else key.replace("/", " · ")
        for key, name in names.items()
    }


def _slots(scenario: Scenario) -> dict[str, str]:
    """The parts of a name, '' where a part is the usual one."""
    if scenario.of_networks:
        plain = _slots(scenario.members[0])
        how = "averaged" if scenario.head == "mean" else "stacked"
        names = " + ".join(scenario.networks)
        return plain | {"backbone": names, "head": f"{plain['head']}, {how}"}
    if scenario.members and scenario.head == "mean":  # ways of seeing, their answers averaged
        ways = [_edit(member) or "raw" for member in scenario.members]
        return _slots(scenario.members[0]) | {"edits": f"{', '.join(ways)} averaged"}
    if scenario.members:
        what = f"{scenario.head} of {len(scenario.members)}"
        return {**_slots(scenario.members[0]), "tap": what, "encoder": "", "head": ""}
    trained, pixels, code = scenario.trained, scenario.pixels, scenario.code
    pooling = code.pooling if isinstance(code, Pooled) else "avg"
    return {
        "backbone": scenario.backbone,
        "tap": _trained_from(scenario.tap) if trained else scenario.tap,
        "encoder": settings(scenario) if trained else _encoder(scenario),
        "pooling": "" if pooling == "avg" else pooling,
        "sizes": _sizes(scenario),
        "edits": _edit(scenario),
        "augment": _views(scenario),
        "resize": "" if pixels.resize == "squash" else pixels.resize,
        "head": "" if trained else scenario.head,
    }


def _trained_from(tap: str) -> str:
    """The layer from which a network is trained, in two or three words."""
    return {BEST: "trained, best depth", INPUT: "trained whole"}.get(tap, f"trained from {tap}")


def settings(scenario: Scenario) -> str:
    """What differs from the usual recipe of training."""
    given = scenario.classifier.settings if isinstance(scenario.classifier, Finetune) else ()
    return ", ".join(f"{name.replace('_', ' ')} {value}".strip() for name, value in given)


def depths_in_words(depths: Mapping[str, TrainedStages]) -> dict[str, str]:
    """How much of a network is trained that is trained from each layer on."""
    return {depth: depth_in_words(depth, stages) for depth, stages in depths.items()}


def depth_in_words(depth: str, stages: TrainedStages) -> str:
    """How much of a network is trained that is trained from the layer `depth` on."""
    n, last = stages.of, stages.trained
    if depth == INPUT:
        return "everything is trained"
    if last == 0:
        return f"only what follows the {n} stages is trained"
    if last == n:
        return f"all {n} stages are trained"
    return f"the last {f'{last} of {n} stages are' if last > 1 else f'of {n} stages is'} trained"


def _sizes(scenario: Scenario) -> str:
    sizes = scenario.pixels.sizes
    if not sizes:
        return ""
    if scenario.pixels.join == "mean":
        return f"{', '.join(map(str, sizes))} px averaged"
    return f"{'+'.join(map(str, sizes))} px"


def _edit(scenario: Scenario) -> str:
    return " + ".join(formatting.name_edit(way) for ways in scenario.pixels.edits for way in ways)


def _views(scenario: Scenario) -> str:
    """The views that are read of an image; of training, the preset that each is changed by."""
    views = scenario.pixels.views
    if views is None:
        return ""
    return f"{views.number} views" if views.number else views.preset


def _encoder(scenario: Scenario) -> str:
    code = scenario.code
    if not isinstance(code, Encoded):
        return ""
    parts = [f"{ENCODER_WORDS[code.encoder][0]} {'-'.join(map(str, code.size))}"]
    parts += [f"PCA {code.pca}"] if code.pca is not None else []
    parts += [f"whitened to {code.white}"] if code.white is not None else []
    parts += ["hard"] if code.hard else []
    return ", ".join(parts)


def how_read(scenario: Scenario) -> str:
    """How a tap is read otherwise than by averaging one input, in two words; '' if it is not.

    >>> how_read(Scenario.from_key("vlad/net/t/k64/svm"))
    'VLAD 64'
    """
    several = len(scenario.pixels.sizes)
    sizes = _sizes(scenario) if several < 2 else f"{several} sizes"
    joined = " averaged" if scenario.pixels.join == "mean" else ""
    return " ".join(filter(None, (_encoder(scenario), sizes + joined)))


def way_of(point: DepthPoint) -> str:
    """The head of a point of the depth profile, or how its tap was read."""
    return how_read(point.beside) if point.beside else point.head


# --------------------------------------------------------------------------- in a sentence


def sentence(scenario: Scenario) -> str:
    """What becomes of an image, for whoever treats patients and trains no networks."""
    if scenario.members:
        return _joined(scenario)
    if scenario.trained:
        return _trained(scenario)
    seen, pixels = "each image", scenario.pixels
    if pixels.sizes:
        seen += f" at {formatting.join(map(str, pixels.sizes))} pixels"
    if pixels.edits:
        twice = len(pixels.edits[0]) > 1
        seen += f"{' as it is, and again' * twice} with its local contrast equalised (CLAHE)"
    text = (
        f"{scenario.backbone}, a network trained before on other images and left as it is, reads "
        f"{seen}. {_what_is_taken(scenario)} From that, {_who_decides(scenario)} gives the class."
    )
    if pixels.views:
        text += (
            f" It does so for {_views(scenario)} of each image, slightly changed as such images "
            f"may differ ({pixels.views.preset}), and averages the scores."
        )
    return text


def _trained(scenario: Scenario) -> str:
    where = {BEST: "from the layer on that did best in a search", INPUT: "all of it"}
    again = where.get(scenario.tap, f"from its layer {scenario.tap} on")
    text = f"{scenario.backbone}, a network trained before on other images, "
    if scenario.family == "hybrid":
        text = (
            f"{scenario.backbone}, whose first blocks were trained before on other images and "
            "whose last ones are new and light, "
        )
    text += f"was trained on your development images, {again}, and gives the class itself."
    if scenario.pixels.views:
        text += (
            f" While it learned, it saw each image changed a little otherwise every time "
            f"({scenario.pixels.views.preset}); in use it sees images as they are."
        )
    return text


def _who_decides(scenario: Scenario) -> str:
    if scenario.head == "knn":
        return "a vote of the development images most like it (kNN)"
    return f"{HEAD_WORDS.get(scenario.head, scenario.head)} fitted on your development images"


def _what_is_taken(scenario: Scenario) -> str:
    layer = "all its stages" if scenario.tap == "stages" else f"its layer {scenario.tap}"
    code = scenario.code
    if not isinstance(code, Encoded):
        how = "averaged" if scenario.pixels.join == "mean" else "side by side"
        joined = f", the readings {how}" if scenario.pixels.several else ""
        return f"What {layer} found is summed up over the whole picture{joined}."
    what = ENCODER_WORDS[code.encoder][1].format(number=code.size[0])
    return f"What {layer} found at each place is {what}."


def _joined(scenario: Scenario) -> str:
    n = len(scenario.members)
    if scenario.of_networks:
        first = scenario.members[0]
        how = {
            "mean": "averaged",
            "stack": "joined with weights that were chosen on images they had not learned from",
        }[scenario.head]
        return (
            f"{n} classifiers that differ in their network ({formatting.join(scenario.networks)}) "
            f"are asked, and their probabilities {how}. The first is this: {sentence(first)}"
        )
    if scenario.head == "mean":
        ways = [
            "on the image as it is" if not member.pixels.edits else "on the image after CLAHE"
            for member in scenario.members
        ]
        first = scenario.members[0].with_pixels(edits=())
        return (
            f"{n} classifiers of one kind, {formatting.join(ways)}, are asked, and their "
            f"probabilities averaged. Each is this: {sentence(first)}"
        )
    return (
        f"{n} scenarios are asked and their probabilities joined, each with a weight that was "
        "chosen on images it had not learned from. All read the image with "
        f"{formatting.join(dict.fromkeys(member.backbone for member in scenario.members))}, "
        "trained before on other images and left as it is."
    )


def why_no_map(classifier: ClassifierFacts, reason: NoMap) -> str:
    """Why there is no heatmap of a classifier's cases, in one sentence; '' where there is one."""
    scenario = classifier.scenario
    if not reason:
        return ""
    if reason == "no extent":
        return f"{classifier.taps[-1]} has no extent, so there are no places to mark"
    return why_no_gradient(scenario)


def why_no_gradient(scenario: Scenario) -> str:
    """Why no map leads from a classifier's score back to one image, in one sentence."""
    if scenario.members:
        return "this classifier joins the answers of several, each with evidence of its own"
    if scenario.head in ("knn", "rbf"):
        return "this classifier goes by likeness to other images, not by places in this one"
    if scenario.family == "vlad":
        return "this classifier counts what kinds of detail there are, wherever they lie"
    return "this classifier joins several readings of an image, and a map belongs to one"


# --------------------------------------------------------------------------- in full

OF_TWO_SCALES = (
    ", half of them on fewer pixels of an image and on views that come closer, so that they err in "
    "other ways"
)


@dataclass(frozen=True, slots=True)
class ScenarioFacts:
    """What the recommended classifier does: in a sentence or three, and in full.

    facts : by what they are about. members : of an ensemble, their names and weights.
    """

    sentence: str
    facts: Mapping[str, str]
    members: tuple[tuple[str, float], ...] = ()


def scenario_facts(classifier: ClassifierFacts) -> ScenarioFacts:
    """Everything that makes the recommended classifier, for who builds it again."""
    scenario = classifier.scenario
    if classifier.members:
        _, names = short_names([member.scenario for member, _ in classifier.members])
        members = tuple(
            (names[member.scenario.key], weight) for member, weight in classifier.members
        )
        stacked = scenario.head == "stack"
        how = "weights on their logarithms, chosen out of fold" if stacked else "mean"
        parts = [_facts(member) for member, _ in classifier.members]
        encoders = dict.fromkeys(part["Encoder"] for part in parts if "Encoder" in part)
        facts = {"Probabilities joined by": how}
        facts |= {name: text for name, text in parts[0].items() if _shared(parts, name)}
        if encoders and not _shared(parts, "Encoder"):
            facts["Encoders"] = "; ".join(encoders)
        return ScenarioFacts(sentence(scenario), facts, members)
    if scenario.trained:
        return ScenarioFacts(sentence(scenario), _facts_of_trained(classifier))
    return ScenarioFacts(sentence(scenario), _facts(classifier))


def _facts_of_trained(classifier: ClassifierFacts) -> dict[str, str]:
    scenario, networks = classifier.scenario, classifier.networks
    depth, stages = classifier.depth, classifier.stages
    views = scenario.pixels.views
    assert isinstance(scenario.classifier, Finetune)
    how = scenario.classifier.recipe
    facts = {
        "Network": scenario.backbone,
        "Trained from": f"{depth}: {depth_in_words(depth, stages)}" if stages else "",
        "Input": f"{classifier.size} px, resized by {scenario.pixels.resize}",
        "Image": _edit(scenario) or "raw",
        "While it learned": f"{views.preset}: `medgraft views` shows what that does"
        if views
        else "",
        "Training": f"{how.optimizer}, rate {how.rate:g}, {how.schedule} schedule, about "
        f"{how.batch_size} images a step, at most {how.epochs} epochs, label smoothing "
        f"{how.smoothing:g}, classes balanced by {how.balance}",
        "Told otherwise": settings(scenario),
        "Head": "linear, on the mean of the last map, trained with the network",
        "In use": f"the mean of the scores of {networks} networks, each trained without one fold"
        f"{OF_TWO_SCALES if how.differ == 'scale' and how.networks > 1 else ''}"
        if networks > 1
        else "",
    }
    return {name: text for name, text in facts.items() if text}


def _shared(parts: Sequence[Mapping[str, str]], name: str) -> bool:
    return len({part.get(name) for part in parts}) == 1


def _facts(classifier: ClassifierFacts) -> dict[str, str]:
    scenario, taps = classifier.scenario, classifier.taps
    pixels, code = scenario.pixels, scenario.code
    sizes = pixels.sizes or (classifier.size,)
    joined = "codes averaged" if pixels.join == "mean" else "codes side by side"
    if isinstance(code, Encoded):
        joined = "their descriptors in one bag"
    several = f", {joined}" if len(sizes) > 1 else ""
    facts = {
        "Network": scenario.backbone,
        "Layers" if len(taps) > 1 else "Layer": ", ".join(taps),
        "Input": f"{formatting.join(map(str, sizes))} px{several}, resized by {pixels.resize}",
        "Image": _edit(scenario) or "raw",
        "Views": f"{_views(scenario)} ({pixels.views.word}), scores averaged"
        if pixels.views
        else "",
        "Pooling": code.pooling if isinstance(code, Pooled) else "",
        "Encoder": _encoder_in_full(classifier),
        "Head": _head_in_full(classifier),
    }
    return {name: text for name, text in facts.items() if text}


def _encoder_in_full(classifier: ClassifierFacts) -> str:
    settings = classifier.settings.get("encoder")
    if settings is None:
        return ""
    said = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in settings.items()
        if name not in ("kind", "seed") and value is not None and not isinstance(value, bool)
    ]
    return f"{settings['kind']}: {', '.join(said)}"


def _head_in_full(classifier: ClassifierFacts) -> str:
    k = classifier.settings.get("head", {}).get("k")
    text = HEAD_WORDS.get(classifier.scenario.head, classifier.scenario.head)
    return f"{text}, k = {k}" if k is not None else text
