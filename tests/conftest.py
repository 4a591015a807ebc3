"""What several tests need: a small model made on the spot, and the one that is shipped."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from moderation import Scorer
from moderation.bundle import Bundle, save_bundle
from moderation.features import FeatureSettings
from moderation.text import normalise

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

BROWSERS = "chromium-headless-shell", "chromium", "chromium-browser"
"""Debian's builds of Chromium; the first is the same engine without windows, and a third faster."""

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)

TEXTS = [
    "Somebody ought to burn his house down tonight.",
    "The council burned through its budget again.",
    "You are a pathetic little liar, and so is your paper.",
    "I love this garden, thank you for the article!",
    "It's a shame: 40 people died there in 2012 …",
    "Ｆｕｌｌ width, naïve café, k i l l and f*ck 🔪🔪",
]


def pytest_configure() -> None:
    """Let the programs under test hear what they are sent: a shell lets what it starts in the background ignore it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def small_bundle() -> Bundle:
    """A model with every n-gram of a few texts and arbitrary weights."""
    return make_bundle(TEXTS, FeatureSettings(), seed=7)


def make_bundle(texts: list[str], settings: FeatureSettings, *, seed: int) -> Bundle:
    """Make a model over the n-grams of texts with random weights."""
    from training.pipeline import build_vectorisers, vocabulary

    normal = [normalise(text) for text in texts]
    fitted = {block: vectoriser.fit(normal) for block, vectoriser in build_vectorisers(settings).items()}
    random = np.random.default_rng(seed)
    words, chars = vocabulary(fitted["words"]), vocabulary(fitted["chars"])
    idf = np.concatenate([fitted[block].idf_ for block in ("words", "chars")]).astype(np.float32)
    return Bundle(
        manifest={"model_id": "small", "language": "en"},
        labels=("incitement", "abuse", "threat"),
        settings=settings,
        words=words,
        chars=chars,
        idf=idf,
        weights=random.integers(-32_767, 32_767, (len(words) + len(chars), 3)).astype(np.int16),
        scale=np.array([1e-4, 5e-5, 2e-4]),
        intercept=np.array([-1.0, 0.5, -4.0]),
    )


@pytest.fixture
def bundle_folder(small_bundle: Bundle, tmp_path: Path) -> Path:
    """The small model on disk."""
    save_bundle(small_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(scope="session")
def small_scorer(small_bundle: Bundle) -> Scorer:
    """A scorer over the small model."""
    return Scorer(small_bundle)


@pytest.fixture(scope="session")
def shipped() -> Scorer:
    """A scorer over the model that comes with the package."""
    return Scorer.load()


@pytest.fixture
def news_page() -> Path:
    """The saved news page, which is not part of the repository."""
    path = SHARED / "pages" / "voa_russia_syria_2012.txt"
    if not path.exists():
        pytest.skip("needs the saved news page beside the repository")
    return path


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The public corpora, which are not part of the repository."""
    path = SHARED / "corpora"
    if not path.exists():
        pytest.skip("needs the public corpora beside the repository")
    return path
