"""docs/results/fuzz.md: what came of every file, by format; the slowest and the largest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from medgraft.data.pixels.decode import decoders
from medgraft.data.pool.worker import MEGABYTES, SECONDS
from medgraft.files import written_file
from page import lines

HEAD = """# What broken files do

Written by `make fuzz`; do not edit. {good} good files of every format are broken in {count:,} ways
(seed and all in `experiments/fuzzing/`), and public corpora of files that once broke other decoders
are added. Each is decoded as the images of a study are, in a worker process; data sets (npz, csv)
are loaded there. It gives a picture or a reason of one line, in at most {seconds} s of processor
time and {megabytes:,} MB. What takes more, or crashes its decoder, is ended and named; of what
threads decode nothing may. Decoders: {decoders}.

**{failures} of {found:,} files broke this promise.**
"""
SHOWN = 5
RESULTS = ("picture", "refused", "ended: time", "ended: memory", "ended: crash")


class Outcome(Protocol):
    """See `fuzz.Outcome`."""

    @property
    def name(self) -> str: ...
    @property
    def result(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def megabytes(self) -> int: ...
    @property
    def failure(self) -> str: ...


def kind_of(name: str) -> str:
    """The format of a broken file, or the corpus of a found one."""
    first = name.partition("/")[0]
    return first.partition("-")[2] if first[:5].isdecimal() else f"corpus {first}"


def write_page(path: Path, found: Sequence[Outcome], count: int) -> None:
    """Write the page of all outcomes so far."""
    failures = [each for each in found if each.failure]
    head = HEAD.format(
        good=len({each.name.partition("-")[2] for each in found if each.name[:5].isdecimal()}),
        count=count, seconds=SECONDS, megabytes=MEGABYTES, decoders=", ".join(decoders()),
        failures=len(failures), found=len(found),
    )  # fmt: skip
    counts = Counter((kind_of(each.name), each.result) for each in found)
    kinds = sorted({kind for kind, _ in counts})
    rows = [[kind, *(f"{counts[kind, result]:,}" for result in RESULTS)] for kind in kinds]
    total = [f"{sum(counts[kind, result] for kind in kinds):,}" for result in RESULTS]
    table = lines(["format", *RESULTS], [*rows, ["all", *total]])
    slowest = sorted(found, key=lambda each: -each.seconds)[:SHOWN]
    largest = sorted(found, key=lambda each: -each.megabytes)[:SHOWN]
    extremes = [
        [f"`{each.name}`", each.result, f"{each.seconds:.2f}", f"{each.megabytes:,}"]
        for each in (*slowest, *largest)
    ]
    tail = ["## The slowest, and the largest", ""]
    tail += lines(["file", "result", "seconds", "MB of the process"], extremes)
    if failures:
        tail += ["## Failures", ""]
        tail += lines(["file", "what"], [[f"`{each.name}`", each.failure] for each in failures])
    with written_file(path) as temporary:
        temporary.write_text("\n".join([head, *table, *tail]).rstrip() + "\n", encoding="utf-8")
