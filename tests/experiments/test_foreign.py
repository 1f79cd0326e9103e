"""The experiment on models that are not medgraft's: what is tried, and what its page counts."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import foreign_page
from foreign_models import AUDITED, CLEAN, PLANTED, TRAINED, WAYS, drawn, trials

ROOT = Path(__file__).parents[2]


def test_enough_are_tried_of_every_way_planted_and_clean() -> None:
    kinds = Counter((trial.way, trial.shortcut.rho >= foreign_page.STRONG) for trial in trials())
    assert sum(n for (_, planted), n in kinds.items() if planted) == PLANTED
    assert sum(n for (_, planted), n in kinds.items() if not planted) == CLEAN
    assert set(kinds) == {(way, planted) for way in WAYS for planted in (False, True)}
    assert len({trial.seed for trial in trials()}) == PLANTED + CLEAN
    weights = [trial for trial in trials() if trial.way == "checkpoint"]
    assert {trial.end for trial in weights} == {"logits", "logit"}  # they know of no softmax
    assert not any(trial.swapped for trial in weights)  # nor of an order that is made after them


def test_what_trains_them_knows_nothing_of_medgraft() -> None:
    for name in ("foreign_training.py", "foreign_command.py"):
        tree = ast.parse((ROOT / "experiments" / name).read_text(encoding="utf-8"))
        modules = [
            node.module if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert modules
        assert not any(str(module).startswith("medgraft") for module in modules)


def test_images_that_are_learned_from_are_not_audited() -> None:
    labels = np.arange(1000) % 2
    learned, audited = drawn(labels, np.random.default_rng(0))
    assert not set(learned) & set(audited)
    assert Counter(labels[learned]) == {0: TRAINED, 1: TRAINED}
    assert Counter(labels[audited]) == {0: AUDITED, 1: AUDITED}


def row(rho: float, **changed: Any) -> dict[str, Any]:
    short = {"kind": "box", "size": 0.1, "place": "top left corner", "rho": rho}
    trial = {"data": "phantoms", "way": "onnx", "end": "logits", "swapped": False, "mixed": False}
    found = {
        "trial": {**trial, "shortcut": short},
        "auroc": 0.9,
        "without": 0.7 if rho else 0.9,
        "uses": bool(rho),
        "verdict": "FAIL" if rho else "PASS",
        "right": bool(rho),
        "failed": ["top left corner"] if rho else [],
        "same_auroc": True,
        "outputs": "logits",
    }
    return found | changed


def test_the_page_counts_and_says_how_many_are_done(tmp_path: Path) -> None:
    (tmp_path / "docs" / "results").mkdir(parents=True)
    rows = [row(1.0), row(1.0, right=False, verdict="PASS"), row(0.0), row(0.0, verdict="FAIL")]
    foreign_page.write_page(rows, 70, tmp_path)
    text = (tmp_path / "docs" / "results" / "foreign-models.md").read_text(encoding="utf-8")
    assert "4 of 70 trials are done; the rest is run by the same command" in text
    assert "and FAIL for its corner | 1 of 2 (0.500; 0.095 to 0.905) | 23 of 23" in text
    assert "(false alarm) | 1 of 2 (0.500; 0.095 to 0.905) | 1 of 300" in text
    assert text.count("\n- phantoms, ONNX file: box of 0.1") == 2
