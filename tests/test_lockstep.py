"""Minimisers that share each evaluation find what each would find alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from training.lockstep import Evaluation, minimize_together

OPTIONS = {"maxiter": 200, "gtol": 1e-9, "ftol": 1e-14}


def bowls(centres: list[NDArray[np.float64]], rounds: list[set[int]]) -> Evaluation:
    """Return an evaluation of bowls around the centres, each steeper than the one before, that notes who asked."""

    def evaluate(points: Mapping[int, NDArray[np.float64]]) -> Mapping[int, tuple[float, NDArray[np.float64]]]:
        rounds.append({*points})
        found = {}
        for place, point in points.items():
            steep = 1 + place * np.arange(1, len(point) + 1)
            away = point - centres[place]
            found[place] = float((steep * away**4).sum()), 4 * steep * away**3
        return found

    return evaluate


def test_each_finds_its_own_minimum_and_rounds_shrink_as_they_finish() -> None:
    centres = [np.full(3, 5.0), np.zeros(3), np.array([1.0, -2.0, 3.0])]
    rounds: list[set[int]] = []
    found = minimize_together(bowls(centres, rounds), [np.zeros(3)] * 3, [OPTIONS] * 3)
    for point, centre in zip(found, centres, strict=True):
        assert_allclose(point, centre, atol=0.05)
    assert rounds[0] == {0, 1, 2}
    assert rounds[1] == {0, 2}, "the second stood in its minimum from the start"
    assert all(later <= earlier for earlier, later in pairwise(rounds))


def test_together_and_alone_are_equal_to_the_bit() -> None:
    centres = [np.array([2.0, 7.0]), np.array([-3.0, 0.5])]
    both = minimize_together(bowls(centres, []), [np.ones(2)] * 2, [OPTIONS] * 2)
    for place, found in enumerate(both):
        whole = bowls(centres, [])

        def one(points: Mapping[int, NDArray[np.float64]], place: int = place, whole: Evaluation = whole) -> Any:
            return {0: whole({place: points[0]})[place]}

        assert_array_equal(found, minimize_together(one, [np.ones(2)], [OPTIONS])[0])


@pytest.mark.parametrize("failure", [MemoryError("no room"), KeyboardInterrupt()])
def test_a_failure_reaches_the_caller_and_leaves_nobody_waiting(failure: BaseException) -> None:
    calls = 0

    def evaluate(points: Mapping[int, NDArray[np.float64]]) -> Mapping[int, tuple[float, NDArray[np.float64]]]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise failure
        return {place: (float((point**4).sum()), 4 * point**3) for place, point in points.items()}

    with pytest.raises(type(failure)):
        minimize_together(evaluate, [np.ones(2), np.full(2, 3.0)], [OPTIONS] * 2)
    assert calls == 3
