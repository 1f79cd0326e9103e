"""The server as a process of its own: how it ends, by whatever signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import pytest
from serving import BOUNDARY, form, png

from numpy_model import ByBrightness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PROGRAM = """
import sys, time
sys.path[:0] = sys.argv.pop(1).split(":")
from medgraft import cli
from medgraft.learn import fit
from medgraft.learn.bundle_files import read_bundle
from numpy_model import ByBrightness, load_numpy

scored = ByBrightness.probabilities
def slowly(self, canvases):
    time.sleep(0.05)
    return scored(self, canvases)
ByBrightness.probabilities = slowly
fit.LOADERS = {**fit.LOADERS, "numpy": lambda folder, _: load_numpy(read_bundle(folder))}
cli.main()
"""
PLACE = (slice(0, 64), slice(0, 64))
SENTINEL = "SENTINEL^JANE"


def expected(grey: int) -> float:
    return float(1 / (1 + np.exp(-0.2 * (grey - 100))))


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of a model in `folder`, whose temporary files would lie in it; and its port."""
    (folder / "model").mkdir()
    (folder / "tmp").mkdir()
    ByBrightness(PLACE).save(folder / "model")
    root = Path(__file__).parents[2]
    paths = f"{root / 'src'}:{root / 'tests'}"
    words = [sys.executable, "-c", PROGRAM, paths, "serve", str(folder), "--port", "0"]
    words += ["--workers", "2", "--cache", str(folder / "cache")]
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "COLUMNS": "200"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            port = re.search(r"http://127.0.0.1:(\d+)/", first)
            assert port, first + server.stdout.read()
            yield server, int(port[1])
        finally:
            server.kill()


class Client(threading.Thread):
    """Asks about images of one grey until the server is gone, and keeps what it was told."""

    def __init__(self, port: int, grey: int) -> None:
        super().__init__()
        self.port, self.grey = port, grey
        self.told: list[float] = []
        self.odd: list[str] = []

    def run(self) -> None:
        body = form(png(self.grey), name=SENTINEL)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        while True:
            try:
                connection.request("POST", "/v1/predict", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, HTTPException):  # gone, before an answer or in its middle
                connection.close()
                return
            if answer.status != 200:
                self.odd.append(content.decode())
            else:
                (image,) = json.loads(content)["images"]
                self.told.append(image["probabilities"]["1"])


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_ended_under_load(ending: signal.Signals, tmp_path: Path) -> None:
    """What is answered is right; no process and no file is left; what was asked was answered."""
    with started(tmp_path) as (server, port):
        clients = [Client(port, grey) for grey in (92, 97, 103, 108)]
        for client in clients:
            client.start()
        end = time.monotonic() + 30
        while not all(len(client.told) > 3 for client in clients):
            assert time.monotonic() < end
            time.sleep(0.01)
        workers = children(server.pid)
        assert len(workers) >= 2
        server.send_signal(ending)
        for client in clients:
            client.join(30)
        code = server.wait(30)
        assert server.stdout is not None
        log = server.stdout.read()
    assert code == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    for client in clients:
        assert client.odd == []
        assert client.told == pytest.approx([expected(client.grey)] * len(client.told), abs=1e-9)
    end = time.monotonic() + 10
    while any(map(alive, workers)):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "Traceback" not in log
    assert SENTINEL not in log
    answered = sum(len(client.told) for client in clients)
    if ending != signal.SIGKILL:  # none was begun and not answered
        assert log.count("POST /v1/predict 200") == answered
        assert " 499 " not in log
