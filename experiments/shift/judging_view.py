"""Which view puts a trained network and frozen probes in the order that unlike sets do?

`python experiments/shift/judging_view.py` (six minutes) writes results/judging_view.json. All learn
the same 1,600 development X-rays, and judge the images of `effects.py` that none learned from: the
same 600 as they are and in views that could judge, and eight unlike sets. No official test split is
looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import medgraft
from medgraft.data.augment import judging_view
from medgraft.evaluate.metrics import auroc
from medgraft.files import write_json
from medgraft.terminal import progress
from medgraft.types import Floats

sys.path.insert(0, str(Path(__file__).parents[1]))

from shift.effects import LITE0, SETTINGS, Design, Held, design, frozen, judged, trained
from shift.sources import SHARED

RESULTS = Path(__file__).parents[1] / "results" / "judging_view.json"
TRAINED = "zoomed out at 224 px for nine epochs"
FROZEN = ("stages/logistic", "blocks.4/svm")
VIEWS = ("natural", "xray")

Judge = Callable[[Held], Floats]


def main() -> None:
    """AUROC of each model on each set, and in each view of the images as they are."""
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    extractor = medgraft.Extractor(medgraft.Cache(None), progress=progress(False))
    of = design(extractor)
    same = next(held for held in of.held if held.name == "as they are")
    viewed = [Held(f"view of {name}", same.table, judging_view(name)) for name in VIEWS]
    judges = {name: frozen(f"probe/{LITE0}/{name}", of.learned, extractor) for name in FROZEN}
    judges["trained"] = _trained(of, extractor)
    areas = {
        name: {
            held.name: round(auroc(held.table.labels == 1, judge(held)), 5)
            for held in (*viewed, *of.held)
        }
        for name, judge in judges.items()
    }
    write_json(RESULTS, {"images": len(of.learned), "auroc": areas})


def _trained(of: Design, extractor: medgraft.Extractor) -> Judge:
    setting = SETTINGS[TRAINED]
    training, _ = trained(setting, 0, of.learned, extractor)

    def judge(held: Held) -> Floats:
        logits = judged(setting, training, held, extractor)
        return np.asarray(logits[:, 1] - logits[:, 0])

    return judge


if __name__ == "__main__":
    main()
