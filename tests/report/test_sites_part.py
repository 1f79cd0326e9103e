"""Sites on the page and in the terminal: the worst named with its interval, and nothing unasked."""

from __future__ import annotations

import dataclasses

import fabricate

from medgraft.report.pages.study import render
from medgraft.report.result_json import result_json
from medgraft.report.text import sites
from medgraft.results.figures import SiteFigure, SiteFigures
from medgraft.types import Estimate


def one(site: str, value: float | None, fold: int, n: int = 80) -> SiteFigure:
    known = None if value is None else Estimate(value, value - 0.06, value + 0.04, n, "DeLong")
    return SiteFigure(site, n, n // 2, fold, known)


FIGURES = (one("Nord <2>", 0.83, 0), one("west", 0.88, 1), one("south", 0.95, 1), one("z", None, 2))
FOUND = SiteFigures("hospital", FIGURES, Estimate(0.83, 0.77, 0.87, 80, "worst of 3 sites"))


def content(found: SiteFigures | None):
    study = fabricate.study()
    return dataclasses.replace(study, result=dataclasses.replace(study.result, by_site=found))


def test_the_worst_site_is_named_with_the_interval_of_the_worst() -> None:
    text = sites.sentence(content(FOUND).result)
    assert "3 sites" in text
    assert "AUROC goes from 0.830 (Nord <2>) to 0.950 (south)" in text
    assert "0.770–0.870" in text
    assert "1 site has images of one class only" in text


def test_the_page_shows_every_site_and_what_was_left_out_together() -> None:
    page = render(content(FOUND))
    part = page.partition('<h2 id="sites">')[2].partition("</section>")[0]
    assert part.count("<tr>") == 1 + len(FIGURES)
    assert part.count("left out with others, fold 2") == 2
    assert "one class only" in part
    assert "Nord &lt;2&gt;" in part
    assert '<a href="#sites">' in page


def test_without_sites_nothing_is_said() -> None:
    assert sites.sentence(content(None).result) == ""
    assert "by_site" not in result_json(content(None).result)


def test_where_no_site_can_be_judged_it_is_said() -> None:
    found = SiteFigures("hospital", (one("a", None, 0), one("b", None, 1)), None)
    assert sites.sentence(content(found).result).startswith("None of the 2 sites holds")
    assert result_json(content(found).result)["by_site"]["worst"] is None
