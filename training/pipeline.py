"""The model as scikit-learn's own pipeline: the specification that the product's scorer is held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import LabelBinarizer

from moderation import kernel
from moderation.bundle import Bundle
from moderation.features import TOKEN_PATTERN, FeatureSettings
from moderation.text import normalise
from training.extract import extract

BLOCKS = ("words", "chars")


def build_vectorisers(settings: FeatureSettings) -> dict[str, TfidfVectorizer]:
    """Return scikit-learn's vectorisers for our features; they expect normalised texts."""
    common = {"lowercase": False, "sublinear_tf": True, "norm": "l2", "dtype": np.float64}
    return {
        "words": TfidfVectorizer(
            analyzer="word", token_pattern=TOKEN_PATTERN, ngram_range=settings.word_ngrams, **common
        ),
        "chars": TfidfVectorizer(analyzer="char_wb", ngram_range=settings.char_ngrams, **common),
    }


def fit_vectorisers(
    texts: Sequence[str], settings: FeatureSettings, min_rows: dict[str, int], *, jobs: int = 1
) -> tuple[dict[str, TfidfVectorizer], dict[str, Any]]:
    """Learn both vocabularies from normalised texts, through the kernel where it is compiled (`training.extract`).

    Parameters
    ----------
    min_rows : for ``words`` and ``chars``, in how many texts an n-gram must stand to be kept

    Returns
    -------
    the fitted vectorisers and their sparse matrices, shape (n_texts, n_features), single precision, by block
    """
    vectorisers, matrices = build_vectorisers(settings), {}
    for block in BLOCKS:
        vectorisers[block].set_params(min_df=min_rows[block])
    if kernel.COMPILED is None:
        fitted = Parallel(n_jobs=jobs)(delayed(_fit_one)(vectorisers[block], texts) for block in BLOCKS)
        vectorisers = {block: vectoriser for block, (vectoriser, _) in zip(BLOCKS, fitted, strict=True)}
        matrices = {block: matrix.astype(np.float32) for block, (_, matrix) in zip(BLOCKS, fitted, strict=True)}
    else:
        for number, block in enumerate(BLOCKS):
            bounds = vectorisers[block].ngram_range
            grams, idf, matrices[block] = extract(texts, number, bounds, min_rows[block], jobs=jobs)
            vectorisers[block].set_params(vocabulary=grams).fit(["a"])
            vectorisers[block].set_params(vocabulary=None).idf_ = idf
    # The idf is kept in single precision in the bundle, so the same numbers serve here.
    for vectoriser in vectorisers.values():
        vectoriser.idf_ = vectoriser.idf_.astype(np.float32).astype(np.float64)
    return vectorisers, matrices


def _fit_one(vectoriser: TfidfVectorizer, texts: Sequence[str]) -> tuple[TfidfVectorizer, Any]:
    matrix = vectoriser.fit_transform(texts)
    return vectoriser, matrix


def vocabulary(vectoriser: TfidfVectorizer) -> list[str]:
    """Return a vectoriser's n-grams in the order of its columns."""
    return [str(gram) for gram in vectoriser.get_feature_names_out()]


def pipeline_of(bundle: Bundle) -> Pipeline:
    """Return the scikit-learn pipeline that computes what a bundle computes, from raw texts.

    Its ``predict_proba`` gives shape (n_texts, n_labels). It is what `training` keeps with joblib for those who want
    to go on in scikit-learn; the product never loads it.
    """
    blocks, first = [], 0
    for block, grams in zip(BLOCKS, (bundle.words, bundle.chars), strict=True):
        vectoriser = build_vectorisers(bundle.settings)[block]
        vectoriser.set_params(preprocessor=normalise, vocabulary={gram: place for place, gram in enumerate(grams)})
        vectoriser.fit(["a"])
        vectoriser.idf_ = np.asarray(bundle.idf[first : first + len(grams)], dtype=np.float64)
        first += len(grams)
        blocks.append((block, vectoriser))
    weights = np.asarray(bundle.weights, dtype=np.float64) * bundle.scale
    heads = [_head(weights[:, place], bundle.intercept[place]) for place in range(len(bundle.labels))]
    classifier = OneVsRestClassifier(LogisticRegression())
    classifier.estimators_ = heads
    classifier.label_binarizer_ = LabelBinarizer().fit(np.eye(len(heads), dtype=int) if len(heads) > 1 else [0, 1])
    return Pipeline([("features", FeatureUnion(blocks)), ("heads", classifier)])


def _head(weights: NDArray[np.float64], intercept: float) -> LogisticRegression:
    head = LogisticRegression()
    head.classes_ = np.array([0, 1])
    head.coef_ = weights[None, :]
    head.intercept_ = np.array([intercept])
    head.n_features_in_ = len(weights)
    return head
