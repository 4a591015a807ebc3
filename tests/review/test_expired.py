"""What becomes of a form whose session ended while it was filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest

from moderation.queue import Ruling
from tests.review.conftest import PASSWORD, Enter, Site
from tests.review.test_rights import sign_in

STATEMENT = '\nIt was a joke, "clown" is <b>not</b> an insult.\n\nPlease look again.'


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A browser without a screen; a comment was rejected."""
    site.store.desk.decide("bob", 3, Ruling("reject", reason="ABUSE"))
    with httpx.Client(base_url=site.url, timeout=60, headers={"accept": "text/html"}) as client:
        yield client


def fields(page: str) -> dict[str, str]:
    """The hidden fields of a page, as a browser sends them."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)}


def test_an_appeal_that_was_typed_is_kept_over_signing_in(site: Site, client: httpx.Client, enter: Enter) -> None:
    page = enter(site)
    page.goto("/appeals")
    page.fill("#a-id", "3")
    page.fill("#a-statement", STATEMENT)
    page.fill("#a-contact", "joe@example.org")
    page.context.clear_cookies()
    page.click("button:has-text('Open the appeal')")
    page.wait_for_selector("#password")
    assert "what you sent was not done" in page.inner_text("main")
    page.fill("#name", "ada")
    page.fill("#password", "wrong")
    page.click("button:has-text('Sign in')")
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Sign in')")
    page.wait_for_selector("#a-statement")
    assert page.input_value("#a-statement") == STATEMENT
    assert (page.input_value("#a-id"), page.input_value("#a-contact")) == ("3", "joe@example.org")
    assert "joe" not in page.url and site.store.listing.counts().appeals == 0
    page.click("button:has-text('Open the appeal')")
    page.wait_for_url("**/appeals/1")
    opened = site.store.appeals.get(1)
    assert (opened.statement, opened.contact) == (STATEMENT.strip(), "joe@example.org")


def test_what_was_typed_enters_no_address(client: httpx.Client, site: Site) -> None:
    form = {"site": "gazette", "id": "3", "statement": STATEMENT, "contact": "joe@example.org"}
    answer = client.post("/appeals", data=form)
    assert answer.status_code == 401 and "location" not in answer.headers
    kept = fields(answer.text)
    assert kept == {f"kept-{name}": value for name, value in form.items()} | {"next": "/appeals"}
    answer = client.post("/sign-in", data=kept | {"name": "ada", "password": PASSWORD})
    assert answer.status_code == 200 and "joe@example.org" in answer.text
    assert client.get("/mine").status_code == 200


def test_only_the_page_itself_puts_words_into_the_form(client: httpx.Client) -> None:
    elsewhere = {"sec-fetch-site": "cross-site"}
    for path, form in (("/appeals", {"statement": "x"}), ("/sign-in", {"kept-statement": "x", "name": "ada"})):
        assert client.post(path, data=form, headers=elsewhere).status_code == 403
    sign_in(client, "ada")
    form = {"kept-statement": "x", "name": "ada", "password": PASSWORD}
    assert client.post("/sign-in", data=form, headers=elsewhere).status_code == 403
    assert client.post("/sign-in", data=form).status_code == 200
