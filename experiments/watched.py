"""A command whose memory is watched while it runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

EVERY = 0.02  # seconds


def watched(command: Sequence[str]) -> dict[str, int]:
    """Run a command; the most that its process held, in megabytes of 2**20 bytes.

    RssAnon : that no file stands behind. VmHWM : all. Processes that it starts are not counted.

    Raises
    ------
    SystemExit
        It ended with another code than 0.
    """
    peaks = {"RssAnon": 0, "VmHWM": 0}
    with subprocess.Popen(command) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]))
            time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {name: round(value / 1024) for name, value in peaks.items()}
