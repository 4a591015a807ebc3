"""How pages put conditions, times and weights into words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape

import httpx
import pytest

from moderation import Scorer
from moderation.server.review.words import moment
from tests.review.conftest import Site
from tests.review.test_rights import sign_in


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A browser without a screen, in which ada is signed in."""
    with httpx.Client(base_url=site.url, timeout=60, headers={"accept": "text/html"}) as client:
        sign_in(client, "ada")
        yield client


def test_a_filter_is_told_in_the_words_of_its_form(client: httpx.Client) -> None:
    asked = {"label": "abuse", "low": "0.3", "high": "0.9", "site": "gazette", "article": "1", "author": "joe"}
    page = client.get("/work", params=asked).text
    chips = re.findall(r'<span class="chip low"><bdi>(.*?)</bdi>', page.split("</summary>")[0])
    assert [unescape(chip) for chip in chips] == [
        "Label: Abuse", "Score from 0.3", "Score to 0.9", "Site: gazette",
        "Article: Ferry Road bridge shut again as mayor defends repairs", "Author: joe",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime(2026, 3, 4, 9, 5, tzinfo=UTC), "4 Mar 2026, 09:05 UTC"),
        ("2026-03-04T00:05:00+02:00", "3 Mar 2026, 22:05 UTC"),
        ("2026-03-04T09:05:00Z", "4 Mar 2026, 09:05 UTC"),
        ("2026-03-04T09:05:00", "4 Mar 2026, 09:05"),  # whose clock that was is not known
        ("0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+02:00"),
        ("yesterday", "yesterday"),
        (None, ""),
    ],
)
def test_a_time_says_where_it_is_that_late(value: datetime | str | None, words: str) -> None:
    assert moment(value) == words


def test_the_help_says_truly_what_weights_add_up_to(client: httpx.Client, shipped: Scorer) -> None:
    page = client.get("/help").text
    assert "add up to its score" not in page
    for log_odds, score in re.findall(r"at (−?\d) (?:the score|it) is (0\.\d\d)", page):
        assert f"{1 / (1 + math.exp(-int(log_odds.replace('−', '-')))):.2f}" == score
    text = "You stupid, lying pig."
    told, score = shipped.explain(text), shipped.score(text).probabilities
    for label, start in told.intercept.items():
        whole = start + sum(span.weight for span in told.spans if span.label == label)
        assert 1 / (1 + math.exp(-whole)) == pytest.approx(score[label])
