"""What is said, word for word: each surface's text as it is written, in a file beside this one.

Other tests hold the facts; this one shows a change of wording in one place. With UPDATE_GOLDEN=1
the files are written anew, to be read in the diff.
"""

from __future__ import annotations

import dataclasses
import os
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import fabricate
import pytest

from medgraft import terminal
from medgraft.report.pages.study import render
from medgraft.report.result_json import result_json
from medgraft.report.text import audit_findings, questions, recommendation
from medgraft.results.figures import Comparison
from medgraft.results.recommendation import AuditResult, Question, Rationale, Variation
from medgraft.results.study import ReportInput
from medgraft.types import AuditCheck, AuditFinding, AuditReason, Estimate, Verdict

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = {"h1", "h2", "h3", "h4", "p", "li", "caption", "summary"}

COUNTED = ("few_images", "few_pairs", "not_exchanged", "strategies")  # whose limit is a number


def check(name: str, lines: list[str]) -> None:
    """Compare with the golden file, or write it where that is asked for."""
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


class Paragraphs(HTMLParser):
    """The sentences of a page: a line for each heading, paragraph and point of a list."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.inside = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.lines.append("")
            self.inside += 1

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag in BLOCKS

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.lines[-1] += data


@pytest.fixture(scope="module")
def content() -> ReportInput:
    return fabricate.with_training(fabricate.with_families(fabricate.study()))


def test_the_terminal(
    content: ReportInput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("COLUMNS", "80"), ("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    study = SimpleNamespace(
        result=content.result,
        tested=content.test_evaluation,
        planned=[SimpleNamespace(scenario=one) for one in content.scenarios],
        training={},
        folds=SimpleNamespace(view=None),
        looks=1,
    )
    terminal.show_study(study, Path("run"), None)  # type: ignore[arg-type]
    check("terminal.txt", capsys.readouterr().out.splitlines())


def test_the_page_of_a_study(content: ReportInput) -> None:
    lines = [" ".join(line.split()) for line in Paragraphs(render(content)).lines]
    check("page.txt", list(filter(None, lines)))


def reasons() -> list[Rationale]:
    """Every way in which a scenario comes to be recommended."""
    plain = fabricate.study().result.why
    first, second, third = "probe/net/a/svm", "probe/net/b/svm", "probe/net/c/svm"
    plain = dataclasses.replace(plain, recommended=second, best=third, by_tap=plain.by_tap[:7])

    def audited(**verdicts: Verdict) -> dict[str, AuditResult]:
        return {
            f"probe/net/{tap}/svm": AuditResult(verdict, 0.034, (said(verdict),))
            for tap, verdict in verdicts.items()
        }

    one_class = AuditResult("INCONCLUSIVE", 1.0, (AuditFinding("one_class", "warn"),))
    return [
        plain,
        dataclasses.replace(plain, recommended=third, n_groups=plain.n_images, by_tap=()),
        dataclasses.replace(plain, loss=0.03, cost=0.0021),
        dataclasses.replace(plain, loss=0.03, cost=-0.001),
        dataclasses.replace(plain, recommended=third, margin=0.0, by_tap=()),
        dataclasses.replace(plain, loss=0.03, cost=0.0021, margin=0.0, by_tap=()),
        dataclasses.replace(plain, by_tap=(), audits=audited(b="PASS")),
        dataclasses.replace(plain, by_tap=(), audits={second: one_class}),
        dataclasses.replace(plain, by_tap=(), audits=audited(a="FAIL", b="INCONCLUSIVE")),
        dataclasses.replace(plain, by_tap=(), audits=audited(b="FAIL")),
        dataclasses.replace(
            plain, by_tap=(), recommended=first, audits=audited(a="FAIL", b="FAIL")
        ),
    ]


def said(verdict: Verdict) -> AuditFinding:
    if verdict != "FAIL":
        return AuditFinding("suspect_regions", "info", numbers={"visible": 0.03}, limit=0.05)
    numbers = {"region": "top left corner", "effect": 0.3, "low": 0.2, "high": 0.4, "auroc": 0.1}
    return AuditFinding("region_decides", "severe", "declared", numbers)


def test_why_in_result_json() -> None:
    result = fabricate.study().result
    lines = [result_json(result)["why"]]
    names = {key: key for why in reasons() for key in (why.recommended, why.best, *why.audits)}
    check("why.txt", [*lines, *(recommendation.why(why, names) for why in reasons())])


def test_questions() -> None:
    gap = Comparison("a", "b", 0.01, 0.0, 0.02, 0.03)
    variations = (
        Variation("instead", ("clahe2-8",)),
        Variation("beside", ("clahe2-8", "clahe4-8")),
        Variation("averaged", ("clahe2-8",)),
        Variation("views", views="xray4"),
        Variation("sizes", sizes=(544,)),
        Variation("sizes", sizes=(224, 544)),
        Variation("sizes", sizes=(224, 544), join="mean"),
    )
    asked = [
        Question(variation, gap, "better", tap="stages", head="svm") for variation in variations
    ]
    asked += [dataclasses.replace(asked[0], backbone="vgg16")]
    families = ("multiscale", "vlad", "ensemble", "finetune", "hybrid")
    asked += [Question(Variation("family", family=family), gap, "better") for family in families]
    check("questions.txt", [questions.sentence(one) for one in asked])


def test_audit_findings() -> None:
    """Every outcome of every check, with its remedy; what decides is shown of two kinds of data."""
    third = Estimate(0.333, 0.25, 0.4125, 60, "by hand")
    numbers: dict[str, float | int | str] = {
        **dict.fromkeys(("effect", "value", "share", "auroc_without", "auroc"), 0.642),
        **{"low": 0.513, "high": 0.771, "visible": 0.0312, "dealt": 0.58, "p": 0.01, "area": 0.31},
        **{"region": "top left corner", "share_of_others": 0.05, "n": 60, "images": 9, "pairs": 40},
        **{"wanted": 160, "images_a_class": 161, "change": "slightly blurred", "towards": "ill"},
        **{"class": "ill", "fewest": 12},
    }
    cited = ("inside", "inside_others", "more", "shuffled", "two_images")
    lines = []
    for check_, reason in audit_findings.WORDS:
        listed = check_ in ("changes", "places_alone")
        finding = AuditFinding(
            check_,
            "info",
            reason,
            numbers,
            names=("ill",),
            estimates=dict.fromkeys(("border ring", "four corners") if listed else cited, third),
            counts={"ill": 12},
            limit=50 if check_ in COUNTED else 0.05,
            error="there are too few of them",
        )
        lines += [f"{check_} {reason}".rstrip(), f"  {audit_findings.sentence(finding)}"]
        lines += [f"  → {audit_findings.remedy(finding)}"] if audit_findings.remedy(finding) else []
    verdicts: tuple[Verdict, ...] = ("PASS", "WARN", "FAIL", "INCONCLUSIVE")
    for verdict in verdicts:
        audit = AuditResult(verdict, 0.034, (said(verdict),))
        lines += [verdict, f"  {audit_findings.verdict_sentence(audit)}"]
    check("audit_findings.txt", lines)


def test_every_check_has_words() -> None:
    assert {check for check, _ in audit_findings.WORDS} == set(get_args(AuditCheck))
    assert {reason for _, reason in audit_findings.WORDS} == set(get_args(AuditReason))
