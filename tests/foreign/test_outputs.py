"""Which of several outputs of a model is read."""

from __future__ import annotations

import numpy as np
import pytest

from medgraft.errors import AmbiguousModelError, ForeignModelError
from medgraft.foreign.answers import read_output

ROWS = [[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]


def test_the_only_one_of_so_many_classes_is_read_whatever_holds_it() -> None:
    named = {"loss": 0.3, "why": "none", "codes": np.zeros((3, 512)), 7: ROWS, "both": [ROWS, [1]]}
    assert read_output(named, 2, "", "it") == ("7", ROWS)
    assert read_output(named, 2, "codes", "it")[0] == "codes"


def test_two_that_fit_are_asked_for_and_none_is_said() -> None:
    with pytest.raises(AmbiguousModelError, match="--output-name a"):
        read_output({"a": ROWS, "b": ROWS}, 2, "", "it")
    with pytest.raises(ForeignModelError, match=r"none of the outputs of it is of 5 classes"):
        read_output({"a": ROWS, "b": ROWS}, 5, "", "it")
    with pytest.raises(ForeignModelError, match="no output 'loss'"):
        read_output({"loss": 0.3, "b": ROWS}, 2, "loss", "it")
