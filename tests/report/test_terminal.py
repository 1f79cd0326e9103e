"""What `medgraft study` and `medgraft evaluate` print: whole names, 80 columns, points in line."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import fabricate
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medgraft import bundle, cli
from medgraft.evaluate.estimates import evaluate
from medgraft.types import StudyResult


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


def shown(result: StudyResult, capsys: pytest.CaptureFixture[str]) -> list[str]:
    finished = SimpleNamespace(result=result, tested=None)
    cli._show_study(finished, Path("run"))  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_scenarios_fit_80_columns_and_no_name_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    result = fabricate.study().result
    lines = shown(result, capsys)
    assert max(map(len, lines)) <= 80
    assert "27 scenarios of probe/tf_efficientnet_lite0, best first" in lines[0]
    table = lines[2 : next(i for i, line in enumerate(lines) if "more" in line)]
    assert all(re.search(r"[a-z_.\d]+ · (svm|logistic|knn) ", line) for line in table)
    assert not any("…" in line for line in table)
    marked = [line for line in table if line.startswith("→")]
    assert len(marked) == 1
    assert "blocks.5 · svm" in marked[0]
    assert f"→ recommended: {fabricate.CHOSEN}" in lines


def test_decimal_points_stand_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(fabricate.study().result, capsys)
    rows = [line for line in lines if " to " in line and " · " in line]
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
    values = [float(found[1]) for line in lines if (found := re.search(r" (\d\.\d{3}) \(", line))]
    assert len(values) == 8 + 1  # the best, and the recommended
    assert values == sorted(values)


def test_names_that_are_long_are_folded_and_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    result = fabricate.study().result
    long = "probe/a_backbone_with_a_name_of_many_letters/features.denseblock4.denselayer32/svm"
    renamed = (dataclasses.replace(result.scenarios[0], key=long), *result.scenarios[1:])
    lines = shown(dataclasses.replace(result, scenarios=renamed[:2], recommended=long), capsys)
    assert max(map(len, lines[:7])) <= 80
    column = "".join(line[3:30] for line in lines[2:8]).replace(" ", "")
    assert long.removeprefix("probe/").replace("/", "·") in column


def test_evaluate_writes_a_page_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((8, 8), 40 * i + len(name), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    predictions = fabricate.predictions(("NORMAL", "PNEUMONIA"), "PNEUMONIA", 60, "test", 4, 1.5)
    found = bundle.External(
        predictions, evaluate(predictions, sampling=fabricate.FAST), None, (), seen=5
    )
    monkeypatch.setattr(bundle, "evaluate_model", lambda *_: found)
    out = tmp_path / "E"
    asked = ["evaluate", "M", str(tmp_path / "data"), "-q", "--cache", str(tmp_path / "cache")]
    plain = CliRunner().invoke(cli.app, asked)
    assert plain.exit_code == 0
    assert "written" not in plain.output
    assert "5 of 60 images bear the name of one the model learned from" in plain.output
    written = CliRunner().invoke(cli.app, [*asked, "--out", str(out)])
    assert written.exit_code == 0, written.output
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.html", "evaluation.json"]
    assert f"written: {out / 'evaluation.html'}" in written.output
