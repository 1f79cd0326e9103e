"""A torch network as an OpenVINO graph, by a conversion that reports to nobody."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def openvino_graph(network: nn.Module, example: torch.Tensor) -> Any:
    """What `openvino.convert_model` makes of a network traced with an example.

    OpenVINO tells its maker of every conversion unless the user has opted out of it. Here it takes
    the stand-in that it has for where its package of telemetry is not installed, and sends nothing.
    """
    import openvino as ov
    from openvino.tools.ovc import telemetry_stub, telemetry_utils

    telemetry_utils.tm = telemetry_stub
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of shapes that are constant here
        return ov.convert_model(network, example_input=example)
