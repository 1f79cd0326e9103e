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

import fabricate
import pytest

from medgraft import terminal
from medgraft.report.pages.study import render
from medgraft.report.result_json import result_json
from medgraft.report.text import questions, recommendation
from medgraft.results.study import ReportInput
from medgraft.types import AuditResult, Comparison, Finding, Question, Rationale, Verdict, Way

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = {"h1", "h2", "h3", "h4", "p", "li", "caption", "summary"}


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

    few = AuditResult("INCONCLUSIVE", 1.0, (Finding("few_images", "warn", "Few."),))
    return [
        plain,
        dataclasses.replace(plain, recommended=third, n_groups=plain.n_images, by_tap=()),
        dataclasses.replace(plain, loss=0.03, cost=0.0021),
        dataclasses.replace(plain, loss=0.03, cost=-0.001),
        dataclasses.replace(plain, by_tap=(), audits=audited(b="PASS")),
        dataclasses.replace(plain, by_tap=(), audits={second: few}),
        dataclasses.replace(plain, by_tap=(), audits=audited(a="FAIL", b="INCONCLUSIVE")),
        dataclasses.replace(plain, by_tap=(), audits=audited(b="FAIL")),
        dataclasses.replace(
            plain, by_tap=(), recommended=first, audits=audited(a="FAIL", b="FAIL")
        ),
    ]


def said(verdict: Verdict) -> Finding:
    return Finding("region_decides", "severe" if verdict == "FAIL" else "info", "A corner.")


def test_why_in_result_json() -> None:
    result = fabricate.study().result
    lines = [result_json(result)["why"]]
    names = {key: key for why in reasons() for key in (why.recommended, why.best, *why.audits)}
    check("why.txt", [*lines, *(recommendation.why(why, names) for why in reasons())])


def test_questions() -> None:
    gap = Comparison("a", "b", 0.01, 0.0, 0.02, 0.03)
    ways = (
        Way("instead", ("clahe2-8",)),
        Way("beside", ("clahe2-8", "clahe4-8")),
        Way("averaged", ("clahe2-8",)),
        Way("views", views="xray4"),
        Way("sizes", sizes=(544,)),
        Way("sizes", sizes=(224, 544)),
        Way("sizes", sizes=(224, 544), join="mean"),
    )
    asked = [Question(way, gap, "better", tap="stages", head="svm") for way in ways]
    asked += [dataclasses.replace(asked[0], backbone="vgg16")]
    families = ("multiscale", "vlad", "ensemble", "finetune", "hybrid")
    asked += [Question(Way("family", family=family), gap, "better") for family in families]
    check("questions.txt", [questions.sentence(one) for one in asked])
