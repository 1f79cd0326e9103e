"""Break good files in thousands of ways: each gives a picture or a reason, soon and cheaply.

    python experiments/fuzz.py [--count 15000] [--from A --to B] [--out DIR] [--workers N]
    python experiments/fuzz.py --replay FILE…

Every number is one file, always the same. They are decoded as images of a study are, in workers
with their limits, and data sets are loaded there. What is not explained, takes more than the
limits, or is ended though threads would have decoded it, is kept in DIR/failures. A run goes on
where it was stopped; parts of it (`--from`, `--to`) may run beside each other, and `--page` joins
them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from fuzzing.child import UNEXPECTED
from fuzzing.mutations import mutated
from fuzzing.page import write_page
from fuzzing.seeds import images_of_csv, seeds
from medgraft.data.pool import worker_process
from medgraft.data.pool.processes import DecodeProcesses
from medgraft.data.pool.worker import MEGABYTES, SECONDS, Job
from medgraft.data.preprocess import CanvasRecipe
from medgraft.types import Source

HERE = Path(__file__).resolve().parent
CORPORA = HERE.parent.parent / "shared" / "corpora"
PAGE = HERE.parent / "docs" / "results" / "fuzz.md"
QUESTION = 20  # lines of what is asked about a table
COUNT, SEED = 15_000, 14
LONGEST = 600  # characters of a reason
ENDED = {
    worker_process.TOO_LONG: "ended: time",
    worker_process.TOO_MUCH: "ended: memory",
    worker_process.CRASHED: "ended: crash",
}
PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fuzzing.child import main
main()
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file.

    result : picture, refused, or what ended its worker. failure : what is wrong with that, or ''.
    """

    name: str
    result: str
    seconds: float
    megabytes: int
    text: str
    failure: str


def judge(name: str, path: Path, processes: DecodeProcesses) -> Outcome:
    """Decode or load one file, and hold it to the promises."""
    start = time.perf_counter()
    [answer] = processes.answers([Job(Source(str(path)), CanvasRecipe(224))])
    if answer.text in ENDED:
        taken = time.perf_counter() - start
        plain = path.suffix in (".jpg", ".png", ".npz", ".csv")
        failure = "it would have been decoded without a worker" if plain else ""
        return Outcome(name, ENDED[answer.text], taken, 0, answer.text, failure)
    cost = json.loads(answer.text)
    text, seconds, megabytes = cost["text"], cost["seconds"], cost["megabytes"]
    result = "picture" if answer.outcome == "pixels" else "refused"
    failure = ""
    if text.startswith(UNEXPECTED):
        failure = "an exception that is not explained"
    elif result == "refused" and not _is_fit(text, path):
        failure = "a reason that is empty, long, of several lines, or with a path"
    elif seconds > SECONDS or megabytes > MEGABYTES:
        failure = "too much time or memory"
    return Outcome(name, result, seconds, megabytes, text, failure)


def _is_fit(reason: str, path: Path) -> bool:
    lines = reason.split("\n")
    if path.suffix == ".csv" and len(lines) <= QUESTION:  # each reading with its flag
        return all(0 < len(line.strip()) < LONGEST for line in lines)
    return 0 < len(reason.strip()) < LONGEST and len(lines) == 1 and str(path) not in reason


def run(
    items: Iterator[tuple[str, str, bytes]], out: Path, workers: int, log: Path | None
) -> list[Outcome]:
    """Judge `(name, suffix, bytes)`; outcomes go to `log` as they come, failing files are kept."""
    sys.path.insert(0, str(HERE))
    worker_process.PROGRAM = PROGRAM
    found: list[Outcome] = []
    processes = DecodeProcesses()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(workers) as pool:
        folder = Path(scratch)
        for name, data in images_of_csv().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)

        def one(item: tuple[str, str, bytes]) -> Outcome:
            name, suffix, data = item
            path = folder / (name.replace("/", "_") + suffix)
            path.write_bytes(data)
            outcome = judge(name, path, processes)
            path.unlink()
            if outcome.failure:
                kept = out / "failures"
                kept.mkdir(parents=True, exist_ok=True)
                (kept / path.name).write_bytes(data)
            return outcome

        try:
            while batch := list(islice(items, 50 * workers)):
                outcomes = list(pool.map(one, batch))
                found += outcomes
                if log is not None:
                    with log.open("a", encoding="utf-8") as file:
                        file.writelines(json.dumps(asdict(each)) + "\n" for each in outcomes)
        finally:
            processes.close()
    return found


def broken(numbers: Sequence[int], seed: int = SEED) -> Iterator[tuple[str, str, bytes]]:
    """The files of these numbers."""
    good = seeds()
    for number in numbers:
        name, data = mutated(good, number, seed)
        yield f"{number:05}-{name}", "." + name.partition("/")[0], data


def corpora() -> Iterator[tuple[str, str, bytes]]:
    """Files that once broke other decoders."""
    for path in sorted(CORPORA.glob("*/*")):
        yield f"{path.parent.name}/{path.name}", path.suffix, path.read_bytes()


def read_log(out: Path) -> list[Outcome]:
    """What earlier runs and parts found."""
    lines = [line for log in sorted(out.glob("*.jsonl")) for line in log.open(encoding="utf-8")]
    return [Outcome(**json.loads(line)) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--to", type=int, default=None, help="the number after the last")
    parser.add_argument("--out", type=Path, default=HERE.parent / "runs" / "fuzz")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--replay", type=Path, nargs="+", default=[])
    words = parser.parse_args()
    if words.replay:
        items = ((path.stem, path.suffix, path.read_bytes()) for path in words.replay)
        for each in run(items, words.out, 1, None):
            print(f"{each.name}: {each.result}, {each.seconds:.2f} s, {each.megabytes} MB")
            print(f"  {each.failure or 'as promised'}: {each.text}")
        return
    words.out.mkdir(parents=True, exist_ok=True)
    last = words.count if words.to is None else words.to
    if not words.page:
        done = {each.name for each in read_log(words.out)}
        items = (item for item in broken(range(words.first, last)) if item[0] not in done)
        run(items, words.out, words.workers, words.out / f"{words.first}-{last}.jsonl")
        if last >= words.count:
            left = (item for item in corpora() if item[0] not in done)
            run(left, words.out, words.workers, words.out / "corpora.jsonl")
    found = read_log(words.out)
    write_page(PAGE, found, words.count)
    failures = [each for each in found if each.failure]
    for each in failures[:20]:
        print(f"{each.name}: {each.failure}: {each.text.strip().splitlines()[-1][:150]}")
    print(f"{len(found):,} files, {len(failures)} failures; {PAGE}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
