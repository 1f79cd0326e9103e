"""Kill commands and break their disk at hundreds of moments: nothing half-written, the next right.

    python experiments/faults.py [--only kill,ENOSPC…] [--minutes 30] [--page]

A cell is one fault in one command; its line goes to results/faults.jsonl, and a run goes on where
it was stopped. Cells are taken in an order that spreads over all kinds, so that a part of them
says something of all.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fault_injection.commands import CRASHED, NAMES, Ended, Place, command, forked, left
from fault_injection.hook import Events, Harm, fails_with, kill
from fault_injection.images import IMAGES, copy_images
from fault_injection.page import write_page
from fault_injection.whole import half_written, hidden

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "faults.jsonl"
EVENTS = RESULTS.with_name("faults_events.json")  # of each command; by them cells are numbered
PAGE = HERE.parent / "docs" / "results" / "faults.md"
KILLS = {"study": 70, "train": 50, "bundle": 35, "export": 45}  # 200
LATER = 120  # seconds by which what a killed run left is older when the next one comes
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault. at : the number of the event, or for `time` and `full` a part of the whole."""

    kind: str
    command: str
    at: float

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.command}/{self.at:g}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. ended : of the command that was disturbed. failure : '' as promised."""

    name: str
    where: str
    ended: str
    text: str
    failure: str
    seconds: float


def import_all(names: Iterable[str]) -> None:
    """Import what a command imported, so that later children have it and take seconds less."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)


class Bench:
    """The data, an undisturbed run of every command, and how many events each has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.study = folder / "undisturbed" / "study" / "out" / "run"
        self.left: dict[str, dict[str, object]] = {}
        self.events: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def prepare(self) -> None:
        """Copy the images, and run every command once."""
        copy_images(self.data)
        for name in NAMES:
            place = self.place(f"undisturbed/{name}")
            ended = self.run(name, place, 0, kill)()
            import_all((self.logs / "modules").read_text(encoding="utf-8").split())
            if ended.code:
                raise SystemExit(f"{name} failed undisturbed: {ended.text[-2000:]}")
            self.left[name] = left(name, place.out)
            self.events[name] = self.log.read_text(encoding="utf-8").splitlines()
            self.seconds[name] = ended.seconds
            print(f"{name}: {len(self.events[name])} events, {ended.seconds} s", flush=True)

    def heard(self) -> dict[str, list[str]]:
        """Events by command; those that number the cells already stay."""
        found = {
            name: [line.replace(str(self.folder), "") for line in lines]
            for name, lines in self.events.items()
        }
        return found | known_events()

    @property
    def log(self) -> Path:
        return self.logs / "events"

    def place(self, name: str) -> Place:
        work = self.folder / name
        (work / "out").mkdir(parents=True)
        return Place(work, self.data, self.study)

    def run(
        self, name: str, place: Place, at: int, harm: Harm, log: str = "disturbed"
    ) -> Callable[[], Ended]:
        """Start a command in which harm is done at an event."""
        self.log.unlink(missing_ok=True)
        events = Events((place.work,), self.log, at, harm)
        return forked(
            self.logs / log, command(place, place.words(name), events.begin, self.logs / "modules")
        )

    def happened(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


def cells(events: Mapping[str, Sequence[str]]) -> list[Cell]:
    """All of them, in an order that is the same each time and spreads over everything."""
    every = []
    for name, heard in events.items():
        n, by_time = len(heard), KILLS[name] // 4
        by_event = KILLS[name] - by_time
        every += [Cell("kill", name, 1 + i * n // by_event) for i in range(by_event)]
        every += [Cell("time", name, round((i + 0.5) / by_time, 3)) for i in range(by_time)]
        every += [Cell(kind, name, at) for kind in ERRORS for at in one_of_each_kind(heard)]
        every += [Cell("full", name, round(i / 12, 3)) for i in range(12)]
        every += [Cell("cleared", name, 1 + i * n // 6) for i in range(6)]
    for name in ("study", "train"):
        n = len(events.get(name, ()))
        every += [Cell("clock", name, 1 + i * n // 4) for i in range(4)]
    every += [Cell(kind, "study", i) for kind in ("one cache", "one run") for i in range(10)]
    random.Random(18).shuffle(every)
    earlier: Counter[tuple[str, str]] = Counter()
    turn = {}
    for cell in every:  # one of each kind and command, then a second one
        turn[cell] = earlier[cell.kind, cell.command]
        earlier[cell.kind, cell.command] += 1
    return sorted(turn, key=turn.__getitem__)


def one_of_each_kind(heard: Sequence[str]) -> list[int]:
    """Numbers of events: of those that differ only in numbers and hashes the first and the last."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, line in enumerate(heard, 1):
        kind = re.sub(r"[0-9a-f]{8,}|\d+", "#", line)
        first.setdefault(kind, number)
        last[kind] = number
    return sorted({*first.values(), *last.values()})


# --------------------------------------------------------------------------- one cell


def judge(bench: Bench, cell: Cell) -> Outcome:
    """Do the harm, look at what is left, run the command again, look again."""
    began = time.perf_counter()
    shutil.rmtree(bench.folder / "cell", ignore_errors=True)
    place = bench.place("cell")
    do = {"one cache": _one_cache, "one run": _one_run, "full": _full}.get(cell.kind, _disturbed)
    where, ended, failure = do(bench, cell, place)
    text = ended.text.strip().splitlines()
    said = (
        text[-1].replace(str(bench.folder), "").replace(sys.executable, "python")[:400]
        if text
        else ""
    )
    return Outcome(
        cell.name, where.replace(str(bench.folder), ""), _words(ended), said, failure,
        round(time.perf_counter() - began, 1),
    )  # fmt: skip


def _words(ended: Ended) -> str:
    if ended.code < 0:
        return f"killed by {signal.Signals(-ended.code).name}"
    return {0: "finished", 1: "a typed error", CRASHED: "a traceback"}.get(
        ended.code, f"exit code {ended.code}"
    )


def _disturbed(bench: Bench, cell: Cell, place: Place) -> tuple[str, Ended, str]:
    harms: dict[str, Harm] = {
        "kill": kill,
        "clock": lambda _: _clock_goes_back(),
        "cleared": lambda _: _clear(place.cache),
        **{kind: fails_with(number) for kind, number in ERRORS.items()},
    }
    if cell.kind == "time":
        wait = bench.run(cell.command, place, 0, kill)
        time.sleep(cell.at * bench.seconds[cell.command])
        _kill_child()
        ended = wait()
    else:
        ended = bench.run(cell.command, place, int(cell.at), harms[cell.kind])()
    happened = bench.happened()
    where = happened[int(cell.at) - 1] if 0 < cell.at <= len(happened) else f"at {cell.at:g}"
    return where, ended, _wrong(bench, cell, place, ended)


def _kill_child() -> None:
    """Kill the one child that runs now."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)


def _clock_goes_back() -> None:
    real = time.time
    time.time = lambda: real() - 86_400.0


def _clear(cache: Path) -> None:
    from medgraft.features.cache import Cache

    Cache(cache).prune(0)


def _wrong(bench: Bench, cell: Cell, place: Place, ended: Ended) -> str:
    """What is wrong after a command was disturbed and after the next one; '' for nothing."""
    if ended.code == CRASHED or "Traceback" in ended.text:
        return "a traceback: " + ended.text.strip().splitlines()[-1][:300]
    if ended.code == 1 and cell.kind in (*ERRORS, "full") and not _names_all(ended.text):
        return "the error does not name file, fault and remedy"
    if ended.code not in (0, 1, -signal.SIGKILL):
        return _words(ended)
    if ended.code == 0 and (wrong := _other(bench, cell.command, place)):
        return f"it finished, but {wrong}"
    if wrong := _asked(bench, half_written, place.work):
        return f"half-written: {wrong}"
    finished = ended.code == 0 or _had_finished(cell.command, place)
    return _after_next(bench, cell, place, finished)


def _had_finished(name: str, place: Place) -> bool:
    """Whether a command was killed when all that it leaves was there."""
    events = place.out / "run" / "run.jsonl"
    if name == "train" and events.exists():
        return '"finished"' in events.read_text(encoding="utf-8")
    return (place.out / "graph").exists()


def _after_next(bench: Bench, cell: Cell, place: Place, finished: bool) -> str:
    for path in [*hidden(place.work), *place.temporary.glob("*")]:
        os.utime(path, (time.time() - LATER,) * 2)
    if finished and cell.command in ("train", "export"):  # they leave alone what is there
        shutil.rmtree(place.out)
        place.out.mkdir()
    again = forked(bench.logs / "again", command(place, place.words(cell.command)))()
    if again.code:
        last = again.text.strip().splitlines()[-1:] or ["nothing said"]
        return f"the next run fails: {last[0][:300]}"
    if wrong := _other(bench, cell.command, place):
        return f"the next run ends otherwise: {wrong}"
    if lie := [*hidden(place.work), *place.temporary.glob("*")]:
        return f"left behind: {', '.join(str(p.relative_to(place.work)) for p in lie)[:300]}"
    return ""


def _names_all(text: str) -> bool:
    """Whether the error, in one line, names a path, what the disk said, and what to do."""
    line = text.strip().splitlines()[-1]
    said = any(os.strerror(n) in line for n in (*ERRORS.values(), errno.EFBIG))
    return line.startswith("medgraft: ") and "/" in line and said and ";" in line


def _asked(bench: Bench, question: Callable[[Path], list[str]], folder: Path) -> str:
    """The answer of a child: what reads graphs starts threads, and then nobody may fork."""
    answer = forked(bench.logs / "asked", lambda: print("\n".join(question(folder))))()
    return answer.text.strip()[:300]


def _other(bench: Bench, name: str, place: Place) -> str:
    """What differs from the undisturbed run; '' for nothing."""
    found, expected = left(name, place.out), bench.left[name]
    return ", ".join(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))


# --------------------------------------------------------------------------- others


def _full(bench: Bench, cell: Cell, place: Place) -> tuple[str, Ended, str]:
    """A disk that has room for a part of what a command writes, in truth: a small tmpfs."""
    source = bench.folder / "undisturbed" / cell.command
    size = sum(p.stat().st_size for p in source.rglob("*") if p.is_file())
    room = max(16, int(cell.at * size / 1024))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}k", "none", str(place.work)], check=True
    )
    try:
        place.out.mkdir()
        ended = bench.run(cell.command, place, 0, kill)()
        more = f"remount,size={size * 4 // 1024 + 65536}k"
        subprocess.run(["mount", "-o", more, str(place.work)], check=True)
        failure = _wrong(bench, cell, place, ended)
    finally:
        subprocess.run(["umount", str(place.work)], check=True)
    return f"room for {room:,} of {size // 1024:,} kB", ended, failure


def _one_cache(bench: Bench, cell: Cell, place: Place) -> tuple[str, Ended, str]:
    """Two studies begin together on one empty cache."""
    other = Place(place.work / "other", place.data, place.study)
    other.out.mkdir(parents=True)
    words = other.words("study")
    words[-1] = str(place.cache)
    first = bench.run("study", place, 0, kill)
    time.sleep(cell.at * bench.seconds["study"] / 20)
    second = forked(bench.logs / "second", command(other, words))
    one, two = first(), second()
    failure = ""
    for each, where in ((one, place), (two, other)):
        if each.code:
            failure = failure or f"one fails: {each.text.strip()[-300:]}"
        elif wrong := _other(bench, "study", where):
            failure = failure or f"one ends otherwise: {wrong}"
    shutil.rmtree(other.work)
    return "", one, failure or _asked(bench, half_written, place.work)


def _one_run(bench: Bench, cell: Cell, place: Place) -> tuple[str, Ended, str]:
    """Another study wants the folder of one that runs: refused, and the first ends right."""
    first = bench.run("study", place, 0, kill)
    time.sleep((cell.at + 0.5) * bench.seconds["study"] / 20)
    second = forked(bench.logs / "second", command(place, place.words("study")))()
    one = first()
    failure = ""
    if one.code:
        failure = f"the first fails: {one.text.strip()[-300:]}"
    elif wrong := _other(bench, "study", place):
        failure = f"the first ends otherwise: {wrong}"
    elif second.code == 1 and "is written to by another process" not in second.text:
        failure = f"the second says: {second.text.strip()[-300:]}"
    elif second.code not in (0, 1):  # 0: the first had ended by then
        failure = f"the second ends by {second.code}"
    return "", second, failure


# --------------------------------------------------------------------------- all


def done() -> list[Outcome]:
    """What is known already."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return [Outcome(**json.loads(line)) for line in lines]


def latest(found: list[Outcome]) -> list[Outcome]:
    """The last outcome of each cell: what was tried again counts as it ended then."""
    return list({one.name: one for one in found}.values())


def known_events() -> dict[str, list[str]]:
    """The events of each command when it was first run."""
    return dict(json.loads(EVENTS.read_text(encoding="utf-8"))) if EVENTS.exists() else {}


def wanted(only: str, again: bool) -> Iterator[Cell]:
    """The cells that are left, of the kinds that were asked for."""
    known = {one.name for one in latest(done()) if not (again and one.failure)}
    every = cells(known_events())
    asked = set(filter(None, only.split(",")))
    for cell in every:
        if cell.name not in known and (not asked or asked & {cell.kind, cell.command, cell.name}):
            yield cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="kinds, commands or names, by commas")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--most", type=int, default=None, help="cells at most")
    parser.add_argument("--again", action="store_true", help="what failed is tried again")
    parser.add_argument("--page", action="store_true", help="only write the page")
    words = parser.parse_args()
    if not words.page:
        end = time.monotonic() + 60 * words.minutes
        folder = Path(tempfile.mkdtemp(prefix="faults-"))  # nothing at exit: children exit too
        try:
            bench = Bench(folder)
            bench.prepare()
            EVENTS.write_text(json.dumps(bench.heard(), indent=0) + "\n", encoding="utf-8")
            for number, cell in enumerate(wanted(words.only, words.again)):
                if time.monotonic() > end or number == words.most:
                    break
                outcome = judge(bench, cell)
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
                print(f"{outcome.name} {outcome.where}: {outcome.ended}; {outcome.failure or 'ok'}",
                      flush=True)  # fmt: skip
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    found = latest(done())
    planned = Counter(f"{one.kind}/{one.command}" for one in cells(known_events()))
    write_page(PAGE, found, planned, 2 * IMAGES, LATER)
    sys.exit(any(one.failure for one in found))


if __name__ == "__main__":
    main()
