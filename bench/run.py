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
    if not SHARED.is_dir():
        sys.exit(f"the benchmarks need real data in {SHARED}, which is not here")
    codes.main(SHARED)
    sizes.main()
    vlad.main(SHARED)
    heads.main(SHARED)
    training.main(SHARED)
    hybrid.main()
    duplicates.main()
    cam.main(SHARED)
    serve.main(SHARED)


if __name__ == "__main__":
    main()
