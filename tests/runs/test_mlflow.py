"""A run is logged to MLflow and read back; no name of an image or patient leaves."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import made
import pytest

from medgraft.runs.mlflow_log import TrackingError, check_tracking, log_run

mlflow = pytest.importorskip("mlflow")
NAME = "Wintergreen"  # of every patient, folder and file


class Server(ThreadingHTTPServer):
    """What of MLflow's REST API a client needs to log a run, and all that it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.sent: list[bytes] = []
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.broken = ""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer({name: one[0] for name, one in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        self.answer(json.loads(self.read()))

    def do_PUT(self) -> None:
        self.server.artifacts[urlsplit(self.path).path.partition("/artifacts/")[2]] = self.read()
        self.say({})

    def read(self) -> bytes:
        content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.sent += [content, self.path.encode(), str(self.headers).encode()]
        return content

    def say(self, content: Any, code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, asked: dict[str, Any]) -> None:
        call, known = urlsplit(self.path).path.partition("/mlflow/")[2], self.server
        if known.broken and known.broken in call:
            self.say({"error_code": "INVALID_PARAMETER_VALUE", "message": "no room"}, 400)
        elif call == "experiments/get-by-name":
            name = asked["experiment_name"]
            if name not in known.experiments:
                return self.say({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": ""}, 404)
            self.say({"experiment": {"experiment_id": known.experiments[name], "name": name}})
        elif call == "experiments/create":
            known.experiments[asked["name"]] = "1"
            self.say({"experiment_id": "1"})
        elif call == "runs/create":
            uri = "mlflow-artifacts:/1/r/artifacts"
            info = {"run_id": "r", "run_uuid": "r", "experiment_id": "1", "status": "RUNNING"}
            info |= {"artifact_uri": uri, "run_name": asked.get("run_name", "")}
            run = {"info": info, "data": {"params": [], "metrics": [], "tags": asked["tags"]}}
            known.runs["r"] = run
            self.say({"run": run})
        elif call == "runs/log-batch":
            for kind in ("params", "metrics", "tags"):
                known.runs["r"]["data"][kind] += asked.get(kind, [])
            self.say({})
        elif call == "runs/update":
            known.runs["r"]["info"] |= {"status": asked["status"]}
            self.say({"run_info": known.runs["r"]["info"]})
        elif call == "runs/get":
            self.say({"run": known.runs["r"]})
        else:
            self.say({})


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    oof = made.answers(made.SVM, 80, 2, name=NAME)
    test = made.answers(made.SVM, 40, 1, split="test", name=NAME)
    reading = {"by": f"{NAME}.csv", "layout": f"{NAME}/class/image"}
    folder = made.study(tmp_path / "RUN", [oof], [test], reading=reading)
    (folder / "report.html").write_text(NAME)
    return folder


def untouched(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_run_is_read_back_from_the_server_and_names_nobody(server: Server, run: Path) -> None:
    before = untouched(run)
    check_tracking(server.uri)
    mine = log_run(run, server.uri)
    found = mlflow.MlflowClient(server.uri).get_run(mine)
    content = json.loads(before["result.json"])
    test = content["scenarios"][0]["test"]["auroc"]
    got = found.data.metrics
    for name, end in (
        ("test/auroc", "value"),
        ("test/auroc_low", "low"),
        ("test/auroc_high", "high"),
    ):
        assert got[name] == test[end]
    assert got["corrected/auroc"] == content["corrected"]["value"]
    assert {"validation/sensitivity", "validation/sensitivity_low", "seconds"} <= set(got)
    assert found.data.params["data_fingerprint"] == "abc"
    assert found.data.params["recommended"] == made.SVM
    assert found.data.params["metric"] == "auroc"
    assert found.data.tags["medgraft.audit"] == "WARN"
    assert (found.info.status, found.info.run_name) == ("FINISHED", "RUN")
    assert {name.partition("artifacts/")[2] or name for name in server.artifacts} == {
        "report.html", "run.json", "model/bundle.json",
    }  # fmt: skip
    assert not [one for one in server.sent if NAME.lower().encode() in one.lower()]
    assert NAME.encode() in before["run.jsonl"]
    assert NAME.encode() in before["predictions.parquet"]
    assert untouched(run) == before
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_server_that_refuses_in_the_middle_is_one_error_and_marks_its_run(
    server: Server, run: Path
) -> None:
    before = untouched(run)
    server.broken = "log-batch"
    with pytest.raises(TrackingError, match="no room"):
        log_run(run, server.uri)
    assert server.runs["r"]["info"]["status"] == "FAILED"
    assert untouched(run) == before


def test_a_server_that_is_not_there_is_told_in_seconds(run: Path) -> None:
    with socket.socket() as free:  # bound and never listening: nobody answers
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            with pytest.raises(TrackingError, match=r"does not answer.*see that the server runs"):
                check_tracking(uri)


def test_only_what_is_finished_is_logged(server: Server, run: Path) -> None:
    (run / "result.json").unlink()
    with pytest.raises(TrackingError, match="only finished studies"):
        log_run(run, server.uri)
    assert server.runs == {}


@pytest.mark.slow
def test_mlflow_itself_takes_and_gives_back_a_run(run: Path, tmp_path: Path) -> None:
    """Against `mlflow server`; MEDGRAFT_MLFLOW names a Python that has all of MLflow."""
    python = os.environ.get("MEDGRAFT_MLFLOW") or sys.executable
    if python == sys.executable and importlib.util.find_spec("flask") is None:
        pytest.skip("needs all of mlflow; MEDGRAFT_MLFLOW=PYTHON names one that has it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [python, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    words += ["--artifacts-destination", str(tmp_path / "artifacts")]
    uri = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            words, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.5)
            mine = log_run(run, uri)
            client = mlflow.MlflowClient(uri)
            found = client.get_run(mine)
            test = json.loads((run / "result.json").read_text())["scenarios"][0]["test"]["auroc"]
            assert found.data.metrics["test/auroc_low"] == pytest.approx(test["low"])
            assert found.data.params["recommended"] == made.SVM
            assert found.info.status == "FINISHED"
            names = {one.path for one in client.list_artifacts(mine)}
            assert names == {"report.html", "run.json", "model"}
            back = client.download_artifacts(mine, "model/bundle.json", str(tmp_path))
            assert Path(back).read_bytes() == (run / "model" / "bundle.json").read_bytes()
        finally:
            os.killpg(running.pid, signal.SIGKILL)  # its workers too
            running.wait()
    told = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and run not in path.parents and NAME.encode() in path.read_bytes()
    ]
    assert told == []
