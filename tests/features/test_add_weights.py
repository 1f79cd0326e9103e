"""Files of weights that become backbones with a name: what is read, refused and kept."""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tiny_networks  # noqa: F401  registers them
from medgraft import cli
from medgraft.errors import BackboneError
from medgraft.features import add_weights as adding
from medgraft.features.add_weights import WeightsFile, add_weights
from medgraft.features.added import added_card, added_folder, added_names, keep, remove
from medgraft.features.backbones import load_backbone
from medgraft.features.fitting import without_prefix
from medgraft.features.taps import read_taps
from medgraft.features.weights import import_timm, sha256_of

State = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Added backbones lie beside this test's cache; three networks are usual."""
    monkeypatch.setenv("MEDGRAFT_CACHE", str(tmp_path / "cache"))
    vits, swins = ("tiny_dino", "tiny_dinov2"), ("tiny_swin",)
    families = ((r"layers\.0\..*bias_table", swins), (r"blocks\.0\.attn\.qkv\.weight", vits))
    monkeypatch.setattr(adding, "FAMILIES", families)
    yield
    assert not list(added_folder().glob(".*"))  # nothing half-written stays


def state_of(name: str, **settings: Any) -> State:
    """Weights as timm saves them, with the classifier."""
    torch.manual_seed(1)
    state: State = import_timm().create_model(name, num_classes=5, **settings).state_dict()
    return state


def added(path: Path, name: str = "mine", architecture: str = "tiny_dino", **more: Any) -> Any:
    settings = {"licence": "MIT", **more}
    return add_weights(WeightsFile.read(path), name=name, architecture=architecture, **settings)


def written(state: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({k: v.contiguous().clone() for k, v in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def of_dino(state: State) -> dict[str, Any]:
    """A whole checkpoint of DINO's training, whose student is another network."""
    teacher = {f"module.backbone.{k}": v for k, v in state.items() if not k.startswith("head")}
    teacher["module.head.mlp.0.weight"] = torch.ones(2, 2)
    return {"student": {k: v + 1 for k, v in teacher.items()}, "teacher": teacher, "epoch": 7}


WRAPPED: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "headless": lambda state: {k: v for k, v in state.items() if not k.startswith("head")},
    "parallel": lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
    "flat": lambda state: {f"{who}.backbone.{k}": v for who in ("student", "teacher")
                           for k, v in state.items()},
    "dino": of_dino,
}  # fmt: skip


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", WRAPPED)
def test_it_is_the_network_that_was_saved(name: str, ending: str, tmp_path: Path) -> None:
    """However it was wrapped: timm's own network with the same weights gives the same."""
    if ending == ".safetensors" and name in ("parallel", "dino"):
        return  # a mapping of mappings, which such a file cannot hold
    state = state_of("tiny_dino")
    path = written(WRAPPED[name](state), tmp_path / f"dino{ending}")
    card = added(path, pretraining="ImageNet-1k,\nno labels")
    assert (card.id, card.name, card.licence) == ("mine", "tiny_dino", "MIT")
    assert card.pretraining == "ImageNet-1k, no labels"
    assert sha256_of(path) in card.source
    backbone = load_backbone("mine")
    assert backbone.card == card == added_card("mine")
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 64))).float()
    network: Any = import_timm().create_model("tiny_dino", num_classes=5)
    network.load_state_dict(state)
    with torch.no_grad():
        expected = network.eval().forward_features(images)[:, 0]
        found = read_taps(backbone.network, [backbone.tap("norm.cls")], images)["norm.cls"]
    torch.testing.assert_close(found[..., 0, 0], expected)


@pytest.mark.parametrize("name", ["tiny_swin", "test_convnext", "resnet10t"])
def test_other_families_load_whole(name: str, tmp_path: Path) -> None:
    """With what no state dict holds (a Swin's masks), and without what is read by nobody."""
    state = state_of(name)
    given = {k: v for k, v in state.items() if "head.norm" not in k and "num_batches" not in k}
    added(written(given, tmp_path / "w.pth"), architecture=name)
    backbone = load_backbone("mine")
    network: Any = import_timm().create_model(name, num_classes=5)
    network.load_state_dict(state)
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64))).float()
    last = backbone.taps[-1]
    with torch.no_grad():
        expected = network.eval().forward_features(images)
        found = read_taps(backbone.network, [last], images)[last.name]
    if last.layout == "NHWC":
        expected = expected.permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected)


def test_names_of_dinovs2_authors_are_understood(tmp_path: Path) -> None:
    """They add a position to the class token, and keep a token for masked patches."""
    state = {k: v for k, v in state_of("tiny_dinov2").items() if not k.startswith("head")}
    own = torch.randn(1, 1, 24)
    theirs = {**state, "register_tokens": state["reg_token"], "mask_token": torch.zeros(1, 24)}
    del theirs["reg_token"]
    theirs["cls_token"] = state["cls_token"] - own
    theirs["pos_embed"] = torch.cat([own, state["pos_embed"]], dim=1)
    added(written(theirs, tmp_path / "w.pth"), architecture="tiny_dinov2")
    kept = load_backbone("mine").network.state_dict()
    torch.testing.assert_close(dict(kept), state)


def test_another_input_size_interpolates_positions_as_timm_does(tmp_path: Path) -> None:
    path = written(state_of("tiny_dino", img_size=96), tmp_path / "w.pth")
    assert added(path).size == 96  # its 6 × 6 positions of 16 px say so
    added(path, "small", size=64)
    dynamic: Any = import_timm().create_model("tiny_dino", img_size=96, dynamic_img_size=True)
    file = {k: v for k, v in WeightsFile.read(path).state.items() if not k.startswith("head")}
    dynamic.load_state_dict(file, strict=False)
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64))).float()
    small = load_backbone("small")
    with torch.no_grad():
        expected = dynamic.eval().forward_features(images)[:, 0]
        found = read_taps(small.network, [small.tap("norm.cls")], images)["norm.cls"]
    torch.testing.assert_close(found[..., 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    state = state_of("tiny_dino")
    added(written({k: v.half() for k, v in state.items()}, tmp_path / "w.safetensors"))
    kept = load_backbone("mine").network.state_dict()
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}


def test_the_one_usual_architecture_is_found(tmp_path: Path) -> None:
    for name in ("tiny_dino", "tiny_dinov2", "tiny_swin"):
        file = WeightsFile.read(written(state_of(name), tmp_path / f"{name}.pth"))
        assert file.architectures() == (name,)
    other = WeightsFile.read(written(state_of("resnet10t"), tmp_path / "r.pth"))
    assert other.architectures() == ()


def test_a_prefix_goes_only_where_nothing_else_lies_beside() -> None:
    beside = {"encoder.layer.weight": 0, "conv_proj.weight": 0}
    assert without_prefix(beside) == beside  # type: ignore[arg-type]


# --------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"licence": "  "}, r"w\.pth comes without a licence.*--licence Apache-2.0"),
        ({"name": "resnet18"}, r"'resnet18' is the name of a network of timm.*resnet18\.mine"),
        ({"name": "../up"}, r"'\.\./up' cannot name a backbone.*choose another --name"),
        ({"name": "hybrid_mine"}, r"not hybrid_… at the beginning"),
        ({"architecture": "tiny_dine"}, r"no architecture 'tiny_dine'; close.*tiny_dino"),
        ({"architecture": "tiny_dinov2"}, r"do not fit tiny_dinov2 \(w\.pth\).*is 24"),
        ({"architecture": "tiny_swin"}, r"do not fit tiny_swin.*is 24×3×16×16, not 8×3×4×4"),
        ({"mean": (124, 117, 104)}, r"--mean 124,117,104 must be three numbers.*divided by 255"),
        ({"std": (0.2, 0.0, 0.2)}, r"--std 0.2,0.0,0.2 must be"),
        ({"mean": (0.5,)}, r"--mean 0.5 must be three numbers"),
        ({"size": 70}, r"tiny_dino takes no images of 70 px.*--input-size that is a multiple"),
        ({"size": 100_000}, r"--input-size 100000 makes no sense"),
        ({"pretraining": "x" * 201}, r"has 201 characters; say it in 200"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_nothing_kept(
    more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = written(state_of("tiny_dino"), tmp_path / "w.pth")
    with pytest.raises(BackboneError, match=words):
        added(path, **more)
    assert added_names() == ()


def test_too_much_and_too_little_are_named(tmp_path: Path) -> None:
    state = state_of("tiny_dino")
    state["decoder.weight"] = state.pop("blocks.2.attn.proj.bias")
    words = r"lacks blocks\.2\.attn\.proj\.bias; it holds besides decoder\.weight"
    with pytest.raises(BackboneError, match=words):
        added(written(state, tmp_path / "w.pth"))


def test_a_name_is_given_once(tmp_path: Path) -> None:
    path = written(state_of("tiny_dino"), tmp_path / "w.pth")
    added(path)
    with pytest.raises(BackboneError, match=r"'mine' was added before.*weights remove mine"):
        added(path)
    remove("mine")
    added(path)
    with pytest.raises(BackboneError, match=r"no backbone 'other' was added; those that were: min"):
        remove("other")
    with pytest.raises(BackboneError, match=r"has weights|leave --weights random away"):
        load_backbone("mine", "random")


class Evil:
    def __reduce__(self) -> Any:
        return print, ("ran",)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_that_is_cut_short_is_refused(ending: str, tmp_path: Path) -> None:
    path = written(state_of("tiny_dino"), tmp_path / f"w{ending}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BackboneError, match="is cut short, or cannot be read as tensors"):
        WeightsFile.read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {"a": torch.zeros(1)}, "args": Evil()}, "must run code to load is refused"),
        ({"a": torch.zeros(1), "epoch": 3}, "holds no state dict .*: epoch is none"),
        ([torch.zeros(1)], "holds no state dict"),
        ({}, "holds no state dict"),
        ({"a": torch.tensor([1.0, np.nan])}, r"not finite \(a\).*before training failed"),
    ],
)
def test_what_is_no_state_dict_is_refused_and_not_run(
    content: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(BackboneError, match=words):
        WeightsFile.read(path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BackboneError, match="refused"):
        WeightsFile.read(tmp_path / "evil.pth")
    assert "ran" not in capsys.readouterr().out


def test_kept_weights_that_changed_are_refused(tmp_path: Path) -> None:
    added(written(state_of("tiny_dino"), tmp_path / "w.pth"))
    path = added_folder() / "mine" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=r"sha256 .* was added as mine.*weights remove mine"):
        _ = load_backbone("mine").network


@pytest.mark.parametrize(
    "garbled", ["{", "[]", '{"format": 99}', '{"format": 1, "card": {"a": 1}}']
)
def test_a_garbled_card_is_refused_and_can_be_removed(garbled: str, tmp_path: Path) -> None:
    added(written(state_of("tiny_dino"), tmp_path / "w.pth"))
    (added_folder() / "mine" / "card.json").write_text(garbled)
    with pytest.raises(BackboneError, match=r"is garbled .*weights remove mine"):
        load_backbone("mine")
    remove("mine")
    assert added_names() == ()


def test_the_same_numbers_as_another_network_have_another_hash(tmp_path: Path) -> None:
    """tf_efficientnet pads otherwise, with the same layers: kept codes must not be mixed up."""
    path = written(state_of("tiny_dino"), tmp_path / "w.pth")
    card = added(path)
    remove("mine")
    other = dataclasses.replace(card, name="tiny_dino_with_another_padding")
    assert keep(other, WeightsFile.read(path).state).sha256 != card.sha256


# --------------------------------------------------------------------------- the commands


def call(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["medgraft", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(state_of("tiny_dino"), tmp_path / "my_dino.pth")

    def said(*words: str, code: int = 0) -> str:
        assert call(*words, monkeypatch=monkeypatch) == code
        out = capsys.readouterr()
        return out.out + out.err

    assert "without a licence" in said("weights", "add", str(path), code=1)
    assert added_names() == ()
    text = said("weights", "add", str(path), "--licence", "MIT", "--mean", "0.4,0.5,0.6")
    assert "architecture tiny_dino: the only usual one" in text
    assert "mean: 0.4, 0.5, 0.6" in text
    assert "std: 0.5, 0.5, 0.5" in text
    assert "pretraining data: not stated" in text
    for command in (("weights", "list"), ("backbones",)):
        text = said(*command)
        assert "my_dino\n  architecture: tiny_dino" in text
        assert f"file my_dino.pth, sha256 {sha256_of(path)}" in text
    other = written(state_of("resnet10t"), tmp_path / "other.pth")
    assert "say which it is: --architecture" in said("weights", "add", str(other), code=1)
    assert "must be three" in said(
        "weights", "add", str(path), "--name", "n", "--licence", "MIT", "--std", "1", code=1
    )
    assert said("weights", "add", str(path), "--name", "n", "--mean", "a", code=2)
    said("weights", "remove", "my_dino")
    assert "none in" in said("weights", "list")


def test_a_person_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(state_of("tiny_dino"), tmp_path / "w.pth")
    monkeypatch.setattr(adding, "FAMILIES", ())
    answers = iter(["asked", "tiny_dino", "CC BY 4.0", "photos"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    assert call("weights", "add", str(path), monkeypatch=monkeypatch) == 0
    card = added_card("asked")
    assert (card.name, card.licence, card.pretraining) == ("tiny_dino", "CC BY 4.0", "photos")
    assert json.loads((added_folder() / "asked" / "card.json").read_text())["format"] == 1
