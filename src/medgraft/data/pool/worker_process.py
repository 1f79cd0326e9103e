"""The parent's end of a worker process: started when it is needed, asked, killed when it fails.

A process and not `multiprocessing`, whose children import the user's main module: a script without
`if __name__ == "__main__"` would run again in each of them.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

from medgraft.data.pixels.headers import MAX_PIXELS, SAVE_AGAIN
from medgraft.data.pool.worker import (
    HEADER,
    LONGEST_TEXT,
    MEGABYTES,
    OUTCOMES,
    SECONDS,
    Answer,
    Job,
)
from medgraft.errors import DataError

START_SECONDS = 60.0  # a busy machine takes long to start Python
CLOCK_SECONDS = 15.0  # by the clock: for a decoder that waits, and for platforms without limits
AHEAD_BYTES = 1 << 20  # of uploads that wait in a worker while it decodes
PIPE_BYTES = 1 << 20  # so that an answer is written in one go

MOST_CHANNELS = 4
KINDS = {
    np.dtype(kind).str.encode(): np.dtype(kind)
    for kind in (
        *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "float32", "float64", ">u2", ">i2", ">u4", ">i4", ">f4", ">f8"),
    )
}
END_SECONDS = 5.0  # until a process whose pipe has closed is gone

TOO_LONG = f"decoding it takes more than {SECONDS} seconds; {SAVE_AGAIN}"
TOO_MUCH = f"decoding it takes more than {MEGABYTES:,} MB of memory; store a smaller image"
CRASHED = f"it makes the decoder crash; {SAVE_AGAIN}"

PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from medgraft.data.pool.worker import main
main()
"""

Cause = Literal["time", "memory", "crash", "killed"]


class WorkerNotStarted(DataError):  # noqa: N818 (as `WorkerEnded`)
    """It cannot be started; killed : somebody ended it meanwhile, so that another may be."""

    def __init__(self, why: str, *, killed: bool = False) -> None:
        super().__init__(
            f"a process that decodes images cannot be started ({why}); without --safe only JPEG "
            "and PNG do without one"
        )
        self.killed = killed


class WorkerEnded(Exception):  # noqa: N818 (it tells of an end, as StopIteration does)
    """A worker is no more: what ended it, and whether that was its first job.

    `killed` is by somebody else: a system that ran out of memory, or a person.
    """

    def __init__(self, cause: Cause, text: str, first: bool) -> None:
        super().__init__(text)
        self.cause: Cause = cause
        self.first = first


class WorkerProcess:
    """One process that decodes; any thread may use it, one at a time.

    Raises
    ------
    WorkerNotStarted
        It cannot be started.
    """

    def __init__(self) -> None:
        paths = [path or str(Path.cwd()) for path in sys.path]
        words = [sys.executable, "-I", "-c", PROGRAM, json.dumps(paths)]
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.ready = True  # for further jobs; not while one is unanswered, nor when it is dead
        self.answered = 0
        self.deadline = time.monotonic() + START_SECONDS
        self._overdue = False
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **one_thread},
                start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise WorkerNotStarted(error.strerror or str(error)) from error
        assert self._process.stdout is not None
        self._jobs = cast(BinaryIO, self._process.stdin)
        self._answers = self._process.stdout
        _widen(self._answers.fileno())
        self._started = False
        # Also where whoever held it was interrupted and forgot it.
        self._end = weakref.finalize(self, _end, self._process)

    def work(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Answer jobs in order.

        Raises
        ------
        WorkerEnded
            It died or was killed over the job that comes next.
        WorkerNotStarted
            It did so before it took one.
        """
        self.ready = False
        if not self._started:
            self._await_start()
        sent = 0
        try:
            for number, _ in enumerate(jobs):
                sent = self._send(jobs, number, sent)
                self.deadline = time.monotonic() + CLOCK_SECONDS
                answer = self._receive()
                if answer.outcome == "memory":
                    raise self._ended("memory", TOO_MUCH)
                self.answered += 1
                self.ready = number + 1 == len(jobs)
                yield answer
        finally:
            self.deadline = math.inf

    def _await_start(self) -> None:
        try:
            self._receive()
        except WorkerEnded as ended:
            raise WorkerNotStarted(str(ended), killed=ended.cause == "killed") from ended
        self._started = True

    def _send(self, jobs: Sequence[Job], answered: int, sent: int) -> int:
        """Send jobs ahead of their answers, unless they bring many bytes; gives how many are."""
        ahead = sum(job.size for job in jobs[answered:sent])
        with suppress(BrokenPipeError):  # the answer that does not come tells
            while sent < len(jobs) and (sent == answered or ahead + jobs[sent].size <= AHEAD_BYTES):
                jobs[sent].write(self._jobs)
                ahead += jobs[sent].size
                sent += 1
            self._jobs.flush()
        return sent

    def _receive(self) -> Answer:
        header = bytearray(HEADER.size)
        self._fill(header)
        code, kind, height, width, channels, *geometry, white, length = HEADER.unpack(header)
        dtype = KINDS.get(kind.rstrip(b"\0"))
        large = height * width > MAX_PIXELS or channels > MOST_CHANNELS or length > LONGEST_TEXT
        if code >= len(OUTCOMES) or large or (OUTCOMES[code] == "pixels" and dtype is None):
            raise self._ended("crash", CRASHED)
        raw = bytearray(length)
        self._fill(raw)
        text = raw.decode(errors="replace")
        if OUTCOMES[code] != "pixels":
            return Answer(OUTCOMES[code], text)
        values = np.empty((height, width, channels) if channels else (height, width), dtype)
        self._fill(values.reshape(-1).view(np.uint8).data)
        return Answer("pixels", text, values, tuple(geometry), None if white < 0 else white)

    def _fill(self, buffer: bytearray | memoryview) -> None:
        """Read so many bytes; too few mean that the worker is no more."""
        try:
            complete = self._answers.readinto(buffer) == len(buffer)  # type: ignore[attr-defined]
        except ValueError:  # closed by another thread
            complete = False
        if not complete:
            raise self._autopsy()

    def _autopsy(self) -> WorkerEnded:
        """What a worker that gave no answer has died of."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        code = self._process.returncode
        if self._overdue or code == -getattr(signal, "SIGXCPU", math.inf):
            return self._ended("time", TOO_LONG)
        if code == -getattr(signal, "SIGKILL", math.inf):
            return self._ended("killed", TOO_MUCH)
        return self._ended("crash", CRASHED)

    def _ended(self, cause: Cause, text: str) -> WorkerEnded:
        return WorkerEnded(cause, text, self.answered == 0)

    def end_if_overdue(self) -> None:
        """Kill it where its job has taken too long by the clock."""
        if time.monotonic() > self.deadline:
            self._overdue = True
            self._process.kill()

    def kill(self) -> None:
        """End it; whoever waits for its answer hears of it. May be called by any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it and let go of its pipes, which nobody uses any more."""
        self._end()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stdin):
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()


def _widen(pipe: int) -> None:
    """Let a pipe hold a whole answer, where the platform can."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
