"""The figures of the report as small SVG elements, whose colours and type are those of the page around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 340, 260
"""Size of a figure in pixels; a phone's column is as wide."""

LEFT, RIGHT, TOP, BOTTOM = 58, 330, 28, 216
"""Where the axes stand in it; above them is the legend."""

TENTHS = [(k / 10, f"{k / 10:g}") for k in range(0, 11, 2)]
"""Ticks of an axis from 0 to 1: places and names."""


def plot_curve(values: Mapping[str, Any]) -> str:
    """Return precision against recall, beside the precision that chance has."""
    chance = values["positives"] / values["rows"]
    said = f"Precision against recall: average precision {values['average_precision']:.3f}, by chance {chance:.3f}."
    shapes = [_path("by-chance", [(0, chance), (1, chance)]), _path("line", values["curve"])]
    return _figure(said, ("recall", "precision"), TENTHS, shapes, {"line": "the model", "by-chance": "by chance"})


def plot_reliability(values: Mapping[str, Any]) -> str:
    """Return the share that is true against the probability said, a dot per tenth of the scores."""
    said = f"Share true against probability said: calibration error {values['calibration_error_own_rate']:.3f}."
    dots = [
        f'<circle class=dot cx="{_x(stated):.1f}" cy="{_y(true):.1f}" r="{math.sqrt(4 + 60 * share):.1f}"/>'
        for _, share, stated, true in values["reliability"]
    ]
    names = {"dot": "larger: more rows", "by-chance": "as it should be"}
    shapes = [_path("by-chance", [(0, 0), (1, 1)]), *dots]
    return _figure(said, ("probability said", "share true"), TENTHS, shapes, names)


def plot_histogram(values: Mapping[str, Any]) -> str:
    """Return how the scores of the rows with the label and without it spread, as shares on a logarithmic axis."""
    without, having = (_shares(values["histogram"][kind]) for kind in ("0", "1"))
    lowest = min((share for share in (*without, *having) if share), default=0.1)
    decades = math.ceil(0.2 - math.log10(lowest))  # so much more that the lowest bar can be seen
    ticks = [(1 - k / decades, f"{10.0**-k:.{k}f}") for k in range(decades + 1)]
    bars, line = ([_height(share, decades) for share in shares] for shares in (without, having))
    over = [sum(shares[len(shares) // 2 :]) for shares in (having, without)]
    said = f"Scores of one half or more: {over[0]:.3f} of the rows with the label, {over[1]:.3f} of those without it."
    names = {"bar": "without the label", "line": "with the label"}
    return _figure(said, ("score", "share of rows"), ticks, [_bars(bars), _path("line", _steps(line))], names)


def _shares(counts: Sequence[int]) -> list[float]:
    return [count / max(sum(counts), 1) for count in counts]


def _height(share: float, decades: int) -> float:
    """Return where a share stands on an axis of so many powers of ten below 1; none stands on the floor."""
    return 1 + math.log10(share) / decades if share else 0.0


def _steps(heights: Sequence[float]) -> list[tuple[float, float]]:
    """Return the outline of bars as points."""
    width = 1 / len(heights)
    tops = [(edge * width, height) for k, height in enumerate(heights) for edge in (k, k + 1)]
    return [(0, 0), *tops, (1, 0)]


def _bars(heights: Sequence[float]) -> str:
    width = 1 / len(heights)
    drawn = [
        f"M{_x(k * width):.1f},{BOTTOM}V{_y(height):.1f}H{_x((k + 1) * width):.1f}V{BOTTOM}z"
        for k, height in enumerate(heights)
        if height
    ]
    return f'<path class=bar d="{"".join(drawn)}"/>'


def _x(share: float) -> float:
    return LEFT + share * (RIGHT - LEFT)


def _y(share: float) -> float:
    return BOTTOM - share * (BOTTOM - TOP)


def _path(kind: str, points: Iterable[tuple[float, float]]) -> str:
    return f'<path class={kind} d="M{" ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)}"/>'


def _figure(
    said: str,
    titles: tuple[str, str],
    ticks: Iterable[tuple[float, str]],
    shapes: Iterable[str],
    names: Mapping[str, str],
) -> str:
    """Return a figure.

    Parameters
    ----------
    said : what it shows, for those who hear the page
    titles : of the axes; the one across goes from 0 to 1
    ticks : places (from 0 to 1) and names on the upright axis
    names : the legend, by the class of the shape that each name belongs to
    """
    across = "".join(f'<text x="{_x(at):.0f}" y="{BOTTOM + 16}" class=mid>{name}</text>' for at, name in TENTHS)
    up = "".join(f'<text x="{LEFT - 6}" y="{_y(at) + 4:.0f}" class=end>{name}</text>' for at, name in ticks)
    titled = (
        f'<text x="{_x(0.5):.0f}" y="{HEIGHT - 8}" class=mid>{titles[0]}</text>'
        f'<text transform="translate(12 {_y(0.5):.0f}) rotate(-90)" class=mid>{titles[1]}</text>'
    )
    frame = f'<path class=axis d="M{LEFT},{TOP}V{BOTTOM}H{RIGHT}"/>'
    return (
        f'<svg role=img aria-label="{escape(said)}" width={WIDTH} height={HEIGHT} viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"{_legend(names)}{''.join(shapes)}{frame}{across}{up}{titled}</svg>"
    )


def _legend(names: Mapping[str, str]) -> str:
    out = []
    for k, (kind, name) in enumerate(names.items()):
        left = LEFT + k * (RIGHT - LEFT) // 2
        sample = {
            "dot": f'<circle class=dot cx="{left + 9}" cy="11" r="5"/>',
            "bar": f'<path class=bar d="M{left},6h18v10h-18z"/>',
        }.get(kind, f'<path class={kind} d="M{left},11h18"/>')
        out.append(f'{sample}<text x="{left + 24}" y="15">{name}</text>')
    return "".join(out)
