"""The card of a model in Markdown, with the header that model hubs read.

What a card holds follows Mitchell et al., "Model cards for model reporting" (FAT* 2019).
"""

from __future__ import annotations

import json
from typing import Any

from medgraft.report.text import formatting
from medgraft.report.text.audit_findings import VERDICTS, the
from medgraft.results.model_card import ModelFacts, RegionEffect
from medgraft.types import Card

HUB_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0")
PARTS = {"validation": "out of fold", "test": "test"}
RESEARCH = (
    "For research only. This is not a medical device; take no decision about a patient from it."
)


def model_card(facts: ModelFacts) -> str:
    """The whole card, its header first."""
    parts = [
        _header(facts),
        f"# {_cell(facts.key)}",
        f"> {RESEARCH}",
        _what(facts),
        "## What it learned from",
        _data(facts),
        "## Figures",
        _figures(facts),
        "## Probabilities and labels",
        _labels(facts),
        "## What its decisions rest on",
        _audit(facts),
        "## Limits",
        _limits(facts),
        "## Weights: origin and licence",
        "\n".join(map(_origin, facts.cards)) or "No pretrained network answers.",
        "## Use",
        "```\npip install medgraft\nmedgraft predict model.medgraft image.png\n```",
        _versions(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


# --------------------------------------------------------------------------- for machines


def _header(facts: ModelFacts) -> str:
    """YAML between lines of dashes; every value in JSON, which YAML reads."""
    names = sorted({card.licence.lower() for card in facts.cards})
    known = len(names) == 1 and names[0] in HUB_LICENCES
    fields: dict[str, Any] = {
        "license": names[0] if known else "other",
        "library_name": "medgraft",
        "pipeline_tag": "image-classification",
        "tags": ["medgraft", "medical-imaging", "transfer-learning", "image-classification"],
        "model-index": _model_index(facts),
    }
    if not known:
        fields["license_name"] = ", ".join(names)
    lines = [f"{key}: {json.dumps(value)}" for key, value in fields.items() if value]
    return "\n".join(["---", *lines, "---"])


def _model_index(facts: ModelFacts) -> list[dict[str, Any]]:
    if facts.run is None:
        return []
    results = []
    for part, words in PARTS.items():
        figures = facts.run.figures.get(part, {})  # type: ignore[call-overload]
        metrics = [
            {"type": name, "value": round(one.value, 6), "name": formatting.name_metric(name)}
            for name, one in figures.items()
            if not formatting.is_missing(one.value)
        ]
        if metrics:
            data = {"name": f"training data, {words}", "type": f"medgraft-{facts.run.fingerprint}"}
            task = {"type": "image-classification", "name": "Image classification"}
            results.append({"task": task, "dataset": data, "metrics": metrics})
    return [{"name": facts.key, "results": results}] if results else []


# --------------------------------------------------------------------------- for people


def _what(facts: ModelFacts) -> str:
    kinds = formatting.join(_cell(name) for name in facts.classes)
    networks = f", the mean of {facts.networks} networks" if facts.networks > 1 else ""
    edits = "".join(f", then {formatting.name_edit(one)}" for one in facts.edits)
    depth = (
        ""
        if facts.rule.plain
        else f" Stored values {facts.rule.low:g} to {facts.rule.high:g} are shown black to white."
    )
    return (
        f"An image classifier{networks}: it tells {kinds}. An image is brought to "
        f"{facts.size} × {facts.size} pixels ({facts.resize}{edits}).{depth} The scenario in words "
        f"that medgraft reads: `{_cell(facts.key)}`."
    )


def _data(facts: ModelFacts) -> str:
    run, lines = facts.run, []
    if facts.learned:
        shares = [f"{formatting.count(n)} {_cell(name)}" for name, n in facts.learned.items()]
        lines.append(f"- Images learned from: {formatting.join(shares)}.")
    if run is not None:
        whole = formatting.images_of_groups(run.images, run.patients)
        splits = ", ".join(f"{_cell(k)} {formatting.count(n)}" for k, n in run.splits.items())
        lines.append(f"- The data set: {whole}" + (f" ({splits})." if splits else "."))
        lines.append(f"- Fingerprint of the data set: `{_cell(run.fingerprint)}`.")
    if facts.adapted:
        lines.append(
            f"- Its threshold or probabilities were set anew on {formatting.count(facts.adapted)} "
            "unlabelled images of another place; no figure below was measured since."
        )
    return "\n".join(lines) or "Not known: the model was bundled apart from its study."


def _figures(facts: ModelFacts) -> str:
    run = facts.run
    if run is None or not run.figures:
        return "None: the model was bundled apart from its study."
    columns = [part for part in PARTS if run.figures.get(part)]  # type: ignore[call-overload]
    head = ["metric"]
    for part in columns:
        head += [PARTS[part], "95 % interval", "images"]
    rows = [head, ["---"] * len(head)]
    names = dict.fromkeys(name for part in columns for name in run.figures[part])  # type: ignore[index]
    for name in names:
        row = [formatting.name_metric(name)]
        for part in columns:
            one = run.figures[part].get(name)  # type: ignore[index]
            row += (
                ["", "", ""]
                if one is None
                else [
                    formatting.value(name, one.value),
                    formatting.interval(name, one),
                    formatting.count(one.n),
                ]
            )
        rows.append(row)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = [
        "Out of fold: each image judged by a model that has not learned from it or its patient."
    ]
    if run.corrected is not None:
        one = run.corrected
        notes.append(
            f"Corrected for the choice among {len(run.scenarios)} scenarios: "
            f"{formatting.name_metric(run.metric)} {formatting.value(run.metric, one.value)} "
            f"({formatting.interval(run.metric, one)})."
        )
    if not run.figures.get("test"):
        notes.append("No test split was looked at.")
    return f"{table}\n\n{' '.join(notes)}"


def _labels(facts: ModelFacts) -> str:
    lines = []
    if facts.operating is None:
        lines.append("- The label is the most probable class.")
    else:
        one = facts.operating
        patients = (
            f"; of a patient's mean probability {one.by_group:.4g}"
            if one.by_group is not None
            else ""
        )
        lines.append(
            f"- Labelled {_cell(facts.positive or '')} from a probability of {one.threshold:.4g} "
            f"on{patients} (rule: {_cell(one.rule)})."
        )
    for part, slope in facts.slope.items():
        lines.append(
            f"- Calibration slope, {PARTS.get(part, part)}: "
            f"{formatting.value('calibration_slope', slope.value)} "
            f"({formatting.interval('calibration_slope', slope)}); 1 is right, below 1 the "
            "probabilities are too extreme."
        )
    for part, share in facts.coverage.items():
        lines.append(
            f"- Prediction sets that promise {formatting.percent(1 - facts.alpha)} of each class "
            f"hold, {PARTS.get(part, part)}: {formatting.value('sensitivity', share.value)} "
            f"({formatting.interval('sensitivity', share)})."
        )
    return "\n".join(lines)


def _audit(facts: ModelFacts) -> str:
    run = facts.run
    if run is None or not run.verdict or run.verdict not in VERDICTS:
        return "Not audited: `medgraft audit MODEL DATA` finds out."
    lines = [f"Evidence audit: **{run.verdict}**, {VERDICTS[run.verdict]}."]  # type: ignore[index]
    lines += [f"- {region_sentence(one)}" for one in facts.regions]
    return "\n".join(lines[:1]) + ("\n\n" + "\n".join(lines[1:]) if lines[1:] else "")


def region_sentence(one: RegionEffect) -> str:
    """What warned, and by how much labels follow it."""
    said = f"{formatting.capitalised(formatting.name_check(one.check))} ({one.severity})"
    if one.region:
        said += f": {the(_cell(one.region))}"
    if one.effect is None or one.low is None or one.high is None:
        return said
    low, high = formatting.percent(one.low), formatting.percent(one.high)
    return f"{said}, {formatting.percent(one.effect)} of labels ({low} to {high})"


def _limits(facts: ModelFacts) -> str:
    lines = [
        "The figures hold for images made as those learned from were, of such patients; elsewhere "
        "judge it first: `medgraft evaluate MODEL DATA`, or without labels `medgraft adapt`.",
        "It answers for any picture, also of another kind than those learned from; what "
        "`medgraft predict` calls unlike should not be believed.",
        "It knows no class but those above.",
    ]
    if facts.run is None:
        lines.append("Nobody can say from this file how well it does.")
    elif facts.run.patients == facts.run.images:
        lines.append(
            "No image was known to be of the same patient as another; if some are, the figures "
            "flatter."
        )
    return "\n".join(f"- {line}" for line in lines)


def _origin(card: Card) -> str:
    learned = f"; pretraining data: {_cell(card.pretraining)}" if card.pretraining else ""
    return (
        f"- `{_cell(card.name)}`: {_cell(card.source)}; licence: {_cell(card.licence)}; "
        f"{_cell(card.credit)}{learned}; weights `{_cell(card.sha256)}`"
    )


def _versions(facts: ModelFacts) -> str:
    if facts.run is None or not facts.run.versions:
        return ""
    words = ", ".join(f"{_cell(k)} {_cell(v)}" for k, v in sorted(facts.run.versions.items()))
    return f"Made with {words}."


def _cell(text: str) -> str:
    """A name that somebody gave, on one line, with nothing that Markdown or HTML would act on."""
    line = " ".join(str(text).split())
    return line.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
