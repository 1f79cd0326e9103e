"""What is answered, to whom, and what is left of it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from serving import NAME, PLACE, Running, form, png, running, until
from starlette.formparsers import MultiPartParser

from medgraft.bundle.predict import Classification, Prediction, predict_files
from medgraft.errors import BackboneError, DataError, ScenarioError
from medgraft.serve.limits import MIB, Limits
from medgraft.serve.model import bundle_sha256
from medgraft.serve.run import Door, bound, check_key, is_loopback
from medgraft.serve.schema import (
    AboutAnswer,
    CasesAnswer,
    ErrorAnswer,
    ExplainedAnswer,
    ImageAnswer,
    Predicted,
)
from medgraft.serve.service import Looked, Service, answer_json
from medgraft.serve.words import why_no_depth
from medgraft.types import Scenario
from numpy_model import ByBrightness

PATIENT = "SENTINEL^PATIENT"


def encoded(kind: str, pixels: np.ndarray, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def dicom(broken: bool = False) -> bytes:
    """One grey picture of a patient with a name."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    made.PatientName, made.PatientID = PATIENT, PATIENT
    made.Rows, made.Columns = 40, 50
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = bytes(range(100, 140)) * (10 if broken else 50)
    content = io.BytesIO()
    made.save_as(content, enforce_file_format=True)
    return content.getvalue()


def of_all_kinds() -> dict[str, bytes]:
    grey = np.random.default_rng(0).integers(60, 140, (80, 70)).astype(np.uint8)
    return {
        "a.png": encoded("PNG", grey),
        "b.jpg": encoded("JPEG", np.stack([grey] * 3, axis=2)),
        "c.tif": encoded("TIFF", grey.astype(np.uint16) * 200),
        "d.dcm": dicom(),
    }


def test_answers_are_those_of_predict(server: Running, tmp_path: Path) -> None:
    """Bit for bit, for this model scores each image alone."""
    files = of_all_kinds()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    expected = predict_files(ByBrightness(PLACE), [str(tmp_path / name) for name in files])
    found = server.ask("/v1/predict", form(*files.values()))
    assert found.status == 200
    rows = found.json["images"]
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    for row, row_expected in zip(rows, expected, strict=True):
        said = row_expected.to_json()
        assert row["probabilities"] == said["probabilities"]
        assert row["label"] == said["label"]
        assert row["remark"] == said.get("remark", "")
    assert any(row["remark"] for row in rows)  # of the 16 bits
    model = found.json["model"]
    assert (model["sha256"], model["threshold"], model["positive"]) == ("0" * 64, 0.5, "1")
    assert Predicted.model_validate(found.json)


def test_grades_are_answered_with_their_mean_as_in_predict() -> None:
    said = Prediction("", Classification("a", {"a": 0.5, "b": 0.25, "c": 0.25}, (1.25, 1.6)))
    found = answer_json(said)
    assert (found["mean_grade"], found["grade_sd"]) == (
        said.to_json()["mean_grade"], said.to_json()["grade_sd"],
    )  # fmt: skip
    assert ImageAnswer.model_validate({"index": 0, **found}).grade_sd == 1.6
    assert answer_json(Prediction("", None))["mean_grade"] is None


def test_one_bad_file_holds_up_no_other(server: Running) -> None:
    found = server.ask("/v1/predict", form(png(200), dicom(broken=True), png(10)))
    first, bad, last = found.json["images"]
    assert (found.status, first["label"], last["label"]) == (200, "1", "0")
    assert bad["error"]["code"] == "unreadable_image"
    assert bad["label"] is bad["probabilities"] is None


def test_concurrent_requests_get_their_own_answers(server: Running, in_threads: Any) -> None:
    greys = [90, 95, 100, 105, 110]
    expected = {
        grey: 1 / (1 + np.exp(-0.2 * (grey - 100))) for grey in greys
    }  # the model's own formula

    def ask(grey: int) -> tuple[int, float]:
        answer = server.ask("/v1/predict", form(png(grey)))
        return grey, answer.json["images"][0]["probabilities"]["1"]

    found: list[tuple[int, float]] = []
    for _ in range(4):
        some = [in_threads(lambda grey=grey: ask(grey)) for grey in greys]
        until(lambda some=some: all(some))
        found += [one for each in some for one in each]
    assert len(found) == 20
    for grey, p in found:
        assert p == pytest.approx(expected[grey], abs=1e-12)


def test_explain_gives_maps(server: Running) -> None:
    found = server.ask("/v1/explain?method=occlusion&target=0", form(png(60)))
    assert found.status == 200
    assert ExplainedAnswer.model_validate(found.json)
    (map,) = found.json["maps"]
    assert map["map"].startswith("data:image/png;base64,")
    assert map["overlay"].startswith("data:image/webp;base64,")
    assert (found.json["target"], found.json["image"]["label"]) == ("0", "0")


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("method=scorecam", form(png()), "no_such_map"),
        ("method=gradcam", form(png()), "no_such_map"),  # the model is no network
        ("target=2", form(png()), "no_such_map"),
        ("", form(png(), png()), "too_many_files"),
        ("", form(b""), "empty_file"),
        ("", form(b"x"), "unknown_kind"),
    ],
)
def test_explain_refuses(query: str, body: bytes, code: str, server: Running) -> None:
    assert server.ask(f"/v1/explain?{query}", body).code == code


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ("target=FOO", "name one of them, or leave target away"),
        ("method=FOO", "name one of them, or leave method away"),
        ("method=gradcam", "leave taps away, or ask for method=auto"),
    ],
)
def test_a_map_that_there_is_not_is_refused_with_the_remedy_of_what_was_wrong(
    query: str, remedy: str, server: Running
) -> None:
    error = server.ask(f"/v1/explain?{query}", form(png())).json["error"]
    assert error["remedy"] == remedy


@pytest.mark.parametrize(
    ("differentiable", "taps", "key", "said"),
    [
        (True, {3: "blocks.3"}, "probe/a/blocks.6/svm", ""),
        (True, {}, "probe/a/pre_logits/svm", "pre_logits has no extent"),
        (False, {3: "blocks.3"}, "probe/a/blocks.6/knn", "This classifier goes by likeness"),
        (False, {3: "b"}, "multiscale/a/blocks.6/s544/svm", "This classifier joins several"),
    ],
)
def test_why_a_classifier_has_no_map_at_each_depth(
    differentiable: bool,
    taps: dict[int, str],
    key: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("medgraft.serve.words.block_taps", lambda _: taps)
    scenario = Scenario.from_key(key)
    network = SimpleNamespace(
        differentiable=differentiable, spec=SimpleNamespace(taps=(scenario.tap,))
    )
    classifier: Any = SimpleNamespace(networks=(network,), members=(), scenario=scenario)
    assert why_no_depth(classifier).startswith(said)
    assert bool(why_no_depth(classifier)) == bool(said)


def test_a_layer_that_is_named_a_thousand_times_has_one_map(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Looked] = []

    async def explain(_: Service, __: object, looked: Looked) -> None:
        asked.append(looked)
        raise ScenarioError("enough")

    monkeypatch.setattr(Service, "explain", explain)
    server.ask("/v1/explain?method=gradcam&taps=" + ",".join(["a", "b"] * 500), form(png()))
    assert asked[0].taps == ("a", "b")


def test_a_page_from_elsewhere_sends_nothing_and_one_of_this_server_does(server: Running) -> None:
    for origin in ("https://elsewhere.example", "null", "http://127.0.0.1:1"):
        refused = server.ask("/v1/predict", form(png()), Origin=origin)
        assert (refused.status, refused.code) == (403, "wrong_origin")
    own = f"http://127.0.0.1:{server.port}"
    assert server.ask("/v1/predict", form(png()), Origin=own).status == 200


def test_explain_knows_no_such_tap(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*words: object) -> None:
        raise BackboneError("no tap 'x'")

    monkeypatch.setattr("medgraft.serve.model.explained", unknown)
    found = server.ask("/v1/explain?taps=x", form(png()))
    assert (found.status, found.code) == (422, "no_such_map")


def test_a_client_that_goes_is_not_worked_for(server: Running) -> None:
    server.gate.clear()
    body = form(png())
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
        "Content-Type: multipart/form-data; boundary=a-boundary\r\n\r\n"
    )
    first = server.opened(head.format(len(body)).encode() + body)
    until(lambda: server.asked == [1])
    second = server.opened(head.format(len(body)).encode() + body)
    until(lambda: server.service.images == 2)
    for gone in (second, first):
        gone.close()
    until(lambda: server.service.images == 0)
    half = server.opened(head.format(9999).encode() + body[:40])
    until(lambda: server.service.held.bytes == 40)
    half.close()
    until(lambda: server.service.held.bytes == 0)
    server.gate.set()
    assert server.ask("/v1/predict", form(png(), png())).status == 200
    assert server.asked == [1, *([2] if 2 in server.asked else [1, 1])]  # and not the second's
    metrics = server.ask("/metrics").body.decode()
    assert 'medgraft_requests_total{route="/v1/predict",status="499"} 3.0' in metrics


# --------------------------------------------------------------------------- who may ask


def test_a_key_is_asked_for() -> None:
    key = "correct-horse"
    with running(door=Door("127.0.0.1", 0, key)) as server:
        for wrong in ({}, {"Authorization": "Bearer nearly"}, {"Authorization": f"Basic {key}"}):
            for path in ("/v1/predict", "/metrics", "/openapi.json", "/nothing"):
                found = server.ask(path, **wrong)
                assert (found.status, found.code) == (401, "unauthorized")
        right = {"Authorization": f"Bearer {key}"}
        assert server.ask("/v1/predict", form(png()), **right).status == 200
        assert server.ask("/metrics", **right).status == 200
        for path in ("/", "/page.js", "/page.css", "/health", "/ready"):
            assert server.ask(path).status == 200
        assert server.ask("/health", Host="anything.example").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:99", 200),
        ("LOCALHOST", 200),
        ("[::1]", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
    ],
)
def test_without_a_key_it_goes_by_its_own_address(host: str, status: int, server: Running) -> None:
    assert server.ask("/health", Host=host).status == status


def test_it_is_not_open_to_others_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(DataError, match="--allow-without-key"):
            bound(Door(host, 0))
    bound(Door("0.0.0.0", 0, key="k")).close()
    bound(Door("0.0.0.0", 0, allow_without_key=True)).close()
    with bound(Door(port=0)) as taken, pytest.raises(DataError, match="--port"):
        taken.listen()
        bound(Door(port=taken.getsockname()[1]))
    with pytest.raises(DataError, match="no address"):
        is_loopback("no such host")
    for key in ("two words", "ümlaut", "new\nline"):
        with pytest.raises(DataError, match="--api-key"):
            check_key(key)


# --------------------------------------------------------------------------- what is left


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Files that this process opens to write, but for pipes and devices."""
    found: list[str] = []
    watching = threading.Event()
    watching.set()

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event == "open" and watching.is_set():
            path, _, flags = words
            if flags & (os.O_WRONLY | os.O_RDWR) and not str(path).startswith("/dev/"):
                found.append(str(path))

    sys.addaudithook(hook)  # for good: it cannot be taken away
    yield found
    watching.clear()


def test_no_upload_reaches_a_disk(written: list[str]) -> None:
    """A file beyond the megabyte from which on Starlette's own parser uses temporary files."""
    large = encoded("PNG", np.random.default_rng(0).integers(0, 256, (1500, 1500), np.uint8))
    assert len(large) > 2 * MultiPartParser.spool_max_size
    with running(Limits()) as server:
        written.clear()
        assert server.ask("/v1/predict", form(large, large)).status == 200
        assert server.ask("/v1/explain", form(large)).status == 200
        assert server.ask("/v1/predict", form(large + bytes(65 * MIB))).status == 413
        assert written == []
    with tempfile.TemporaryFile() as seen:  # as Starlette would
        seen.write(b"x")
    assert written


def test_logs_tell_nothing_of_files_or_patients(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running() as server:
        server.ask(f"/v1/predict?patient={PATIENT}", form(dicom(), dicom(broken=True)))
        server.ask(f"/{PATIENT}", form(dicom()), Referer=PATIENT, User_Agent=PATIENT)
        server.ask("/v1/predict", form(dicom(), field=PATIENT))
        server.ask(f"/v1/explain?target={PATIENT}", form(dicom()))
        server.ask("/v1/predict", form(b""), method="SENTINEL")

        def fails(images: object) -> None:
            raise ValueError(f"{PATIENT} {NAME}")

        server.service.batcher._work = fails  # type: ignore[union-attr, assignment]
        found = server.ask("/v1/predict", form(dicom()))
        assert (found.status, found.code) == (500, "internal")
        metrics = server.ask("/metrics").body.decode()
    text = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert "POST /v1/predict 200" in text
    assert "POST other 404" in text
    assert "OTHER /v1/predict 405" in text
    assert "ValueError at" in text
    for word in ("SENTINEL", "DOE", "JANE"):
        assert word not in text
        assert word not in metrics
        assert word not in found.body.decode()


def test_metrics_count() -> None:
    with running() as server:
        server.ask("/v1/predict", form(png(), png(), b""))
        server.ask("/v1/predict", form(b"x"))
        text = server.ask("/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert values['medgraft_requests_total{route="/v1/predict",status="200"}'] == "1.0"
    assert values["medgraft_images_total"] == "2.0"
    assert values['medgraft_refusals_total{code="empty_file"}'] == "1.0"
    assert values['medgraft_refusals_total{code="unknown_kind"}'] == "1.0"
    assert float(values["medgraft_decode_seconds_count"]) == 4  # the server's own at the start too
    assert float(values["medgraft_queue_wait_seconds_count"]) == 3
    assert float(values["medgraft_batch_size_sum"]) == 3
    assert float(values["medgraft_inference_seconds_count"]) >= 2
    assert '"' + "0" * 64 + '"' in text


# --------------------------------------------------------------------------- OpenAPI


def test_openapi_has_examples_that_hold(server: Running) -> None:
    content = server.ask("/openapi.json").json
    assert set(content["paths"]) == {
        *("/v1/predict", "/v1/explain", "/v1/picture", "/v1/model", "/v1/cases"),
        "/v1/cases/{name}",
        *("/health", "/ready", "/metrics"),
    }
    for kind in (AboutAnswer, CasesAnswer, Predicted, ExplainedAnswer, ErrorAnswer):
        (example,) = content["components"]["schemas"][kind.__name__]["examples"]
        kind.model_validate(example)
    assert "HTTPValidationError" not in json.dumps(content["paths"]["/v1/predict"])


def test_the_hash_is_what_a_shell_says(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c").write_bytes(b"abc")
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)
    assert bundle_sha256(tmp_path) == said.stdout.split()[0].decode()
