"""ONNX files of every kind that people have, against the same arithmetic in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.foreign.onnx_file import OnnxFile
from medgraft.foreign.options import ForeignOptions
from onnx_models import logit_of, write_onnx

PLACE = (slice(4, 12), slice(40, 60))
BYTES = {"kind": TensorProto.UINT8}
IN_01 = {"scale": 1 / 255}


def some_images(n: int = 5) -> Any:
    return np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def opened(path: Path, **options: Any) -> OnnxFile:
    return OnnxFile(path, ForeignOptions(**options), 2, 1)


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (IN_01, {"normalize": "0..1"}),
        (IN_01 | {"batch": 1}, {"normalize": "0..1"}),
        (IN_01 | {"batch": 4}, {"normalize": "0..1"}),
        ({}, {"normalize": "0..255"}),
        (BYTES, {}),
        (BYTES | {"first": False}, {}),
        (BYTES | {"side": "side"}, {"input_size": 64}),
        (BYTES | {"outputs": ("a", "b")}, {"output_name": "b"}),
    ],
)
def test_it_answers_as_the_arithmetic_says(
    made: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    asked = opened(write_onnx(tmp_path / "m.onnx", PLACE, **made), **options)
    images = some_images()
    found = np.concatenate([asked(images[i : i + asked.batch]) for i in range(0, 5, asked.batch)])
    assert asked.side == 64
    np.testing.assert_allclose(found[:, 1] - found[:, 0], logit_of(images, PLACE), atol=1e-3)


def test_grey_and_bgr_are_what_they_say(tmp_path: Path) -> None:
    images = some_images()
    grey = opened(write_onnx(tmp_path / "grey.onnx", PLACE, channels=1, **BYTES))
    weights = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601
    expected = logit_of((images @ weights)[..., None], PLACE)
    np.testing.assert_allclose(grey(images)[:, 1], expected, atol=0.2)  # rounded to 8 bits
    assert grey.channels == "grey"
    coloured = write_onnx(tmp_path / "colour.onnx", PLACE, **BYTES)
    with pytest.raises(ForeignModelError, match="takes 3 channels"):
        opened(coloured, channels="grey")
    swapped = opened(coloured, channels="bgr")
    np.testing.assert_array_equal(
        swapped._prepared(images), images[..., ::-1].transpose(0, 3, 1, 2)
    )


def test_an_oblong_network_gets_the_square_squashed(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(write_onnx(tmp_path / "m.onnx", PLACE, **BYTES))
    (mask,) = [one for one in model.graph.initializer if one.name == "mask"]
    mask.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(mask)[:, :, :32], "mask"))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32
    onnx.save(model, tmp_path / "oblong.onnx")
    asked = opened(tmp_path / "oblong.onnx")
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, 8:24, 40:60] = 150  # twice as far down and as high as in the network's image
    assert asked.side == 64
    assert asked(image)[0, 1] == pytest.approx(0.2 * (150 - 100), abs=1e-3)
    with pytest.raises(ForeignModelError, match="32 x 64"):
        opened(tmp_path / "oblong.onnx", resize="crop")


def test_a_graph_that_kept_the_batch_of_its_example_is_asked_one_by_one(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(write_onnx(tmp_path / "m.onnx", PLACE, **BYTES))
    (ones,) = [one for one in model.graph.node if one.output == ["logit"]]
    ones.op_type = "Reshape"  # to (1, 1), whatever the batch
    (one,) = [one for one in model.graph.initializer if one.name == "one"]
    one.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 1]), "one"))
    onnx.save(model, tmp_path / "kept.onnx")
    asked = opened(tmp_path / "kept.onnx")
    images = some_images(1)
    assert asked.batch == 1
    np.testing.assert_allclose(asked(images)[:, 1], logit_of(images, PLACE), atol=1e-3)


@pytest.mark.parametrize(
    ("made", "options", "kind", "text"),
    [
        ({}, {}, AmbiguousModelError, "--normalize imagenet"),
        ({"side": "side"}, {}, AmbiguousModelError, "pass --input-size"),
        ({}, {"input_size": 32}, ForeignModelError, "64 x 64 pixels, not of --input-size 32"),
        ({"channels": 4}, {}, ForeignModelError, r"shape \(\?, 4, 64, 64\)"),
        (BYTES, {"normalize": "0..1"}, ForeignModelError, "takes 8-bit images"),
        ({"kind": TensorProto.INT32}, {}, ForeignModelError, "type i32"),
        (BYTES | {"outputs": ("a", "b")}, {}, AmbiguousModelError, "--output-name a"),
        (BYTES, {"output_name": "c"}, ForeignModelError, None),
        (BYTES | {"outputs": ("a", "b")}, {"output_name": "c"}, ForeignModelError, "no output 'c'"),
    ],
)
def test_what_cannot_be_asked_says_why_and_what_to_do(
    made: dict[str, Any],
    options: dict[str, Any],
    kind: type[ForeignModelError],
    text: str | None,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind, match=text):
        opened(write_onnx(tmp_path / "m.onnx", PLACE, **made), **options)


def test_files_that_are_no_graph_of_one_image(tmp_path: Path) -> None:
    import onnx

    (tmp_path / "noise.onnx").write_bytes(b"\x80\x04not onnx")
    with pytest.raises(ForeignModelError, match="cannot be read as ONNX"):
        opened(tmp_path / "noise.onnx")
    model = onnx.load(write_onnx(tmp_path / "m.onnx", PLACE, **BYTES))
    shift = onnx.helper.make_tensor_value_info("shift", TensorProto.FLOAT, [])
    model.graph.input.append(shift)
    kept = [one for one in model.graph.initializer if one.name != "shift"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(ForeignModelError, match="has 2 inputs"):
        opened(tmp_path / "two.onnx")


def test_weights_in_files_of_their_own_lie_beside_it_and_nowhere_else(tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "model"
    folder.mkdir()
    model = onnx.load(write_onnx(tmp_path / "m.onnx", PLACE, **BYTES))
    onnx.save_model(
        model, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=1000
    )
    images = some_images()
    found = opened(folder / "m.onnx")(images)
    np.testing.assert_allclose(found[:, 1], logit_of(images, PLACE), atol=1e-3)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    (mask,) = [one for one in model.graph.initializer if one.name == "mask"]
    for place in ("w.bin", "../w.bin", str(tmp_path / "w.bin")):  # missing, climbing, absolute
        mask.external_data[0].value = place
        (folder / "other.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ForeignModelError, match="must lie beside it"):
            opened(folder / "other.onnx")
