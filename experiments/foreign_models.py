"""The audit of models that are not medgraft's: docs/results/foreign-models.md.

Networks are trained by `foreign_training.py`, which is plain torch, on images with and without a
planted mark, and audited through each way of asking. Runs in pieces: what stands in
experiments/results/foreign-models.jsonl is not run again, and the page says how many are done.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import medgraft
from foreign_page import write_page
from foreign_training import Answering, Images, tensor_of, trained
from medgraft.audit.marks import KINDS
from medgraft.bundle.audit_model import audit_model
from medgraft.data.ingest import LoadOptions, load
from medgraft.data.phantom import write_phantoms
from medgraft.evaluate.metrics import auroc
from medgraft.foreign.command import ModelCommand
from medgraft.results.evidence import CORNERS, DECIDES
from medgraft.types import Ints
from page import read_cells
from planted import MODALITY, PAIRS, USES, Shortcut, mixed

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "foreign-models.jsonl"
WAYS = ("onnx", "callable", "checkpoint", "url", "command")
ENDS = ("logits", "softmax", "logit", "sigmoid")
NORMALIZE = ("imagenet", "0..1", "-1..1")
SIDE = 64  # pixels
TRAINED, AUDITED = 200, 100  # images a class
PLANTED, CLEAN = 30, 40
ANSWER_FILES = Path(__file__).parent / "foreign_command.py"


@dataclass(frozen=True, slots=True)
class Trial:
    """One network, what was planted into its images, and how it is asked.

    end : what its maker made of its last layer. swapped : its second class comes first. mixed :
    border and corners of all images were exchanged at random first. In phantoms they tell nothing
    as they are made.
    """

    data: str
    way: str
    end: str
    swapped: bool
    normalize: str
    shortcut: Shortcut
    mixed: bool
    seed: int


def trials() -> Iterator[Trial]:
    """Planted ones and clean ones in turn, so that a part of them is a fair sample."""
    for number in range(PLANTED + CLEAN):
        planted = number % 7 in (1, 3, 5)
        rho = (0.9, 1.0)[number // 7 % 2] if planted else 0.0
        kind = KINDS[number % len(KINDS)] if planted or number % 2 else ""
        way = WAYS[number % len(WAYS)]
        end = ENDS[number // 5 % 4 // 2 * 2] if way == "checkpoint" else ENDS[number // 5 % 4]
        data = ("phantoms", "chest_xray")[number // 2 % 2]
        yield Trial(
            data=data,
            way=way,
            end=end,
            swapped=number % 3 == 0 and end in ("logits", "softmax") and way != "checkpoint",
            normalize=NORMALIZE[number % 3],
            shortcut=Shortcut(kind, (0.10, 0.15)[number // 3 % 2], CORNERS[number % 4], rho),
            mixed=data == "chest_xray",
            seed=9000 + number,
        )


def main() -> None:
    """Run what is not in the results yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=PLANTED + CLEAN, help="trials of this run")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    asked = parser.parse_args()
    rows = read_cells(RESULTS)
    known = {row["trial"]["seed"] for row in rows}
    if not asked.page:
        if not SHARED.is_dir():
            sys.exit(f"needs real data in {SHARED}, which is not here")
        torch.set_num_threads(1)
        waiting = [trial for trial in trials() if trial.seed not in known][: asked.most]
        with tempfile.TemporaryDirectory() as folder:
            for trial in waiting:
                row = run(trial, *read(trial.data), Path(folder))
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                write_page(read_cells(RESULTS), PLANTED + CLEAN, ROOT)
    write_page(read_cells(RESULTS), PLANTED + CLEAN, ROOT)


def read(data: str) -> tuple[Images, Ints]:
    """One image a patient, `SIDE` pixels square in RGB, and its class of two; made once."""
    kept = Path(tempfile.gettempdir()) / f"medgraft-foreign-{data}-{SIDE}.npz"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            if data == "phantoms":
                write_phantoms(Path(folder) / data, n_patients=1000, seed=9)
            table = medgraft.load(Path(folder) / data if data == "phantoms" else SHARED / data)
            table = table.development
            _, alone = np.unique(table.groups, return_index=True)
            rows = np.random.default_rng(0).permutation(alone)
            second = table.classes.index("lesion" if data == "phantoms" else "PNEUMONIA")
            images = [_squashed(table.sources[row].path) for row in rows]
            np.savez(kept, images=np.stack(images), labels=table.labels[rows] == second)
    found = np.load(kept)
    return found["images"], found["labels"].astype(np.int64)


def _squashed(path: str) -> Images:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


def run(trial: Trial, images: Images, labels: Ints, folder: Path) -> dict[str, Any]:
    """Plant, train, audit; what came of it."""
    began, rng = time.perf_counter(), np.random.default_rng([trial.seed, 7])
    learned, audited = drawn(labels, rng)
    bare = mixed(images, rng) if trial.mixed else images
    planted = bare.copy()
    for row in np.flatnonzero(trial.shortcut.carriers(labels, rng)):
        planted[row] = trial.shortcut.plant(bare[row], rng)
    outputs = 1 if trial.end in ("logit", "sigmoid") else 2
    network = trained(planted[learned], labels[learned], outputs, trial.normalize, trial.seed)
    file = folder / f"{trial.seed}.npz"
    np.savez(
        file,
        train_images=planted[learned], train_labels=labels[learned][:, None].astype(np.uint8),
        test_images=planted[audited], test_labels=labels[audited][:, None].astype(np.uint8),
    )  # fmt: skip
    table = load(file, LoadOptions(no_groups=True, positive="1"))
    options = medgraft.AuditOptions(MODALITY, pairs=PAIRS, grid=False, more=False)
    answering = Answering(network, end=trial.end, swapped=trial.swapped).eval()
    with wrapped(trial, answering, network, folder) as (model, how):
        extractor = medgraft.Extractor(medgraft.Cache(folder / "cache"), workers=1)
        asked = medgraft.ForeignOptions(classes=("1", "0") if trial.swapped else (), **how)
        found = audit_model(model, table, options, extractor=extractor, foreign=asked)
    file.unlink()
    truth = labels[audited] == 1
    as_planted, without = (
        auroc(truth, _second(network, some[audited], trial.normalize)) for some in (planted, bare)
    )
    audit, said = found.audit, found.foreign
    failed = [
        str(finding.numbers["region"])
        for finding in audit.result.findings
        if finding.check == DECIDES and finding.severity == "severe"
    ]
    return {
        "trial": asdict(trial),
        "auroc": as_planted,
        "without": without,
        "uses": as_planted - without >= USES,
        "verdict": audit.result.verdict,
        "failed": failed,
        "right": audit.result.verdict == "FAIL" and trial.shortcut.region in failed,
        "same_auroc": abs(audit.ranked.value - as_planted) < 0.005,
        "outputs": said.outputs if said else "",
        "smallest": audit.result.smallest_effect,
        "seconds": time.perf_counter() - began,
    }


def drawn(labels: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows to learn from and rows to audit on, as many of each class."""
    parts = [rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    learned = np.concatenate([rows[:TRAINED] for rows in parts])
    return learned, np.concatenate([rows[TRAINED : TRAINED + AUDITED] for rows in parts])


def _second(network: torch.nn.Module, images: Images, normalize: str) -> Any:
    """(n,) log odds of the second class, from the network itself."""
    with torch.inference_mode():
        answer = network(tensor_of(images, normalize)).numpy()
    return answer[:, -1] - (answer[:, 0] if answer.shape[1] == 2 else 0)


# --------------------------------------------------------------------------- the ways of asking


@contextmanager
def wrapped(
    trial: Trial, answering: Answering, network: torch.nn.Module, folder: Path
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The model as its owner would hand it over, and what is said of it."""

    def answer(images: Images) -> Any:
        with torch.inference_mode():
            return answering(tensor_of(np.ascontiguousarray(images), trial.normalize))

    how: dict[str, Any] = {"input_size": SIDE}
    if trial.way == "callable":
        yield answer, how
    elif trial.way == "url":
        with served(answer) as url:
            yield url, how
    elif trial.way == "checkpoint":
        path = folder / "model.pth"
        torch.save({"state_dict": network.state_dict(), "epoch": 8}, path)
        builder = "one_output" if trial.end in ("logit", "sigmoid") else "two_outputs"
        yield path, how | {"network": f"foreign_training:{builder}", "normalize": trial.normalize}
    else:
        path = folder / "model.onnx"
        written(answering, path, batch=(0, 1, 4)[trial.seed % 3])
        if trial.way == "onnx":
            yield path, {"normalize": trial.normalize}
        else:
            words = f"'{sys.executable}' '{ANSWER_FILES}' '{path}' {trial.normalize}"
            yield ModelCommand(words), how


def written(model: torch.nn.Module, path: Path, batch: int) -> None:
    """As ONNX, with a fixed batch or a free one."""
    example = torch.zeros(batch or 2, 3, SIDE, SIDE)
    free = {} if batch else {"image": {0: "batch"}, "answer": {0: "batch"}}
    torch.onnx.export(
        model, (example,), str(path), input_names=["image"], output_names=["answer"],
        dynamic_axes=free, dynamo=False, verbose=False,
    )  # fmt: skip


@contextmanager
def served(answer: Callable[[Images], Any]) -> Iterator[str]:
    """A server of the standard library that answers a form of images with JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            form = message_from_bytes(head + body, policy=policy.HTTP)
            files = [part.get_content() for part in form.iter_parts()]
            images = np.stack([np.asarray(Image.open(BytesIO(one))) for one in files])
            said = json.dumps(answer(images).tolist()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/predict"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
