"""The compiled kernel, the C extension ``_ngrams`` with its sources in ``_c/``, where there is one.

Where the extension was not built, `COMPILED` is None and scoring takes the pure path (`moderation.paths.PurePath`),
with the same scores. ``MODERATION_PURE=1`` in the environment asks for that too, so that whole programs can be tested
both ways.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

COMPILED: Any = None
"""The extension module, or None."""

MISSING: str | None = None
"""Why there is none, as half a sentence; None when there is one."""


def _why_missing() -> str:
    """Return why the extension cannot be imported, as half a sentence."""
    import sys
    from importlib.machinery import PathFinder
    from pathlib import Path

    here = Path(__file__).resolve().parent
    others = [str(folder) for entry in sys.path if (folder := Path(entry).resolve() / "moderation") != here]
    # In a clone python finds the sources in the working directory before the package that pip installed from them.
    if PathFinder.find_spec("_ngrams", others) and not PathFinder.find_spec("_ngrams", [str(here)]):
        return (
            f"python runs the source folder at {here.parent}, which has no compiled extension; "
            "run from another folder or `pip install -e .`"
        )
    return "the extension was not built when the package was installed"


if os.environ.get("MODERATION_PURE", "") not in ("", "0"):
    MISSING = "MODERATION_PURE is set"
else:
    try:
        COMPILED = import_module("moderation._ngrams")
    except ImportError:
        MISSING = _why_missing()
        import logging

        logging.getLogger("moderation").warning("scoring by the pure path, about 50 times slower: %s", MISSING)
