"""The page of an assessment: readable on a phone and in the dark, for ears as for eyes, and right about who is better."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import CHROMIUM
from training.report import STYLE, make_report


class Elements(HTMLParser):
    """Collect every element's name and attributes, and the words inside each cell of a table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.all if name == tag]

    def each(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.all if attribute in attributes]


def measured(**changes: Any) -> dict[str, Any]:
    """Make the measures of one label on one set, as `training.evaluate.measure` returns them."""
    return {
        "rows": 1_000,
        "positives": 200,
        "auc": 0.91,
        "auc_interval": (0.89, 0.93),
        "average_precision": 0.812,
        "at_threshold": {
            "threshold": 0.2,
            "precision": 0.9,
            "recall": 0.701,
            "f1": 0.788,
            "true_negative_rate": 0.95,
            "flagged": 0.2,
        },
        "calibration_error": 0.01,
        "calibration_error_own_rate": 0.016,
        "reliability": [(0, 0.7, 0.05, 0.04), (5, 0.3, 0.6, 0.7)],
        "histogram": {"0": [700, 90, 9, 1] + [0] * 16, "1": [20] * 10 + [0] * 10},
        "curve": [(1.0, 0.2), (0.7, 0.9), (0.0, 1.0)],
        "cases": {"fire / harmful": {"rows": 6, "right": 0.4}},
        "pairs": (0, 0),
        "worst": {"missed": [("m0", 0.1)], "raised": [("r0", 0.9)]},
    } | changes


def results(**more: Any) -> dict[str, Any]:
    """Make what an assessment of two sets found."""
    labels = {"incitement": measured(), "abuse": measured()}
    return {"model_id": "en-7+abc", "evaluation": {"civil": labels, "a b": labels}, **more}


def gained(difference: float, half: float = 0.01) -> dict[str, dict[str, dict[str, float]]]:
    """Make a comparison in which this model has `difference` more than the other."""
    found = {"difference": difference, "low": difference - half, "high": difference + half}
    return {"civil": {"abuse": {"first": 0.7 + difference, "second": 0.7, **found}}}


def verdict(page: str) -> tuple[list[str], str]:
    """Return the row of `gained` in the table of the comparison, and the marks that a page has there."""
    part = page[page.index('id="comparison"') :].split("</table>")[0]
    return Elements(part).rows[-1], " ".join(re.findall(r'class="?(better|worse)', part))


@pytest.mark.parametrize(
    ("difference", "said", "marks"),
    [(0.26, "better", "better"), (-0.26, "worse", "worse"), (0.004, "no clear difference", "")],
)
def test_a_difference_is_this_model_minus_the_other(difference: float, said: str, marks: str) -> None:
    page = make_report(results(comparison=gained(difference), compared_with="en-6+<old>"))
    row, marked = verdict(page)
    assert row[:4] == ["civil", "abuse", f"{0.7 + difference:.3f}", "0.700"]
    assert row[4].startswith(f"{difference:+.4f}")
    assert row[-1] == said
    assert marked == marks
    assert "en-6+&lt;old&gt;" in page
    assert "the other model" not in page


def test_a_model_without_a_name_is_the_other() -> None:
    assert '<h2 id="comparison">Against the other model</h2>' in make_report(results(comparison=gained(0.1)))


def test_all_worst_errors_are_shown() -> None:
    few, many = [f"id{k}" for k in range(3)], [f"name{k}" for k in range(10)]
    for missed, raised in ((few, many), (many, few)):
        worst = {"missed": [(name, 0.1) for name in missed], "raised": [(name, 0.9) for name in raised]}
        page = make_report(results(evaluation={"civil": {"abuse": measured(worst=worst)}}))
        cells = [cell for row in Elements(page).rows for cell in row]
        assert [cell for cell in cells if re.fullmatch(r"(id|name)\d", cell)] == [*missed, *raised]


def test_figures_say_in_words_what_they_show() -> None:
    page = make_report(results())
    figures = Elements(page).named("svg")
    assert len(figures) == 3 * 4
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    assert "0.812" in str(figures[0]["aria-label"])
    assert "with the label" in page.split("<svg")[3]
    assert "without the label" in page.split("<svg")[3]


def test_ids_are_unique_and_every_link_finds_one() -> None:
    page = make_report(
        results(
            comparison=gained(0.1),
            bias={"gay": {"x": 0.5}},
            evasion={"clean": {"x": 0.5}},
            subgroups={"civil": {"gay": {"x": None}}},
            thresholds={"abuse": 0.2},
        )
    )
    elements = Elements(page)
    ids, links = elements.each("id"), [link["href"] for link in elements.named("a")]
    assert len(ids) == len(set(ids))
    assert not [name for name in ids if re.search(r"\s", name)]
    assert {str(link).removeprefix("#") for link in links} == set(ids)
    contents = page[page.index("<nav") : page.index("</nav>")]
    assert contents.count("<a ") == page.count("<h2 ")


def test_a_section_of_a_set_stays_small() -> None:
    label = make_report(results(evaluation={"civil": {"abuse": measured()}}))
    two = make_report(results(evaluation={"civil": {"abuse": measured(), "threat": measured()}}))
    assert len(two) - len(label) < 8_000


def test_a_set_of_one_kind_and_empty_bars_can_be_drawn() -> None:
    nothing = {"0": [0] * 20, "1": [5] + [0] * 19}
    page = make_report(results(evaluation={"a": {"abuse": measured(histogram=nothing, reliability=[])}}))
    assert "nan" not in page
    assert "inf" not in page


def colours() -> dict[str, tuple[str, str]]:
    """Return the colours of the page by name: in the light and in the dark."""
    return {
        name: (light, dark) for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)
    }


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def brightness(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([brightness(one), brightness(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [0, 1])
def test_colours_can_be_read_in_both_modes(mode: int) -> None:
    found = {name: pair[mode] for name, pair in colours().items()}
    assert "color-scheme: light dark" in STYLE
    for ink in ("ink", "soft", "link", "visited"):
        assert contrast(found[ink], found["paper"]) >= 4.5, ink
    for wash in ("low", "high"):
        assert contrast(found["ink"], found[wash]) >= 4.5, wash
    for line in ("line", "fill"):
        assert contrast(found[line], found["paper"]) >= 3, line


def in_a_phone(path: Path) -> None:
    """Look at a page on a phone that is set to dark."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": 390, "height": 800}, is_mobile=True, color_scheme="dark", offline=True
        )
        phone = context.new_page()
        phone.goto(path.as_uri())
        assert phone.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        assert phone.locator("tbody th").first.evaluate("cell => cell.offsetHeight") < 60
        assert phone.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        phone.locator("td a", has_text="incitement").first.click()
        figure = phone.locator("svg").first
        assert figure.is_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        box = figure.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_phone_shows_it_in_its_own_width(tmp_path: Path) -> None:
    wide = {name: {f"column number {k}": 0.123456 for k in range(9)} for name in ("gay", "deaf")}
    path = tmp_path / "report.html"
    path.write_text(make_report(results(bias=wide, comparison=gained(0.1), compared_with="x" * 80)))
    # Playwright allows one event loop a thread, and the review's tests keep one open in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(in_a_phone, path).result()
