from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medgraft.features import engine as engines
from medgraft.features.backbones import Backbone, load_backbone
from medgraft.features.encoders import PoolEncoder, pool
from medgraft.features.engine import OpenVINOEngine, Output, TorchEngine
from medgraft.types import Canvas, Geometry

TOLERANCE = 1e-4  # of the largest activation of a tap; measured 1e-5


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone()


def outputs_of(backbone: Backbone, poolings: tuple[str, ...] = ("avg",)) -> list[Output]:
    return [Output(tap.name, pooling) for tap in backbone.taps for pooling in poolings]


def assert_equal_engines(backbone: Backbone, canvases: list[Canvas], size: int) -> None:
    outputs = outputs_of(backbone, ("avg", "max", "gem"))
    fast = list(OpenVINOEngine(backbone, outputs, size, workers=2).run(canvases))
    reference = list(TorchEngine(backbone, outputs, workers=2).run(canvases))
    for (canvas, ours), (other, theirs) in zip(fast, reference, strict=True):
        assert canvas.id == other.id
        for output, a, b in zip(outputs, ours, theirs, strict=True):
            error = np.abs(a - b).max() / max(1e-6, np.abs(b).max())
            assert error < TOLERANCE, (output, error)


def test_engines_agree_on_a_convolutional_network(lite0: Backbone, canvases: list[Canvas]) -> None:
    assert_equal_engines(lite0, canvases, 64)


def test_engines_agree_on_a_token_network(canvases: list[Canvas]) -> None:
    backbone = load_backbone("vit_tiny_patch16_224", "random")
    large = [
        Canvas(c.id, np.kron(c.pixels, np.ones((4, 4) + (1,) * (c.pixels.ndim - 2), np.uint8))
               [:224, :224], Geometry.identity(224, 224))
        for c in canvases[:3]
    ]  # fmt: skip
    assert_equal_engines(backbone, large, 224)


@pytest.fixture(scope="module")
def fast(lite0: Backbone) -> OpenVINOEngine:
    return OpenVINOEngine(lite0, outputs_of(lite0), 64, workers=2)


def test_codes_are_those_of_the_plain_network(
    fast: OpenVINOEngine, lite0: Backbone, canvases: list[Canvas]
) -> None:
    """Against timm called by hand: normalise by 0.5, forward, mean over positions."""
    colour = [canvas for canvas in canvases if canvas.pixels.ndim == 3][:2]
    at = outputs_of(lite0).index(Output("conv_head", "avg"))
    ours = np.stack([codes[at] for _, codes in fast.run(colour)])
    images = torch.from_numpy(np.stack([canvas.pixels for canvas in colour])).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = lite0.network.forward_features((images / 255 - 0.5) / 0.5)  # type: ignore[operator]
    theirs = F.adaptive_avg_pool2d(features, 1).flatten(1).numpy()
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE * np.abs(theirs).max())


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_batch_equals_its_items_and_order_is_kept(
    engine: str, fast: OpenVINOEngine, lite0: Backbone, canvases: list[Canvas]
) -> None:
    reference = TorchEngine(lite0, outputs_of(lite0), workers=2, batch_size=5)
    made = fast if engine == "openvino" else reference
    together = list(made.run(canvases))
    assert [canvas.id for canvas, _ in together] == [canvas.id for canvas in canvases]
    for canvas, codes in together:
        ((_, alone),) = made.run([canvas])
        for a, b in zip(codes, alone, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_openvino_gives_the_same_bits_again(fast: OpenVINOEngine, canvases: list[Canvas]) -> None:
    first, second = list(fast.run(canvases)), list(fast.run(canvases[::-1]))[::-1]
    for (_, a), (_, b) in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_grey_is_read_as_three_equal_channels(fast: OpenVINOEngine, canvases: list[Canvas]) -> None:
    grey = next(canvas for canvas in canvases if canvas.pixels.ndim == 2)
    rgb = Canvas("rgb", np.repeat(grey.pixels[..., None], 3, axis=2), grey.geometry)
    (_, a), (_, b) = fast.run([grey, rgb])
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_leaving_a_stream_early_is_clean(fast: OpenVINOEngine, canvases: list[Canvas]) -> None:
    stream = fast.run(itertools.cycle(canvases))
    assert next(stream)[0].id == "0"
    stream.close()  # type: ignore[attr-defined]
    assert len(list(fast.run(canvases))) == len(canvases)


def test_a_kept_graph_gives_the_same_codes(
    lite0: Backbone, canvases: list[Canvas], tmp_path
) -> None:  # type: ignore[no-untyped-def]
    outputs = [Output("stem", "avg")]
    built = list(OpenVINOEngine(lite0, outputs, 64, workers=1, graphs=tmp_path).run(canvases))
    assert len(list(tmp_path.glob("*.xml"))) == 1
    read = list(OpenVINOEngine(lite0, outputs, 64, workers=1, graphs=tmp_path).run(canvases))
    for (_, a), (_, b) in zip(built, read, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def stem(lite0: Backbone) -> object:
    """The graph of the stem, converted once, for that takes seconds."""
    return engines._convert(lite0, [Output("stem", "avg")], 64)


@pytest.mark.parametrize("harm", ["no bin", "empty bin", "garbled xml", "in the way"])
def test_a_kept_graph_that_cannot_be_read_is_made_again(
    harm: str,
    stem: object,
    lite0: Backbone,
    canvases: list[Canvas],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_convert", lambda *_: stem)

    def codes(graphs: str = "graphs") -> np.ndarray:  # type: ignore[type-arg]
        outputs = [Output("stem", "avg")]
        made = OpenVINOEngine(lite0, outputs, 64, workers=1, graphs=tmp_path / graphs)
        return np.stack([values for _, (values,) in made.run(canvases)])

    expected = codes()
    if harm == "in the way":
        (tmp_path / "file").write_text("no folder can be made here")
        np.testing.assert_array_equal(codes("file"), expected)
        return
    (graph,) = (tmp_path / "graphs").glob("*.xml")
    if harm == "no bin":
        graph.with_suffix(".bin").unlink()
    elif harm == "empty bin":
        graph.with_suffix(".bin").write_bytes(b"")
    else:
        graph.write_bytes(graph.read_bytes()[:100])
    np.testing.assert_array_equal(codes(), expected)
    assert graph.with_suffix(".bin").stat().st_size > 0


def test_the_backbone_stays_where_it_is(lite0: Backbone) -> None:
    """Others (Grad-CAM) use it on the CPU; the meta device stands for a GPU."""
    TorchEngine(lite0, outputs_of(lite0), workers=1, device="meta")
    assert {parameter.device.type for parameter in lite0.network.parameters()} == {"cpu"}


def test_torch_computes_in_float32_and_is_left_as_it_was(
    lite0: Backbone, canvases: list[Canvas], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    engine = TorchEngine(lite0, [Output("stem", "avg")], workers=1)
    engine.network.register_forward_hook(
        lambda *_: seen.extend([cudnn.allow_tf32, matmul.allow_tf32])
    )
    assert len(list(engine.run(canvases))) == len(canvases)
    assert set(seen) == {False}
    assert cudnn.allow_tf32


def test_poolings_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert pool(features, "avg").item() == 3.0
    assert pool(features, "max").item() == 6.0
    expected = ((1 + 8 + 27 + 216) / 4) ** (1 / 3)
    assert pool(features, "gem").item() == pytest.approx(expected)


def test_pooling_in_the_graph_equals_pooling_the_descriptors(
    lite0: Backbone, canvases: list[Canvas]
) -> None:
    whole = OpenVINOEngine(lite0, [Output("blocks.2", None)], 64, workers=1)
    descriptors = np.stack([found for _, (found,) in whole.run(canvases)])
    assert descriptors.shape == (12, 64, 40)  # 8 x 8 positions at stride 8
    poolings = ("avg", "max", "gem")
    outputs = [Output("blocks.2", pooling) for pooling in poolings]
    pooled = [codes for _, codes in OpenVINOEngine(lite0, outputs, 64, workers=1).run(canvases)]
    for pooling, in_graph in zip(poolings, zip(*pooled, strict=True), strict=True):
        codes, expected = PoolEncoder(pooling).fit_transform(descriptors), np.stack(in_graph)
        # descriptors outside the graph are rounded to half precision
        np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
