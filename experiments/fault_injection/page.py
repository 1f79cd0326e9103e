"""docs/results/faults.md: what came of every fault, by kind and command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from medgraft.files import write_text

HEAD = """# What faults do

Written by `make results-faults`; do not edit. Commands work on {images} chest X-rays, each in a
process of its own, and something is done to it. After that every file that it left is read: JSON,
safetensors, parquet, npz, pictures and zips whole, none half-written but under a name that begins
with a dot. Then the same command runs again, as {later} s later: it must end as the undisturbed
one did (`result.json` but for its seconds, every prediction and every weight bit for bit) and leave
no temporary file and no lock. An event is a file opened for writing, flushed, renamed or removed,
or a folder made.

**{failures} of {found} faults broke a promise.** {found} of {planned} are done;
`make results-faults` goes on with the rest.

{table}

- killed at an event: `kill -9` before the event, spread evenly over all of them; killed at a time:
  spread over the seconds of a run, also in the middle of a write.
- ENOSPC, EIO: the event fails with that error. Expected is one line that names the file, the fault
  and the remedy, or, where nothing but time is lost (a converted graph that cannot be kept), the
  result of the undisturbed run.
- full disk: a file system with room for a part of what is written, so that libraries in C++ and
  Rust meet it too.
- cache cleared: another process empties the cache at an event; clock back: by a day, at an event.
- one cache: two studies begin on an empty cache together, both must end right. one run: a study
  begins on the folder of one that runs, is refused, and the first ends right.
"""
KINDS = {"kill": "killed at an event", "time": "killed at a time", "ENOSPC": "ENOSPC",
         "EIO": "EIO", "full": "full disk", "cleared": "cache cleared", "clock": "clock back",
         "one cache": "two on one cache", "one run": "two on one run"}  # fmt: skip
ENDS = ("killed by SIGKILL", "a typed error", "finished")


class Outcome(Protocol):
    """See `faults.Outcome`."""

    @property
    def name(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def ended(self) -> str: ...
    @property
    def failure(self) -> str: ...


def write_page(
    path: Path, found: Sequence[Outcome], planned: Mapping[str, int], images: int, later: int
) -> None:
    """Write the page of all outcomes so far; planned : cells by `kind/command`."""
    rows = ["| fault | command | done | killed | a typed error | finished | promises broken |",
            "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for kind in sorted(planned, key=lambda one: (list(KINDS).index(one.partition("/")[0]), one)):
        n = planned[kind]
        mine = [one for one in found if one.name.startswith(f"{kind}/")]
        ends = Counter(one.ended for one in mine)
        first, _, command = kind.partition("/")
        cells = [KINDS[first], command, f"{len(mine)} of {n}", *(str(ends[end]) for end in ENDS),
                 str(sum(bool(one.failure) for one in mine))]  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    failed = [one for one in found if one.failure]
    text = HEAD.format(
        failures=len(failed), found=len(found), planned=sum(planned.values()), images=images,
        later=later, table="\n".join(rows),
    )  # fmt: skip
    if failed:
        text += "\n## Promises broken\n\n"
        text += "\n".join(f"- `{one.name}` ({one.where}): {one.failure}" for one in failed) + "\n"
    write_text(path, text)
