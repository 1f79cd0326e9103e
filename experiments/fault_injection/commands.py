"""The commands that faults are put into, each in a child of this process, and what they leave.

A child is forked from a process that has imported everything, which saves seconds each time.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medgraft.cli import main

LIMIT = 600  # seconds of one command
CRASHED = 70  # the exit code of a child whose error is none of ours
KEY = "finetune/tf_efficientnet_lite0/blocks.6/s64/epochs2/logistic"
NAMES = ("study", "train", "bundle", "export")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative: by that signal), what it wrote, seconds."""

    code: int
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where one command works: nothing else lies in `work`, and a finished study in `study`."""

    work: Path
    data: Path
    study: Path

    @property
    def cache(self) -> Path:
        return self.work / "cache"

    @property
    def temporary(self) -> Path:
        return self.work / "tmp"

    @property
    def out(self) -> Path:
        return self.work / "out"

    def words(self, name: str) -> list[str]:
        """What is typed."""
        cache = ["--cache", str(self.cache)]
        if name == "study":
            few = ["--families", "probe", "--heads", "svm", "--audit-pairs", "4", "--resume"]
            few += ["--engine", "torch", "--backbone", "tf_efficientnet_lite0"]
            asked = [str(self.data), *few, "--out", str(self.out / "run")]
            return ["study", *asked, "--quiet", *cache]
        if name == "train":
            asked = [str(self.data), "--scenario", KEY, "--out", str(self.out / "run")]
            return ["train", *asked, "--quiet", *cache]
        if name == "bundle":
            return ["bundle", str(self.study), "--out", str(self.out / "a.medgraft"), *cache]
        asked = ["--format", "torchscript", "--parity", str(self.data)]
        return ["export", str(self.study), *asked, "--out", str(self.out / "graph"), *cache]


def forked(log: Path, work: Callable[[], object]) -> Callable[[], Ended]:
    """Start `work` in a child, what it writes going to `log`; the answer waits for its end."""
    sys.stdout.flush()
    began = time.perf_counter()
    child = os.fork()
    if not child:
        code = CRASHED
        try:
            signal.alarm(LIMIT)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001 (a traceback is what is looked for)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait() -> Ended:
        _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - began
        text = log.read_text(encoding="utf-8", errors="replace")
        return Ended(os.waitstatus_to_exitcode(status), text, round(seconds, 2))

    return wait


def command(
    place: Place,
    words: list[str],
    before: Callable[[], object] = lambda: None,
    modules: Path = Path(os.devnull),
) -> Callable[[], object]:
    """What a child does: type these words, after `before`; at the end it says what it imported."""

    def work() -> None:
        import torch

        torch.set_num_threads(1)
        place.temporary.mkdir(exist_ok=True)
        tempfile.tempdir = str(place.temporary)
        before()
        sys.argv = ["medgraft", *words]
        try:
            main()
        finally:
            atexit._run_exitfuncs()  # as the interpreter does, of which a fork has no part
            modules.write_text(" ".join(sys.modules), encoding="utf-8")

    return work


def left(name: str, out: Path) -> dict[str, object]:
    """What a finished command left, but for times: two that did the same left the same."""
    run = out / "run"
    if name == "study":
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        return {"result": _timeless(result), **_hashes(run / "model"), **_predictions(run)}
    if name == "train":
        training = json.loads((run / "training.json").read_text(encoding="utf-8"))
        return {"training": _timeless(training), **_hashes(run / "model"), **_predictions(run)}
    if name == "bundle":
        return _hashes(out)
    graph = out / "graph"
    with zipfile.ZipFile(next(graph.glob("*.pt"))) as archive:  # it says when it was written
        parts = {
            info.filename: f"{info.CRC:08x}"
            for info in archive.infolist()
            if Path(info.filename).parent.name in ("data", "constants")  # tensors
        }
    facts = json.loads((graph / "export.json").read_text(encoding="utf-8"))
    files, parity = facts.pop("files"), facts.pop("parity")
    facts |= {"files": sorted(files), "parity": [parity["n"], parity["changed"]]}
    return {"facts": facts, "parts": parts, "names": sorted(p.name for p in graph.iterdir())}


def _timeless(value: object) -> object:
    """The same without what a clock said."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if "second" not in k}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _hashes(folder: Path) -> dict[str, object]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _predictions(run: Path) -> dict[str, object]:
    import pyarrow.parquet as pq

    return {"predictions": pq.read_table(run / "predictions.parquet").to_pydict()}
