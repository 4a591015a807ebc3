"""The kernel stays as frugal as it was, counted in instructions, which no other work on the machine changes."""

from __future__ import annotations

import shutil

import pytest

from moderation import kernel
from tests.benchmarks.instructions import per_character

MOST = 350
"""Instructions per character; 270 when this was written."""


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
@pytest.mark.skipif(kernel.COMPILED is None, reason=f"no compiled kernel: {kernel.MISSING}")
def test_scoring_takes_no_more_instructions_than_it_did() -> None:
    assert per_character() < MOST
