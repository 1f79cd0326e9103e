"""The audit inside a study: it changes what is recommended, and costs nothing a second time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgraft.audit import audit_cache
from medgraft.audit.evidence import Audit, AuditOptions
from medgraft.audit.parts import Part
from medgraft.audit.swap import Swaps
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.split import Development, make_folds
from medgraft.errors import ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.report.result_json import audit_json
from medgraft.results.recommendation import AuditResult, Rationale
from medgraft.studies.audit_candidates import AuditedChoice, audit_candidates, audit_unseen
from medgraft.studies.options import StudyOptions
from medgraft.studies.recommend import Recommendation, explain_choice
from medgraft.studies.store import RunStore
from medgraft.types import AuditFinding, Estimate, ImageTable, Scenario, Silent, Source, Verdict

PROBE = Scenario.from_key("multiscale/tf_efficientnet_lite0/blocks.1/s64/svm")
OPTIONS = StudyOptions(modality="xray", audit_pairs=36)
ONE_IMAGE = ImageTable(
    *(np.array(["a"]), (Source("a"),), np.array(["a"]), np.array([0]), np.array(["a"])),
    *(np.array([""]), np.array([""]), ("0",)),
)
SOME = Estimate(0.9, 0.8, 0.95, 100, "by hand")


def marked(folder: Path, n: int = 160, seed: int = 0) -> ImageTable:
    """Noise of 64 pixels; what is of class 1 bears a white mark in the top left corner."""
    rng = np.random.default_rng(seed)
    images = rng.normal(110, 20, (n, 64, 64))
    labels = np.arange(n) % 2
    images[labels == 1, 2:10, 2:10] = 235
    file = folder / "marked.npz"
    np.savez(
        file,
        train_images=np.clip(images, 0, 255).astype(np.uint8),
        train_labels=labels[:, None].astype(np.uint8),
    )
    return load(file, LoadOptions(no_groups=True, positive="1"))


def choice(*close: str, barred: Sequence[str] = ()) -> Recommendation:
    first = next((key for key in close if key not in barred), close[0])
    return Recommendation(first, close[-1], 0.01, (), SOME, close, frozenset(barred))


def said(verdict: Verdict) -> Audit:
    finding = AuditFinding("region_decides", "severe" if verdict == "FAIL" else "info", "declared")
    result = AuditResult(verdict, 0.034, (finding,))
    return Audit(result, AuditOptions(), SOME, (), None, {}, None, ())


def audited(verdicts: dict[str, Verdict], store: RunStore | None = None) -> Any:
    keys = tuple(verdicts)
    return audit_candidates(
        choice(*keys),
        lambda failed: choice(*keys, barred=failed),
        lambda key: said(verdicts[key]),
        store,
    )


def explained(found: AuditedChoice) -> Rationale:
    audits = {key: one.result for key, one in found.audits.items()}
    estimates = dict.fromkeys("abcd", SOME)
    return explain_choice(found.choice, estimates, ONE_IMAGE, "auroc", audits=audits)


def test_what_does_not_fail_stays_recommended_and_nothing_else_is_audited() -> None:
    found = audited({"a": "WARN", "b": "PASS"})
    assert found.choice.recommended == "a"
    assert list(found.audits) == ["a"]


def test_a_fail_makes_way_for_the_next_that_does_not_fail(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run", {})
    found = audited({"a": "FAIL", "b": "FAIL", "c": "INCONCLUSIVE", "d": "PASS"}, store)
    assert found.choice.recommended == "c"
    assert found.choice.barred == {"a", "b"}
    why = explained(found)
    assert why.failed == why.barred == ("a", "b")
    assert list(why.audits) == ["a", "b", "c"]
    events = store.events("audited")
    assert [(one["key"], one["verdict"]) for one in events] == [
        ("a", "FAIL"), ("b", "FAIL"), ("c", "INCONCLUSIVE"),
    ]  # fmt: skip
    assert events[0]["warnings"] == ["region_decides"]


def test_where_all_fail_the_first_stays_and_three_at_most_are_audited() -> None:
    found = audited(dict.fromkeys("abcd", "FAIL"))
    assert found.choice.recommended == "a"
    assert list(found.audits) == ["a", "b", "c"]
    why = explained(found)
    assert (why.failed, why.barred) == (("a", "b", "c"), ())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    return marked(tmp_path_factory.mktemp("marked"))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Extractor:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "graphs").symlink_to(graphs)
    return Extractor(Cache(folder), workers=2)


@pytest.fixture(scope="module")
def found(table: ImageTable, extractor: Extractor) -> Audit:
    return audit_unseen(PROBE, Development(table, make_folds(table, 3)), OPTIONS, extractor)


def test_folds_that_read_a_mark_fail_for_its_corner(found: Audit) -> None:
    assert found.result.verdict == "FAIL"
    decides = {f.numbers["region"] for f in found.result.findings if f.severity == "severe"}
    assert "top left corner" in decides
    assert "bottom right corner" not in decides
    assert found.swaps is not None
    assert len(found.swaps.parts) == 3
    assert sum(len(part.table) for part in found.swaps.parts) == 160


def test_the_same_audit_again_asks_no_model_and_says_the_same(
    found: Audit, table: ImageTable, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("exchanged images were judged again")

    monkeypatch.setattr(audit_cache, "swap", refuse)
    again = audit_unseen(PROBE, Development(table, make_folds(table, 3)), OPTIONS, extractor)
    assert again.result == found.result
    assert again.swaps is not None
    assert found.swaps is not None
    np.testing.assert_array_equal(again.swaps.prob, found.swaps.prob)
    other = dataclasses.replace(OPTIONS, modality="")
    with pytest.raises(AssertionError, match="judged again"):  # other regions are another audit
        audit_unseen(PROBE, Development(table, make_folds(table, 3)), other, extractor)


def test_models_of_one_name_that_say_other_things_share_no_answers(
    found: Audit, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one scenario trained by two recipes, or by two versions of the code."""
    asked: list[str] = []
    swaps = found.swaps
    assert swaps is not None

    def answer(parts: Sequence[Part], *_: object) -> Swaps:
        asked.append("again")
        return dataclasses.replace(swaps, parts=tuple(parts))

    monkeypatch.setattr(audit_cache, "swap", answer)
    first, *rest = swaps.parts
    said = first.said
    others = [
        dataclasses.replace(said, scores=np.nextafter(said.scores, np.inf)),
        dataclasses.replace(said, y_prob=said.y_prob[:, ::-1].copy()),
    ]
    for one, so_far in ((said, 1), (said, 1), (others[0], 2), (others[1], 3), (others[0], 3)):
        parts = [dataclasses.replace(first, said=one), *rest]
        audit_cache.cached_swap(
            parts, swaps.units, swaps.regions, Silent(), extractor.cache, "one name"
        )
        assert len(asked) == so_far


def test_result_json_says_of_each_finding_what_the_design_promises(found: Audit) -> None:
    content = json.loads(json.dumps(audit_json(found.result)))
    assert set(content) == {"verdict", "smallest_effect", "findings"}
    for row in content["findings"]:
        wanted = {"check", "severity", "region", "effect", "low", "high", "p", "text", "images"}
        assert wanted <= row.keys()
    grave = next(row for row in content["findings"] if row["severity"] == "severe")
    assert grave["low"] <= grave["effect"] <= grave["high"]
    assert grave["p"] < 0.01
    assert grave["images"]


def test_too_few_patients_for_models_of_folds_give_no_verdict(
    table: ImageTable, extractor: Extractor
) -> None:
    groups = np.array([f"{label}-{i % 4 // 2}" for i, label in enumerate(table.labels)])
    few = dataclasses.replace(table, groups=groups)
    audit = audit_unseen(PROBE, Development(few, make_folds(few, 2)), OPTIONS, extractor)
    assert audit.result.verdict == "INCONCLUSIVE"
    (finding,) = audit.result.findings
    assert finding.check == "few_groups"
    assert finding.error


def test_a_modality_that_is_none_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ScenarioError, match="no modality 'mri'"):
        StudyOptions(modality="mri")
