"""What `medgraft study` and `medgraft evaluate` print: whole names, 80 columns, points in line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import fabricate
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medgraft import cli, terminal
from medgraft.bundle import external_validation
from medgraft.evaluate.estimates import evaluate
from medgraft.report.text.questions import sentence
from medgraft.results.figures import SiteFigure, SiteFigures
from medgraft.results.recommendation import StudyResult
from medgraft.terminal.output import show_rows
from medgraft.types import Estimate, Scenario, SeenBefore


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


def shown(
    result: StudyResult,
    capsys: pytest.CaptureFixture[str],
    scenarios: Sequence[Scenario] = fabricate.described(),
) -> list[str]:
    planned = [SimpleNamespace(scenario=one) for one in scenarios]
    chosen = result.recommended
    why = dataclasses.replace(result.why, recommended=chosen, best=chosen)  # one of `scenarios`
    result = dataclasses.replace(result, why=why)
    finished = SimpleNamespace(
        result=result, tested=None, planned=planned, training={}, folds=SimpleNamespace(view=None)
    )
    terminal.show_study(finished, Path("run"), None)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_scenarios_fit_80_columns_and_no_name_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    result = fabricate.study().result
    lines = shown(result, capsys)
    assert max(map(len, lines)) <= 80
    assert "27 scenarios of tf_efficientnet_lite0, best first" in lines[0]
    table = lines[2 : next(i for i, line in enumerate(lines) if "more" in line)]
    assert all(re.search(r"[a-z_.\d]+ · (svm|logistic|knn) ", line) for line in table)
    assert not any("…" in line for line in table)
    marked = [line for line in table if line.startswith("→")]
    assert len(marked) == 1
    assert "blocks.5 · svm" in marked[0]
    assert f"→ recommended: {fabricate.CHOSEN}" in lines


def test_decimal_points_stand_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(fabricate.study().result, capsys)
    table = lines[: next(i for i, line in enumerate(lines) if "more" in line)]
    rows = [line for line in table if " to " in line and " · " in line]
    places = {tuple(i for i, letter in enumerate(row[24:]) if letter == ".") for row in rows}
    assert len(rows) >= 8
    assert len(places) == 1


def test_a_recommended_scenario_far_down_is_still_shown(capsys: pytest.CaptureFixture[str]) -> None:
    result = fabricate.study().result
    worst = min(result.scenarios, key=lambda row: row.validation["auroc"].value)
    lines = shown(dataclasses.replace(result, recommended=worst.key), capsys)
    assert next(line for line in lines if line.startswith("→ ")).split()[1] == "conv_stem"


def test_lower_is_better_puts_the_lowest_first(capsys: pytest.CaptureFixture[str]) -> None:
    result = fabricate.study().result
    losses = tuple(
        dataclasses.replace(row, validation={"log_loss": row.validation["auroc"]}, test=None)
        for row in result.scenarios
    )
    lines = shown(dataclasses.replace(result, metric="log_loss", scenarios=losses), capsys)
    table = lines[: next(i for i, line in enumerate(lines) if "more" in line)]
    values = [float(found[1]) for line in table if (found := re.search(r" (\d\.\d{3}) \(", line))]
    assert len(values) == 8 + 1  # the best, and the recommended
    assert values == sorted(values)


def test_names_that_are_long_are_folded_and_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    result = fabricate.study().result
    backbone = "a_backbone_with_a_name_of_many_letters"
    long = Scenario.from_key(f"probe/{backbone}/features.denseblock4.denselayer32/svm")
    renamed = (dataclasses.replace(result.scenarios[0], key=long.key), *result.scenarios[1:])
    two = dataclasses.replace(result, scenarios=renamed[:2], recommended=long.key)
    lines = shown(two, capsys, [long, *fabricate.described()[1:2]])
    assert max(map(len, lines[:7])) <= 80
    column = "".join(line[3:30] for line in lines[2:8]).replace(" ", "")
    assert long.key.removeprefix("probe/").replace("/", "·") in column


def test_questions_are_answered_with_their_interval(capsys: pytest.CaptureFixture[str]) -> None:
    content = fabricate.with_families(fabricate.study())
    lines = shown(content.result, capsys, content.scenarios)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "What helped here" in text
    first, second, third = content.result.questions
    for one, gap in ((first, "+0.012"), (second, "−0.001"), (third, "−0.020")):
        assert any(sentence(one).split()[1] in line for line in lines if gap in line)
    plain = shown(fabricate.study().result, capsys)
    assert not any("helped" in line for line in plain)


def test_scenarios_of_all_families_are_named_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = fabricate.with_families(fabricate.study())
    wanted = {one.key for one in content.scenarios if one.family != "probe"}
    few = tuple(row for row in content.result.scenarios if row.key in wanted)
    result = dataclasses.replace(content.result, scenarios=few, recommended=few[0].key)
    lines = shown(result, capsys, [one for one in content.scenarios if one.key in wanted])
    text = " ".join(" ".join(line[3:30].strip() for line in lines).split())
    for name in ("224, 544 px averaged", "VLAD 64", "raw, CLAHE averaged"):
        assert name in text


def test_evaluate_writes_a_page_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((8, 8), 40 * i + len(name), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    predictions = fabricate.predictions(("NORMAL", "PNEUMONIA"), "PNEUMONIA", 60, "test", 4, 1.5)
    found = external_validation.ExternalValidation(
        predictions,
        evaluate(predictions, sampling=fabricate.FAST),
        None,
        (),
        SeenBefore(60, None, None, 5),
    )
    monkeypatch.setattr(external_validation, "evaluate_model", lambda *_: found)
    out = tmp_path / "E"
    asked = ["evaluate", "M", str(tmp_path / "data"), "-q", "--cache", str(tmp_path / "cache")]
    plain = CliRunner().invoke(cli.app, asked)
    assert plain.exit_code == 0
    assert "written" not in plain.output
    assert "5 of the 60 images bear the name of an image the model learned from" in plain.output
    written = CliRunner().invoke(cli.app, [*asked, "--out", str(out)])
    assert written.exit_code == 0, written.output
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.html", "evaluation.json"]
    assert f"written: {out / 'evaluation.html'}" in written.output


def test_the_worst_site_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    worst = Estimate(0.83, 0.77, 0.87, 80, "worst of 2 sites")
    figures = tuple(
        SiteFigure(site, 80, 40, fold, dataclasses.replace(worst, value=value))
        for fold, (site, value) in enumerate((("north", 0.83), ("south", 0.95)))
    )
    found = SiteFigures("hospital", figures, worst)
    lines = shown(dataclasses.replace(fabricate.study().result, by_site=found), capsys)
    text = " ".join(line.strip() for line in lines)
    assert "from 0.830 (north) to 0.950 (south)" in text
    assert "0.770–0.870" in text


def test_a_long_name_is_folded_before_a_number_is_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    name = "f/" * 30 + "x.png"
    show_rows(["image", "label", "a", "b"], [[name, "cancer", "0.014", "0.986"]])
    shown = capsys.readouterr().out
    assert {"cancer", "0.014", "0.986"} <= set(shown.split())
    firsts = [line.split()[0] for line in shown.splitlines()[1:]]
    assert name == "".join(firsts)
    assert max(map(len, shown.splitlines())) <= 60
