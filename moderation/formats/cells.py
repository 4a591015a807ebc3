"""Cells of a table that no spreadsheet takes for a formula."""

from __future__ import annotations

import re
from typing import Any

_FORMULA = "=+-@\t\r\n＝＋－＠"
"""What a spreadsheet takes for the beginning of a formula, also in full width (OWASP, CSV injection)."""

_NUMBER = re.compile(r"-[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""A negative number computes nothing, and whatever reads a column of such next wants numbers."""


def safe_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: text that looks like one has an apostrophe before it.

    What was made safe once stays as it is.
    """
    if isinstance(value, str) and value.lstrip(" ").startswith(tuple(_FORMULA)) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value
