"""Paired timings: A B A B … in one process, ratios pair by pair, so that drift cancels.

Nothing of medgraft is timed in isolation: each benchmark names an opponent or a ceiling that is
measured in the same run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from medgraft.files import write_json
from medgraft.studies.run import versions

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle, the least and the most of some measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True)
class Pair:
    """Rates of A and B in units a second, and their ratio A / B pair by pair."""

    a: Spread
    b: Spread
    ratio: Spread


def paired(a: Callable[[], int], b: Callable[[], int], rounds: int) -> Pair:
    """Time A and B in turn; each returns how many units it worked through."""
    rates: dict[str, list[float]] = {"a": [], "b": []}
    for _ in range(rounds):
        for name, work in (("a", a), ("b", b)):
            began = time.perf_counter()
            units = work()
            rates[name].append(units / (time.perf_counter() - began))
    ratios = [x / y for x, y in zip(rates["a"], rates["b"], strict=True)]
    return Pair(Spread.of(rates["a"]), Spread.of(rates["b"]), Spread.of(ratios))


def seconds(work: Callable[[], object], rounds: int) -> Spread:
    """Seconds of one piece of work, several times."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return Spread.of(times)


def peak_memory(work: Callable[[], object], every: float = 0.02) -> float:
    """The most anonymous memory, in MiB, that this process held while it worked (Linux).

    Sampled every so many seconds; mapped files, which the system may drop at will, do not count.
    """
    status = Path("/proc/self/status")
    peak = 0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(every):
            (line,) = (x for x in status.read_text().splitlines() if x.startswith("RssAnon"))
            peak = max(peak, int(line.split()[1]))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        work()
    finally:
        done.set()
        sampler.join()
    return peak / 1024


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(terse=True)}


def save(name: str, figures: dict[str, object]) -> None:
    """Write `bench/results/NAME.json`: figures, machine and versions."""
    content = {"machine": machine(), "versions": versions(), "figures": figures}
    write_json(RESULTS / f"{name}.json", json.loads(json.dumps(content, default=asdict)))
