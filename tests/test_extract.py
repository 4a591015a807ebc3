"""Counting through the kernel and fitting in place, held to scikit-learn's own vectorisers and logistic regression."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from moderation import kernel
from moderation.features import FeatureSettings
from moderation.text import normalise
from tests.conftest import ROOT
from training import extract
from training.columns import ROWS_AT_ONCE, Columns
from training.fit import FitSettings, corpus_weights, fit_head, naive_bayes_scale
from training.own import read_authored
from training.pipeline import BLOCKS, build_vectorisers, fit_vectorisers, vocabulary


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rows = islice(read_authored(ROOT / "datasets" / "authored"), 2_000)
    odd = ["", " ", "!", "a", "k i l l", "naïve café 🔪🔪", "word " * 300, "x" * 5_000, "\U0001f52a \u4f60\u597d"]
    return [normalise(text) for text in [*(row.text for row in rows), *odd]]


@pytest.fixture(params=["kernel", "scikit-learn"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "scikit-learn":
        monkeypatch.setattr(kernel, "COMPILED", None)
    elif kernel.COMPILED is None:
        pytest.skip("the kernel is not built")


def check(texts: list[str], features: FeatureSettings, min_rows: dict[str, int], jobs: int = 1) -> None:
    """Hold `fit_vectorisers` to what scikit-learn makes of the same texts."""
    vectorisers, matrices = fit_vectorisers(texts, features, min_rows, jobs=jobs)
    for block, reference in build_vectorisers(features).items():
        wanted = reference.set_params(min_df=min_rows[block]).fit_transform(texts)
        assert vocabulary(vectorisers[block]) == vocabulary(reference)
        assert_allclose(vectorisers[block].idf_, reference.idf_, rtol=1e-6)
        assert matrices[block].dtype == np.float32
        for matrix in (wanted, matrices[block]):
            matrix.sort_indices()
        assert_array_equal(matrices[block].indptr, wanted.indptr)
        assert_array_equal(matrices[block].indices, wanted.indices)
        assert_allclose(matrices[block].data, wanted.data, rtol=0, atol=1e-6)
        assert abs(vectorisers[block].transform(texts) - wanted).max() < 1e-6


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("features", "fewest"),
    [(FeatureSettings(), 3), (FeatureSettings((1, 3), (3, 8)), 10), (FeatureSettings((2, 2), (1, 1)), 1)],
    ids=["ours", "longer", "every one"],
)
def test_features_equal_those_of_scikit_learn(texts: list[str], features: FeatureSettings, fewest: int) -> None:
    check(texts, features, dict.fromkeys(BLOCKS, fewest), jobs=2)


def test_stretches_of_texts_change_nothing(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "AT_ONCE", 97)
    check(texts[-1_000:], FeatureSettings(), {"words": 2, "chars": 5}, jobs=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), max_size=6))
def test_any_texts(texts: list[str]) -> None:
    check(["one word more", *map(normalise, texts)], FeatureSettings((1, 2), (2, 4)), {"words": 1, "chars": 1})


@pytest.mark.usefixtures("either_way")
def test_texts_without_any_frequent_ngram_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no terms remain|expected an n-gram"):
        fit_vectorisers(["one", "two"], FeatureSettings(), {"words": 2, "chars": 2})


@pytest.mark.skipif(kernel.COMPILED is None, reason="the kernel is not built")
def test_the_kernel_refuses_what_does_not_fit() -> None:
    count = kernel.COMPILED.count_ngrams
    assert count((), 0, 1, 2) == (b"", b"")
    with pytest.raises(TypeError, match="text 1: expected a string"):
        count(("a", None), 0, 1, 2)
    for block, low, high in ((2, 1, 2), (0, 0, 2), (0, 2, 1), (1, 1, 33)):
        with pytest.raises(ValueError, match="out of range"):
            count(("a",), block, low, high)
    with pytest.raises(ValueError, match="buckets"):
        count(("a",), 0, 1, 2, np.arange(3, dtype=np.uint64), np.arange(4, dtype=np.uint32))
    # Buckets that point beyond the wanted hashes find nothing.
    wild = np.full(3, 2**32 - 1, dtype=np.uint32)
    assert count(("a b",), 0, 1, 2, np.arange(3, dtype=np.uint64), wild)[0] == b""


def made(rows: int, seed: int) -> tuple[Any, Any, Any, Any]:
    """Return words, characters and sharing, and the same written out as one matrix."""
    random = np.random.default_rng(seed)
    words, chars = (sp.random(rows, 30, 0.2, "csr", np.float32, random_state=random) for _ in range(2))
    sharing = sp.random(30, 7, 0.3, "csr", random_state=random)
    return words, chars, sharing, sp.hstack([words, chars, words @ sharing], format="csr")


@pytest.mark.parametrize("jobs", [1, 2])
def test_columns_multiply_as_if_written_out(jobs: int) -> None:
    words, chars, sharing, whole = made(2 * ROWS_AT_ONCE + 5, 1)
    cut = ROWS_AT_ONCE + 3
    columns = Columns([[words[:cut], chars[:cut]], [words[cut:], chars[cut:]]], sharing, jobs=jobs)
    random = np.random.default_rng(2)
    weights, rows = random.normal(size=whole.shape[1]), random.normal(size=whole.shape[0])
    assert columns.shape == whole.shape
    assert_allclose(columns @ weights, whole @ weights, rtol=1e-5, atol=1e-5)
    assert_allclose(columns.rmatvec(rows), whole.T @ rows, rtol=1e-4, atol=1e-3)
    plain = sp.hstack([words, chars], format="csr")
    assert_allclose(columns.presence(rows), (plain != 0).T.astype(float) @ rows, rtol=1e-6, atol=1e-6)


def test_nothing_of_the_matrix_is_copied() -> None:
    words, chars, sharing, _ = made(5 * ROWS_AT_ONCE, 7)
    columns = Columns([[words, chars]], sharing).only(np.ones(5 * ROWS_AT_ONCE, bool))
    for _, _, blocks in columns._slices:
        for views, whole in zip(blocks, (words, chars), strict=True):
            for view in views:
                assert np.shares_memory(view.data, whole.data)
                assert np.shares_memory(view.indices, whole.indices)


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    words, chars, sharing, whole = made(3 * ROWS_AT_ONCE, 5)
    rows = np.random.default_rng(6).normal(size=whole.shape[0])
    one, many = (Columns([[words, chars]], sharing, jobs=jobs).rmatvec(rows) for jobs in (1, 3))
    assert_array_equal(one, many)


@pytest.mark.parametrize(
    ("jobs", "stretch", "share"),
    [(1, ROWS_AT_ONCE, 0.0), (2, ROWS_AT_ONCE, 0.0), (1, 64, 0.0), (1, ROWS_AT_ONCE, 0.7), (1, 64, 0.7)],
)
def test_a_head_has_the_optimum_of_scikit_learn(
    jobs: int, stretch: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.columns.ROWS_AT_ONCE", stretch)  # 64: it starts where coarser solutions end
    words, chars, sharing, whole = made(3_000, 3)
    random = np.random.default_rng(4)
    truth = (whole @ random.normal(size=whole.shape[1]) + random.normal(size=3_000) > 0).astype(np.int8)
    truth[random.random(3_000) < 0.2] = -1
    corpora = np.array(["authored", "news"])[(np.arange(3_000) > 400).astype(int)]
    chosen = FitSettings(inverse_strength=2.0, naive_bayes=share, tolerance=1e-8, most_steps=2_000)
    columns = Columns([[words, chars]], sharing)
    found, intercept = fit_head(columns, truth, corpora, chosen, jobs=jobs)

    known, kinds = truth >= 0, np.unique(corpora, return_inverse=True)[1]
    one_hot = sp.csr_matrix(np.eye(2)[kinds])
    weights = corpus_weights(corpora[known], chosen)
    reference = LogisticRegression(C=2.0, tol=1e-8, max_iter=2_000)
    counts = np.zeros(3_000)
    counts[known] = weights
    scale = naive_bayes_scale(columns, truth == 1, counts, share)
    scaled = sp.hstack([whole.astype(float) @ sp.diags(scale), one_hot]).tocsr()
    reference.fit(scaled[known], truth[known], sample_weight=weights)
    assert_allclose(found, scale * reference.coef_[0][:-2], atol=1e-3)
    offset = np.average(reference.coef_[0][-2:][kinds[known]], weights=weights)
    assert_allclose(intercept, reference.intercept_[0] + offset, atol=1e-3)
