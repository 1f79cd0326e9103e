"""Each scenario's own explanation, by hand on a network whose channels are red and green."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from test_cam import hand_made
from test_methods import probe_of

from medgraft.data.preprocess import enlarge
from medgraft.errors import ScenarioError
from medgraft.evaluate.calibration import Calibrator
from medgraft.explain.attribute import attribute, is_read_inside
from medgraft.explain.cam import signed_maps
from medgraft.explain.occlusion import Occluder, covered, filled, occlusion
from medgraft.features.encoders import BaseEncoder, PoolEncoder, SpatialPyramid
from medgraft.features.feature_plan import FeaturePlan
from medgraft.learn.ensemble import FittedEnsemble
from medgraft.learn.frozen import FittedFrozen
from medgraft.scenario import Ensemble
from medgraft.types import Box, Canvas, FeatureSpec, FittedScenario, Geometry, Scenario

SIDE = 4
SPEC = FeatureSpec("hand", "0", SIDE, ("second",), engine="torch")
COEF = np.array([[-0.5, 1.0], [0.5, -1.0]])  # of the classes green and red, for red and green


@dataclasses.dataclass
class Linear:
    """A linear head by hand: scores = codes @ coef_.T + intercept_."""

    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def decision_function(self, codes: NDArray[np.float32]) -> NDArray[np.float64]:
        return codes @ self.coef_.T + self.intercept_


class Reddest:
    """A head without coefficients: the class red scores the code's red, green minus that."""

    def decision_function(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([-codes[:, 0], codes[:, 0]], axis=1)


def fitted_of(
    head: object,
    *specs: FeatureSpec,
    encoder: BaseEncoder | None = None,
    views: int = 1,
    base: FeatureSpec = SPEC,
) -> FittedFrozen:
    fitted = hand_made(head)
    backbone = fitted.extractor.backbone("hand")
    sided = tuple(dataclasses.replace(tap, side=2) for tap in backbone.taps)
    backbone.__dict__["taps"] = sided
    at_sizes = {2: tuple(dataclasses.replace(tap, side=1) for tap in sided), SIDE: sided}
    object.__setattr__(backbone, "taps_at", at_sizes.__getitem__)
    feature_plan = FeaturePlan(base, (tuple(specs or (SPEC,)),) * views)
    return dataclasses.replace(fitted, feature_plan=feature_plan, encoder=encoder)


@pytest.fixture
def canvas() -> Canvas:
    """Upper left red 200, lower right green 100, the rest black."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:2, :2, 0] = 200
    pixels[2:, 2:, 1] = 100
    return Canvas("hand", pixels, Geometry.identity(SIDE, SIDE))


def flat(red: int) -> Canvas:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[..., 0] = red
    return Canvas("flat", pixels, Geometry.identity(SIDE, SIDE))


def corners(map: NDArray[np.float32]) -> list[float]:
    """The map where bilinear enlarging leaves the grid's own values: its four corners."""
    return [float(map[i, j]) for i in (0, -1) for j in (0, -1)]


# --------------------------------------------------------------------------- occlusion


@dataclasses.dataclass
class UpperLeft:
    """Scores the mean brightness of the upper left quarter, and minus that."""

    classes: tuple[str, ...] = ("dark", "bright")

    def scores(self, canvases: object) -> NDArray[np.float64]:
        seen = [c.pixels[: SIDE // 2, : SIDE // 2].mean() for c in canvases]  # type: ignore[attr-defined]
        return np.stack([-np.array(seen), np.array(seen)], axis=1)


def upper_left() -> FittedScenario:
    return UpperLeft()  # type: ignore[return-value]


def test_occlusion_by_hand() -> None:
    """Covered with the mean, 25, the upper left quarter loses 75 of its 100."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[:2, :2] = 100
    one = Canvas("a", pixels, Geometry.identity(SIDE, SIDE))
    other = dataclasses.replace(one, pixels=np.zeros_like(pixels))
    quarters = Occluder(0.5, 0.5, "mean")
    found, nothing = occlusion(upper_left(), [one, other], "bright", quarters)
    expected = np.zeros((SIDE, SIDE))
    expected[:2, :2] = 75
    np.testing.assert_allclose(found.map, expected)
    assert (found.target, found.tap) == ("bright", "pixels")
    assert not nothing.map.any()
    (against,) = occlusion(upper_left(), [one], "dark", quarters)
    assert not against.map.any()  # covering raises its score
    (chosen,) = occlusion(upper_left(), [one], None, quarters)
    assert chosen.target == "bright"
    # Half-way windows lose 75 of a half: pixel (0, 0) lies in one window, (1, 1) in four.
    (fine,) = occlusion(upper_left(), [one], "bright", Occluder(0.5, 0.25, "mean"))
    assert fine.map[0, 0] == 75
    assert fine.map[1, 1] == pytest.approx((75 + 2 * 37.5 + 18.75) / 4)


def test_padding_is_neither_covered_nor_marked() -> None:
    pixels = np.full((SIDE, SIDE), 100, np.uint8)
    pixels[2:] = 0
    geometry = Geometry((2, 4), 1, Box(0, 0, 2, 4), (4, 4), Box(0, 0, 2, 4))
    one = Canvas("a", pixels, geometry)
    np.testing.assert_array_equal(filled(one, "mean"), pixels)
    np.testing.assert_array_equal(filled(one, "blur"), pixels)
    everywhere = covered(one, np.ones((4, 4), bool), np.full_like(pixels, 7))
    assert (everywhere.pixels == 7).all()
    assert (one.pixels == pixels).all()
    (found,) = occlusion(upper_left(), [one], "bright")
    assert not found.map[2:].any()


@pytest.mark.parametrize("wrong", [(0.1, 0.2, "blur"), (0.5, 0.0, "blur"), (0.5, 0.5, "black")])
def test_senseless_windows_are_refused(wrong: tuple[float, float, str]) -> None:
    with pytest.raises(ScenarioError, match=r"take 0 < stride|no fill 'black'; there are: blur"):
        Occluder(*wrong)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- linear probes


def test_a_probe_is_taken_apart_exactly(canvas: Canvas) -> None:
    fitted = fitted_of(Linear(COEF, np.array([3.0, -3.0])))
    (red,) = attribute(fitted, [canvas], "red")
    assert corners(red.map) == pytest.approx([100, 0, 0, 0])  # .5 * 200; green speaks against
    (green,) = attribute(fitted, [canvas], "green")
    assert corners(green.map) == pytest.approx([0, 0, 0, 100])
    assert (red.tap, red.target) == ("second", "red")
    assert "HiResCAM" in red.method
    ((own,),) = [attribute(fitted, [flat(80)])]
    assert own.target == "red"  # 40 - 3 against -40 + 3
    np.testing.assert_allclose(own.map, 40, rtol=1e-6)


def test_sizes_side_by_side_add_up_on_the_canvas() -> None:
    """Each part tells its own share of the score, though its grid has a quarter of the places."""
    half = dataclasses.replace(SPEC, size=2, base=SIDE)
    coef = np.concatenate([COEF, 2 * COEF], axis=1)
    fitted = fitted_of(Linear(coef, np.zeros(2)), SPEC, half)
    (found,) = attribute(fitted, [flat(80)], "red")
    np.testing.assert_allclose(found.map, 0.5 * 80 + 1.0 * 80, rtol=1e-6)
    assert "sum of 2 parts" in found.method
    scores = fitted.scores([flat(80)])
    np.testing.assert_allclose(found.map.mean(), scores[0, 1], rtol=1e-5)
    averaged = dataclasses.replace(fitted.feature_plan, join="mean")
    mean = dataclasses.replace(fitted, feature_plan=averaged, head=Linear(COEF, np.zeros(2)))  # type: ignore[arg-type]
    (found,) = attribute(mean, [flat(80)], "red")
    np.testing.assert_allclose(found.map, 40, rtol=1e-6)


def test_a_head_on_several_taps_is_explained_by_all_of_them(canvas: Canvas) -> None:
    """Tap `first` has three channels: what the head reads there is not in the deepest map."""
    both = dataclasses.replace(SPEC, taps=("first", "second"))
    coef = np.array([[0, 0, 0, -0.5, 1.0], [0, 0.25, 0, 0.5, -1.0]])
    fitted = fitted_of(Linear(coef, np.zeros(2)), both, base=both)
    (found,) = attribute(fitted, [canvas], "red")
    assert found.tap == "first, second"
    # Lower right: + .25 * 100 at the first tap, - 1 * 100 at the second.
    assert corners(found.map) == pytest.approx([100, 0, 0, 0])
    coef[1, 4] = 0
    (found,) = attribute(fitted, [canvas], "red")
    assert corners(found.map) == pytest.approx([100, 0, 0, 25])


# --------------------------------------------------------------------------- encoders and others


def test_a_descriptor_left_out_by_hand(canvas: Canvas) -> None:
    """Of a maximum over positions, only the position that holds it counts."""
    encoder = PoolEncoder("max").fit(np.zeros((1, 4, 2)))
    fitted = fitted_of(Linear(COEF, np.zeros(2)), encoder=encoder)
    (found,) = attribute(fitted, [canvas], "red")
    # Without the upper left the red maximum falls from 200 to 0: .5 * 200 at 1 of 4 positions.
    assert corners(found.map) == pytest.approx([400, 0, 0, 0])
    assert found.method == "one descriptor left out at a time"
    (any_head,) = attribute(dataclasses.replace(fitted, head=Reddest()), [canvas], "red")  # type: ignore[arg-type]
    assert corners(any_head.map) == pytest.approx([800, 0, 0, 0])


@pytest.mark.parametrize("encoder", [PoolEncoder("avg"), SpatialPyramid((1,))])
def test_a_sum_over_descriptors_equals_the_pooled_probe(
    encoder: BaseEncoder, canvas: Canvas
) -> None:
    encoder.fit(np.zeros((1, 4, 2)))
    head = Linear(COEF, np.array([3.0, -3.0]))
    (found,) = attribute(fitted_of(head, encoder=encoder), [canvas], "red")
    (probe,) = attribute(fitted_of(head), [canvas], "red")
    np.testing.assert_allclose(found.map, probe.map, rtol=1e-5, atol=1e-4)
    assert found.method == "contributions of descriptors"


@pytest.mark.parametrize("views", [1, 2])
def test_without_a_gradient_or_with_views_it_is_occlusion(views: int, canvas: Canvas) -> None:
    head = Reddest() if views == 1 else Linear(COEF, np.zeros(2))
    (found,) = attribute(fitted_of(head, views=views), [canvas], "red")
    assert found.method.startswith("occlusion by windows of 0.2")
    assert np.unravel_index(found.map.argmax(), found.map.shape) in {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert found.map[3, 3] == 0


def test_the_engine_of_the_codes_gives_the_gradients_map(canvases: list[Canvas]) -> None:
    fitted = probe_of("tf_efficientnet_lite0", "conv_head", 64, "", loud=1.0)
    assert is_read_inside(fitted)
    found = attribute(fitted, canvases[:3], "red")
    maps, _ = signed_maps(fitted, canvases[:3], "hirescam", "conv_head", "red")
    for one, map in zip(found, maps, strict=True):
        wanted = np.maximum(enlarge(map * map.size, (64, 64)), 0)
        np.testing.assert_allclose(one.map, wanted, atol=1e-4 * wanted.max())


def test_what_is_covered_piece_by_piece_is_not_read_inside() -> None:
    linear, knn = fitted_of(Linear(COEF, np.zeros(2))), fitted_of(Reddest())
    assert is_read_inside(linear)
    assert not is_read_inside(knn)


def test_an_ensemble_weighs_its_members_maps(canvas: Canvas) -> None:
    linear, knn = fitted_of(Linear(COEF, np.zeros(2))), fitted_of(Reddest())
    fitted = FittedEnsemble(
        scenario=Scenario("hand", "second", Ensemble("mean", ())),
        classes=linear.classes,
        positive="red",
        operating=None,
        members=(linear, knn),
        stack=None,
        calibrator=Calibrator(1.0, (0.0, 0.0)),
        extractor=linear.extractor,
    )
    (found,) = attribute(fitted, [canvas], "red")
    (a,), (b,) = attribute(linear, [canvas], "red"), attribute(knn, [canvas], "red")
    np.testing.assert_allclose(found.map, a.map / a.map.mean() / 2 + b.map / b.map.mean() / 2)
    assert "HiResCAM" in found.method
    assert "occlusion" in found.method


def test_errors_and_nothing_to_do(canvas: Canvas) -> None:
    fitted = fitted_of(Linear(COEF, np.zeros(2)))
    assert attribute(fitted, []) == []
    with pytest.raises(ScenarioError, match="no class 'blue'; there are: green, red"):
        attribute(fitted, [canvas], "blue")
