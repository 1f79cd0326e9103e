"""What a local Ray cluster costs beside this process alone, and whether the numbers are the same.

`python experiments/ray_overhead.py` studies chest_xray from empty caches, one way after the other,
and prints the seconds of both, the start of the cluster apart. `--data` names other images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMAGES = ROOT.parent / "shared" / "data" / "chest_xray"
WORDS = {"seconds", "versions"}


def study(runner: str, data: str, out: Path) -> None:
    """One study in this process; prints the seconds of the cluster's start and of the rest."""
    from medgraft.api import load
    from medgraft.features.cache import Cache
    from medgraft.features.extract import Extractor
    from medgraft.learn.ray_runner import ray_runner
    from medgraft.run_folders import study_to_folder
    from medgraft.studies.options import StudyOptions

    extractor = Extractor(Cache(out / "cache"))
    began = time.perf_counter()
    with ray_runner(extractor) if runner == "ray" else nullcontext():
        ready = time.perf_counter()
        options = StudyOptions(audit=False, learning_curve=False)
        study_to_folder(load(data), options, extractor, out / "run")
        done = time.perf_counter()
    print(json.dumps({"start": ready - began, "study": done - ready}))


def measured(runner: str, data: str, out: Path) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", runner, str(out), "--data", data]
    env = {**os.environ, "MEDGRAFT_CACHE": str(out / "cache")}
    answer = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return seconds


def numbers(value: Any) -> Any:
    """What `result.json` holds without what the clock decides."""
    if isinstance(value, dict):
        return {key: numbers(one) for key, one in value.items() if key not in WORDS}
    return [numbers(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("RUNNER", "OUT"), help="one, without the other")
    parser.add_argument("--data", default=str(IMAGES))
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    if asked.one:
        study(asked.one[0], asked.data, Path(asked.one[1]))
        return
    ratios = []
    for turn in range(asked.repeats):
        with tempfile.TemporaryDirectory() as folder:
            out = {name: Path(folder) / name for name in ("local", "ray")}
            order = list(out) if turn % 2 == 0 else list(out)[::-1]
            seconds = {name: measured(name, asked.data, out[name]) for name in order}
            found = [
                numbers(json.loads((out[name] / "run" / "result.json").read_text())) for name in out
            ]
        ratios.append(seconds["ray"]["study"] / seconds["local"]["study"])
        print(
            f"local {seconds['local']['study']:.1f} s, ray {seconds['ray']['study']:.1f} s "
            f"(x {ratios[-1]:.2f}) after {seconds['ray']['start']:.1f} s of start; "
            f"the same numbers: {found[0] == found[1]}",
            flush=True,
        )
    print(f"median x {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
