"""What a study says of itself for a paper: its own numbers, works that exist, every item once."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest

from medgraft.report.pages.study import render, write_for_paper
from medgraft.report.text import checklists, methods, references
from medgraft.report.text.headline import headline
from medgraft.results.recommendation import AuditResult
from medgraft.results.study import ReportInput
from medgraft.scenario import Scenario
from medgraft.types import Finding, Grouping


@pytest.fixture(scope="module")
def content() -> ReportInput:
    return fabricate.with_training(fabricate.with_families(fabricate.study()))


@pytest.fixture(scope="module")
def plain() -> ReportInput:
    """Three classes, no test, nothing but what must be there."""
    return fabricate.study(("a", "b", "[@nobody] <i>c</i>"), tested=False, n=300)


def test_the_paragraphs_hold_the_numbers_of_the_study(content: ReportInput) -> None:
    text = " ".join(methods.paragraphs(content).values())
    table, judged = content.result.table, content.judged
    for name in table.classes:
        n = int((table.labels == table.classes.index(name)).sum())
        assert f"{name} ({n})" in text
    auroc = judged.estimates["auroc"]
    assert f"AUROC was {auroc.value:.3f} ({auroc.low:.3f}–{auroc.high:.3f})" in text
    found = 100 * judged.estimates["sensitivity"].value
    assert f"sensitivity was {found:.1f} %" in text
    assert f"{len(content.scenarios)} ways of transferring" in text
    assert "The test set (624 images of 208 groups)" in text
    assert "the other 600 images of 200 groups" in text
    assert "0.570" in text  # the threshold


def test_fewer_groups_than_were_read_are_explained(content: ReportInput) -> None:
    assert "were joined" not in methods.paragraphs(content)["Data"]
    n = len(np.unique(content.result.table.groups))
    numbers = {"groups": 5, "joined_into": 2, "before": n + 3, "after": n}
    joined = Finding("copies_kept_together", "info", "", numbers)
    result = dataclasses.replace(content.result, findings=(*content.result.findings, joined))
    text = methods.paragraphs(dataclasses.replace(content, result=result))["Data"]
    assert f"were joined: of {n + 3} that were read, {n} were left" in text


def test_who_made_the_test_split_is_told(content: ReportInput) -> None:
    assert "set aside at random" in methods.paragraphs(content)["Data"]
    given = dataclasses.replace(content, how=dataclasses.replace(content.how, test_given=True))
    assert "was as published with the data" in methods.paragraphs(given)["Data"]
    [split] = [item for item in checklists.claim(given) if item.number == "19"]
    assert "as given with the data" in split.answer


def test_nothing_is_said_of_a_test_or_a_threshold_that_is_not_there(plain: ReportInput) -> None:
    text = " ".join(methods.paragraphs(plain).values())
    assert "There was no test set" in text
    assert "On the test set" not in text
    assert "threshold on the probability" not in text
    assert "sensitivity" not in text
    assert "positive class" not in text
    answers = {item.number: item.answer for item in checklists.claim(plain)}
    assert "test" not in answers["32"]
    assert answers["19"].startswith("no test; 5 folds")


def test_what_was_chosen_for_all_findings_is_not_called_corrected(
    content: ReportInput, plain: ReportInput
) -> None:
    for one in (content, plain):
        said = " ".join(methods.paragraphs(one).values()) + headline(one)
        assert "corrected for the choice" in said  # in Results also where there is no test
        why = dataclasses.replace(one.result.why, for_all=True)
        result = dataclasses.replace(one.result, why=why)
        together = dataclasses.replace(one, result=result)
        said = " ".join(methods.paragraphs(together).values()) + headline(together)
        assert "corrected for the choice" not in said
        assert "corrected for its having been chosen" not in said
        assert "by the mean" in said
        assert "corrected for the choice" not in render(together)


def test_groups_are_told_as_they_were_known(content: ReportInput) -> None:
    def data(**of_table: Any) -> str:
        table = dataclasses.replace(content.result.table, **of_table)
        result = dataclasses.replace(content.result, table=table)
        return methods.paragraphs(dataclasses.replace(content, result=result))["Data"]

    table = content.result.table
    assert "groups, which no split tore apart (names carry what looks like a patient" in data()
    torn = np.where(np.arange(len(table)) % 50 == 0, "shared", table.groups)
    said = data(groups=torn)
    assert "of which 1 have images on both sides of the test split" in said
    assert "no split tore" not in said
    assert "Which images are of one patient was not known" in data(grouping=Grouping())


def test_a_distilled_network_and_one_that_failed_are_told(content: ReportInput) -> None:
    key = "finetune/tf_efficientnet_lite0/blocks.4/deploydistilled/logistic"
    recipe = dataclasses.replace(content.recipe, scenario=Scenario.from_key(key))
    said = " ".join(methods.paragraphs(dataclasses.replace(content, recipe=recipe)).values())
    assert "one network answers that learned to answer as they do [@hinton2015]" in said
    assert "fitted to out-of-fold scores" not in said
    failed = {"probe/x/y/svm": AuditResult("FAIL", 0.05, ())}
    why = dataclasses.replace(content.result.why, audits=failed)
    result = dataclasses.replace(content.result, why=why)
    said = " ".join(methods.paragraphs(dataclasses.replace(content, result=result)).values())
    assert "Before it 1 scenario was passed over" in said


def test_an_answer_names_what_was_done_alone(content: ReportInput, plain: ReportInput) -> None:
    def answers(one: ReportInput) -> dict[str, str]:
        claim = {f"claim {item.number}": item.answer for item in checklists.claim(one)}
        return claim | {f"tripod {item.number}": item.answer for item in checklists.tripod(one)}

    as_is, changed = (
        answers(dataclasses.replace(content, changed=changed)) for changed in (False, True)
    )
    assert "changed views" not in as_is["claim 30"]
    assert "changed views" in changed["claim 30"]
    assert "how far the parts differ" in as_is["tripod 16"]
    assert "how far the parts differ" not in answers(plain)["tripod 16"]
    classic = Scenario.from_key("finetune/tf_efficientnet_lite0/blocks.4/balancenone/logistic")
    recipe = dataclasses.replace(content.recipe, scenario=classic)
    assert "classes weigh as they are frequent" in answers(
        dataclasses.replace(content, recipe=recipe)
    )["tripod 13"]  # fmt: skip


@pytest.mark.parametrize("key", references.ENTRIES)
def test_an_entry_is_whole(key: str) -> None:
    entry = references.ENTRIES[key]
    assert entry.count("{") == entry.count("}")
    assert f"year = {{{key[-4:]}}}" in entry
    assert re.match(r"@\w+\{KEY,\n", entry)
    surname = re.sub(r"\W", "", references._short(key).split(" ")[0])
    assert key.startswith(surname.lower().replace("é", "e")) or key in {
        "vancalster2019",
        "medgraft2026",
    }


def test_every_work_that_is_named_has_an_entry(content: ReportInput, plain: ReportInput) -> None:
    for one in (content, plain):
        named = set(re.findall(r"@(\w+)", " ".join(methods.paragraphs(one).values()))) - {"nobody"}
        given = set(re.findall(r"^@\w+\{(\w+),", methods.references(one), re.MULTILINE))
        assert given == named | {"tejani2024", "collins2024"}
    assert "jegou2010" in methods.references(content)  # of VLAD, which `plain` did not try
    assert "jegou2010" not in methods.references(plain)


def test_items_are_those_of_the_standards() -> None:
    assert [row[0] for row in checklists.CLAIM] == [str(n) for n in range(1, 45)]
    numbers = [row[0] for row in checklists.TRIPOD]
    assert list(dict.fromkeys(re.sub(r"\D", "", one) for one in numbers)) == [
        str(n) for n in range(1, 28)
    ]
    assert len(numbers) == len(set(numbers)) == 52
    for rows in (checklists.CLAIM, checklists.TRIPOD):
        assert all(key or add for _, _, key, add in rows)  # never neither answered nor asked of


def test_every_answer_leads_to_a_part_of_the_page(content: ReportInput, plain: ReportInput) -> None:
    for one in (content, plain):
        html = render(one)
        places = set(re.findall(r'id="([\w-]+)"', html))
        items = (*checklists.claim(one), *checklists.tripod(one))
        assert {item.link for item in items if item.answer} <= places
        assert html.count("<strong>To add:</strong>") == sum(bool(item.add) for item in items)
        assert all(item.answer or item.add for item in items)


def test_names_with_markup_stay_names(plain: ReportInput) -> None:
    html = render(plain)
    assert "[@nobody] &lt;i&gt;c&lt;/i&gt;" in html
    assert "<i>c</i>" not in html


def test_files_lie_beside_the_report(tmp_path: Path, content: ReportInput) -> None:
    write_for_paper(tmp_path, content)
    page = (tmp_path / "methods.md").read_text(encoding="utf-8")
    assert page.startswith("# Methods and results")
    assert methods.paragraphs(content)["Results"] in page
    assert (tmp_path / "references.bib").read_text(encoding="utf-8").count("@article{") > 5
