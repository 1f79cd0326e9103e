"""Nothing calls out when a network is converted."""

from __future__ import annotations

import warnings
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
