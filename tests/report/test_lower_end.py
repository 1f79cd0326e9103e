"""The sentence about the lower end: one for each case, on the page and in the terminal."""

from __future__ import annotations

import dataclasses

import fabricate
import pytest

from medgraft.report.pages.study import render
from medgraft.report.text import lower_end, verdicts
from medgraft.results.figures import Comparison, LowerEnd
from medgraft.results.recommendation import StudyResult
from medgraft.types import Estimate

METHOD = "overlap weights, percentile bootstrap over images, 2000 resamples"
LOWER = LowerEnd(Estimate(0.95, 0.93, 0.97, 600, METHOD), 88.2, 0.944, 0.504)


def said(found: LowerEnd | None, **changed: object) -> str:
    result = dataclasses.replace(fabricate.study().result, lower_end=found)
    return lower_end.sentence(dataclasses.replace(result, **changed))  # type: ignore[arg-type]


def test_it_says_the_figure_its_condition_and_what_it_is_held_against() -> None:
    text = said(LOWER)
    assert text.startswith("Lower end of what to expect elsewhere: AUROC 0.950 (95 % interval 0.9")
    assert (
        "if how the images were made (exposure, sharpness, colour, frame, size) meant nothing"
        in text
    )
    assert "AUROC 0.944" in text
    assert "surface" not in text


def test_where_it_is_the_same_it_says_so() -> None:
    row = fabricate.study().result.scenarios[0].validation["auroc"]
    assert said(dataclasses.replace(LOWER, estimate=row)).startswith("Lower end")
    same = Estimate(0.995, 0.98, 0.999, 600, METHOD)
    assert said(dataclasses.replace(LOWER, estimate=same)).startswith("This hardly rests on how")


@pytest.mark.parametrize("reason", ["few images", "still telling"])
def test_where_it_is_not_given_it_says_why(reason: str) -> None:
    text = said(dataclasses.replace(LOWER, estimate=None, n_effective=4.4, reason=reason))  # type: ignore[arg-type]
    assert text.startswith("How low this may fall elsewhere cannot be said: how the images")
    assert ("only 4 patients or groups" in text) == (reason == "few images")
    assert said(None) == ""


def test_of_a_loss_it_is_the_upper_end() -> None:
    result: StudyResult = fabricate.study().result
    loss = Estimate(0.1, 0.08, 0.12, 600, METHOD)
    rows = tuple(
        dataclasses.replace(row, validation={"log_loss": loss}) for row in result.scenarios
    )
    worse = dataclasses.replace(LOWER, estimate=Estimate(0.3, 0.2, 0.4, 600, METHOD))
    assert said(worse, metric="log_loss", scenarios=rows).startswith("Upper end of what to expect")
    better = dataclasses.replace(LOWER, estimate=Estimate(0.05, 0.02, 0.09, 600, METHOD))
    assert said(better, metric="log_loss", scenarios=rows).startswith("This hardly rests on")


def test_the_page_has_it_beside_the_headline() -> None:
    content = fabricate.study()
    assert "Lower end of what" not in render(content)
    with_it = dataclasses.replace(content.result, lower_end=LOWER)
    page = render(dataclasses.replace(content, result=with_it))
    assert page.index("<h1>") < page.index("Lower end of what") < page.index("May it be believed?")


@pytest.mark.parametrize(
    ("surface", "beyond", "word"),
    [
        ((0.95, 0.92, 0.97), (0.04, 0.02, 0.06), "WARN"),  # over .9, though the model is better
        ((0.896, 0.84, 0.93), (-0.015, -0.06, 0.03), "WARN"),  # not shown to be better
        ((0.896, 0.84, 0.93), (0.06, 0.02, 0.1), "PASS"),
        ((0.65, 0.58, 0.71), (0.01, -0.1, 0.1), "PASS"),  # tells nothing for sure
        ((0.7, 0.45, 0.9), (0.1, -0.1, 0.3), "INCONCLUSIVE"),
    ],
)
def test_a_card_warns_where_how_images_were_made_tells_as_much_as_the_model(
    surface: tuple[float, float, float], beyond: tuple[float, float, float], word: str
) -> None:
    found = dataclasses.replace(
        LOWER,
        surface=Estimate(*surface, 144, "DeLong"),
        beyond=Comparison("model", "surface", *beyond, 0.5),
    )
    content = fabricate.study()
    result = dataclasses.replace(content.result, lower_end=found)
    cards = verdicts.verdicts(dataclasses.replace(content, result=result))
    (card,) = [one for one in cards if one.title == "Exposure and frame"]
    assert card.word == word
    assert f"AUROC {surface[0]:.3f} ({surface[1]:.3f} to {surface[2]:.3f})" in card.text
