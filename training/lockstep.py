"""Several minimisers that share each evaluation.

Reading a large matrix costs more than multiplying it, and one reading can serve all that are to be multiplied. So each
minimiser runs in a thread of its own, and the evaluation waits until all that still run have asked for theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Point = NDArray[np.float64]
Evaluation = Callable[[Mapping[int, Point]], Mapping[int, tuple[float, Point]]]


def minimize_together(
    evaluate: Evaluation, starts: Sequence[Point], options: Sequence[Mapping[str, float]]
) -> list[Point]:
    """Return the minimum of each function, found by L-BFGS from its start.

    What is found does not depend on the threads' order, for each round evaluates the same points.

    Parameters
    ----------
    evaluate : from points, by the number of their function, to values and gradients
    options : of each function, for ``scipy.optimize.minimize``
    """
    rounds = _Rounds(evaluate, len(starts))

    def one(place: int) -> Point:
        try:
            found: Point = minimize(
                lambda point: rounds.ask(place, point),
                starts[place],
                jac=True,
                method="L-BFGS-B",
                options=dict(options[place]),
            ).x
        finally:
            rounds.leave(place)
        return found

    with ThreadPoolExecutor(len(starts)) as threads:
        return list(threads.map(one, range(len(starts))))


class _Rounds:
    """Gathers one point of each function that is still minimised, and evaluates them at once."""

    def __init__(self, evaluate: Evaluation, count: int) -> None:
        self.evaluate = evaluate
        self.running = set(range(count))
        self.asked: dict[int, Point] = {}
        self.answers: dict[int, tuple[float, Point]] = {}
        self.failure: BaseException | None = None
        self.changed = Condition()

    def ask(self, place: int, point: Point) -> tuple[float, Point]:
        """Return value and gradient when the others have asked, too."""
        with self.changed:
            self.asked[place] = point.copy()
            self._evaluate_if_all()
            self.changed.wait_for(lambda: place in self.answers or self.failure)
            if self.failure:
                raise self.failure
            return self.answers.pop(place)

    def leave(self, place: int) -> None:
        """Say that no more will be asked for a function."""
        with self.changed:
            self.running.discard(place)
            self._evaluate_if_all()

    def _evaluate_if_all(self) -> None:
        if not self.running or self.failure or self.asked.keys() != self.running:
            return
        try:
            self.answers.update(self.evaluate(dict(sorted(self.asked.items()))))
        except BaseException as failure:
            # Also a keyboard's interrupt: the other threads would wait for ever.
            self.failure = failure
        self.asked.clear()
        self.changed.notify_all()
