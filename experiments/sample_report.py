"""The sample report of the site: what `medgraft demo` leaves, put where docs/sample.md links to.

`make site` runs it: `python experiments/sample_report.py site/sample-report.html`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LARGEST = 5_000_000  # bytes: what a report of a normal study may weigh


def demo(folder: Path, *options: str) -> Path:
    """Run the demo as a reader would, and say where its report lies."""
    program = [sys.executable, "-m", "medgraft.cli", "demo", "--no-open", "--quiet"]
    subprocess.run([*program, *options, "--out", str(folder)], check=True)
    return folder / "run" / "report.html"


def write(target: Path, *options: str) -> None:
    """Put a fresh report at `target`.

    Raises
    ------
    ValueError
        It is too large for a page.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = demo(Path(folder) / "demo", *options)
        size = report.stat().st_size
        if size > LARGEST:
            raise ValueError(f"the sample report has {size:,} bytes; at most {LARGEST:,} are meant")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(report, target)
    print(f"{target}: {size:,} bytes")


if __name__ == "__main__":
    write(Path(sys.argv[1]), *sys.argv[2:])
