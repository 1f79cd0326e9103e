from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from medgraft.errors import BackboneError
from medgraft.features import weights
from medgraft.features.backbones import load_backbone
from medgraft.features.taps import read_taps
from medgraft.types import digest


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "vgg16"])
def test_packaged_weights_fit_timms_network_tensor_for_tensor(name: str) -> None:
    network = load_backbone(name).network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_lite0_has_the_taps_of_its_paper() -> None:
    # Tan & Le 2019, table 1, widths of EfficientNet-B0, which the lite keeps.
    backbone = load_backbone()
    assert [(tap.name, tap.channels) for tap in backbone.taps] == [
        ("stem", 32), ("blocks.0", 16), ("blocks.1", 24), ("blocks.2", 40), ("blocks.3", 80),
        ("blocks.4", 112), ("blocks.5", 192), ("blocks.6", 320), ("conv_head", 1280),
    ]  # fmt: skip
    assert {tap.block: tap.name for tap in backbone.taps if tap.block} == {
        1: "blocks.0", 2: "blocks.1", 3: "blocks.2", 4: "blocks.4", 5: "conv_head",
    }  # fmt: skip


def test_vgg16_counts_what_its_paper_counts() -> None:
    taps = {tap.name: tap for tap in load_backbone("vgg16", "random").taps}
    # Conv layer parameters by hand: sum of 9 * c_in * c_out + c_out over VGG-16's 13 convolutions.
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    expected = sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    assert taps["block5_conv3"].cost.parameters == expected == 14_714_688
    assert taps["block5_pool"].stride == 32
    assert [taps[f"block{k}_conv{2 if k < 3 else 3}"].block for k in range(1, 6)] == [1, 2, 3, 4, 5]
    # First convolution: 224 * 224 positions * 9 * 3 inputs * 64 outputs.
    assert taps["block1_conv1"].cost.multiply_adds == 224 * 224 * 27 * 64


def test_vgg19_goes_the_same_way_as_vgg16() -> None:
    names = [tap.name for tap in load_backbone("vgg19", "random").taps]
    assert [name for name in names if name.startswith("block5")] == [
        "block5_conv1", "block5_conv2", "block5_conv3", "block5_conv4", "block5_pool",
    ]  # fmt: skip


def test_vgg16_first_filters_see_rgb() -> None:
    # Keras stores BGR. Natural images are brightest in the filters' luminance direction; a filter
    # bank read in the wrong order no longer answers to pure red as the file says it does.
    state = weights.PACKAGED["vgg16"].load()
    import openvino as ov

    path = weights.PACKAGED["vgg16"].locate()
    stored = {op.friendly_name: op for op in ov.Core().read_model(path).get_ops()}
    bgr = stored["functional_1/block1_conv1_1/convolution/ReadVariableOp:0"].get_data()
    np.testing.assert_array_equal(state["features.0.weight"][:, 0].numpy(), bgr[:, 2])


def test_token_network_offers_patches_as_a_grid_and_the_class_token() -> None:
    backbone = load_backbone("vit_tiny_patch16_224", "random")
    taps = [backbone.tap("blocks.5"), backbone.tap("blocks.5.cls")]
    images = torch.randn(2, 3, 224, 224)
    maps = read_taps(backbone.network, taps, images)
    assert maps["blocks.5"].shape == (2, 192, 14, 14)
    assert maps["blocks.5.cls"].shape == (2, 192, 1, 1)
    # The grid holds the patch tokens row by row: token 1 + 14 * r + c is position (r, c).
    tokens: list[torch.Tensor] = []
    handle = backbone.network.blocks[5].register_forward_hook(  # type: ignore[index,union-attr]
        lambda _m, _i, output: tokens.append(output)
    )
    backbone.network.forward_features(images)  # type: ignore[operator]
    handle.remove()
    torch.testing.assert_close(maps["blocks.5"][1, :, 3, 7], tokens[0][1, 1 + 14 * 3 + 7])


def test_channels_last_network_comes_out_channels_first() -> None:
    backbone = load_backbone("swin_tiny_patch4_window7_224", "random")
    maps = read_taps(backbone.network, [backbone.taps[1]], torch.randn(1, 3, 224, 224))
    assert maps["layers.1"].shape == (1, 192, 28, 28)


def test_reading_leaves_no_hook_even_when_it_fails() -> None:
    network = load_backbone().network
    tap = load_backbone().tap("blocks.1")
    with pytest.raises(RuntimeError):
        read_taps(network, [tap], torch.zeros(1, 5, 32, 32))  # five channels
    assert not any(module._forward_hooks for module in network.modules())


def test_forward_stops_behind_the_deepest_tap() -> None:
    backbone = load_backbone()
    ran: list[str] = []
    handle = backbone.network.blocks[3].register_forward_hook(  # type: ignore[index,union-attr]
        lambda *_: ran.append("blocks.3")
    )
    read_taps(backbone.network, [backbone.tap("blocks.1")], torch.zeros(1, 3, 64, 64))
    handle.remove()
    assert ran == []


def test_errors_name_value_rule_and_remedy(tmp_path: object) -> None:
    with pytest.raises(BackboneError, match=r"no network 'resnet_18'; close names: .*resnet18"):
        load_backbone("resnet_18")
    with pytest.raises(BackboneError, match=r"no weights for resnet18 come by pip.*--weights FILE"):
        load_backbone("resnet18")
    with pytest.raises(BackboneError, match=r"no tap 'layer9'; it has: act1, layer1"):
        load_backbone("resnet18", "random").tap("layer9")


def test_a_changed_weights_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    packaged = weights.PACKAGED["tf_efficientnet_lite0"]
    broken = tmp_path / "broken.pth"
    content = bytearray(packaged.locate().read_bytes())
    content[-1000] ^= 1
    broken.write_bytes(content)
    monkeypatch.setattr(weights.PackagedWeights, "locate", lambda self: broken)
    with pytest.raises(BackboneError, match=r"sha256 .* expected 579344248a93"):
        packaged.load()


def test_local_weights_by_safetensors_and_by_state_dict_are_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from safetensors.torch import save_file

    found = load_backbone("resnet18", "random").network.state_dict()
    state = {name: value.contiguous() for name, value in found.items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "b.pth")
    images = torch.randn(1, 3, 64, 64)
    outputs = []
    for file in ("a.safetensors", "b.pth"):
        backbone = load_backbone("resnet18", str(tmp_path / file))
        outputs.append(read_taps(backbone.network, [backbone.taps[-1]], images)["layer4"])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)


def test_weights_that_run_code_are_refused_and_not_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import os
    import pickle

    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.mkdir, (str(ran),)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BackboneError, match="refused"):
        load_backbone("resnet18", str(tmp_path / "evil.pth"))
    assert not ran.exists()


def test_weights_for_another_network_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.save(load_backbone("resnet18", "random").network.state_dict(), tmp_path / "r.pth")
    with pytest.raises(BackboneError, match="do not fit resnet34"):
        _ = load_backbone("resnet34", str(tmp_path / "r.pth")).network


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


@pytest.mark.parametrize("garbled", ["{", "[]", '[{"name": 1}]', "[1]", "\xff"])
def test_a_garbled_note_is_written_again(tmp_path: Path, garbled: str) -> None:
    taps = load_backbone(notes=tmp_path).taps
    (note,) = tmp_path.iterdir()
    good = note.read_bytes()
    note.write_bytes(garbled.encode("latin-1"))
    assert load_backbone(notes=tmp_path).taps == taps
    assert note.read_bytes() == good


def test_notes_that_cannot_be_kept_are_done_without(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no folder can be made here")
    assert load_backbone(notes=tmp_path / "notes").taps == load_backbone().taps
