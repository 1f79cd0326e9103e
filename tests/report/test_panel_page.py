"""The page of several findings, drawn from made-up numbers."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from medgraft.files import json_value
from medgraft.report.pages.panel import PanelPage, render_panel
from medgraft.report.panel_json import panel_json
from medgraft.report.text import panel as words
from medgraft.results.figures import Comparison
from medgraft.results.panel import (
    Company,
    FindingResult,
    OneScenario,
    OtherReading,
    PanelResult,
    ShortFinding,
)
from medgraft.types import Estimate, Operating


def made(k: int) -> PanelResult:
    """k findings, the last but one not told, the first told only in company of the second."""
    rng = np.random.default_rng(0)
    names = [f"finding <{i}>" for i in range(k)]

    def estimate(value: float, half: float = 0.04) -> Estimate:
        return Estimate(value, value - half, min(1.0, value + half), 500, "made up")

    values = rng.uniform(0.6, 0.95, k)
    findings = tuple(
        FindingResult(
            name=name, folder=f"findings/f_{i}", n_images=900, n_with=40 + 3 * i, n_groups=400,
            n_uncertain=7 * (i == 2), share=estimate(0.1), scenario="probe/x/y/svm",
            own="probe/x/y/svm", validation={"auroc": estimate(values[i])},
            test={"auroc": estimate(values[i], 0.1)}, corrected=estimate(values[i]),
            operating=Operating(0.2, "made up"), p=0.3 if i == k - 2 else 0.001,
            tested=i != 1, told="not told" if i == k - 2 else "told",
            others=(OtherReading("negative", 907, 40, estimate(0.7)),
                    OtherReading("positive", 907, 47, None)) if i == 2 else (),
        )
        for i, name in enumerate(names)
    )  # fmt: skip
    company = tuple(
        Company(
            a, b, 20, 30, estimate(0.8), estimate(0.52 if i == 0 else 0.79),
            Comparison("", "", *((-0.28, -0.4, -0.1, 0.001) if i == 0 else (0.0, -0.1, 0.1, 1.0))),
        )
        for i, (a, b) in enumerate(itertools.pairwise(names))
    )  # fmt: skip
    pairs = {(a, b): 20 for i, a in enumerate(names) for b in names[i + 1 :]}
    return PanelResult(
        metric="auroc", data={"n_images": 900, "n_groups": 400, "findings": names, "splits": {}},
        uncertain="unknown", findings=findings,
        short=(ShortFinding("hernia", 4, 3, 800, 10), ShortFinding("cyst", 30, 12, 80, 10, True)),
        scenario=OneScenario("probe/x/y/svm", 0.001, -0.002, 0.004, "one"),
        macro={"validation": {"auroc": estimate(0.8)}, "test": {"auroc": estimate(0.79)}},
        company=company, pairs=pairs, known_pairs=dict.fromkeys(pairs, 900), notes=(), skipped=(),
        versions={}, seconds=12.0,
    )  # fmt: skip


@pytest.mark.parametrize("k", [3, 40])
def test_the_page_shows_every_finding_and_names_none_as_markup(k):
    page = render_panel(made(k), PanelPage("medgraft study x", {}))
    assert "<0>" not in page
    for i in range(k):
        assert f"finding &lt;{i}&gt;</a>" in page
    assert "WARN: told only in company of finding &lt;1&gt;" in page
    assert "not told from chance" in page
    assert "cyst has 12 patients" in page


def test_what_is_not_judged_says_what_it_takes():
    few, torn = map(words.short_sentence, made(3).short)
    assert "3 patients with it" in few
    assert "7 more" in few
    assert "no fold holds two of them" in torn


def test_a_finding_that_is_hardly_ever_alone_is_said_not_to_be_judged():
    found = made(3)
    assert words.seldom_alone(found) == ""
    found = replace(found, pairs={**found.pairs, ("finding <0>", "finding <2>"): 38})
    assert "finding <0> without finding <2> (2 images)" in words.seldom_alone(found)


def test_result_json_holds_it_and_is_plain_json():
    content = json.loads(json.dumps(json_value(panel_json(made(4)))))
    assert [one["warn"] for one in content["company"]] == [True, False, False]
    assert [one["only"] for one in content["company"]] == [True, False, False]
    assert content["findings"][2]["others"][1]["figure"] is None
    assert content["not_judged"][0]["why"].startswith("hernia")
    assert len(content["together"]) == 6


def test_it_is_said_where_one_network_learned_all_findings():
    frozen = made(3)
    tuned = replace(frozen.findings[0], scenario="finetune/x/blocks.5/logistic")
    trained = replace(frozen, findings=(tuned, *frozen.findings[1:]))
    assert "learned all findings at once" in words.scenario_sentence(trained)
    assert "learned" not in words.scenario_sentence(frozen)
