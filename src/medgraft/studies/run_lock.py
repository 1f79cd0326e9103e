"""One run's folder, one process: the lock that keeps a second one out.

The system's own lock (flock) on `RUN/.lock` decides, so that one of a process that was killed is
gone with it, whatever the clock says. What the file holds is only words: who holds the lock, for
the error of the other.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medgraft.errors import MedgraftError
from medgraft.files import explained

LOCK = ".lock"


class RunLockedError(MedgraftError):
    """Another process writes to this run's folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process out of a run's folder, which is made if it is not there.

    At the end the lock goes, and a folder that was made for it and stayed empty.

    Raises
    ------
    RunLockedError
        Another process, or another thread of this one, holds it; the text says which.
    StorageError
        The folder cannot be written.
    """
    made = not folder.exists()
    with explained(folder):
        descriptor = _take(folder)
    try:
        yield
    finally:
        with suppress(OSError):  # who comes next takes it where it lies
            (folder / LOCK).unlink(missing_ok=True)  # before it is free, or it might be another's
        os.close(descriptor)
        if made:
            with suppress(OSError):  # it holds something now
                folder.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether nothing but a lock lies in a folder, or it is not there."""
    with explained(folder):
        return not folder.exists() or all(one.name == LOCK for one in folder.iterdir())


def this_process() -> dict[str, object]:
    """By which it is known later whether the process that wrote a run still lives."""
    return {"host": platform.node(), "pid": os.getpid(), "pid_began": process_began(os.getpid())}


def process_began(pid: int) -> str:
    """When a process began, in its system's own units; '' where there is none, or no telling.

    Numbers of processes are given again; a number and a beginning are not.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5)
    except (OSError, IndexError):
        return ""


def process_lives(process: Mapping[str, Any]) -> bool:
    """Whether a process of this machine, as `this_process` told of itself, still runs."""
    pid = int(process["pid"])
    if process.get("pid_began"):
        return process_began(pid) == str(process["pid_began"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


def _take(folder: Path) -> int:
    """The descriptor that holds the lock until it is closed."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # who held it has just removed the folder
        if not _lock(descriptor, path):
            os.close(descriptor)
            raise RunLockedError(_refusal(path))
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # who held it has removed the file; there may be a new one
    holder = json.dumps({**this_process(), "since": time.time()}).encode()
    os.ftruncate(descriptor, 0)
    os.write(descriptor, holder)
    return descriptor


def _lock(descriptor: int, path: Path) -> bool:
    """Lock an open file, if nobody holds it; where the system cannot, what it says decides."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        holder = _holder(path)
        elsewhere = holder.get("host") != platform.node()
        return not holder or not (elsewhere or process_lives(holder))


def _holder(path: Path) -> dict[str, Any]:
    """What the holder of a lock wrote of itself; nothing where it had no time to."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"host", "pid", "since"} <= found.keys():
            return found
    return {}


def _refusal(path: Path) -> str:
    holder, who = _holder(path), "one that has just begun"
    if holder:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder["since"])))
        who = f"process {holder['pid']} on {holder['host']}, since {since}"
    remedy = "wait for it, stop it, or choose another --out"
    if holder and holder["host"] != platform.node():
        remedy += f"; if it is gone for good, remove {path}"
    return f"{path.parent} is written to by another process ({who}); {remedy}"
