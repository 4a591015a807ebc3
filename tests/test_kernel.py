"""The compiled kernel and the pure path are one: tokens, hashes and scores, for any text."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from moderation import Scorer, index, kernel
from moderation.bundle import Bundle
from moderation.features import FeatureSettings
from moderation.text import tokenise_plain
from tests.conftest import ROOT, TEXTS, make_bundle

pytestmark = pytest.mark.skipif(kernel.COMPILED is None, reason=f"no compiled kernel: {kernel.MISSING}")

# Characters and pieces that the rules of tokenising are about, so that random texts meet every pair of rules.
PIECES = [
    *"abkA1403$@!*'-_. ,\n/wht:é\u200b\u0301\u202eСоßḱ²①ﬁ़ग🔪\ud800\x00İŉ",
    "http://",
    "www.",
    "@a.b",
    "a b c",
    "***",
    "$$",
]
TRICKY = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
ANY = st.one_of(TRICKY, st.text(max_size=80), st.text(st.characters(), max_size=40))


def test_the_kernel_is_built_where_there_is_a_compiler() -> None:
    if os.environ.get("MODERATION_PURE") or not shutil.which(sysconfig.get_config_var("CC").split()[0]):
        pytest.skip("no compiler, or the pure path is asked for")
    assert kernel.COMPILED is not None


def test_words_made_to_fall_on_the_same_places_of_the_cache(shipped: Scorer) -> None:
    def slot(word: str) -> int:
        state = 0
        for letter in word:
            state = index._step(state, ord(letter))
        return state >> 20 & 0x1FFFF

    made = ["".join(letters) for letters in itertools.product("abcdefghijklmnopqrtuvwxyz", repeat=4)]
    crowd = [word for word in made if slot(word) < 64]
    assert len(crowd) > 150, "more than fit: the rest are worked out anew each time"
    text = " ".join([*crowd, "you pathetic liar", *crowd])
    scorer, pure = Scorer(shipped.bundle), Scorer(shipped.bundle, pure=True)
    for _ in range(2):
        assert_allclose(scorer.predict_proba([text]), pure.predict_proba([text]), atol=1e-12)


def tokens(text: str) -> list[tuple[str, int, int]]:
    return [tuple(token) for token in tokenise_plain(text)]


@given(ANY)
@example("a b c.d.e.f")
@example("a$$$b a$$b a1$$b")
@example("a*b*cd a*b*c* a.b.c@x")
@example("x" * 63 + "@a.b " + "x" * 64 + "@a.b " + "x" * 65 + "@a.b")
@example("a@" + "b" * 63 + ".c a@" + "b" * 64 + ".c a@b." + "c" * 70 + " a@b.c.d.e.f.g.h")
@example("ab** abc** abcd** ab**c ab**_ ab*** *")
def test_tokens_are_those_of_the_regular_expression(text: str) -> None:
    assert kernel.COMPILED.tokens(text) == tokens(text)


def test_every_code_point_is_read_alike() -> None:
    for first in range(0, 0x110000, 256):
        for form in ("{}", "a{}b", "{0}{0}{0}", "a {} b", "a*{}1"):
            text = " ".join(form.format(chr(code)) for code in range(first, first + 256, 1 + 6 * (first > 0x3000)))
            assert kernel.COMPILED.tokens(text) == tokens(text)


@pytest.mark.parametrize(
    "unit",
    ["a", " a", "*", "a*", "_", ".", "a.", "a-", "a@", "\u0301", "ﷺ", "1", "$a", "'", "@a.", "\x00", "a" + " " * 999,
     "a" + "-" * 999, "http://", "a@b.c", "ab**", "🔪"],
)  # fmt: skip
def test_long_texts_are_read_alike(unit: str, small_bundle: Bundle) -> None:
    text = unit * (20_000 // len(unit))
    assert kernel.COMPILED.tokens(text) == tokens(text)
    fast, slow = (Scorer(small_bundle, pure=pure).decision_function([text]) for pure in (False, True))
    assert_allclose(fast, slow, rtol=0, atol=1e-9)


@given(st.lists(st.text(max_size=12), max_size=6), st.integers(0, 2**32 - 1))
def test_hashes_are_the_same_in_both_languages(grams: list[str], seed: int) -> None:
    for block in (0, 1):
        fast = index.hash_ngrams(grams, seed, block)
        start = index._step(seed, block + 1)
        slow = [index._mix((index._hash_words, index._hash_chars)[block](gram, start)) for gram in grams]
        assert fast.tolist() == slow


@given(st.lists(ANY, min_size=1, max_size=8))
def test_both_paths_give_the_same_scores_and_reasons(small_bundle: Bundle, texts: list[str]) -> None:
    fast, slow = Scorer(small_bundle), Scorer(small_bundle, pure=True)
    assert_allclose(fast.decision_function(texts), slow.decision_function(texts), rtol=0, atol=1e-9)
    for text in texts:
        mine, other = fast.explain(text).shares, slow.explain(text).shares
        assert_array_equal(mine.starts, other.starts)
        assert_array_equal(mine.ends, other.ends)
        assert_allclose(mine.weights, other.weights, rtol=0, atol=1e-9)
        assert_array_equal(np.diff(mine.sentences), np.minimum(np.diff(other.sentences), 1))
        for place, label in enumerate(fast.labels):
            assert fast.reasons(text, label, 3) == fast.explain(text).reasons(label, 3)
            assert len(slow.reasons(text, label, 3)) == min(3, (mine.weights[:, place] > 0).sum())


@pytest.mark.parametrize("labels", [1, 2, 8, 64])
@pytest.mark.parametrize("bounds", [((1, 1), (1, 1)), ((2, 3), (3, 4)), ((1, 8), (8, 8)), ((3, 3), (1, 8))])
def test_any_number_of_labels_and_any_bounds(labels: int, bounds: tuple[tuple[int, int], tuple[int, int]]) -> None:
    small = make_bundle(TEXTS, FeatureSettings(*bounds), seed=2)
    weights = np.random.default_rng(3).integers(-32_767, 32_767, (len(small.idf), labels)).astype(np.int16)
    bundle = replace(
        small,
        labels=tuple(f"label {k}" for k in range(labels)),
        weights=weights,
        scale=np.full(labels, 1e-4),
        intercept=np.linspace(-2, 2, labels),
    )
    texts = [*TEXTS, " ".join(TEXTS) * 20, "", "x"]
    fast, slow = Scorer(bundle), Scorer(bundle, pure=True)
    assert_allclose(fast.decision_function(texts), slow.decision_function(texts), rtol=0, atol=1e-9)
    assert_allclose(fast.explain(texts[6]).shares.weights, slow.explain(texts[6]).shares.weights, rtol=0, atol=1e-9)


def test_what_is_remembered_never_shows(small_bundle: Bundle) -> None:
    # More different words than the kernel remembers, so that it forgets all of them several times.
    texts = [" ".join(f"w{k * 50 + j}burn" for j in range(50)) + " burn his house" for k in range(2_500)]
    scorer = Scorer(small_bundle)
    first = scorer.decision_function(texts)
    assert_array_equal(scorer.decision_function(texts[::-1])[::-1], first)
    fresh = Scorer(small_bundle)
    assert_array_equal(np.concatenate([fresh.decision_function([text]) for text in texts[::100]]), first[::100])


def test_an_unfit_array_is_refused(small_bundle: Bundle) -> None:
    good, _ = index.build_index(small_bundle.words, small_bundle.chars, small_bundle.idf, small_bundle.weights)
    arguments = {
        "rows": good.rows.view(np.uint8), "fingerprints": good.fingerprints, "word_buckets": good.word_buckets,
        "char_buckets": good.char_buckets, "n_words": len(small_bundle.words), "seed": good.seed, "word_ngrams": (1, 2),
        "char_ngrams": (2, 6), "scale": [1.0] * 3, "intercept": [0.0] * 3, "limit": 100,
    }  # fmt: skip
    kernel.COMPILED.Kernel(**arguments)
    for name, value in {
        "rows": arguments["rows"][:-1], "fingerprints": good.fingerprints[1:], "word_buckets": good.word_buckets[1:],
        "n_words": 1 << 30, "word_ngrams": (0, 2), "char_ngrams": (3, 2), "scale": [], "intercept": [1.0], "limit": -1,
    }.items():  # fmt: skip
        with pytest.raises(ValueError):
            kernel.COMPILED.Kernel(**arguments | {name: value})


def test_buckets_that_change_under_way_stay_in_bounds(small_bundle: Bundle) -> None:
    # Another process may overwrite a mapped file after it was verified.
    good, _ = index.build_index(small_bundle.words, small_bundle.chars, small_bundle.idf, small_bundle.weights)
    for value in (0, 2**31, 2**32 - 1):
        good.word_buckets[:] = value
        good.char_buckets[:] = value
        scores = Scorer(replace(small_bundle, index=good)).decision_function(TEXTS)
        assert_array_equal(scores, np.tile(small_bundle.intercept, (len(TEXTS), 1)))


def test_the_environment_asks_for_the_pure_path() -> None:
    program = "from moderation import kernel, Scorer; print(kernel.COMPILED, kernel.MISSING); Scorer.load().score('hi')"
    environment = {**os.environ, "MODERATION_PURE": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("None MODERATION_PURE is set\n", "")


def test_without_the_extension_it_is_said_once_in_the_log() -> None:
    program = (
        "import sys; sys.modules['moderation._ngrams'] = None\n"
        "from moderation import Scorer; from moderation.bundle import load_bundle\n"
        "bundle = load_bundle(); print(Scorer(bundle).score('hi') == Scorer(bundle).score('hi'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MODERATION_PURE"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert done.stderr.count("scoring by the pure path") == 1


@pytest.mark.parametrize("installed", [True, False])
def test_a_source_folder_that_hides_the_installed_extension_is_named(installed: bool, tmp_path: Path) -> None:
    clone, site = tmp_path / "clone", tmp_path / "site"
    shutil.copytree(ROOT / "moderation", clone / "moderation", ignore=shutil.ignore_patterns("_ngrams*", "__pycache__"))
    (site / "moderation").mkdir(parents=True)
    if installed:
        shutil.copy(kernel.COMPILED.__file__, site / "moderation")
    program = (
        # An editable installation would lend the clone the extension of the folder that it stands for.
        "import sys; sys.meta_path = [found for found in sys.meta_path if '__editable__' not in found.__module__]\n"
        "from moderation import kernel; print(kernel.MISSING)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MODERATION_PURE"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=clone,
        env=environment | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    hidden = (
        f"python runs the source folder at {clone}, which has no compiled extension; "
        "run from another folder or `pip install -e .`"
    )
    assert done.stdout.strip() == (
        hidden if installed else "the extension was not built when the package was installed"
    )
    assert done.stdout.strip() in done.stderr


def test_without_a_compiler_the_package_still_builds(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "setup.py",
        "build_ext",
        "--build-lib",
        tmp_path,
        "--build-temp",
        tmp_path,
    ]
    environment = {**os.environ, "CC": "no-such-compiler"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no-such-compiler" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("_ngrams*"))
