"""Numbers as shapes for SVG; plain geometry, so that a page needs no inline style and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moderation.queue import Bar, Week

WIDTH, HEIGHT = 1000.0, 130.0
"""Size of the histogram in units of its own."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One bar of the histogram."""

    low: float
    """Least score."""
    high: float
    """Score that is not reached any more."""
    count: int
    """Comments."""
    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    width: float
    """Width."""
    height: float
    """Height; a single comment is still to be seen."""
    chosen: bool
    """Whether the range takes in its middle."""


def bars(found: Sequence[Bar], low: float, high: float) -> list[Shape]:
    """Return the bars of a histogram; heights follow the roots of the counts, so that few are seen beside many."""
    most = max((bar.count for bar in found), default=0) ** 0.5 or 1.0
    step = WIDTH / max(len(found), 1)
    out = []
    for place, bar in enumerate(found):
        height = max(3.0, HEIGHT * bar.count**0.5 / most) if bar.count else 0.0
        middle = (bar.low + bar.high) / 2
        out.append(
            Shape(bar.low, bar.high, bar.count, round(place * step + 1, 2), round(HEIGHT - height, 2),
                  round(step - 2, 2), round(height, 2), low <= middle <= high)
        )  # fmt: skip
    return out


@dataclass(frozen=True, slots=True)
class Line:
    """A rate by week as a line."""

    name: str
    """What is shown."""
    path: str
    """The line, as SVG draws it; gaps where there is no rate."""
    dots: tuple[tuple[float, float, str], ...]
    """Points with what they say."""
    last: float | None
    """The latest rate."""
    top: float
    """The rate at the upper edge."""


LINE_WIDTH, LINE_HEIGHT, MARGIN = 320.0, 90.0, 6.0


def line(name: str, weeks: Sequence[Week], rates: Sequence[float | None]) -> Line:
    """Return a rate by week; the scale begins at 0 and ends above the highest rate."""
    known = [rate for rate in rates if rate is not None]
    top = next((edge for edge in (0.05, 0.1, 0.25, 0.5) if max(known, default=0) <= edge), 1.0)
    step = (LINE_WIDTH - 2 * MARGIN) / max(len(rates) - 1, 1)
    dots, path, gap = [], [], True
    for place, (week, rate) in enumerate(zip(weeks, rates, strict=True)):
        if rate is None:
            gap = True
            continue
        x = round(MARGIN + place * step, 1)
        y = round(LINE_HEIGHT - MARGIN - (LINE_HEIGHT - 2 * MARGIN) * rate / top, 1)
        path.append(f"{'M' if gap else 'L'}{x} {y}")
        dots.append((x, y, f"week of {week.monday:%-d %b %Y}: {rate * 100:.1f} %"))
        gap = False
    return Line(name, " ".join(path), tuple(dots), known[-1] if known else None, top)
