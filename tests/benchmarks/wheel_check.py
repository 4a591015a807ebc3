"""Check an installed wheel: the kernel is in it, and agrees with the pure path. Run by cibuildwheel; needs no pytest."""

from __future__ import annotations

import numpy as np

from moderation import Scorer, kernel
from moderation.bundle import load_bundle

TEXTS = ["Somebody ought to burn his house down.", "I love this garden!", "k i l l b1tch 🔪 ½ ﷺ", "", "word " * 5_000]


def main() -> None:
    if kernel.COMPILED is None:
        raise SystemExit(f"the wheel scores by the pure path: {kernel.MISSING}")
    fast, slow = (Scorer(load_bundle(), pure=pure).predict_proba(TEXTS) for pure in (False, True))
    difference = float(np.abs(fast - slow).max())
    if difference > 1e-9:
        raise SystemExit(f"the kernel and the pure path differ by {difference}")


if __name__ == "__main__":
    main()
