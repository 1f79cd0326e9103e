"""What a study compares, what that costs, and in which order; no image is read."""

from __future__ import annotations

import dataclasses
import json

import pytest

from medgraft.errors import MedgraftError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.features.taps import STAGES
from medgraft.scenario import Encoded, Head, Scenario, encoding_of
from medgraft.studies import prepare
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PlannedScenario, input_sizes, plan, trained_otherwise

NET = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")))


def planned(
    extractor: Extractor, shorter: int = 0, **options: object
) -> dict[str, PlannedScenario]:
    """The plan of 100 images of two classes, by key without family and backbone."""
    found = plan(StudyOptions(**options), extractor, 100, 2, shorter)  # type: ignore[arg-type]
    named = {entry.scenario.key.replace(f"/{NET}/", ":"): entry for entry in found}
    assert len(named) == len(found)  # no key twice
    assert list(found) == sorted(found, key=lambda entry: entry.simplicity)
    return named


# --------------------------------------------------------------------------- what is compared


def test_by_default_every_tap_and_all_stages_with_every_head(extractor: Extractor) -> None:
    found = planned(extractor)
    taps = [tap.name for tap in extractor.backbone(NET).taps]
    assert set(found) == {
        f"probe:{where}/{head}" for where in [*taps, STAGES] for head in ("svm", "logistic", "knn")
    }


def test_families_that_are_not_asked_for_are_absent(extractor: Extractor) -> None:
    families = {
        names: {entry.scenario.family for entry in planned(extractor, 544, families=names).values()}
        for names in [("probe",), ("multiscale",), ("vlad",), ("probe", "vlad"), ("vlad", "probe")]
    }
    assert all(found == set(names) for names, found in families.items())


def test_sizes_are_compared_alone_joined_and_averaged(extractor: Extractor) -> None:
    found = planned(extractor, 900, families=("multiscale",), heads=("svm",))
    here = {key.split("/", 1)[1] for key in found if key.startswith("multiscale:conv_head/")}
    assert here == {
        "s544/svm", "s864/svm", "s224+544/svm", "s224+544/mean/svm",
        "s224+544+864/svm", "s224+544+864/mean/svm",
    }  # fmt: skip
    assert {entry.scenario.tap for entry in found.values()} >= {STAGES, "blocks.5", "conv_head"}


@pytest.mark.parametrize(
    ("shorter", "asked", "sizes"),
    [
        (0, (), (224,)),
        (543, (), (224,)),
        (544, (), (224, 544)),
        (864, (), (224, 544, 864)),
        (5000, (), (224, 544, 864)),  # not beyond three
        (100, (864, 96, 864), (96, 864)),
    ],
)
def test_by_default_only_sizes_that_the_images_hold(
    shorter: int, asked: tuple[int, ...], sizes: tuple[int, ...], extractor: Extractor
) -> None:
    options = StudyOptions(families=("multiscale",), sizes=asked)
    assert input_sizes(options, extractor.backbone(NET), shorter) == sizes


def test_small_images_leave_multiscale_nothing_and_a_study_of_it_alone_says_so(
    extractor: Extractor,
) -> None:
    with_probe = planned(extractor, 256, families=("probe", "multiscale"))
    assert {entry.scenario.family for entry in with_probe.values()} == {"probe"}
    with pytest.raises(ScenarioError, match=r"for multiscale: it needs further .* hold 256 pixels"):
        planned(extractor, 256, families=("multiscale",))


@pytest.mark.parametrize(
    ("families", "sizes", "shorter", "said"),
    [
        (("probe",), (), 256, None),
        (("multiscale",), (), 256, "next input size of tf_efficientnet_lite0 is 544"),
        (("multiscale",), (224, 544), 256, "hold 256 pixels .* enlarged to 544, as was asked"),
        (("multiscale",), (), 600, None),
        (("multiscale",), (96, 224), 150, None),  # the network's own size is no enlargement
    ],
)
def test_a_finding_says_what_sizes_were_not_tried_or_only_enlarge(
    families: tuple[str, ...], sizes: tuple[int, ...], shorter: int, said: str | None,
    extractor: Extractor,
) -> None:  # fmt: skip
    options = StudyOptions(families=families, sizes=sizes)
    found = list(prepare._about_sizes(options, extractor, shorter))
    assert len(found) == (said is not None)
    if said is not None:
        assert found[0].check == "input sizes"
        assert found[0].numbers["shorter_side"] == shorter
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(found[0].text)


def test_encoders_are_tried_on_late_taps(extractor: Extractor) -> None:
    found = planned(extractor, families=("vlad",), encoders=("k4.pca8", "pyramid1-2"))
    assert set(found) == {
        f"vlad:{tap}/{words}/svm"
        for tap in ("blocks.4", "blocks.6", "conv_head", "blocks.5")
        for words in ("k4/pca8", "pyramid1-2")
    } & set(found)
    assert {"vlad:conv_head/k4/pca8/svm", "vlad:conv_head/pyramid1-2/svm"} <= set(found)
    larger = planned(extractor, 544, families=("vlad",), encoders=("k4", "pyramid1-2"))
    assert "vlad:conv_head/s224+544/k4/svm" in larger
    assert not any("s224+544/pyramid" in key for key in larger)


def test_averages_and_views_stand_beside_the_plain_probe(extractor: Extractor) -> None:
    found = planned(
        extractor, heads=("svm", "knn"), preprocess=("raw", "clahe", "raw+clahe"),
        augment="xray", views=3,
    )  # fmt: skip
    here = {key.split("/", 1)[1]: entry for key, entry in found.items() if ":stem/" in key}
    assert set(here) == {
        "svm", "knn", "clahe2-8/svm", "clahe2-8/knn", "raw+clahe2-8/svm", "raw+clahe2-8/knn",
        "raw,clahe2-8/svm/mean", "xray3/svm",
    }  # fmt: skip
    joined = here["raw,clahe2-8/svm/mean"].scenario
    assert joined.family == "ensemble"
    assert joined.members == (here["svm"].scenario, here["clahe2-8/svm"].scenario)
    without = planned(extractor, preprocess=("clahe",), heads=("svm",))
    assert {entry.scenario.family for entry in without.values()} == {"probe"}


@pytest.mark.parametrize("families", [("probe", "vlad", "ensemble"), ("ensemble", "vlad", "probe")])
def test_a_stack_joins_what_was_judged_at_the_networks_size(
    families: tuple[str, ...], extractor: Extractor
) -> None:
    found = planned(
        extractor, 544, families=families, encoders=("k4",), heads=("svm", "knn"),
        preprocess=("raw", "clahe"), augment="xray",
    )  # fmt: skip
    members = found["ensemble:best/stack"].scenario.members
    names = {member.key.replace(f"/{NET}/", ":") for member in members}
    assert {"probe:stages/svm", "probe:conv_head/svm", "vlad:conv_head/k4/svm"} <= names
    assert not any(
        word in name for name in names for word in ("knn", "clahe", "xray", "s224", "stem")
    )
    assert names <= set(found)  # each is judged on its own too


def test_a_stack_of_nothing_says_what_is_missing(extractor: Extractor) -> None:
    with pytest.raises(ScenarioError, match=r"ensemble.*probe"):
        planned(extractor, 224, families=("ensemble",))


def test_two_backbones_are_planned_apart(extractor: Extractor) -> None:
    two = (NET, "tf_efficientnet_lite1")
    found = plan(
        StudyOptions(backbones=two, families=("probe", "vlad", "ensemble"), heads=("svm",)),
        extractor, 100, 2,
    )  # fmt: skip
    stacks = [entry.scenario for entry in found if entry.scenario.family == "ensemble"]
    assert {stack.backbone for stack in stacks} == set(two)
    for stack in stacks:
        assert {member.backbone for member in stack.members} == {stack.backbone}
    assert len({entry.scenario.key for entry in found}) == len(found)


# --------------------------------------------------------------------------- what it costs


def test_several_sizes_cost_the_sum_of_their_passes(extractor: Extractor) -> None:
    network = extractor.backbone(NET)
    found = planned(extractor, 544, families=("probe", "multiscale"), heads=("svm",))
    own, large = (network.cost("conv_head", size).multiply_adds for size in (224, 544))
    cost = {key: entry.cost for key, entry in found.items()}
    assert cost["probe:conv_head/svm"].multiply_adds == own
    assert cost["multiscale:conv_head/s544/svm"].multiply_adds == large
    for join in ("", "/mean"):
        key = f"multiscale:conv_head/s224+544{join}/svm"
        assert cost[key].multiply_adds == own + large
    assert large == pytest.approx(own * (544 / 224) ** 2, rel=0.02)
    # The network is kept once, and one row of weights a number of the code: two classes.
    channels = network.tap("conv_head").channels
    parameters = network.cost("conv_head", 224).parameters
    assert cost["probe:conv_head/svm"].parameters == parameters + channels
    assert cost["multiscale:conv_head/s224+544/svm"].parameters == parameters + 2 * channels
    assert cost["multiscale:conv_head/s224+544/mean/svm"].parameters == parameters + channels


def test_the_simplest_comes_first(extractor: Extractor) -> None:
    found = list(planned(extractor, 544, families=("probe", "multiscale", "vlad"), augment="xray"))
    order = [
        "probe:stem/svm", "probe:conv_head/svm", "probe:conv_head/logistic", "probe:conv_head/knn",
        "probe:conv_head/xray4/svm", "multiscale:conv_head/s544/svm",
        "multiscale:conv_head/s224+544/mean/svm", "multiscale:conv_head/s224+544/svm",
    ]  # fmt: skip
    places = [found.index(key) for key in order]
    assert places == sorted(places)


def test_every_view_and_every_edit_is_a_pass(extractor: Extractor) -> None:
    found = planned(
        extractor, heads=("svm", "knn"), preprocess=("raw", "clahe", "raw+clahe"),
        augment="natural", views=5,
    )  # fmt: skip
    one = extractor.backbone(NET).cost("blocks.3", 224)
    cost = {key.split("/", 1)[1]: e.cost for key, e in found.items() if ":blocks.3/" in key}
    passes = {
        "svm": 1, "clahe2-8/svm": 1, "raw+clahe2-8/svm": 2, "raw,clahe2-8/svm/mean": 2,
        "natural5/svm": 5,
    }  # fmt: skip
    for key, n in passes.items():
        assert cost[key].multiply_adds == n * one.multiply_adds
    channels = extractor.backbone(NET).tap("blocks.3").channels
    assert cost["raw,clahe2-8/svm/mean"].parameters == one.parameters + 2 * channels
    assert cost["natural5/svm"].parameters == one.parameters + channels
    assert cost["knn"].parameters == one.parameters + 100 * channels


def test_members_that_differ_in_taps_share_a_pass(extractor: Extractor) -> None:
    found = planned(
        extractor, families=("probe", "vlad", "ensemble"), encoders=("k4",), heads=("svm",)
    )
    stack = found["ensemble:best/stack"].cost
    assert stack.multiply_adds == extractor.backbone(NET).cost("conv_head", 224).multiply_adds


# --------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"families": ("dream",)},
            r"no family 'dream'; there are: probe, multiscale, vlad, finetune, hybrid, ens",
        ),
        ({"families": ("ways",)}, r"no family 'ways'"),
        ({"heads": ("svn",)}, r"no head 'svn'"),
        ({"metric": "beauty"}, r"no metric 'beauty'"),
        ({"resize": "melt"}, r"no resize rule 'melt'"),
        ({"poolings": ("median",)}, r"no pooling 'median'"),
        ({"preprocess": ("sharpen",)}, r"no edit 'sharpen'"),
        ({"preprocess": ("raw+raw",)}, r"names one preprocessing twice"),
        ({"preprocess": ("clahe+clahe2-8",)}, r"names one preprocessing twice"),
        ({"preprocess": ()}, r"at least one of its preprocess"),
        ({"encoders": ("x4",)}, r"names no encoder"),
        ({"encoders": ("k",)}, r"names no encoder"),
        ({"encoders": ()}, r"at least one of its encoders"),
        ({"sizes": (0,)}, r"input sizes 0: each must be from 1 to 4096"),
        ({"sizes": (224, 5000)}, r"input sizes 224, 5000"),
        ({"augment": "dream"}, r"no preset of views 'dream'; there are: xray"),
        ({"augment": "xray", "views": 1}, r"1 views of an image; choose from 2 to 64"),
        ({"augment": "xray", "views": 65}, r"65 views"),
        ({"seed": -1}, r"the seed is -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        StudyOptions(**options)  # type: ignore[arg-type]


def test_what_is_named_twice_is_compared_once() -> None:
    options = StudyOptions(
        families=("probe", "vlad", "probe"), heads=("svm", "svm"), sizes=(544, 224, 544),
        preprocess=("clahe", "clahe2-8"), encoders=("k4", "k4"),
    )  # fmt: skip
    assert options.families == ("probe", "vlad")
    assert (options.heads, options.sizes) == (("svm",), (224, 544))
    assert (options.preprocess, options.encoders) == (("clahe2-8",), ("k4",))
    assert json.loads(json.dumps(dataclasses.asdict(options)))["sizes"] == [224, 544]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sizes": (16,), "families": ("multiscale",)}, r"needs 32 or more"),
        ({"encoders": ("pyramid1-2",), "preprocess": ("raw+clahe",)}, r"one pyramid"),
        ({"backbones": ("no_such_net",)}, r"no_such_net"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_an_image_is_read(
    options: dict[str, object], said: str, extractor: Extractor
) -> None:
    with pytest.raises(MedgraftError, match=said):
        planned(extractor, **{"families": ("vlad",), **options})


def test_words_of_encoders() -> None:
    assert encoding_of("bilinear64") == Encoded("bilinear", (64,))
    assert encoding_of("fisher16.pca64") == Encoded("fisher", (16,), pca=64)
    key = Scenario("n", "t", Head("svm"), code=encoding_of("pyramid1-2-4")).key
    assert key == "vlad/n/t/pyramid1-2-4/svm"


@pytest.mark.parametrize(("deploy", "networks"), [("folds", 5 * 2), ("once", 1), ("distilled", 1)])
def test_one_network_in_use_costs_a_share_of_the_mean_of_the_folds(
    extractor: Extractor, deploy: str, networks: int
) -> None:
    several = () if deploy == "once" else (("networks", "2"),)  # the second would be used by nobody
    training = (*several, ("deploy", deploy))
    found = planned(extractor, 224, families=("finetune",), training=training)
    (entry,) = found.values()
    one = extractor.backbone(NET).cost("conv_head", 224)
    assert entry.cost.multiply_adds == networks * one.multiply_adds


def test_networks_trained_otherwise_are_those_of_a_plan_that_says_so(extractor: Extractor) -> None:
    asked = StudyOptions(families=("probe", "finetune"), depths=("input", "blocks.5"))
    more = dataclasses.replace(asked, training=(("networks", "3"),))
    found = trained_otherwise(plan(asked, extractor, 100, 2), more, extractor, (100, 2))
    assert found == plan(more, extractor, 100, 2)
