"""Kill servers and their workers while they are asked, and take their disk away from them.

    python experiments/server_faults.py [--kills 60] [--minutes 30] [--keep DIR] [--page]

A cell is one fault; its line goes to results/server_faults.jsonl, and a run goes on where it was
stopped. A server is `medgraft serve` of a run made here, on one port; four clients ask it about 40
chest X-rays, and what `medgraft predict` says of those is what they should be told. Needs root, for
disks that are full or read-only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fault_injection.images import copy_images
from fault_injection.server_page import write_page
from fault_injection.whole import half_written, hidden
from page import read_cells

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "server_faults.jsonl"
PAGE = HERE.parent / "docs" / "results" / "server-faults.md"
CLIENTS = 4
WORKERS = 2
ENOUGH = 1e-6  # of a probability: what docs/serve.md promises
BOUNDARY = "a-boundary"
START_SECONDS = 400  # a graph that no cache holds is converted, on whatever else runs
KILLED = 20  # workers of a server
FULL = "512k"  # of a disk that is then filled
COMMANDS = ("doctor", "study", "predict", "bundle", "export", "serve")
PLACES = ("home", "home, --cache elsewhere", "home and /tmp")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault. answered : in whole; wrong : of these. refused : a status but 200."""

    name: str
    answered: int = 0
    wrong: int = 0
    refused: int = 0
    cut: int = 0  # connections that ended without a whole answer
    text: str = ""
    failure: str = ""
    seconds: float = 0.0


class Bench:
    """Images, a run, what `predict` says of them, and one port for all servers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run, self.data = folder, folder / "run", folder / "data"
        self.out, self.cache = folder / "out", folder / "cache"
        self.disk, self.port = folder / "disk", 0
        for one in (self.out, self.disk, folder / "home", folder / "tmp"):
            one.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Make the run, unless it is there, and ask `predict`."""
        if not self.run.exists():
            self.study()
        done = self.typed("predict", check=True)
        self.expected = {row["source"]: row for row in json.loads(done.stdout)}
        self.bodies = {path: form(Path(path).read_bytes()) for path in self.expected}

    def study(self) -> None:
        copy_images(self.data)
        self.typed("study", check=True)

    def words(self, name: str, cache: Path | None = None) -> list[str]:
        """What is typed."""
        few = ["--families", "probe", "--heads", "svm", "--audit-pairs", "4"]
        out = str(self.out / name)
        if name == "study" and not self.run.exists():
            out = str(self.run)
        words = {
            "doctor": ["doctor"],
            "study": ["study", str(self.data), *few, "--out", out, "--quiet"],
            "predict": ["predict", str(self.run), str(self.data), "--json"],
            "bundle": ["bundle", str(self.run), "--out", f"{out}.medgraft"],
            "export": ["export", str(self.run), "--format", "openvino", "--out", out, "--quiet"],
            "serve": ["serve", str(self.run), "--port", str(self.port), "--workers", str(WORKERS)],
        }[name]
        return [*words, *(["--cache", str(cache)] if cache else [])]

    def environment(
        self, home: Path | None = None, temporary: Path | None = None
    ) -> dict[str, str]:
        home = home or self.folder / "home"
        known = {k: v for k, v in os.environ.items() if k != "MEDGRAFT_CACHE"}
        own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "COLUMNS": "400",
               "TMPDIR": str(temporary or self.folder / "tmp")}  # fmt: skip
        return known | own

    def typed(
        self, name: str, *, check: bool = False, environment: Mapping[str, str] | None = None,
        cache: str = "own",
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """A command from its start to its end. cache : `own`, or '' for that of the home folder."""
        words = self.words(name, self.cache if cache == "own" else None)
        return subprocess.run(
            [sys.executable, "-m", "medgraft.cli", *words], capture_output=True, text=True,
            env=environment or self.environment(), check=check, timeout=900,
        )  # fmt: skip

    @contextmanager
    def server(
        self, environment: Mapping[str, str] | None = None, cache: Path | str = "own"
    ) -> Iterator[subprocess.Popen[str]]:
        """A server that may not answer yet, and is killed at the end."""
        self.port = self.port or free_port()
        place = self.cache if cache == "own" else Path(cache) if cache else None
        words = [sys.executable, "-m", "medgraft.cli", *self.words("serve", place)]
        with (
            (self.folder / "log").open("w+") as log,
            subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, text=True,
                env=environment or self.environment(),
            ) as process,
        ):  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def answers(self, process: subprocess.Popen[str]) -> bool:
        """Wait until it answers; whether it does."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and process.poll() is None:
            if re.search(r"http://127\.0\.0\.1:\d+/", self.log()):
                return True
            time.sleep(0.05)
        return False

    def replaced(self, server: int, clients: Clients) -> None:
        """Wait until there are all workers, and each client had its answers since."""
        end = time.monotonic() + START_SECONDS
        while len(children(server)) < WORKERS and time.monotonic() < end:
            time.sleep(0.02)
        enough = clients.answered + 2 * CLIENTS
        while clients.answered < enough and time.monotonic() < end:
            time.sleep(0.02)

    def listed(self) -> dict[str, str]:
        """Every file that a server could leave something in, by its hash."""
        places = (self.run, self.cache, self.folder / "tmp", self.folder / "home")
        files = [p for place in places for p in place.rglob("*") if p.is_file()]
        files += [p for p in Path("/dev/shm").glob("*") if "medgraft" in p.name]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@dataclass(eq=False)
class Clients:
    """Ask a server until it is gone or they are stopped."""

    bench: Bench
    answered: int = 0
    cut: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(k,)) for k in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until each has the answer that it waits for, or was cut off."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident:
                thread.join(60)

    def _ask(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.bench.port, timeout=60)
        paths = sorted(self.bench.bodies)
        draw = random.Random(number)
        while not self._stop.is_set():
            path = draw.choice(paths)
            try:
                status, content = asked(connection, self.bench.bodies[path])
            except (OSError, HTTPException):
                with self._lock:
                    self.cut += 1
                connection.close()
                return
            with self._lock:
                self.answered += 1
                if status != 200:
                    self.refused.append(content.decode(errors="replace")[:200])
                elif wrong := differs(json.loads(content)["images"], self.bench.expected[path]):
                    self.wrong.append(wrong)
        connection.close()


def asked(connection: HTTPConnection, body: bytes) -> tuple[int, bytes]:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/v1/predict", body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def form(content: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    return b"--%b\r\n%b%b\r\n--%b--\r\n" % (BOUNDARY.encode(), head, content, BOUNDARY.encode())


def differs(images: Sequence[Mapping[str, Any]], expected: Mapping[str, Any]) -> str:
    """What an answer says otherwise than `predict`; '' for nothing."""
    (one,) = images
    for name in ("label", "set", "unlike"):
        if one[name] != expected[name]:
            return f"{name} {one[name]} instead of {expected[name]}"
    for name, p in expected["probabilities"].items():
        if not abs(one["probabilities"][name] - p) <= ENOUGH:
            return f"{name} {one['probabilities'][name]} instead of {p}"
    return ""


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended_in(seconds: float, pids: Sequence[int]) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# --------------------------------------------------------------------------- servers


def server_killed(bench: Bench, number: int) -> Outcome:
    """A server starts where the last one was killed, at once, and is killed at a random moment,
    one of six before it answers."""
    draw, began, clients = random.Random(1000 + number), time.monotonic(), Clients(bench)
    before = bench.listed()
    failure = ""
    with bench.server() as process:
        if number % 6 == 5:
            time.sleep(draw.uniform(0, 4))
        elif bench.answers(process):
            clients.start()
            time.sleep(draw.uniform(0.02, 2))
        else:
            failure = f"it does not start: {bench.log()[-300:]}"
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        clients.stop()
    if not ended_in(10, workers):
        failure = failure or "a worker goes on"
    if left := set(bench.listed().items()) ^ set(before.items()):
        failure = failure or f"left or changed: {sorted(left)[0][0]}"
    return outcome(f"server killed/{number}", clients, began, bench, failure)


def worker_killed(bench: Bench, number: int) -> Outcome:
    """One worker after the other of a server is killed while it is asked: `KILLED` of them."""
    draw, began, clients, killed = random.Random(number), time.monotonic(), Clients(bench), []
    failure = ""
    with bench.server() as process:
        if not bench.answers(process):
            return Outcome(f"worker killed/{number}", failure=f"no start: {bench.log()[-300:]}")
        clients.start()
        for _ in range(KILLED):
            bench.replaced(process.pid, clients)
            time.sleep(draw.uniform(0, 0.5))
            worker = draw.choice(children(process.pid))
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            killed.append(worker)
        bench.replaced(process.pid, clients)
        clients.stop()
        now = children(process.pid)
        if set(now) & set(killed) or not 1 <= len(now) <= WORKERS:
            failure = f"workers {now} after {killed}"
        process.terminate()
        if process.wait(60):
            failure = failure or f"it ended with {process.returncode}"
    failure = failure or (f"cut off {clients.cut} times" if clients.cut else "")
    return outcome(f"worker killed/{number}", clients, began, bench, failure)


def full_disk(bench: Bench, number: int) -> Outcome:
    """Home, cache and temporary files lie on a disk without a free byte."""
    return _on_disk(bench, f"full disk/{number}", fill)


def read_only(bench: Bench, number: int) -> Outcome:
    """They lie on a disk that is read-only; the cache was filled before, and is named."""
    return _on_disk(bench, f"read-only disk/{number}", remount_read_only)


def _on_disk(bench: Bench, name: str, spoil: Callable[[Path], None]) -> Outcome:
    began, clients, failure, text = time.monotonic(), Clients(bench), "", ""
    with disk(bench) as place:
        spoil(place)
        environment = bench.environment(place / "home", place / "tmp")
        with bench.server(environment, place / "cache") as process:
            if bench.answers(process):
                clients.start()
                time.sleep(5)
                clients.stop()
                process.terminate()
                process.wait(60)
            else:
                text = said(bench.log())
                failure = untyped(process.poll() or 0, bench.log())
        if left := [p for p in place.rglob("*") if p.is_file() and p.name != "filled"]:
            failure = failure or f"left: {left[0]}"
    failure = failure or (f"cut off {clients.cut} times" if clients.cut else "")
    return outcome(name, clients, began, bench, failure, text)


def cache_cleared(bench: Bench, number: int) -> Outcome:
    """Another process removes the cache's folder while the server is asked, ten times."""
    began, clients, cache = time.monotonic(), Clients(bench), bench.folder / "cleared"
    shutil.copytree(bench.cache, cache)
    with bench.server(cache=cache) as process:
        answered = bench.answers(process)
        if answered:
            clients.start()
            for _ in range(10):
                time.sleep(0.5)
                shutil.rmtree(cache, ignore_errors=True)
            clients.stop()
            process.terminate()
            process.wait(60)
    failure = f"cut off {clients.cut} times" if clients.cut else ""
    failure = failure if answered else f"no start: {bench.log()[-300:]}"
    if cache.exists():
        failure = failure or "it writes to its cache while it answers"
    shutil.rmtree(cache, ignore_errors=True)
    return outcome(f"cache cleared/{number}", clients, began, bench, failure)


# --------------------------------------------------------------------------- commands


def read_only_home(bench: Bench, name: str) -> Outcome:
    """A command where the home folder cannot be written: its result, or one line that says why."""
    _, command, where = name.split("/", 2)
    began = time.monotonic()
    shutil.rmtree(bench.out)
    bench.out.mkdir()
    with disk(bench) as place:
        remount_read_only(place)
        temporary = place / "tmp" if where.endswith("/tmp") else None
        environment = bench.environment(place / "home", temporary)
        cache = "own" if "elsewhere" in where else ""
        if command == "serve":
            code, text = _served(bench, environment, cache)
        else:
            done = bench.typed(command, environment=environment, cache=cache)
            code, text = done.returncode, done.stdout + done.stderr
    failure = "" if code == 0 or command == "doctor" else untyped(code, text)
    if wrong := half_written(bench.out):
        failure = failure or f"half-written: {wrong[0]}"
    if left := hidden(bench.out):
        failure = failure or f"left behind: {left[0]}"
    if code and any(bench.out.iterdir()):
        failure = failure or "it failed, and wrote something"
    ends = "finished" if code == 0 else said(text)
    return Outcome(name, text=ends, failure=failure, seconds=round(time.monotonic() - began, 1))


def _served(bench: Bench, environment: Mapping[str, str], cache: str) -> tuple[int, str]:
    with bench.server(environment, cache) as process:
        if bench.answers(process):
            process.terminate()
        return process.wait(60), bench.log()


def said(text: str) -> str:
    """The last line, without the names of this machine's folders."""
    last = (text.strip().splitlines() or [""])[-1]
    return re.sub(r"/\S*/(?=disk\b)", "/", last)[:300]


def untyped(code: int, text: str) -> str:
    """What is wrong with how a command failed; '' where it is one line with fault and remedy."""
    if "Traceback" in text:
        return "a traceback"
    last = (text.strip().splitlines() or [""])[-1]
    if code != 1 or not last.startswith("medgraft: ") or ";" not in last:
        return f"exit code {code}: {last[:200]}"
    return ""


@contextmanager
def disk(bench: Bench) -> Iterator[Path]:
    """A small file system with a home, a folder for temporary files and a cache."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={FULL}", "none", str(bench.disk)], check=True
    )
    try:
        for name in ("home", "tmp", "cache"):
            (bench.disk / name).mkdir()
        yield bench.disk
    finally:
        subprocess.run(["umount", str(bench.disk)], check=True)


def fill(place: Path) -> None:
    with suppress(OSError), (place / "filled").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def remount_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def outcome(
    name: str, clients: Clients, began: float, bench: Bench, failure: str = "", text: str = ""
) -> Outcome:
    """Count what the clients were told; a wrong answer or a refusal is a broken promise, too."""
    if "Traceback" in bench.log():
        failure = failure or "a traceback in the log"
    for told in (*clients.wrong, *clients.refused):
        failure = failure or told
    return Outcome(
        name, clients.answered, len(clients.wrong), len(clients.refused), clients.cut, text,
        failure, round(time.monotonic() - began, 1),
    )  # fmt: skip


# --------------------------------------------------------------------------- all


KINDS: Mapping[str, Callable[[Bench, int], Outcome]] = {
    "server killed": server_killed,
    "worker killed": worker_killed,
    "full disk": full_disk,
    "read-only disk": read_only,
    "cache cleared": cache_cleared,
}


def names(kills: int) -> list[str]:
    """All cells, one of each kind before the second of any."""
    counts = {"worker killed": 3, "full disk": 1, "read-only disk": 1, "cache cleared": 2,
              "server killed": kills}  # fmt: skip
    turns = [[f"{kind}/{number}" for number in range(n)] for kind, n in counts.items()]
    turns.append([f"read-only/{name}/{where}" for where in PLACES for name in COMMANDS])
    every = zip_longest(*turns)
    return [name for turn in every for name in turn if name]


def judge(bench: Bench, name: str) -> Outcome:
    kind, _, rest = name.partition("/")
    return KINDS[kind](bench, int(rest)) if kind in KINDS else read_only_home(bench, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="of servers")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path, help="a folder for the run, which the next one uses")
    parser.add_argument("--only", default="", help="kinds or names, by commas")
    parser.add_argument("--again", action="store_true", help="what failed is tried again")
    parser.add_argument("--page", action="store_true", help="only write the page")
    words = parser.parse_args()
    every, only = names(words.kills), set(filter(None, words.only.split(",")))
    known = {one["name"] for one in read_cells(RESULTS) if not (words.again and one["failure"])}
    left = [n for n in every if n not in known and not (only and not {n, n.split("/")[0]} & only)]
    if left and not words.page:
        folder = words.keep or Path(tempfile.mkdtemp(prefix="server-faults-"))
        end = time.monotonic() + 60 * words.minutes
        try:
            bench = Bench(folder)
            bench.prepare()
            for name in left:
                if time.monotonic() > end:
                    break
                found = judge(bench, name)
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(found)) + "\n")
                print(f"{found.name}: {found.answered} answered, {found.cut} cut; {found.text} "
                      f"{found.failure or 'ok'}", flush=True)  # fmt: skip
        finally:
            if not words.keep:
                shutil.rmtree(folder, ignore_errors=True)
    latest = {one["name"]: one for one in read_cells(RESULTS)}
    cells = [latest[name] for name in every if name in latest]
    write_page(PAGE, cells, Counter(name.split("/")[0] for name in every))
    sys.exit(any(cell["failure"] for cell in cells))


if __name__ == "__main__":
    main()
