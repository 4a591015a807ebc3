"""What pages tell of decisions: what was done, why, and what an appeal settled."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from moderation.queue import Appeal, Ruling
from tests.review.conftest import Site
from tests.review.test_rights import csrf, sign_in

REJECT = Ruling("reject", reason="ABUSE")


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A browser without a screen."""
    with httpx.Client(base_url=site.url, headers={"accept": "text/html"}) as client:
        yield client


def appealed(site: Site, ref: int = 3, ruling: Ruling = REJECT) -> Appeal:
    """An appeal against a rejection of ada's."""
    site.store.desk.decide("ada", ref, ruling)
    return site.store.appeals.open("gazette", site.store.listing.item(ref).comment.id, statement="It was a joke.")


@pytest.mark.parametrize("name", ["bob", "sue"])
def test_no_page_reverses_a_settled_appeal(client: httpx.Client, site: Site, name: str) -> None:
    appeal = appealed(site)
    site.store.appeals.decide("bob", appeal.ref, Ruling("approve"))
    sign_in(client, name)
    page = client.get("/comments/3").text
    assert "An appeal settled where this comment stands" in page and "/comments/3/decide" not in page
    form = {"act": "reject", "reason": "ABUSE", "revise": "yes", "csrf": csrf(client)}
    for accept in ("text/html", "application/json"):
        answer = client.post("/comments/3/decide", data=form, headers={"accept": accept})
        assert answer.status_code == 409 and "settled an appeal; open another appeal to change it" in answer.text
    assert site.store.listing.item(3).state == "approved"
    assert site.store.appeals.get(appeal.ref).state == "overturned"
