"""The matrix that heads are fitted on, read where it stands: nothing of it is copied, stacked or widened.

It has a row for each comment, and columns for words, characters and what words share (`training.sharing`). The shared
columns are sums of word columns, so they are never written out: their products follow from those of the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

ROWS_AT_ONCE = 65_536
"""Rows whose products are summed in single precision; the sums of such stretches are added in double.

Shorter stretches of the largest matrices would spend most of the time on adding, for that takes every column of each.
"""

SUMS = 8
"""Parts of the rows that are summed on their own; fixed, so that the number of threads does not change a bit."""


class Columns(LinearOperator):  # type: ignore[misc]
    """Blocks of sparse columns side by side, as a linear operator of shape (n_rows, n_columns)."""

    def __init__(self, parts: Sequence[Sequence[Any]], sharing: Any = None, *, jobs: int = 1) -> None:
        """Take blocks of columns for each part of the rows: the rows of all parts, one below the other.

        Parameters
        ----------
        parts : CSR matrices in single precision; those of one part have the same rows, those of one place the same
            columns
        sharing : sparse, shape (columns of the first block, n_shared), from these to the shared columns
        jobs : threads
        """
        self.parts = parts
        self.widths = [block.shape[1] for block in parts[0]]
        self.sharing = sp.csr_matrix((self.widths[0], 0)) if sharing is None else sp.csr_matrix(sharing)
        self.jobs = jobs
        shape = (sum(blocks[0].shape[0] for blocks in parts), sum(self.widths) + self.sharing.shape[1])
        self._slices = list(_slices(parts))
        super().__init__(np.dtype(np.float64), shape)

    def only(self, rows: NDArray[np.bool_], *, jobs: int = 1) -> Columns:
        """Return the same matrix where all other rows may count as 0, so that stretches without any are not read."""
        found = Columns(self.parts, self.sharing, jobs=jobs)
        found._slices = [piece for piece in self._slices if rows[piece[0] : piece[1]].any()]
        return found

    def every(self, step: int) -> tuple[Columns, NDArray[np.bool_]]:
        """Return the same matrix where only one stretch of rows in `step` is read, and which rows these are."""
        found = Columns(self.parts, self.sharing, jobs=self.jobs)
        found._slices = self._slices[::step]
        rows = np.zeros(self.shape[0], bool)
        for first, last, _ in found._slices:
            rows[first:last] = True
        return found, rows

    @property
    def stretches(self) -> int:
        """How many stretches of rows are read."""
        return len(self._slices)

    def presence(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for each column but the shared ones, the sum of `rows` over the rows in which it stands.

        `rows` may have several columns, shape (n_rows, n_sums); so has what is returned, then.
        """
        return self._sums(rows, lambda block: np.ones(len(block.data)))

    def _matvec(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._matmat(np.reshape(weights, (-1, 1))).ravel()

    def _matmat(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        features = np.array(weights[: sum(self.widths)], dtype=np.float64)
        features[: self.widths[0]] += self.sharing @ weights[sum(self.widths) :]
        pieces = np.split(features.astype(np.float32), np.cumsum(self.widths)[:-1])
        out = np.zeros((self.shape[0], features.shape[1]))

        def multiply(piece: tuple[int, int, list[Any]]) -> None:
            first, last, blocks = piece
            for (block, _), part in zip(blocks, pieces, strict=True):
                out[first:last] += block @ part

        for _ in self._each(multiply, self._slices):
            pass
        return out

    def _rmatvec(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._rmatmat(np.reshape(rows, (-1, 1))).ravel()

    def _rmatmat(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        features = self._sums(np.ascontiguousarray(rows, dtype=np.float32), lambda block: block.data)
        return np.concatenate((features, self.sharing.T @ features[: self.widths[0]]))

    def _sums(self, values: NDArray[Any], data: Callable[[Any], NDArray[Any]]) -> NDArray[np.float64]:
        """Return the transposed blocks, with other data, times `values`."""

        def add(slices: list[tuple[int, int, list[Any]]]) -> NDArray[np.float64]:
            out = np.zeros((sum(self.widths), *values.shape[1:]))
            for first, last, blocks in slices:
                for (_, transpose), total in zip(blocks, np.split(out, np.cumsum(self.widths)[:-1]), strict=True):
                    block = _like(transpose, data(transpose))
                    total += block @ values[first:last]
            return out

        share = -(-len(self._slices) // SUMS) or 1
        stretches = [self._slices[k : k + share] for k in range(0, len(self._slices), share)]
        features = np.zeros((sum(self.widths), *values.shape[1:]))
        for part in self._each(add, stretches):
            features += part
        return features

    def _each(self, function: Any, items: Sequence[Any]) -> Iterator[Any]:
        """Yield what each item gives, in order, so that the caller can let go of one before the next is there."""
        if self.jobs == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(self.jobs) as threads:
            for first in range(0, len(items), self.jobs):
                yield from threads.map(function, items[first : first + self.jobs])


def _slices(parts: Sequence[Sequence[Any]]) -> Any:
    """Yield first row, one past the last and of every stretch of rows, and its blocks as views."""
    before = 0
    for blocks in parts:
        rows = blocks[0].shape[0]
        for first in range(0, rows, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, rows)
            yield before + first, before + last, [_rows(block, first, last) for block in blocks]
        before += rows


def _rows(matrix: Any, first: int, last: int) -> tuple[Any, Any]:
    """Return a view of some rows, and its transpose.

    scipy's constructors, and its ``.T``, copy a view of a much larger array, so the arrays are put in afterwards.
    """
    start, end = matrix.indptr[first], matrix.indptr[last]
    shape = (last - first, matrix.shape[1])
    views = sp.csr_matrix(shape, dtype=matrix.dtype), sp.csc_matrix(shape[::-1], dtype=matrix.dtype)
    for view in views:
        view.data, view.indices = matrix.data[start:end], matrix.indices[start:end]
        view.indptr = matrix.indptr[first : last + 1] - start
    return views


def _like(view: Any, data: NDArray[Any]) -> Any:
    """Return a matrix with other data in the same places, which are not copied either."""
    found = type(view)(view.shape, dtype=data.dtype)
    found.data, found.indices, found.indptr = data, view.indices, view.indptr
    return found
