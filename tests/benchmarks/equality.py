"""Compare the kernel with scikit-learn's pipeline on real comments: ``python -m tests.benchmarks.equality --corpora DIR``.

All public corpora are read, and repeated with small changes until there are as many comments as asked for. Prints the
largest difference of a probability, and ends with exit code 1 when it is beyond 1e-6.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from itertools import count, islice
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from moderation import Scorer
from training.pipeline import pipeline_of

CHANGES = (
    lambda text: text,
    lambda text: text.upper() + " !!!",
    lambda text: text.replace("e", "3").replace("i", "1"),
    lambda text: " ".join(text),
    lambda text: text.replace("a", "а").replace("o", "о\u200b"),
    lambda text: text[::-1],
    lambda text: text.replace(" ", "\u00a0\u0301") + "🔪 www." + text[:20],
)
"""Ways to write a comment anew, so that the rules of the normaliser are met on real words."""

AT_ONCE = 2_000


def comments(corpora: Path) -> Iterator[str]:
    """Yield real comments for ever, changed in another way each time round."""
    for time in count():
        for path in sorted(corpora.glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    text = json.loads(line).get("text")
                    if isinstance(text, str):
                        yield CHANGES[time % len(CHANGES)](text)


_loaded: dict[str, Any] = {}


def difference(texts: list[str]) -> tuple[int, float]:
    """Return how many comments were compared and the largest difference."""
    if not _loaded:
        scorer = Scorer.load()
        _loaded.update(scorer=scorer, pipeline=pipeline_of(scorer.bundle))
    found = _loaded["scorer"].predict_proba(texts)
    return len(texts), float(np.abs(found - _loaded["pipeline"].predict_proba(texts)).max(initial=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--comments", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    stream = islice(comments(options.corpora), options.comments)
    done, most = 0, 0.0
    with Pool(options.jobs) as pool:
        for number, largest in pool.imap(difference, iter(lambda: list(islice(stream, AT_ONCE)), [])):
            done, most = done + number, max(most, largest)
            if done % 50_000 < AT_ONCE:
                print(f"{done:,} comments: largest difference {most:.2e}", flush=True)
    print(f"{done:,} comments: largest difference {most:.2e}")
    sys.exit(most > 1e-6)


if __name__ == "__main__":
    main()
