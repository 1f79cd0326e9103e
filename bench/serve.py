"""`medgraft serve` on loopback: latency and CPU by the bare engine, rate by a plain server.

Bare is the same decoder and the same engine in this process, an image at a time. The plain server
(`plain_handler.py`) runs torch in the way that is fastest here. All of them run at once, and are
asked in turn; who asks is this process, on the same cores.
"""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from harness import Spread, paired, save
from medgraft.bundle.predict import predict_files
from medgraft.data.ingest import load
from medgraft.data.pixels.decode import decode
from medgraft.data.preprocess import make_canvas, recipe_of
from medgraft.features.backbones import DEFAULT
from medgraft.features.extract import Extractor
from medgraft.run_folders import train_to_folder
from medgraft.serve.model import ModelOptions, ServedModel
from medgraft.studies.single_scenario import SingleOptions
from medgraft.types import Scenario
from plain_handler import WAYS

SHARED = Path(__file__).parents[1].parent / "shared"
IMAGES, ROUNDS = 200, 7
ALONE = 60  # requests a round, one after the other
CLIENTS, EACH = 16, 12  # at once, and requests of each a round
MANY = 10_000  # over which memory is watched
BOUNDARY = "bench"
# What the server aims at: see docs/serve.md.
P50, CPU, RATE = 1.5, 1.25, 3.0
PREDICT = 2.0  # times what `medgraft predict` takes once it is warm, for an image on the page


@dataclass(frozen=True)
class Asked:
    """A server process and where it is asked."""

    pid: int
    port: int

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=60)

    def processes(self) -> list[int]:
        """Its own and those of its workers."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        children = [(task / "children").read_text().split() for task in tasks]
        return [self.pid, *(int(child) for some in children for child in some)]

    def cpu_seconds(self) -> float:
        """Processor time of all their threads so far, which live as long as they do (Linux)."""
        tasks = [task for pid in self.processes() for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory(self) -> float:
        """Anonymous memory of all of them, in MiB."""
        text = [Path(f"/proc/{pid}/status").read_text() for pid in self.processes()]
        found = [re.search(r"RssAnon:\s+(\d+)", one) for one in text]
        return sum(int(one[1]) for one in found if one) / 1024


def body(content: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="files"; filename="a"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return f"--{BOUNDARY}\r\n{head}{kind}".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(connection: HTTPConnection, content: bytes) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/v1/predict", content, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {text.decode()}")


@contextmanager
def server(words: Sequence[str], port: int) -> Iterator[Asked]:
    """A server in a process of its own, asked once it answers."""
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        asked = Asked(process.pid, port)
        for _ in range(1200):
            try:
                with socket.create_connection(("127.0.0.1", port)):
                    break
            except ConnectionRefusedError:
                if process.poll() is not None:
                    raise SystemExit(f"{words} ended with {process.returncode}") from None
                time.sleep(0.1)
        yield asked
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def at_once(asked: Asked, bodies: Sequence[bytes], clients: int, each: int) -> int:
    """Requests of several clients, each on a connection that it keeps."""

    def client(first: int) -> None:
        connection = asked.connect()
        for k in range(each):
            ask(connection, bodies[(first + k * clients) % len(bodies)])
        connection.close()

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * each


class Alone:
    """One image after the other, served, bare and by `predict` in turn: p50 and processor time of
    each round."""

    def __init__(self, asked: Asked, run: Path, contents: Sequence[bytes], folder: Path) -> None:
        self.asked, self.contents = asked, contents
        model = ServedModel.load(run, ModelOptions())
        self.fitted, self.judge = model.fitted, model.unlike
        self.recipe, self.rule = recipe_of(self.fitted.spec), self.fitted.rule
        self.probabilities = self.fitted.probabilities
        self.files = [str(folder / f"{k}") for k in range(len(contents))]
        for file, content in zip(self.files, contents, strict=True):
            Path(file).write_bytes(content)

    def bare(self, content: bytes) -> None:
        image = decode(content, self.recipe.shape, self.rule)
        self.probabilities([make_canvas("", image, self.recipe)])

    def rounds(self, n: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {
            name: [] for name in ("p50", "bare p50", "predict p50", "cpu", "bare cpu")
        }
        connection = self.asked.connect()
        bodies = [body(content) for content in self.contents]
        for number in range(n + 1):
            some = [(number * ALONE + k) % len(bodies) for k in range(ALONE)]
            before = self.asked.cpu_seconds()
            served = [timed(lambda k=k: ask(connection, bodies[k])) for k in some]
            cpu = (self.asked.cpu_seconds() - before) / ALONE
            began = time.process_time()
            bare = [timed(lambda k=k: self.bare(self.contents[k])) for k in some]
            bare_cpu = (time.process_time() - began) / ALONE
            warm = [
                timed(lambda k=k: predict_files(self.fitted, [self.files[k]], self.judge))
                for k in some
            ]
            if number:  # the first warms up
                medians = map(statistics.median, (served, bare, warm))
                for name, value in zip(found, (*medians, cpu, bare_cpu), strict=True):
                    found[name].append(1000 * value)
        connection.close()
        return found


def timed(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began


def fastest(run: Path, bodies: Sequence[bytes]) -> str:
    """The way in which the plain server answers most requests a second here."""
    rates = {}
    for way in WAYS:
        with plain(run, way) as asked:
            at_once(asked, bodies, CLIENTS, 2)
            began = time.perf_counter()
            n = at_once(asked, bodies, CLIENTS, 4)
            rates[way] = n / (time.perf_counter() - began)
            print(f"plain server, {way}: {rates[way]:.1f} images/s")
    return max(rates, key=rates.__getitem__)


@contextmanager
def plain(run: Path, way: str) -> Iterator[Asked]:
    port = free_port()
    program = str(Path(__file__).with_name("plain_handler.py"))
    with server([program, str(run), str(port), way], port) as found:
        yield found


def trained(shared: Path, folder: Path) -> tuple[Path, list[bytes]]:
    """A run of the usual probe on a few X-rays of 224 px, and their files."""
    table = load(shared / "data" / "chest_xray").development
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[:IMAGES])
    chosen = table.select(rows)
    scenario = Scenario.from_key(f"probe/{DEFAULT}/stages/svm")
    train_to_folder(chosen, scenario, SingleOptions(), Extractor(), folder / "run")
    return folder / "run", [Path(source.path).read_bytes() for source in chosen.sources]


def main(shared: Path = SHARED) -> None:
    load_average = os.getloadavg()[0]
    print(f"load average before {load_average:.1f}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        run, contents = trained(shared, Path(folder))
        bodies = [body(content) for content in contents]
        way = fastest(run, bodies)
        port = free_port()
        ours = stack.enter_context(
            server(["-m", "medgraft.cli", "serve", str(run), "--port", str(port)], port)
        )
        alone = Alone(ours, run, contents, Path(folder)).rounds(ROUNDS)
        latency = ratios(alone["p50"], alone["bare p50"])
        cpu = ratios(alone["cpu"], alone["bare cpu"])
        warm = ratios(alone["p50"], alone["predict p50"])
        print(f"one image, p50: {Spread.of(alone['p50'])} ms, bare {Spread.of(alone['bare p50'])}: "
              f"ratio {latency} (aim {P50})")  # fmt: skip
        print(f"one image, CPU: {Spread.of(alone['cpu'])} ms, bare {Spread.of(alone['bare cpu'])}: "
              f"ratio {cpu} (aim {CPU})")  # fmt: skip
        print(f"one image, p50 by predict: {Spread.of(alone['predict p50'])} ms: ratio {warm} "
              f"(aim {PREDICT})")  # fmt: skip
        with plain(run, way) as theirs:
            at_once(theirs, bodies, CLIENTS, 2)
            rate = paired(
                lambda: at_once(ours, bodies, CLIENTS, EACH),
                lambda: at_once(theirs, bodies, CLIENTS, EACH),
                ROUNDS,
            )
        print(f"{CLIENTS} clients: {rate.a} images/s, plain server ({way}) {rate.b}: "
              f"ratio {rate.ratio} (aim {RATE})")  # fmt: skip
        memory = [ours.memory()]
        for _ in range(4):
            at_once(ours, bodies, CLIENTS, MANY // CLIENTS // 4)
            memory.append(ours.memory())
        print(f"memory by {MANY // 4:,} requests: {', '.join(f'{one:.0f}' for one in memory)} MiB")
    figures = {
        "p50 ratio": latency, "cpu ratio": cpu, "predict ratio": warm, "rate": rate, "way": way,
        "memory MiB": memory,
        "milliseconds": {name: Spread.of(values) for name, values in alone.items()},
        "load_average_before": load_average,
    }  # fmt: skip
    save("serve", figures)


def ratios(a: Sequence[float], b: Sequence[float]) -> Spread:
    """Round by round."""
    return Spread.of([x / y for x, y in zip(a, b, strict=True)])


if __name__ == "__main__":
    main()
