"""Stands for `medgraft` in tests of jobs: tells of progress, waits, ends as it is told to.

What it does is said by the data's name: `fails`, `waits` for Ctrl-C, or else it finishes.
"""

import json
import os
import platform
import signal
import sys
import time
from pathlib import Path

LONGEST = 120  # seconds
TASK = {"what": "Judging", "total": 4, "done": 2}
FINDING = {
    "check": "near_duplicates", "severity": "warn", "text": "2 <b>copies</b>", "remedy": "look",
    "images": ["a"],
}  # fmt: skip


def main() -> int:
    words = sys.argv[1:]
    name = Path(words[1]).name
    out = Path(next(one for one in words if one.startswith("--out=")).removeprefix("--out="))

    def event(what: str, **facts: object) -> None:
        with (out / "run.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": what, **facts}) + "\n")

    signal.signal(signal.SIGINT, signal.default_int_handler)
    tasks = [{**TASK, "began": time.time() - 10}]
    content = json.dumps({"tasks": tasks, "said": ["24 images"], "budget": None})
    Path(os.environ["MEDGRAFT_PROGRESS"]).write_text(content)
    if "fails" in name:
        sys.stderr.write("medgraft: class a has 1 patient; 2 are needed; add images\n")
        return 1
    out.mkdir(parents=True, exist_ok=True)
    process = {"host": platform.node(), "pid": os.getpid()}
    event("resumed" if "--resume" in words else "started", data=name, **process)
    (out / "config.json").write_text("{}")
    event("scenario judged", key="probe/tf_efficientnet_lite0/blocks.6/svm", seconds=1.5)
    if words[0] == "profile":
        skipped = [{"source": "a/a3.png", "reason": "it is cut short"}] * ("unreadable" in name)
        sys.stdout.write(json.dumps({"data": {"skipped": skipped}, "findings": [FINDING]}))
    try:
        ends = time.monotonic() + LONGEST  # a test that failed stops nobody
        while "waits" in name and "--resume" not in words and time.monotonic() < ends:
            time.sleep(0.02)
    except KeyboardInterrupt:
        event("stopped", reason="KeyboardInterrupt")
        sys.stderr.write("medgraft: stopped; what is done is kept, and --resume goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
