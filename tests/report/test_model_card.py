"""The card of a model: what it says, and that no name in it acts on who reads it."""

from __future__ import annotations

import dataclasses

import pytest

from medgraft.report.text.model_card import model_card
from medgraft.results.model_card import ModelFacts, RegionEffect
from medgraft.results.runs import Run
from medgraft.types import PLAIN, Card, Estimate, Operating

CARD = Card("net", "a package", "MIT", "A & B 2020", "ab" * 32, 224, (0.5,) * 3, (0.5,) * 3)
RUN = Run(
    path="/home/jane/run",
    kind="study",
    state="finished",
    images=120,
    patients=60,
    splits={"train": 100, "test": 20},
    metric="auroc",
    corrected=Estimate(0.9, 0.85, 0.94, 100, "corrected"),
    figures={"test": {"auroc": Estimate(0.91, 0.8, 0.97, 20, "DeLong")}},
    verdict="WARN",
    fingerprint="63546f16ac30b579",
    command="medgraft study /home/jane/images",
)
FACTS = ModelFacts(
    key="probe/net/blocks.5/svm",
    classes=("normal", "sick"),
    positive="sick",
    operating=Operating(0.25, "half", 0.5),
    networks=1,
    cards=(CARD,),
    size=224,
    resize="squash",
    edits=(),
    rule=PLAIN,
    learned={"normal": 60, "sick": 40},
    run=RUN,
    slope={"test": Estimate(0.6, 0.5, 0.7, 20, "Firth")},
    regions=(RegionEffect("region_decides", "warn", "border ring", 0.088, 0.044, 0.138),),
)


@pytest.mark.parametrize(
    "words",
    [
        "60 normal and 40 sick",
        "| AUROC | 0.910 | 0.800–0.970 | 20 |",
        "AUROC 0.900 (0.850–0.940)",
        "from a probability of 0.25 on; of a patient's mean probability 0.5",
        "Calibration slope, test: 0.600 (0.500–0.700)",
        "**WARN**",
        "the border ring, 8.8 % of labels (4.4 % to 13.8 %)",
        "licence: MIT",
        "`63546f16ac30b579`",
        "For research only",
    ],
)
def test_what_the_study_found_is_said(words: str) -> None:
    assert words in model_card(FACTS)


def test_a_model_without_its_study_says_so() -> None:
    card = model_card(dataclasses.replace(FACTS, run=None, cards=(), learned={}))
    assert "bundled apart from its study" in card
    assert 'license: "other"' in card
    assert "Nobody can say from this file" in card


def test_no_path_is_in_it() -> None:
    assert "jane" not in model_card(FACTS)


def test_a_name_acts_on_nobody() -> None:
    yaml = pytest.importorskip("yaml")
    bad = 'a|b<script>\n---\nlicense: evil\n# x`"'
    cards = (dataclasses.replace(CARD, licence=bad),)
    facts = dataclasses.replace(FACTS, classes=(bad, "sick"), learned={bad: 1}, cards=cards)
    card = model_card(facts)
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "other"
    assert "<script>" not in body
    assert "\nlicense: evil" not in body
