"""What may go: what killed and broken runs left, and what of the cache nobody has used for long.

Only files that a run writes are ever listed, by their names; whatever else lies in a folder stays,
and so does the folder. A finished, a running and a newer run lose nothing but what an earlier
session of theirs left half-written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medgraft.features.cache import Cache, Entry, remove
from medgraft.files import TEMPORARY, explained, is_abandoned
from medgraft.results.runs import Run
from medgraft.runs.find import CONFIG, EVENTS, PREDICTIONS, RESULT
from medgraft.studies.run_lock import LOCK
from medgraft.studies.store import IMAGES

OWN = (
    *(CONFIG, EVENTS, PREDICTIONS, RESULT, LOCK, "model", "training.json", "history.png"),
    *(IMAGES, "report.html", "methods.md", "references.bib"),
)
# What earlier versions called folders before they were whole; files are `files.TEMPORARY`.
EARLIER = re.compile(r"\.(?P<name>.+)\.\w{8}(?:-older)?")
Why = Literal["killed", "broken", "half-written", "unused"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that may go: its path, bytes, why, and what it is in words."""

    path: Path
    size: int
    why: Why
    what: str


def leftovers(runs: Iterable[Run], cache: Cache, days: float) -> list[Leftover]:
    """What may go of some runs, and of a cache what nobody used for so many days.

    A later study may need what is in the cache and computes it anew; no finished run does.
    """
    found = [one for run in runs for one in _of_run(run)]
    found += [
        Leftover(*one, "half-written", "of a process that is gone") for one in cache.orphans()
    ]
    old = time.time() - days * 86400
    found += [_unused(entry) for entry in cache.entries() if entry.used < old]
    return found


def _of_run(run: Run) -> list[Leftover]:
    folder = Path(run.path)
    halves = [path for path in folder.iterdir() if _is_half(path.name) and is_abandoned(path)]
    found = [Leftover(path, _size(path), "half-written", "") for path in halves]
    gone: Why = "killed" if run.state == "killed" else "broken"
    # A broken run's model may be whole, and in use.
    if run.kind == "study" and run.state == gone and not (folder / "model").exists():
        mine = [folder / name for name in OWN if (folder / name).exists()]
        found += [Leftover(path, _size(path), gone, run.reason) for path in mine]
    return found


def _is_half(name: str) -> bool:
    known = TEMPORARY.fullmatch(name) or EARLIER.fullmatch(name)
    return known is not None and known["name"] in OWN


def _unused(entry: Entry) -> Leftover:
    day = time.strftime("%Y-%m-%d", time.localtime(entry.used))
    return Leftover(entry.path, entry.size, "unused", f"{entry.what}, last used {day}")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())


def clean(found: Sequence[Leftover]) -> int:
    """Remove what `leftovers` gave, and folders that are empty then; count bytes freed.

    Raises
    ------
    StorageError
        A folder may not be changed.
    """
    for one in found:
        with explained(one.path):
            remove(one.path)
    for folder in {one.path.parent for one in found if one.why in ("killed", "broken")}:
        with suppress(OSError):  # it holds something that is not ours
            folder.rmdir()
    return sum(one.size for one in found if not one.path.exists())
