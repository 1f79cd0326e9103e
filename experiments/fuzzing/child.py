"""A worker process that also reads data sets, and says what each file has cost."""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np

from medgraft.data.ingest import load
from medgraft.data.pixels.decode import decode
from medgraft.data.pixels.formats import NotPlain
from medgraft.data.pool import worker as decode_worker
from medgraft.data.pool.worker import Answer, Job
from medgraft.errors import DecodeError, MedgraftError
from medgraft.types import Source

FRAMES = 4  # of a data set
UNEXPECTED = "not explained: "

decode_alone = decode_worker.answer


def main() -> None:
    """As a worker's, with `answer` below."""
    decode_worker.answer = answer
    decode_worker.main()


def answer(job: Job) -> Answer:
    """Decode as a worker does, or load; text is JSON of seconds, megabytes, and the words."""
    assert isinstance(job.source, Source)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    start = time.process_time()
    plain = False
    try:
        if Path(job.source.path).suffix in (".npz", ".csv"):
            found = _loaded(job.source.path)
        else:
            plain = _is_plain(job)
            decode_worker.limit_time()
            start = time.process_time()
            found = decode_alone(job)
    except Exception:  # noqa: BLE001 (what is looked for)
        found = Answer("refused", UNEXPECTED + traceback.format_exc())
    cost = {
        "seconds": time.process_time() - start,
        "megabytes": _peak(),
        "plain": plain,
        "text": found.text[-6000:],
    }
    return dataclasses.replace(found, text=json.dumps(cost))


def _is_plain(job: Job) -> bool:
    """Whether threads would decode it."""
    assert job.recipe is not None
    try:
        decode(job.source, job.recipe.shape, only_plain=True)
    except NotPlain:
        return False
    except DecodeError:
        return True
    return True


def _loaded(path: str) -> Answer:
    try:
        table = load(path)
        for source in table.sources[:FRAMES]:
            with suppress(DecodeError):
                decode(source, (224, 224))
    except MedgraftError as error:
        return Answer("refused", str(error).replace(path, "…"))
    return Answer("pixels", values=np.zeros((1, 1), np.uint8))


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) // 1024
