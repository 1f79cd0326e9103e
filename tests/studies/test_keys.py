"""A scenario's key read back gives the scenario, for every kind of key there is."""

from __future__ import annotations

import pytest

from medgraft.errors import ScenarioError
from medgraft.studies.keys import scenario_from_key
from medgraft.types import Scenario

NET = "tf_efficientnet_lite0"
SCENARIOS = (
    Scenario("probe", NET, "blocks.5", "svm"),
    Scenario("probe", NET, "stages", "knn", pooling="gem", resize="crop", edits=("clahe2-8",)),
    Scenario("probe", NET, "blocks.1", "lda", edits=("raw+clahe4-8",), augment="xray4", seed=7),
    Scenario("probe", NET, "blocks.1", "rbf", augment="endoscopy-strong16"),
    Scenario("multiscale", NET, "conv_head", "svm", sizes=(544,)),
    Scenario("multiscale", NET, "stages", "svm", sizes=(224, 544), join="mean", resize="pad"),
    Scenario("vlad", NET, "blocks.6", "svm", params=(("k", "64"),)),
    Scenario(
        "vlad", NET, "blocks.6", "svm", sizes=(224, 544), edits=("clahe2-8",),
        params=(("k", "64"), ("pca", "64"), ("white", "128"), ("hard", "")),
    ),
    Scenario("vlad", NET, "blocks.6", "logistic", params=(("pyramid", "1-2-4"),)),
    Scenario("vlad", NET, "blocks.6", "svm", params=(("bilinear", "2048"),)),
    Scenario("finetune", NET, "best", "logistic", augment="strong"),
    Scenario("finetune", "vgg16", "input", "logistic", params=(("classic", ""),)),
    Scenario(
        "finetune", NET, "blocks.4", "logistic", augment="xray-strong", seed=3,
        params=(
            ("classic", ""), ("rate", "1e-4"), ("rate_decay", "0.5"), ("decay", "0.02"),
            ("balance", "sampler"), ("probe", "True"), ("epochs", "20"), ("ema", "0.99"),
        ),
    ),
    Scenario(
        "hybrid", "hybrid_vgg16", "block3_pool", "logistic", edits=("clahe2-8",),
        params=(("epochs", "3"),),
    ),
)  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_a_key_read_back_is_its_scenario(scenario: Scenario) -> None:
    assert scenario_from_key(scenario.key, scenario.seed) == scenario


def test_the_longest_setting_is_meant() -> None:
    found = scenario_from_key("finetune/net/input/rate_decay0.5/rate0.001/logistic")
    assert found.params == (("rate_decay", "0.5"), ("rate", "0.001"))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("probe/net/svm", "must be FAMILY"),
        ("nonsense/net/tap/svm", "must be FAMILY"),
        ("ensemble/net/best/stack", "run it in a study"),
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
        scenario_from_key(key)
