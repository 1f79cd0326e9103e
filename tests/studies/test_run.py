from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

import medgraft.learn.fit as fitting
from medgraft import run_folders
from medgraft.data.ingest import load
from medgraft.data.phantom import write_phantoms
from medgraft.data.split import keep_copies_together
from medgraft.errors import DataError, LeakError, MedgraftError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.learn.fit import cross_fitted
from medgraft.run_folders import study_to_folder
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import plan
from medgraft.studies.store import IMAGES, RunError, RunStore, read_images
from medgraft.types import ImageTable

OPTIONS = StudyOptions(heads=("logistic", "knn"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    folder = tmp_path_factory.mktemp("phantoms") / "images"
    write_phantoms(folder, n_patients=24, seed=3)
    return load(folder)


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Cache:
    folder = tmp_path_factory.mktemp("one")
    (folder / "graphs").symlink_to(graphs)
    return Cache(folder)


@pytest.fixture(scope="module")
def run(table: ImageTable, one_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made once."""
    out = tmp_path_factory.mktemp("runs") / "first"
    study_to_folder(
        table, OPTIONS, Extractor(one_cache, workers=2), out, command="medgraft study x"
    )
    return out


def figures(run: Path) -> dict[str, object]:
    """result.json without what a clock decides."""
    content: dict[str, object] = json.loads((run / "result.json").read_text())
    del content["seconds"]
    for row in content["scenarios"]:  # type: ignore[attr-defined]
        del row["seconds"]
    return content


def test_a_run_leaves_what_the_design_says(run: Path, table: ImageTable) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json", "run.jsonl", "predictions.parquet", "model", "result.json", "report.html",
        "methods.md", "references.bib", "images.parquet",
    }  # fmt: skip
    assert read_images(run / IMAGES, [str(table.ids[3])]) == {
        table.ids[3]: (Path(table.sources[3].path), table.content_hashes[3])
    }
    content = json.loads((run / "result.json").read_text())
    assert content["schema"] == 1
    assert set(content) == {
        "schema", "metric", "data", "profile", "scenarios", "recommended", "why", "corrected",
        "lower_end", "calibration", "comparisons", "questions", "audit", "versions", "seconds",
        "sets", "unlike", "wishes",
        "learning_curve",
    }  # fmt: skip
    assert len(content["scenarios"]) == 20  # nine taps and all stages, two heads
    by_key = {row["key"]: row for row in content["scenarios"]}
    mine = by_key[content["recommended"]]
    assert {"auroc", "sensitivity", "ece", "log_loss"} <= mine["test"].keys()
    assert mine["operating"]["rule"] == "highest balanced accuracy"
    assert set(content["calibration"]) == {"validation", "test"}
    for found in content["calibration"].values():
        assert (found["slope"] is None) == bool(found["reason"])
        assert 0 < found["p"] <= 1
        assert set(found["averages"]) == {content["data"]["positive"]}
    assert set(content["sets"]) == {"validation", "test"}
    assert content["sets"]["test"]["coverage"]["n"] == content["data"]["splits"]["test"]
    assert content["unlike"]["n"] == content["data"]["splits"]["test"]
    assert {one["of"] for one in content["wishes"]} == {"sensitivity", "specificity"}
    assert (run / "model" / "sets.safetensors").is_file()
    for row in content["scenarios"]:
        for estimates in (row["validation"], row["test"]):
            estimate = estimates["auroc"]
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
            assert estimate["method"]
    curve, own = content["learning_curve"], content["profile"]["similarity"]
    assert curve["scenario"] in by_key
    assert bool(curve["points"]) == (curve["reason"] in (None, "no error left"))
    assert own["distance"]["low"] < own["distance"]["value"] < own["distance"]["high"]
    least = content["lower_end"]
    assert (least["value"] is None) == (least["reason"] is not None)
    assert 0 <= least["surface_auroc"] <= 1
    assert 0 < mine["operating"]["by_group"] < 1  # phantoms' patients have several images
    assert sum(content["data"]["splits"].values()) == content["data"]["n_images"]
    assert content["audit"]["verdict"] == "INCONCLUSIVE"  # of so few patients
    assert "few_images" in {finding["check"] for finding in content["audit"]["findings"]}
    assert content["why"].endswith("The audit of its evidence says INCONCLUSIVE.")


def test_the_test_split_is_looked_at_after_everything_is_frozen(run: Path) -> None:
    events = [json.loads(line)["event"] for line in (run / "run.jsonl").read_text().splitlines()]
    assert events.count("test split looked at") == 1
    assert events.index("test split looked at") > events.index("recommended")
    assert events.index("recommended") > events.index("audited")
    assert events[-1] == "finished"


def test_sites_are_left_out_one_at_a_time_and_each_is_shown(
    table: ImageTable, one_cache: Cache, tmp_path: Path
) -> None:
    groups = np.unique(keep_copies_together(table).groups, return_inverse=True)[1]
    sites = np.array(["north", "south", "west"])[groups % 3]
    placed = dataclasses.replace(table, metadata={"hospital": sites})
    options = StudyOptions(heads=("logistic",), site="hospital", audit=False)
    study = study_to_folder(placed, options, Extractor(one_cache, workers=2), tmp_path)
    said = study.unchanged
    site_of = dict(zip(table.ids.tolist(), sites.tolist(), strict=True))
    mine = np.array([site_of[id] for id in said.ids.tolist()])
    assert len(set(zip(mine.tolist(), said.fold.tolist(), strict=True))) == 3
    kept = json.loads((tmp_path / "result.json").read_text())["by_site"]
    assert {one["site"] for one in kept["sites"]} == {"north", "south", "west"}
    for one in kept["sites"]:
        own = said.select(mine == one["site"])
        positive = said.classes.index(said.positive or "")
        area = roc_auc_score(own.y_true == positive, own.y_prob[:, positive])
        assert one["figure"]["value"] == pytest.approx(area)
        assert one["n_images"] == len(own)
        few = min(len(np.unique(own.groups[own.y_true == k])) for k in (0, 1)) < 5
        assert one["few"] == few
    counted = [one["figure"]["value"] for one in kept["sites"] if not one["few"]]
    assert (kept["worst"] and kept["worst"]["value"]) == (min(counted) if counted else None)
    assert '<h2 id="sites">' in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["site"] == "hospital"


def test_a_column_that_is_not_there_is_said_before_any_folder_is_made(
    table: ImageTable, one_cache: Cache, tmp_path: Path
) -> None:
    options = dataclasses.replace(OPTIONS, site="scanner")
    with pytest.raises(DataError, match="--site"):
        study_to_folder(table, options, Extractor(one_cache, workers=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_predictions_say_who_judged_whom(run: Path, table: ImageTable) -> None:
    frame = pq.read_table(run / "predictions.parquet").to_pandas()
    assert frame.groupby("scenario", observed=True).size().eq(len(table)).all()
    assert (frame.loc[frame["split"] == "test", "fold"] == -1).all()
    assert (frame.loc[frame["split"] != "test", "fold"] >= 0).all()
    sums = frame["probability:lesion"] + frame["probability:normal"]
    np.testing.assert_allclose(sums, 1)
    folds = frame[frame["fold"] >= 0].groupby("group")["fold"].nunique()
    assert (folds == 1).all()  # a patient is judged by one fold


def test_the_same_cache_gives_the_same_bits_without_reading_images(
    run: Path, table: ImageTable, one_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an image was read again")

    monkeypatch.setattr(Extractor, "fill", refuse)
    study_to_folder(table, OPTIONS, Extractor(one_cache, workers=2), tmp_path / "second")
    assert figures(tmp_path / "second") == figures(run)


def test_a_fresh_cache_gives_the_same_bits(
    run: Path, table: ImageTable, cache: Cache, tmp_path: Path
) -> None:
    study_to_folder(table, OPTIONS, Extractor(cache, workers=1), tmp_path / "fresh")
    assert figures(tmp_path / "fresh") == figures(run)


@pytest.mark.parametrize("after", [1, 7, 18])
def test_a_killed_study_goes_on_and_ends_with_the_same_numbers(
    after: int,
    run: Path,
    table: ImageTable,
    cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, judged = tmp_path / "killed", []

    def killed(*args: object) -> object:
        judged.append(args)
        if len(judged) > after - 1:
            raise KeyboardInterrupt
        return cross_fitted(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "cross_fitted", killed)
    with pytest.raises(KeyboardInterrupt):
        study_to_folder(table, OPTIONS, Extractor(cache, workers=2), out)
    monkeypatch.undo()
    assert not (out / "result.json").exists()
    if "scenario judged" in (out / "run.jsonl").read_text():
        with pytest.raises(RunError, match="--resume"):
            study_to_folder(table, OPTIONS, Extractor(cache, workers=2), out)
    study_to_folder(table, OPTIONS, Extractor(cache, workers=2), out, resume=True)
    assert figures(out) == figures(run)


def test_a_run_that_judged_nothing_is_taken_over_and_no_other(tmp_path: Path) -> None:
    RunStore(tmp_path, {"seed": 1})  # died at once
    store = RunStore(tmp_path, {"seed": 2})
    assert json.loads((tmp_path / "config.json").read_text()) == {"seed": 2}
    store.event("scenario judged", key="k")
    with pytest.raises(RunError, match="pass --resume"):
        RunStore(tmp_path, {"seed": 2})
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("somebody's settings")
    with pytest.raises(RunError, match="holds a run already"):
        RunStore(other, {"seed": 2})
    assert (other / "config.json").read_text() == "somebody's settings"


def test_a_run_that_was_stopped_goes_on_with_a_smaller_audit_or_none(tmp_path: Path) -> None:
    asked = {"seed": 1, "audit": True, "audit_pairs": 80}
    RunStore(tmp_path, asked).event("scenario judged", key="k")
    RunStore(tmp_path, {**asked, "audit_pairs": 30}, resume=True)
    RunStore(tmp_path, {**asked, "audit": False, "audit_pairs": 30}, resume=True)
    for other in (asked, {**asked, "audit": False, "audit_pairs": 30, "seed": 2}):
        with pytest.raises(RunError, match=r"different: (audit, audit_pairs|seed)\); choose"):
            RunStore(tmp_path, other, resume=True)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(RunError, match=r"different: audit_pairs"):
        RunStore(tmp_path, {**asked, "audit": False, "audit_pairs": 20}, resume=True)


def test_a_text_where_names_are_wanted_and_an_estimator_are_refused_with_what_to_write() -> None:
    with pytest.raises(ScenarioError, match=r"give heads=\('svm',\)"):
        StudyOptions(heads="svm")  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match=r"given as object, .*medgraft\.encode"):
        StudyOptions(heads=(object(),))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b'{"seed": ', b"\xff\xfe", b"[1, 2]", b"7"])
def test_a_damaged_config_cannot_be_resumed(content: bytes, tmp_path: Path) -> None:
    RunStore(tmp_path, {"seed": 1})
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"is damaged .*choose another --out"):
        RunStore(tmp_path, {"seed": 1}, resume=True)


def test_the_result_is_written_after_the_report(
    table: ImageTable, one_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folders, "write_report", killed)
    with pytest.raises(KeyboardInterrupt):
        study_to_folder(table, OPTIONS, Extractor(one_cache, workers=2), tmp_path / "R")
    assert not (tmp_path / "R" / "result.json").exists()


def test_an_unknown_engine_or_backbone_leaves_no_folder(
    table: ImageTable, one_cache: Cache, tmp_path: Path
) -> None:
    with pytest.raises(MedgraftError, match="no engine 'steam'; there are: openvino, torch"):
        study_to_folder(table, OPTIONS, Extractor(one_cache, engine="steam"), tmp_path / "R")
    with pytest.raises(MedgraftError):
        other = StudyOptions(backbones=("no_such_network",))
        study_to_folder(table, other, Extractor(one_cache), tmp_path / "R")
    assert not (tmp_path / "R").exists()


def test_resume_refuses_another_study(run: Path, table: ImageTable, one_cache: Cache) -> None:
    other = StudyOptions(heads=("svm",))
    with pytest.raises(RunError, match=r"another run \(different: heads\)"):
        study_to_folder(table, other, Extractor(one_cache), run, resume=True)


def test_a_folder_with_other_things_is_not_touched(table: ImageTable, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(RunError, match="not empty and holds no run"):
        study_to_folder(table, OPTIONS, Extractor(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_out_of_fold_refuses_test_images(table: ImageTable, one_cache: Cache) -> None:
    from medgraft.data.split import Development, make_folds, with_test_split

    whole = with_test_split(table)
    extractor = Extractor(one_cache)
    scenario = plan(OPTIONS, extractor, 10, 2)[0].scenario
    with pytest.raises(LeakError, match="test images were given to learn from"):
        cross_fitted(scenario, Development(whole, make_folds(whole.development)), extractor)


def test_scenarios_stand_simplest_first(one_cache: Cache) -> None:
    planned = plan(StudyOptions(), Extractor(one_cache), 100, 2)
    costs = [entry.cost.multiply_adds for entry in planned]
    assert costs == sorted(costs)
    assert planned[0].scenario.key == "probe/tf_efficientnet_lite0/stem/svm"
    assert planned[-1].scenario.key == "probe/tf_efficientnet_lite0/conv_head/knn"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": ("forest",)}, r"no head 'forest'; there are: svm"),
        ({"metric": "f1"}, r"no metric 'f1'"),
        ({"families": ("magic",)}, r"no family 'magic'; there are: probe"),
        ({"resize": "stretch"}, r"no resize rule 'stretch'"),
        ({"seed": -1}, r"the seed is -1; it must be from 0"),
        ({"seed": 2**32}, r"the seed is 4294967296"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message):
        StudyOptions(**options)  # type: ignore[arg-type]


def test_what_is_named_twice_is_compared_once(one_cache: Cache) -> None:
    options = StudyOptions(
        backbones=StudyOptions().networks * 2,
        heads=("svm", "knn", "svm"),
        poolings=("avg", "avg"),
        preprocess=("raw", "clahe", "raw", "clahe2-8", "clahe2.0-8"),
    )
    assert options.heads == ("svm", "knn")
    assert options.preprocess == ("raw", "clahe2-8")
    plain = StudyOptions(StudyOptions().networks, heads=("svm", "knn"), preprocess=("raw", "clahe"))
    assert options == plain
    keys = [entry.scenario.key for entry in plan(options, Extractor(one_cache), 100, 2)]
    # nine taps and all stages, two edits, two heads; and of raw and CLAHE the mean probabilities
    assert len(set(keys)) == len(keys) == 40 + 10


def test_unreadable_images_are_named_and_left_out(
    table: ImageTable, one_cache: Cache, tmp_path: Path
) -> None:
    import shutil

    images = tmp_path / "images"
    shutil.copytree(table.root, images)
    victim = sorted((images / "normal").iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:200])
    study_to_folder(load(images), OPTIONS, Extractor(one_cache, workers=2), tmp_path / "run")
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert content["data"]["n_images"] == len(table) - 1
    assert [row["source"] for row in content["data"]["skipped"]] == [f"normal/{victim.name}"]
    assert not any(math.isnan(row["validation"]["auroc"]["value"]) for row in content["scenarios"])


def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path, one_cache: Cache) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for k in range(6):
            path = tmp_path / "images" / name / f"{k}.png"
            Image.fromarray(np.full((20, 20), 40 * k, np.uint8)).save(path)
            if name == "b":
                path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"no readable image to learn from in: b"):
        study_to_folder(load(tmp_path / "images"), OPTIONS, Extractor(one_cache), tmp_path / "run")
