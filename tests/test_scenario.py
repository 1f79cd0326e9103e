"""A scenario's key read back gives the scenario, for every kind of key there is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from medgraft.audit.regions import LAYOUTS
from medgraft.data.augment import PRESETS
from medgraft.errors import ScenarioError
from medgraft.features.backbones import HYBRIDS
from medgraft.features.cache import Cache
from medgraft.features.codebooks import ENCODERS
from medgraft.features.extract import Extractor
from medgraft.learn import estimators
from medgraft.learn import fit as learn_fit
from medgraft.report.text import formatting, scenario_names
from medgraft.scenario import ENCODERS as SCENARIO_ENCODERS
from medgraft.scenario import (
    FAMILIES,
    HEADS,
    HYBRID,
    MODALITIES,
    POOLINGS,
    Encoded,
    Finetune,
    Head,
    Preprocessing,
    Scenario,
    Views,
    views_of,
)
from medgraft.studies.options import StudyOptions
from medgraft.studies.plan import PLANS, plan

NET = "tf_efficientnet_lite0"
KEYS = (
    f"probe/{NET}/blocks.5/svm",
    f"probe/{NET}/stages/gem/crop/clahe2-8/knn",
    f"probe/{NET}/blocks.1/raw+clahe4-8/xray4/lda",
    f"probe/{NET}/blocks.1/endoscopy-strong16/rbf",
    f"multiscale/{NET}/conv_head/s544/svm",
    f"multiscale/{NET}/stages/s224+544/mean/pad/svm",
    f"vlad/{NET}/blocks.6/k64/svm",
    f"vlad/{NET}/blocks.6/s224+544/clahe2-8/k64/pca64/white128/hard/svm",
    f"vlad/{NET}/blocks.6/pyramid1-2-4/logistic",
    f"vlad/{NET}/blocks.6/bilinear2048/svm",
    f"finetune/{NET}/best/strong/logistic",
    "finetune/vgg16/input/classic/logistic",
    f"finetune/{NET}/blocks.4/xray-strong/classic/rate1e-4/rate_decay0.5/decay0.02/"
    "balancesampler/probeTrue/epochs20/ema0.99/logistic",
    "hybrid/hybrid_vgg16/block3_pool/clahe2-8/epochs3/logistic",
    f"ensemble/{NET}/blocks.5/gem/raw,clahe2-8/svm/mean",
    "ensemble/net/s2/raw,clahe2-8/svm/mean",  # a tap that is named like a size
    "ensemble/net/s2/s64+96/raw,clahe2-8/svm/mean",
    "ensemble/net+other/stages/gem/clahe2-8/svm/mean",
    "ensemble/net+other+third/stages/s64/knn/stack",
)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(Cache(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_read_is_written_as_it_was(key: str) -> None:
    scenario = Scenario.from_key(key, 7)
    assert (scenario.key, scenario.seed) == (key, 7)
    assert Scenario.from_key(scenario.full_key, 7) == scenario


def test_the_parts_are_what_the_key_says() -> None:
    found = Scenario.from_key(KEYS[7])
    assert found == Scenario(
        NET, "blocks.6", Head("svm"),
        Preprocessing((("clahe2-8",),), (224, 544)), Encoded("vlad", (64,), 64, 128, hard=True),
    )  # fmt: skip
    assert Scenario.from_key(KEYS[2]).pixels == Preprocessing(
        (("raw", "clahe4-8"),), views=Views("xray", number=4)
    )
    mean = Scenario.from_key(KEYS[14])
    assert [one.key for one in mean.members] == [
        f"probe/{NET}/blocks.5/gem/svm", f"probe/{NET}/blocks.5/gem/clahe2-8/svm",
    ]  # fmt: skip


@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def test_every_scenario_of_a_study_is_read_back_from_its_key(
    data: st.DataObject, extractor: Extractor
) -> None:
    """Ensembles, too, by their full key; no two scenarios of a study share one."""

    def some(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(data.draw(st.lists(st.sampled_from(values), min_size=1, unique=True)))

    training = data.draw(
        st.sampled_from([(), (("classic", ""),), (("rate", "1e-4"), ("tta", "2"))])
    )
    options = StudyOptions(
        families=FAMILIES,
        heads=some(HEADS),
        poolings=some(POOLINGS),
        preprocess=some(("raw", "clahe", "clahe4-8", "raw+clahe")),
        encoders=some(("k4", "k16.pca8.white0.hard", "fisher2", "bilinear64", "pyramid1-2")),
        augment=data.draw(st.sampled_from(["", "xray", "natural-strong", "strong"])),
        views=data.draw(st.integers(2, 64)),
        depths=some(("best", "input", "blocks.4")),
        training=training,
        training_size=data.draw(st.sampled_from([0, 128])),
        resize=data.draw(st.sampled_from(("squash", "crop", "pad"))),
        seed=data.draw(st.integers(0, 2**32 - 1)),
    )
    try:
        found = [one.scenario for one in plan(options, extractor, 300, 3, 900)]
    except ScenarioError:  # two images in one pyramid, or for one network to learn from
        assume(False)
    for scenario in found:
        assert Scenario.from_key(scenario.full_key, scenario.seed) == scenario
        assert scenario.key.startswith(f"{scenario.family}/")
    assert len({scenario.key for scenario in found}) == len(found)


def test_the_names_in_keys_are_those_of_the_rooms() -> None:
    """What the grammar knows by name is what there is, in the same order, and has its words."""
    assert tuple(estimators.HEADS) == HEADS
    assert set(learn_fit.FAMILIES) == set(FAMILIES) == set(PLANS)
    assert set(HEADS) <= set(scenario_names.HEAD_WORDS)
    assert set(formatting.FAMILY_WORDS) == set(FAMILIES)
    assert set(LAYOUTS) - {""} == set(MODALITIES) == set(PRESETS) & set(MODALITIES)
    for preset in PRESETS:
        assert views_of(preset).preset == preset
    assert all(name.startswith(HYBRID) for name in HYBRIDS)
    kinds = set(SCENARIO_ENCODERS.values())
    assert kinds == set(ENCODERS) - set(POOLINGS) == set(scenario_names.ENCODER_WORDS)


def test_an_older_key_of_a_probe_at_another_size_is_still_read() -> None:
    assert Scenario.from_key(f"probe/{NET}/t/s64/svm").key == f"multiscale/{NET}/t/s64/svm"


def test_the_longest_setting_is_meant() -> None:
    found = Scenario.from_key("finetune/net/input/rate_decay0.5/rate0.001/logistic")
    assert found.classifier == Finetune((("rate_decay", "0.5"), ("rate", "0.001")))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("probe/net/svm", "must be FAMILY"),
        ("nonsense/net/tap/svm", "must be FAMILY"),
        ("ensemble/net/best/stack", "run it in a study"),
        ("ensemble/net+net/t/svm/mean", "is not written as keys are"),
        ("ensemble/net+other/t/svm/vote", "run it in a study"),
        ("probe/net/tap/forest", "its head must be svm or"),
        ("finetune/net/best/svm", "its head must be logistic"),
        ("probe/net/tap/k64/svm", "'k64' says nothing about"),
        ("vlad/net/tap/svm", "names no encoder"),
        ("vlad/net/tap/kalt/svm", "names no encoder"),
        ("finetune/net/best/rateless/logistic", "rate = 'less' is no float"),
        ("finetune/net/best/speed9/logistic", "'speed9' says nothing about"),
        ("finetune/net/best/epochs0/logistic", "epochs = 0 makes no sense"),
        ("probe/net/tap/clahe2-8/gem/svm", "'gem' says nothing about"),
        ("probe/net/tap/clahe/svm", "not written as keys are"),
        ("probe/net/tap/avg/svm", "not written as keys are"),
    ],
)
def test_what_is_no_key_is_refused_with_its_reason(key: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        Scenario.from_key(key)
