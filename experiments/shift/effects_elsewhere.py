"""Does a change of training that helps X-rays harm others? Writes results/effects_elsewhere.jsonl.

`python experiments/shift/effects_elsewhere.py` trains what the file lacks, one line a cell, as
`effects.py` does: everything in lite0, on three fifths of the development images of a set, about
`MOST` in all, judged by the others as they are and with planted shifts. No official test split is
looked at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import medgraft
from medgraft.learn.finetune import score
from medgraft.terminal import progress

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import read_cells
from shift.effects import SETTINGS, Held, judged, trained
from shift.sources import SHARED, from_itself

RESULTS = Path(__file__).parents[1] / "results" / "effects_elsewhere.jsonl"
MOST = 1600
SETS = ("skin7", "scenes_ot8", "hyperkvasir5")
CHANGES = ("base", "zoomed out to .65")
SEEDS = (0, 1)


def main() -> None:
    """AUROC of each set that judges, macro where classes are several, cell by cell."""
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    extractor = medgraft.Extractor(medgraft.Cache(None), progress=progress(False))
    known = {(row["set"], row["setting"], row["seed"]) for row in read_cells(RESULTS)}
    for seed in SEEDS:
        for name in SETS:
            pairs = list(from_itself(name, MOST))
            held = [Held("as they are", pairs[0].twin)]
            held += [Held(pair.name, pair.second, pair.edit) for pair in pairs]
            for change in CHANGES:
                if (name, change, seed) in known:
                    continue
                extractor.progress.say(f"{name}, {change}, seed {seed}")
                setting = SETTINGS[change]
                training, _ = trained(setting, seed, pairs[0].first, extractor)
                logits = {one.name: judged(setting, training, one, extractor) for one in held}
                areas = {
                    one.name: round(score(logits[one.name], one.table.labels)[1], 5) for one in held
                }
                row = {"set": name, "setting": change, "seed": seed, "images": len(pairs[0].first)}
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**row, "auroc": areas}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
