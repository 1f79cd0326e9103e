"""OpenVINO without what it tells its makers, and a torch network as one of its graphs."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """OpenVINO, which sends nothing and leaves no file in the home folder.

    Its import alone reports to its makers and writes an identifier below `~/intel`, unless the user
    has opted out. Where its package of telemetry is not installed it takes a stand-in that does
    nothing: so it is made to look. Whoever had imported it before keeps what it had done.
    """
    if TELEMETRY not in sys.modules:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # as `import` reads "not there"
    import openvino

    return openvino


def openvino_graph(network: nn.Module, example: torch.Tensor) -> Any:
    """What `openvino.convert_model` makes of a network traced with an example; nobody is told."""
    ov = import_openvino()
    from openvino.tools.ovc import telemetry_stub, telemetry_utils

    telemetry_utils.tm = telemetry_stub  # where OpenVINO was imported before, by somebody else
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of shapes that are constant here
        return ov.convert_model(network, example_input=example)
