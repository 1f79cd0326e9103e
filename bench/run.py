"""Run every benchmark and write its figures to bench/results/; `make bench` calls this."""

from __future__ import annotations

import sys
from pathlib import Path

import cam
import codes
import duplicates
import heads
import hybrid
import serve
import sizes
import training
import vlad

SHARED = Path(__file__).parents[1].parent / "shared"


def main() -> None:
    for bench in (sizes, hybrid, duplicates):
        bench.main()
    if not SHARED.is_dir():
        sys.exit(f"codes, heads and others need real data in {SHARED}, which is not here")
    for bench in (codes, vlad, heads, training, cam, serve):
        bench.main(SHARED)


if __name__ == "__main__":
    main()
