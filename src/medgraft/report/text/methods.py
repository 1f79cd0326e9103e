"""The methods and results of a study in the sentences of a paper, with the study's own numbers.

Only what the study did is said. What it cannot know (who the patients are, how labels came about)
stands as `[…]`, to be written by the authors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medgraft.report.text import formatting, scenario_names
from medgraft.report.text.headline import how_chosen
from medgraft.report.text.references import bibtex, in_words, works_in
from medgraft.results.study import ReportInput
from medgraft.scenario import Encoded, Finetune
from medgraft.types import Estimate, ImageTable

TO_FILL = "[…]"
NETWORKS = {  # the paper of a network, by how its name begins in timm
    "tf_efficientnet": "tan2019",
    "efficientnet": "tan2019",
    "vgg": "simonyan2015",
    "hybrid_vgg": "simonyan2015",
}
ENCODERS = {"vlad": "jegou2010", "fisher": "perronnin2010"}
FIGURES = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "macro_f1", "brier")

COPIES = "copies_kept_together"  # the finding that counts groups that were joined


def paragraphs(content: ReportInput) -> dict[str, str]:
    """A paragraph for each part of a methods section, and one of results; works named by key."""
    return {
        "Data": _data(content),
        "Models": _models(content),
        "Validation": _validation(content),
        "Statistics": _statistics(content),
        "Evidence": _evidence(content),
        "Software": _software(content),
        "Results": _results(content),
    }


def methods_page(content: ReportInput) -> str:
    """`methods.md`: the paragraphs in Markdown, works named as Pandoc and Quarto read them."""
    parts = [f"## {title}\n\n{text}\n" for title, text in paragraphs(content).items()]
    return (
        "# Methods and results, to be edited\n\n"
        f"Written from the numbers of this study; what stands as {TO_FILL} it cannot know. Works "
        "are named by their keys in `references.bib`. What CLAIM and TRIPOD+AI ask for besides "
        'stands in `report.html`, under "For a paper".\n\n' + "\n".join(parts)
    )


def references(content: ReportInput) -> str:
    """`references.bib`: the works that the paragraphs name, and the two reporting standards."""
    named = works_in(" ".join(paragraphs(content).values()))
    return bibtex((*named, "tejani2024", "collins2024"))


def readable(texts: Mapping[str, str]) -> dict[str, str]:
    """Paragraphs as a page shows them."""
    return {title: in_words(text) for title, text in texts.items()}


# --------------------------------------------------------------------------- what was studied


def _counted(table: ImageTable) -> str:
    n_groups = len(np.unique(table.groups))
    return formatting.images_of_groups(len(table), n_groups)


def _data(content: ReportInput) -> str:
    table = content.result.table
    counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    classes = formatting.join(
        f"{name} ({formatting.count(int(n))})"
        for name, n in zip(table.classes, counts, strict=True)
    )
    text = (
        f"We studied {_counted(table)}, from {TO_FILL} (source, dates, inclusion and exclusion "
        f"criteria), of {formatting.plural(len(table.classes), 'class', 'classes')}: {classes}. "
        f"Labels were {TO_FILL} (reference standard, who read, how they agreed). "
    )
    if table.positive is not None:
        text += f"The positive class was {table.positive}. "
    if table.skipped:
        lacked = formatting.plural(len(table.skipped), "image was", "images were")
        text += f"{lacked} left out (see the report for each reason). "
    if table.grouping.rule != "none":
        text += (
            "Images that belong together (of one patient, say) formed groups"
            f"{_torn(table)} ({table.grouping.text.partition('. ')[0].rstrip('.')}). "
            f"{_joined(content)}"
        )
    elif len(np.unique(table.groups)) < len(table):
        text += (
            "Which images are of one patient was not known; copies of an image were kept together. "
            f"{_joined(content)}{TO_FILL} (are others of one patient?). "
        )
    else:
        text += f"No two images were known to be of one patient; {TO_FILL} (is that so?). "
    return text + _splits(content)


def _torn(table: ImageTable) -> str:
    """Whether a split tore groups apart: one that came with the data may."""
    both = set(table.development.groups.tolist()) & set(table.test.groups.tolist())
    if not both:
        return ", which no split tore apart"
    return (
        f", of which {formatting.count(len(both))} have images on both sides of the test split "
        "that came with the data"
    )


def _joined(content: ReportInput) -> str:
    """Why there are fewer groups than were read, where copies joined some."""
    found = [one.numbers for one in content.result.findings if one.check == COPIES]
    fewer = sum(int(numbers["before"]) - int(numbers["after"]) for numbers in found)
    if not fewer:
        return ""
    left = len(np.unique(content.result.table.groups))
    return (
        f"Groups that share a copy of an image were joined: of {formatting.count(left + fewer)} "
        f"that were read, {formatting.count(left)} were left. "
    )


def _splits(content: ReportInput) -> str:
    table = content.result.table
    test = table.select(table.splits == "test")
    if not len(test):
        return "There was no test set: all figures are of images not learned from, out of fold."
    how = (
        "as published with the data"
        if content.how.test_given
        else "set aside at random before anything was learned, groups whole and classes in "
        "proportion"
    )
    return (
        f"The test set ({_counted(test)}) was {how}. It was used for no choice: scenario, "
        "hyperparameters, calibration and threshold were fixed on the other "
        f"{_counted(table.development)}, and {_looked(content.how.looks)}."
    )


def _looked(looks: int) -> str:
    if looks == 1:
        return "it was looked at once"
    return (
        f"it was looked at {looks} times: the study was stopped, left a report with figures of the "
        "test set, and went on with more scenarios, so that whoever let it go on may know them"
    )


# --------------------------------------------------------------------------- what was done


def _models(content: ReportInput) -> str:
    cards = content.how.backbones
    named = [f"{card.id}{_pretrained(card.pretraining)}{_work_of(card.name)}" for card in cards]
    families = {one.family for one in content.scenarios}
    tried = "; ".join(formatting.FAMILY_WORDS.get(one, one) for one in sorted(families))
    facts = scenario_names.scenario_facts(content.recipe)
    exactly = "; ".join(f"{name.lower()}: {text}" for name, text in facts.facts.items())
    return (
        f"Networks were {formatting.join(named)}. We compared "
        f"{formatting.plural(len(content.scenarios), 'way', 'ways')} of transferring them "
        f"({tried}{_encoders(content)}). The one that was recommended works like this: "
        f"{_impersonal(facts.sentence)} In full: {exactly}."
    )


def _pretrained(data: str) -> str:
    if not data:
        return f", pretrained on {TO_FILL}"
    return f", pretrained on {data}" + (" [@russakovsky2015]" if data == "ImageNet-1k" else "")


def _work_of(network: str) -> str:
    keys = [key for start, key in NETWORKS.items() if network.startswith(start)]
    return f" [@{keys[0]}]" if keys else f" {TO_FILL} (its paper)"


def _encoders(content: ReportInput) -> str:
    used = {one.code.encoder for one in content.scenarios if isinstance(one.code, Encoded)}
    keys = [f"@{key}" for name, key in ENCODERS.items() if name in used]
    return f" [{'; '.join(keys)}]" if keys else ""


def _impersonal(text: str) -> str:
    """Sentences that the report says to the reader, as their paper would."""
    return text.replace("your development images", "the development images")


def _order(content: ReportInput) -> str:
    order = ", ".join(content.result.table.classes)
    text = f"The classes are grades, the lowest first: {order}. "
    if content.result.metric == "quadratic_kappa":
        text += "Kappa weighs a mistake by the square of its distance [@cohen1968]. "
    if any(one.head == "ordinal" for one in content.scenarios):
        text += "Among the heads were cumulative logits [@mccullagh1980]. "
    return text


def _validation(content: ReportInput) -> str:
    result, n_folds = content.result, content.how.n_folds
    metric = formatting.name_metric(result.metric)
    if result.by_site is not None:
        dealt = f"{n_folds} folds, each of them sites whose images the models of it had not seen"
    else:
        dealt = f"{n_folds}-fold cross-validation, folds stratified by class, groups whole"
    text = (
        f"Scenarios were judged by {metric} in {dealt}, the same for all. What is fitted "
        "(codebooks, scaling, heads and their strength, calibration) was fitted inside the folds, "
        "nested where the same predictions would have chosen and judged. "
    )
    if result.table.ordered:
        text += _order(content)
    if content.changed:
        text += (
            "They were judged in changed views of the images, in which whoever goes by exposure, "
            "sharpness or frame alone fails. "
        )
    return text + _choice(content, metric) + _calibration(content) + _threshold(content)


def _choice(content: ReportInput, metric: str) -> str:
    """By what rule the scenario was taken, as far as it was."""
    why, recommended = content.result.why, content.result.recommended
    if why.for_all:
        return (
            "One scenario was taken for all findings, by the mean of their figures; this finding's "
            "own figure is not corrected for that. "
        )
    text = (
        "The simplest scenario was chosen that is expected, over resamples of groups, to lose at "
        f"most {formatting.margin(content.result.metric, why.margin)[1:]} of {metric} against the "
        "best; its figure was corrected for its having been chosen by a bootstrap over all "
        "scenarios [@tsamardinos2018]. "
    )
    failed = [
        key for key, one in why.audits.items() if one.verdict == "FAIL" and key != recommended
    ]
    if failed:
        were = formatting.plural(len(failed), "scenario was", "scenarios were")
        text += (
            f"Before it {were} passed over, whose decisions rested on a place declared to be no "
            "evidence (see below). "
        )
    return text


def _calibration(content: ReportInput) -> str:
    how = "Scores were turned into probabilities by temperature scaling with a bias for each class"
    classifier = content.recipe.scenario.classifier
    if isinstance(classifier, Finetune) and classifier.recipe.deploy == "distilled":
        return (
            "Figures out of fold, the threshold and the audit are of the networks of the folds. In "
            "use, and on the test set, one network answers that learned to answer as they do "
            f"[@hinton2015]. {how} [@guo2017], in use halfway between a fit to the labels and one "
            "to the answers of those networks, both on images that it learned from."
        )
    return f"{how} [@guo2017], fitted to out-of-fold scores."


def _threshold(content: ReportInput) -> str:
    at = content.judged.operating
    if at is None:
        return " The label was the most probable class."
    return (
        f" The threshold on the probability of {content.judged.positive}, "
        f"{formatting.number(at.threshold)}, was chosen out of fold ({at.rule})."
    )


def _statistics(content: ReportInput) -> str:
    judged = content.judged
    grouped = judged.n_groups < judged.n_images
    auroc = "[@delong1988; @obuchowski1997]" if grouped else "[@delong1988]"
    text = (
        "All intervals are of 95 %. Those of proportions are Wilson's [@wilson1927]"
        f"{' on the effective number of images' if grouped else ''}, that of AUROC DeLong's "
        f"{auroc}{', clustered by group' if grouped else ''}; out of fold, images were ranked "
        "within folds [@ledell2015]; other figures have bootstrap intervals"
        f"{' over groups' if grouped else ''}. Calibration was judged by its slope and intercept "
        "[@vancalster2019]. Scenarios were compared on the same resamples"
        f"{' of groups' if grouped else ''}, with p-values corrected for their number. "
    )
    if content.result.sets:
        alpha = next(iter(content.result.sets.values())).alpha
        text += (
            f"Prediction sets that miss at most {formatting.nominal(alpha)} of each class were "
            "formed from out-of-fold probabilities [@sadinle2019]. "
        )
    return text + f"The size of the samples was {TO_FILL} (planned, or what there was?)."


def _evidence(content: ReportInput) -> str:
    if content.result.audit is None:
        return "What the decisions rest on was not audited."
    if content.evidence is not None and not content.evidence.pairs:
        return (
            "What the decisions rest on was to be tested by regions exchanged between images, of "
            f"which there were too few; the verdict was {content.result.audit.verdict}."
        )
    pairs = f" of {content.evidence.pairs} pairs" if content.evidence else ""
    return (
        f"What the decisions rest on was tested by intervention: regions{pairs} of development "
        "images of two classes were exchanged, and the change of the score was measured by models "
        "that had not learned from the images; tests were corrected for their number. The verdict "
        f"was {content.result.audit.verdict}."
    )


def _software(content: ReportInput) -> str:
    versions = formatting.join(
        f"{'Python' if name == 'python' else name} {one}"
        for name, one in content.how.versions.items()
        if name != "medgraft"
    )
    own = content.how.versions.get("medgraft", TO_FILL)
    used = f" with {versions}" if versions else ""
    fingerprint = content.how.fingerprint or content.result.table.fingerprint
    return (
        f"Everything was computed by medgraft {own} [@medgraft2026]{used} (networks from timm "
        "[@wightman2019], heads from scikit-learn [@pedregosa2011]) on "
        f"{content.how.machine or TO_FILL}, seed {content.how.seed}. "
        f"The data's fingerprint is {fingerprint[:16]}."
    )


# --------------------------------------------------------------------------- what came out


def _results(content: ReportInput) -> str:
    result, judged = content.result, content.judged
    metric = result.metric
    where = "On the test set" if content.test_evaluation else "Out of fold"
    figures = [name for name in FIGURES if name in judged.estimates and name != metric]
    if judged.positive is None:
        figures = [name for name in figures if name not in FIGURES[:4]]
    listed = formatting.join(_figure(name, judged.estimates[name]) for name in figures)
    text = (
        f"{where} ({formatting.images_of_groups(judged.n_images, judged.n_groups)}) "
        f"{_figure(metric, judged.estimates[metric])}; {listed}. "
    )
    if content.test_evaluation or not result.why.for_all:
        among = f" among {len(content.scenarios)} scenarios" if not result.why.for_all else ""
        text += (
            f"Of images not learned from, {how_chosen(result.why)}{among}, "
            f"{_figure(metric, result.corrected)}. "
        )
    if content.by_patient is not None:
        whole = content.by_patient
        text += (
            f"By group ({formatting.count(whole.n_groups)}), with the mean probability of its "
            f"images, {_figure(metric, whole.estimates[metric])}. "
        )
    found = judged.calibration
    if found is not None and found.slope is not None:
        text += f"The {_figure('calibration_slope', found.slope)}"
        if found.intercept is not None:
            text += f", the {_figure('calibration_intercept', found.intercept)}"
        text += "."
    return text.rstrip()


def _figure(metric: str, estimate: Estimate) -> str:
    value, interval = (
        formatting.value(metric, estimate.value),
        formatting.interval(metric, estimate),
    )
    return f"{formatting.name_metric(metric)} was {value} ({interval})"
