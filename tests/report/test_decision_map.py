"""The map of known sets: every one is named, and this one stands among them."""

from __future__ import annotations

import dataclasses

import fabricate

from medgraft.report.charts.decision_map import decision_map
from medgraft.report.sections.decision_map import section
from medgraft.types import Estimate


def test_every_set_is_named_with_what_is_recommended_there() -> None:
    content = fabricate.study()
    found = content.decision_map
    assert found is not None
    drawn = decision_map("map", found)
    for one in found.known:
        assert f"{one.name} {one.n:,} images" in drawn
    assert "Yours: 600 images, 0.049" in drawn
    shown = section(content)["decision_map"]
    assert isinstance(shown, dict)
    assert "finetune (a network trained again) and probe" in shown["caption"]


def test_equal_content_gives_equal_bytes_wherever_it_stands() -> None:
    found = fabricate.study().decision_map
    assert found is not None
    far = dataclasses.replace(found, n_images=8, distance=Estimate(0.3, 0.1, 0.6, 8, "jackknife"))
    assert decision_map("map", far, narrow=True) == decision_map("map", far, narrow=True)


def test_there_is_none_where_the_distance_is_not_known() -> None:
    content = fabricate.study()
    assert content.result.similarity is not None
    unknown = dataclasses.replace(content.result.similarity, distance=None, reason="one group")
    result = dataclasses.replace(content.result, similarity=unknown)
    shown = section(dataclasses.replace(content, result=result))
    assert shown["decision_map"] is None
    assert "one patient or group" in str(shown["similarity"])
