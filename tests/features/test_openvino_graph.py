"""Nothing calls out when OpenVINO is imported, and when a network is converted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import openvino as ov
import pytest
import torch
from openvino.tools.ovc import telemetry_utils
from torch import nn

from medgraft.features.openvino_graph import openvino_graph


def test_a_conversion_reports_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Telemetry:
        def __init__(self, **_: object) -> None:
            told.append("began")

        def start_session(self, *_: object) -> None: ...
        def send_event(self, *_: object) -> None: ...
        def end_session(self, *_: object) -> None: ...

    network, example = nn.Conv2d(3, 2, 1).eval(), torch.zeros(1, 3, 4, 4)
    monkeypatch.setattr(telemetry_utils, "tm", SimpleNamespace(Telemetry=Telemetry))
    with warnings.catch_warnings(action="ignore"):
        ov.convert_model(network, example_input=example)
    assert told  # it would
    told.clear()
    openvino_graph(network, example)
    assert told == []


def test_its_import_leaves_nothing_in_the_home_folder_and_tells_nobody(tmp_path: Path) -> None:
    program = """
import sys
sys.path[:] = sys.argv[1].split(":")
from medgraft.features.openvino_graph import import_openvino
import_openvino().Core()
from openvino.tools.ovc import telemetry
print(type(telemetry).__module__)
"""
    words = [sys.executable, "-c", program, ":".join(filter(None, sys.path))]
    environment = os.environ | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
    assert list(tmp_path.iterdir()) == []


def test_no_other_file_imports_it() -> None:
    package = Path(openvino_graph.__code__.co_filename).parents[1]
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import openvino\b|from openvino import)", path.read_text("utf-8"), re.M)
    }
    assert found == {"features/openvino_graph.py", "export/runtime/predict.py"}
