"""The worker processes of a pool: started as they are needed, lent to threads, watched, ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from medgraft.data.pool.worker import Answer, Job
from medgraft.data.pool.worker_process import WorkerEnded, WorkerNotStarted, WorkerProcess

WATCH_SECONDS = 0.25  # between two looks at whether a worker is overdue
TRIES = 3  # of an image whose worker is killed by somebody else
STARTS = 10  # of workers that are killed before they take one


class DecodeProcesses:
    """Worker processes, each used by one thread at a time."""

    def __init__(self) -> None:
        # Re-entrant: the garbage collector may end an iterator that somebody left, and so give its
        # worker back, at any line of a thread that holds the lock already.
        self._lock = threading.RLock()
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def answers(self, jobs: Sequence[Job], left: threading.Event | None = None) -> Iterator[Answer]:
        """Answer jobs in order; a job that ends its worker is answered with the reason.

        A worker that crashes, or lacks memory, after earlier images may suffer from what those
        left behind: then the image is judged once more, by a worker of its own. Where a worker is
        killed by somebody else, another takes its place, of `TRIES` for one image at most and of
        `STARTS` that start. Once these processes are closed or `left` is set there are no more
        answers.

        Raises
        ------
        WorkerNotStarted
            A worker cannot be started.
        """
        done, fresh, killed, starts = 0, False, 0, 0
        while done < len(jobs):
            if (worker := self._take(fresh)) is None:
                return
            fresh = False
            try:
                for answer in worker.work(jobs[done:]):
                    done, killed, starts = done + 1, 0, 0
                    yield answer
                    if left and left.is_set():
                        return
            except WorkerEnded as ended:
                if self._closed.is_set():
                    return
                if ended.cause == "killed":
                    killed += 1
                    fresh = killed < TRIES
                else:
                    fresh = ended.cause != "time" and not ended.first
                if not fresh:
                    done, killed = done + 1, 0
                    yield Answer("refused", str(ended))
            except WorkerNotStarted as error:
                if self._closed.is_set():
                    return
                starts, fresh = starts + 1, True
                if not error.killed or starts == STARTS:
                    raise
            finally:
                self._give_back(worker)

    def _take(self, fresh: bool) -> WorkerProcess | None:
        """An idle worker, or a new one; None where these processes are closed."""
        with self._lock:
            if self._closed.is_set():
                return None
            if self._idle and not fresh:
                return self._idle.pop()
        worker = WorkerProcess()  # milliseconds; it loads what it needs while nobody waits
        with self._lock:
            if self._closed.is_set():
                worker.close()
                return None
            self._all.add(worker)
            if self._watch is None:
                self._watch = threading.Thread(target=self._look_after, daemon=True)
                self._watch.start()
            return worker

    def _give_back(self, worker: WorkerProcess) -> None:
        """Keep it for the next; end it where it is dead, or still busy with what nobody wants."""
        with self._lock:
            if worker.ready and not self._closed.is_set():
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.close()

    def _look_after(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            with self._lock:
                watched = list(self._all)
            for worker in watched:
                worker.end_if_overdue()

    def close(self) -> None:
        """End all; threads that wait for one get no answer."""
        self._closed.set()
        with self._lock:
            idle, busy = self._idle, self._all.difference(self._idle)
            self._idle = []
        for worker in busy:
            worker.kill()  # and the thread that uses it closes it
        for worker in idle:
            worker.close()
        if self._watch is not None:
            self._watch.join()
