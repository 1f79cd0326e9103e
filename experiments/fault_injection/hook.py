"""Count what a process does to files below some folders, and at one of these events do harm.

An event is what changes a disk: a file opened for writing, flushed (`fsync`), renamed, removed or
cut, a folder made. Python tells of them itself (audit hooks), so that those of libraries written in
Python count too; of those written in C++ and Rust only what they are called from.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

Harm = Callable[[str], None]
CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NAMED = {"os.rename": "rename", "os.mkdir": "mkdir", "os.remove": "remove", "os.rmdir": "rmdir",
         "os.truncate": "truncate", "os.link": "link", "os.symlink": "symlink",
         "os.utime": "utime"}  # fmt: skip


class Events:
    """Counts events below `roots` in this process, and does `harm` at the one numbered `at`.

    log : a file that gets a line for each, as it happens; it lies elsewhere.
    """

    def __init__(self, roots: tuple[Path, ...], log: Path, at: int, harm: Harm) -> None:
        self.roots = tuple(str(root) for root in roots)
        self.log = log
        self.at = at
        self.harm = harm
        self.count = 0

    def begin(self) -> None:
        """Listen from now on; there is no way back, so it is for a process that ends soon."""
        self.process = os.getpid()
        self.lines = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        sys.addaudithook(self._heard)
        flush, allocate = os.fsync, os.posix_fallocate

        def fsync(descriptor: int) -> None:
            self._happens("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            flush(descriptor)

        def posix_fallocate(descriptor: int, offset: int, length: int) -> None:
            self._happens("allocate", str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            allocate(descriptor, offset, length)

        vars(os).update(fsync=fsync, posix_fallocate=posix_fallocate)

    def _heard(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & CHANGING:
                self._happens("open", path)
        elif event in NAMED:
            self._happens(NAMED[event], args[0])

    def _happens(self, what: str, path: object) -> None:
        if os.getpid() != self.process or not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if not os.path.abspath(name).startswith(self.roots):  # noqa: PTH100 (this is hot)
            return
        self.count += 1
        os.write(self.lines, f"{what} {name}\n".encode())
        if self.count == self.at:
            self.harm(name)


def kill(_: str) -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def fails_with(number: int) -> Harm:
    """The disk says so, in the words of an error of this number."""

    def harm(name: str) -> None:
        raise OSError(number, os.strerror(number), name)

    return harm
