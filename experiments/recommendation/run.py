"""Whether what is recommended loses little, against everything tried: the cells.

`make prove-recommendation` measures what experiments/results/recommendation.jsonl lacks, a line a
cell, so that it can be killed and called anew, and writes docs/results/recommendation.md. Every
cell looks at a test split, after every policy has chosen (docs/results/ledger.md); fields and
policies were fixed before the first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import medgraft
from medgraft.types import ImageTable

sys.path.insert(0, str(Path(__file__).parents[1]))

from recommendation.cell import codes, measure
from recommendation.fields import FIELDS
from recommendation.held_codes import HeldCache
from recommendation.results import RESULTS, done, key_of, read
from recommendation.sets import ALL, SETS, SHARED, sizes, whole


def main() -> None:
    """Run what is lacking until the time is up, the cheapest and rarest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"data sets, with commas: {', '.join(SETS)}")
    parser.add_argument("--fields", default="frozen", help=f"with commas: {', '.join(FIELDS)}")
    parser.add_argument("--sizes", default="", help="numbers of images, with commas; or all")
    parser.add_argument("--draws", type=int, default=0, help="of each size at most")
    parser.add_argument("--hours", type=float, default=1e9, help="after which no cell is begun")
    parser.add_argument("--codes", action="store_true", help="only read what the cells need")
    parser.add_argument("--workers", type=int, default=None, help="threads; all cores by default")
    asked = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"needs real data in {SHARED}, which is not here")
    began = time.perf_counter()
    names = asked.only.split(",") if asked.only else list(SETS)
    for field in asked.fields.split(","):
        cache = HeldCache(predictions=FIELDS[field].trained)
        extractor = medgraft.Extractor(cache, workers=asked.workers)
        tables = {name: whole(name) for name in names}
        if asked.codes:
            for name, table in tables.items():
                codes(table, field, extractor)
                print(name, "is read", flush=True)
            continue
        for name, n, draw in lacking(tables, field, asked.draws, asked.sizes):
            if time.perf_counter() - began > 3600 * asked.hours:
                break
            row = measure(tables[name], field, n, draw, extractor)
            write({"data": name, **row})
            print(field, name, n, draw, row["seconds"], row["cpu_seconds"], flush=True)


def lacking(
    tables: dict[str, ImageTable], field: str, draws: int = 0, some: str = ""
) -> Iterator[tuple[str, int | str, int]]:
    """The cells that are not done, one draw of every size of every data set after another.

    draws : at most, 0 for all. some : sizes, with commas; all where it is empty.
    """
    known = done(read())
    wanted = some.split(",") if some else []
    most = min(FIELDS[field].draws, draws or FIELDS[field].draws)
    for draw, name in itertools.product(range(most), tables):
        for n in sizes(tables[name]):
            again = n != ALL or draw < FIELDS[field].draws_of_all
            fits = not wanted or str(n) in wanted
            if again and fits and key_of(field, name, n, draw) not in known:
                yield name, n, draw


def write(row: dict[str, Any]) -> None:
    """Add a line; those of other versions, and what a killed run left, go."""
    text = "".join(f"{json.dumps(one)}\n" for one in [*read(), row])
    RESULTS.with_suffix(".part").write_text(text, encoding="utf-8")
    RESULTS.with_suffix(".part").replace(RESULTS)


if __name__ == "__main__":
    main()
