"""The scorer: equal to scikit-learn's pipeline, one comment equals a batch, explanations add up."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from moderation import Comment, Scorer, kernel
from moderation.bundle import SHIPPED, Bundle, load_bundle, save_bundle
from moderation.emphasis import LONG
from moderation.errors import BundleError, BundleNotFound, InputError
from moderation.features import FeatureSettings
from moderation.scorer import MAX_CHARACTERS
from tests.conftest import TEXTS, make_bundle
from training.pipeline import pipeline_of

ADVERSARIAL = [
    "",
    " ",
    "a",
    "I",
    "🔪",
    "👩‍👩‍👧 🔪🔪🔪",
    "\x00\x00burn\x00his",
    "\ud800burn\udfff",
    "مرحبا burn his שלום house",
    "b\u0336u\u0336r\u0336n his h\u0301\u0301\u0301ouse",
    "\u202eesuoh sih nrub\u202c",
    "burn " * 1000,
    "½ ﷺ ﬁ ŉ İ",
    "a\u2028b\u2029c\x85d\x1ce",
    "*" * 500,
]

ANY = st.one_of(st.text(max_size=60), st.text(st.sampled_from(list("burn his house liar! *'🔪\u200bé½")), max_size=80))


@pytest.fixture(scope="session", params=["compiled", "pure"])
def pure(request: pytest.FixtureRequest) -> bool:
    """Every test of this file is run on both paths."""
    if request.param == "compiled" and kernel.COMPILED is None:
        pytest.skip(f"no compiled kernel: {kernel.MISSING}")
    return bool(request.param == "pure")


@pytest.fixture(scope="session")
def small_scorer(small_bundle: Bundle, pure: bool) -> Scorer:
    return Scorer(small_bundle, pure=pure)


@pytest.fixture(scope="session")
def shipped(pure: bool) -> Scorer:
    return Scorer(load_bundle(), pure=pure)


def pipeline_proba(bundle: Bundle, texts: list[str]) -> np.ndarray:
    return np.asarray(pipeline_of(bundle).predict_proba(texts))


@pytest.mark.parametrize("features", [((1, 1), (1, 1)), ((1, 2), (2, 5)), ((2, 3), (3, 4)), ((1, 3), (1, 8))])
def test_equals_scikit_learn(features: tuple[tuple[int, int], tuple[int, int]], pure: bool) -> None:
    bundle = make_bundle(TEXTS, FeatureSettings(*features), seed=3)
    texts = TEXTS + ADVERSARIAL
    assert_allclose(Scorer(bundle, pure=pure).predict_proba(texts), pipeline_proba(bundle, texts), rtol=0, atol=1e-9)


@given(st.lists(ANY, min_size=1, max_size=8))
def test_equals_scikit_learn_on_any_text(small_bundle: Bundle, small_scorer: Scorer, texts: list[str]) -> None:
    found = small_scorer.predict_proba(texts)
    assert_allclose(found, pipeline_proba(small_bundle, texts), rtol=0, atol=1e-9)


def test_equals_scikit_learn_on_a_megabyte(small_bundle: Bundle, small_scorer: Scorer) -> None:
    text = (" ".join(TEXTS) + " ") * (1_000_000 // len(" ".join(TEXTS)))
    assert_allclose(small_scorer.predict_proba([text]), pipeline_proba(small_bundle, [text]), rtol=0, atol=1e-9)


def test_the_shipped_model_equals_scikit_learn(shipped: Scorer) -> None:
    texts = TEXTS + ADVERSARIAL
    assert_allclose(shipped.predict_proba(texts), pipeline_proba(shipped.bundle, texts), rtol=0, atol=1e-9)


def test_the_shipped_model_equals_scikit_learn_on_public_comments(shipped: Scorer, corpora: Path) -> None:
    from training.corpora import load_registry, read_corpus

    registry = load_registry()
    texts = [row.text for name in ("fox_news", "hatecheck") for row in read_corpus(registry[name], corpora)]
    assert_allclose(shipped.predict_proba(texts), pipeline_proba(shipped.bundle, texts), rtol=0, atol=1e-9)


@given(st.lists(ANY, min_size=1, max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_one_comment_equals_its_place_in_a_batch(small_scorer: Scorer, texts: list[str], random: object) -> None:
    random.shuffle(texts)  # type: ignore[attr-defined]
    together = small_scorer.predict_proba(texts)
    alone = np.concatenate([small_scorer.predict_proba([text]) for text in texts])
    assert_array_equal(together, alone)


def test_batches_do_not_show(small_scorer: Scorer) -> None:
    texts = [TEXTS[k % len(TEXTS)] + str(k % 7) for k in range(2_345)]
    scores = list(small_scorer.score_many(texts))
    assert [score.comment_id for score in scores] == [str(k) for k in range(1, 2_346)]
    table = np.array([[score.probabilities[label] for label in small_scorer.labels] for score in scores])
    assert_array_equal(table, small_scorer.predict_proba(texts))


@given(ANY)
def test_an_explanation_adds_up(small_scorer: Scorer, text: str) -> None:
    explanation = small_scorer.explain(text)
    expected = dict(zip(small_scorer.labels, small_scorer.decision_function([text])[0], strict=True))
    for label in small_scorer.labels:
        spans = [span for span in explanation.spans if span.label == label]
        total = explanation.intercept[label] + sum(span.weight for span in spans)
        assert_allclose(total, expected[label], rtol=0, atol=1e-9)
        assert_allclose(explanation.decision[label], expected[label], rtol=0, atol=1e-9)
        assert all(0 <= span.start < span.end <= len(text) for span in spans)


def test_an_explanation_marks_the_words_as_written(small_scorer: Scorer) -> None:
    text = "They should b\u200bu\u0336rn, he said."
    words = {text[span.start : span.end] for span in small_scorer.explain(text).spans}
    assert "b\u200bu\u0336rn" in words


def test_reasons_pull_towards_the_label_heaviest_first(small_scorer: Scorer) -> None:
    reasons = small_scorer.explain(" ".join(TEXTS).translate(str.maketrans(".!?", "   "))).reasons("abuse", 4)
    ranks = [span.weight * min(span.end - span.start, LONG) for span in reasons]
    assert len(ranks) == 4
    assert ranks == sorted(ranks, reverse=True)
    assert min(span.weight for span in reasons) > 0


def test_over_long_text_is_cut_and_says_so(small_scorer: Scorer) -> None:
    tail = "burn his house"
    whole = small_scorer.score(Comment("1", "x " * (MAX_CHARACTERS // 2)))
    cut = small_scorer.score(Comment("1", "x " * (MAX_CHARACTERS // 2) + tail))
    assert not whole.truncated
    assert cut.truncated
    assert cut.probabilities == whole.probabilities


def test_no_texts_give_no_rows(small_scorer: Scorer) -> None:
    assert small_scorer.predict_proba([]).shape == (0, 3)
    assert list(small_scorer.score_many([])) == []


@pytest.mark.parametrize("texts", ["one text", b"bytes"])
def test_a_lone_text_is_refused(small_scorer: Scorer, texts: str) -> None:
    with pytest.raises(InputError, match="texts: expected a sequence of strings, got (str|bytes)"):
        small_scorer.predict_proba(texts)


def test_what_is_no_text_is_refused_with_its_place(small_scorer: Scorer) -> None:
    with pytest.raises(InputError, match="text 1502: expected a string, got NoneType"):
        small_scorer.predict_proba(["a"] * 1501 + [None])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("texts", "place"),
    [(["a"] * 1200 + [None], 1201), (["x" * 300_000, 5], 2), (["a"] * 2_000 + [Comment("c7", None)], 2_001)],  # type: ignore[arg-type]
)
def test_the_place_of_what_is_no_text_does_not_depend_on_batches(
    small_scorer: Scorer, texts: list[str], place: int
) -> None:
    with pytest.raises(InputError, match=f"text {place}: expected a string, got (NoneType|int)"):
        list(small_scorer.score_many(texts))
    with pytest.raises(InputError, match=f"text {place}: expected a string, got (NoneType|int|Comment)"):
        small_scorer.predict_proba(iter(texts))


@given(ANY, st.sampled_from(["incitement", "abuse", "threat"]), st.sampled_from([0, 1, 5, 10**30]))
def test_reasons_are_those_of_the_explanation(small_scorer: Scorer, text: str, label: str, most: int) -> None:
    found, expected = small_scorer.reasons(text, label, most), small_scorer.explain(text).reasons(label, most)
    assert found == expected
    assert len(found) <= most


@pytest.mark.parametrize(
    ("label", "most", "message"),
    [
        ("rudeness", 5, "label: expected one of incitement, abuse, threat, got 'rudeness'"),
        (None, 5, "label: expected one of incitement, abuse, threat, got 'None'"),
        (["abuse"], 5, "label: expected one of incitement, abuse, threat, got \"\\['abuse'\\]\""),
        ("abuse", -1, "most: expected an integer from 0, got -1"),
        ("abuse", 2.5, "most: expected an integer from 0, got 2.5"),
        ("abuse", None, "most: expected an integer from 0, got None"),
    ],
)
def test_reasons_that_cannot_be_given(small_scorer: Scorer, label: str, most: int, message: str) -> None:
    for text in ("", "You pathetic little liar."):
        with pytest.raises(InputError, match=message):
            small_scorer.reasons(text, label, most)
        with pytest.raises(InputError, match=message):
            small_scorer.explain(text).reasons(label, most)


@pytest.mark.parametrize("text", [None, 5, b"burn"])
def test_what_is_no_text_is_not_explained(small_scorer: Scorer, text: str) -> None:
    for ask in (small_scorer.explain, lambda text: small_scorer.reasons(text, "abuse")):
        with pytest.raises(InputError, match="text: expected a string, got (NoneType|int|bytes)"):
            ask(text)


def test_threads_share_a_scorer(small_scorer: Scorer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = small_scorer.predict_proba(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: small_scorer.predict_proba(TEXTS), range(64)):
            assert_array_equal(found, expected)


COPIES: dict[str, Callable[[Scorer], Scorer]] = {
    "pickle": lambda scorer: pickle.loads(pickle.dumps(scorer)),
    "oldest pickle": lambda scorer: pickle.loads(pickle.dumps(scorer, 0)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_scorer_is_copied_by_loading_its_model_anew(
    way: str, bundle_folder: Path, pure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle_folder.parent)
    scorer = Scorer(load_bundle("bundle"), pure=pure)
    monkeypatch.chdir("/")  # the folder was named from where the process stood then
    again = COPIES[way](scorer)
    assert again is not scorer
    assert type(again._path) is type(scorer._path)
    assert again.model_id == scorer.model_id
    assert_array_equal(again.predict_proba(TEXTS), scorer.predict_proba(TEXTS))
    assert len(pickle.dumps(scorer)) < 500


def test_a_scorer_goes_to_other_processes(bundle_folder: Path, pure: bool) -> None:
    scorer = Scorer(load_bundle(bundle_folder), pure=pure)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(scorer.score, TEXTS) == [scorer.score(text) for text in TEXTS]


def test_the_shipped_model_is_pickled_without_a_path(shipped: Scorer) -> None:
    data = pickle.dumps(shipped)
    assert str(SHIPPED).encode() not in data
    assert pickle.loads(data).model_id == shipped.model_id


def test_a_shallow_copy_shares_the_model(small_scorer: Scorer) -> None:
    again = copy.copy(small_scorer)
    assert again is not small_scorer
    assert again.bundle is small_scorer.bundle
    assert_array_equal(again.predict_proba(TEXTS), small_scorer.predict_proba(TEXTS))


class OwnScorer(Scorer):
    pass


def test_a_scorer_of_an_own_class_keeps_it(bundle_folder: Path) -> None:
    assert type(copy.deepcopy(OwnScorer.load(bundle_folder))) is OwnScorer


@pytest.mark.parametrize("way", COPIES)
def test_a_scorer_that_came_from_no_folder_cannot_be_copied(
    way: str, small_scorer: Scorer, bundle_folder: Path
) -> None:
    with pytest.raises(
        TypeError, match="its model was not loaded from a folder; save_bundle and Scorer.load give it one"
    ):
        COPIES[way](small_scorer)
    changed = replace(load_bundle(bundle_folder), intercept=np.zeros(3))
    with pytest.raises(TypeError, match="its model was not loaded from a folder"):
        COPIES[way](Scorer(changed))


def test_a_pickle_of_a_model_that_has_been_replaced(bundle_folder: Path, small_bundle: Bundle) -> None:
    scorer = Scorer.load(bundle_folder)
    data = pickle.dumps(scorer)
    save_bundle(replace(small_bundle, intercept=np.zeros(3)), bundle_folder)
    with pytest.raises(BundleError, match=f"bundle: expected the model {re.escape(scorer.model_id)}, found small[+]"):
        pickle.loads(data)
    shutil.rmtree(bundle_folder)
    with pytest.raises(BundleNotFound):
        pickle.loads(data)


def test_scoring_loads_nothing_heavy(bundle_folder: Path) -> None:
    program = (
        "import sys; from moderation import Scorer, Policy\n"
        f"scorer = Scorer.load({str(bundle_folder)!r}); scorer.score('burn'); scorer.explain('burn'); Policy.load()\n"
        "heavy = {'sklearn', 'scipy', 'pandas', 'joblib', 'typer', 'rich', 'training', 'selectolax', 'fastapi', 'sqlalchemy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
