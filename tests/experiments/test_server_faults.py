"""The experiment that kills servers: what it takes for a right answer, and for a typed error."""

from __future__ import annotations

import pytest

from server_faults import COMMANDS, differs, names, untyped

SAID = {"label": "ill", "set": ["ill"], "unlike": False, "probabilities": {"ill": 0.75}}


def test_each_kind_comes_before_the_second_of_any() -> None:
    every = names(60)
    assert len(set(every)) == len(every)
    assert len({name.split("/")[0] for name in every[:6]}) == 6
    assert sum(name.startswith("server killed/") for name in every) == 60
    assert {name.split("/")[1] for name in every if name.startswith("read-only/")} == {*COMMANDS}


def test_an_answer_is_right_only_where_all_of_it_is() -> None:
    assert differs([SAID], SAID) == ""
    assert differs([SAID | {"probabilities": {"ill": 0.75 + 5e-7}}], SAID) == ""
    for other in ({"probabilities": {"ill": 0.7501}}, {"probabilities": {"ill": float("nan")}},
                  {"label": None}, {"set": []}, {"unlike": True}):  # fmt: skip
        assert differs([SAID | other], SAID)


@pytest.mark.parametrize(
    ("code", "text", "typed"),
    [
        (1, "medgraft: cannot write /a: Read-only file system; pass another --cache DIR", True),
        (1, "medgraft: no", False),
        (1, "Traceback (most recent call last):\nmedgraft: cannot write /a; b", False),
        (-9, "medgraft: cannot write /a; b", False),
        (1, "", False),
    ],
)
def test_a_typed_error_is_one_line_with_a_remedy(code: int, text: str, typed: bool) -> None:
    assert (untyped(code, text) == "") is typed
