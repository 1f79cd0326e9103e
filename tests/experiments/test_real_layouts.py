"""Published layouts, made small: each is read right, or asked about."""

from __future__ import annotations

import pytest

from real_layouts import SETS, Outcome, Right, read


@pytest.mark.parametrize("name", SETS)
def test_a_published_layout_is_read_right_or_asked_about(name, tmp_path):
    outcome = read(name, tmp_path)
    assert outcome.fault == "", outcome.question


def test_a_set_that_is_read_wrongly_is_a_fault(tmp_path):
    table = read("brain MRI with its copy inside", tmp_path).table
    assert Outcome("", Right(("no", "yes")), table).fault == ""
    assert "classes" in Outcome("", Right(("a", "yes")), table).fault
    assert "groups" in Outcome("", Right(("no", "yes"), groups=3), table).fault
    assert Outcome("", Right(asked="x"), table).fault == "read, where it had to ask"
    assert Outcome("", Right(("no",)), None, "how?").fault == "asked, where it is plain"
