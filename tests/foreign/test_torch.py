"""Checkpoints as people save them, the network's own answers being the truth."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.features.weights import import_timm
from medgraft.foreign.open_model import is_foreign
from medgraft.foreign.options import ForeignOptions, normalisation_of
from medgraft.foreign.torch_network import TorchNetwork, from_checkpoint

NAME = "test_resnet"  # timm's smallest
HALF = "0.5,0.4,0.3/0.2,0.25,0.3"
State = dict[str, Any]


class Small(nn.Module):
    """A network of nobody's library."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.fc(self.drop(self.conv(x).relu().mean((2, 3))))
        return answer


def small() -> Small:
    return Small()


def some_images() -> Any:
    return np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


def expected(network: nn.Module, images: Any, text: str = HALF) -> Any:
    mean, std = (
        torch.tensor([float(v) for v in part.split(",")]).view(1, -1, 1, 1)
        for part in text.split("/")
    )
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return network.eval()((x - mean) / std).numpy()


def made(n_classes: int = 2, **changed: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = import_timm().create_model(NAME, num_classes=n_classes, **changed)
    return network


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {
            "state_dict": {f"net.model.{k}": v for k, v in state.items()}
            | {"loss.w": torch.ones(2)}
        },
    ],
)
def test_a_checkpoint_answers_as_its_network(
    wrapped: Callable[[State], State], tmp_path: Path
) -> None:
    network = made()
    path = tmp_path / "m.pth"
    torch.save(wrapped(network.state_dict()), path)
    asked = from_checkpoint(path, ForeignOptions(network=NAME, normalize=HALF, input_size=64), 2)
    np.testing.assert_allclose(asked(some_images()), expected(network, some_images()), atol=1e-5)


def test_outputs_channels_and_what_timm_knows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(made(1, in_chans=1).state_dict(), path)
    with pytest.raises(AmbiguousModelError, match="--normalize"):  # timm knows none of grey
        from_checkpoint(path, ForeignOptions(network=NAME), 2)
    asked = from_checkpoint(path, ForeignOptions(network=NAME, normalize="0.5/0.5"), 2)
    assert asked(some_images()).shape == (4, 1)
    assert asked.channels == "grey"
    torch.save(made(7).state_dict(), tmp_path / "seven.pth")
    seven = from_checkpoint(tmp_path / "seven.pth", ForeignOptions(network=NAME), 2)
    assert seven(some_images()).shape == (4, 7)  # which is then held to the classes
    config = import_timm().create_model(NAME).pretrained_cfg
    assert seven.side == config["input_size"][-1]
    assert normalisation_of(seven.normalize).mean == config["mean"]


def test_networks_of_torchvision_and_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_timm()
    import torchvision

    path, network = tmp_path / "m.pth", torchvision.models.get_model("squeezenet1_1", num_classes=2)
    torch.save(network.state_dict(), path)
    options = ForeignOptions(network="torchvision/squeezenet1_1", normalize=HALF, input_size=64)
    asked = from_checkpoint(path, options, 2)
    np.testing.assert_allclose(asked(some_images()), expected(network, some_images()), atol=1e-5)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    own = small()
    torch.save(own.state_dict(), path)
    options = ForeignOptions(network="test_torch:small", normalize=HALF, input_size=64)
    asked = from_checkpoint(path, options, 2)
    np.testing.assert_allclose(asked(some_images()), expected(own, some_images()), atol=1e-5)


def test_a_module_is_asked_in_evaluation_and_left_as_it_was() -> None:
    network = small().train()
    asked = TorchNetwork(network, "mine", ForeignOptions(normalize=HALF, input_size=64), 2)
    first, second = asked(some_images()), asked(some_images())
    np.testing.assert_array_equal(first, second)  # no dropout
    assert network.training
    np.testing.assert_allclose(first, expected(network, some_images()), atol=1e-5)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".th", ".tar", ".safetensors"])
def test_a_pickle_is_never_run(suffix: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "fired", tmp_path / f"m{suffix}"
    assert is_foreign(path)
    options = ForeignOptions(network=NAME)
    torch.save({"state_dict": {"fc.weight": Canary(canary)}}, path)
    with pytest.raises(ForeignModelError, match="was not opened further"):
        from_checkpoint(path, options, 2)
    path.write_bytes(pickle.dumps({"state_dict": Canary(canary)}))
    with pytest.raises(ForeignModelError, match="was not opened further"):
        from_checkpoint(path, options, 2)
    assert not canary.exists()
    pickle.loads(path.read_bytes())  # noqa: S301  it would have
    assert canary.exists()


def test_torchscript_and_whole_models_are_refused_with_the_way_round(tmp_path: Path) -> None:
    path, options = tmp_path / "m.pt", ForeignOptions(network=NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # and yet people have such files
        traced: Any = torch.jit.trace(small().eval(), torch.zeros(1, 3, 64, 64))  # type: ignore[no-untyped-call]
        traced.save(str(path))
    with pytest.raises(ForeignModelError, match=r"is TorchScript.*export it as ONNX"):
        from_checkpoint(path, options, 2)
    torch.save(small(), path)
    with pytest.raises(ForeignModelError, match=r"torch\.save\(model\.state_dict\(\)"):
        from_checkpoint(path, options, 2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "pass --network, such as resnet18"),
        ({"network": "resnet_of_mine"}, "timm has no network of that name"),
        ({"network": "hf-hub:somebody/model"}, "cannot be built"),
        ({"network": "torchvision/none"}, "cannot be built"),
        ({"network": "nowhere:net"}, "cannot be imported"),
        ({"network": "os:getcwd"}, "gave str, which is no torch.nn.Module"),
        ({"network": "test_vit"}, "holds no weights of test_vit"),
    ],
)
def test_a_network_that_is_not_there_or_another(
    options: dict[str, Any], text: str, tmp_path: Path
) -> None:
    torch.save(made().state_dict(), tmp_path / "m.pth")
    with pytest.raises(ForeignModelError, match=text):
        from_checkpoint(tmp_path / "m.pth", ForeignOptions(**options), 2)


def test_what_only_its_maker_knows_is_asked_and_a_wrong_size_is_said(tmp_path: Path) -> None:
    with pytest.raises(AmbiguousModelError, match="--normalize imagenet"):
        TorchNetwork(small(), "mine", ForeignOptions(input_size=64), 2)
    with pytest.raises(AmbiguousModelError, match="pass --input-size"):
        TorchNetwork(small(), "mine", ForeignOptions(normalize=HALF), 2)
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    asked = TorchNetwork(fixed, "mine", ForeignOptions(normalize=HALF, input_size=64), 2)
    with pytest.raises(ForeignModelError, match="look at --input-size"):
        asked(some_images())
    with pytest.raises(ForeignModelError, match="no file at"):
        from_checkpoint(tmp_path / "none.pth", ForeignOptions(network=NAME), 2)
