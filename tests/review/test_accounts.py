"""Accounts, tokens and passwords on the pages, and the audit that tells who changed them."""

from __future__ import annotations

import re
from html import unescape

import httpx

from tests.review.conftest import PASSWORD, Site
from tests.review.test_rights import csrf, sign_in


def test_an_admin_keeps_accounts_and_tokens(client: httpx.Client, site: Site) -> None:
    sign_in(client, "root")
    token = csrf(client)
    page = client.post("/people", data={"csrf": token, "name": "eve", "role": "moderator"}).text
    secret = re.search(r'class="secret">([^<]+)<', page)
    assert secret is not None
    with httpx.Client(base_url=site.url, timeout=60) as other:
        assert sign_in(other, "eve", secret[1]).headers["location"] == "/work"
        change = {"csrf": token, "name": "eve", "what": "role", "role": "senior"}
        assert client.post("/people/change", data=change).status_code == 303
        assert other.get("/mine").status_code == 303  # a changed role ends the sessions
        assert sign_in(other, "eve", secret[1]).status_code == 303
        assert other.get("/senior").status_code == 200
        client.post("/people/change", data={"csrf": token, "name": "eve", "what": "disable"})
        assert other.get("/senior").status_code == 303
    assert client.post("/people/change", data={"csrf": token, "name": "root", "what": "disable"}).status_code == 409
    page = client.post("/tokens", data={"csrf": token, "name": "site", "scope-queue": "on"}).text
    assert re.search(r'class="secret">mod_', page)
    [made] = site.store.people.tokens()
    client.post(f"/tokens/{made.ref}/revoke", data={"csrf": token})
    assert site.store.people.tokens()[0].revoked is not None
    assert "user added" in client.get("/audit").text


def test_an_admin_does_not_lock_themselves_out(client: httpx.Client) -> None:
    sign_in(client, "root")
    row = re.search(r'<th scope="row"><bdi>root</bdi>.*?</tr>', client.get("/people").text, re.DOTALL)
    assert row is not None and "<button" not in row[0] and 'href="/preferences"' in row[0]
    answer = client.post("/people/change", data={"csrf": csrf(client), "name": "root", "what": "password"})
    assert answer.status_code == 409 and "under Preferences" in answer.text
    assert client.get("/people").status_code == 200
    with httpx.Client(base_url=client.base_url, timeout=60) as other:
        assert sign_in(other, "root").status_code == 303


def test_the_audit_says_who_changed_accounts(client: httpx.Client, site: Site) -> None:
    sign_in(client, "root")
    token = csrf(client)
    client.post("/people", data={"csrf": token, "name": "eve", "role": "moderator"})
    for change in ({"what": "password"}, {"what": "role", "role": "senior"}, {"what": "disable"}, {"what": "enable"}):
        assert client.post("/people/change", data={"csrf": token, "name": "eve"} | change).status_code in (200, 303)
    client.post("/tokens", data={"csrf": token, "name": "site", "scope-queue": "on"})
    client.post("/tokens/1/revoke", data={"csrf": token})
    lines = site.store.people.audit(limit=7)[::-1]
    assert [(line.kind, line.detail) for line in lines] == [
        ("user_added", "eve: moderator"), ("password_changed", "eve"), ("role_changed", "eve senior"),
        ("user_disabled", "eve"), ("user_enabled", "eve"), ("token_made", "site"), ("token_revoked", "1"),
    ]  # fmt: skip
    assert {(line.user, line.address) for line in lines} == {("root", "127.0.0.1")}


def test_the_audit_is_paged_and_filtered(client: httpx.Client, site: Site) -> None:
    sign_in(client, "root")
    for n in range(450):
        site.store.people.forbidden("ada" if n % 2 else "bob", f"GET /page-{n}-")
    seen = re.compile(r"GET /page-(\d+)-")
    turn = {way: re.compile(rf'rel="{way}" href="(/audit[^"]+)"') for way in ("next", "prev")}
    page, pages = client.get("/audit?kind=forbidden&name=ada").text, []
    while True:
        pages.append(page)
        if not (link := turn["next"].search(page)):
            break
        page = client.get(unescape(link[1])).text
    assert [[int(n) for n in seen.findall(page)] for page in pages] == [
        [*range(449, 49, -2)],
        [*range(49, 0, -2)],
    ]
    assert not turn["prev"].search(pages[0])
    back = turn["prev"].search(pages[1])
    assert back and seen.findall(client.get(unescape(back[1])).text) == seen.findall(pages[0])
    assert client.get("/audit?before=x&after=" + "9" * 40).status_code == 200


def test_changing_ones_password_leaves_claims_and_writes_one_change(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    site.store.desk.take("ada", 3)
    form = {"old": PASSWORD, "new": "another long one", "again": "not the same", "csrf": csrf(client)}
    assert client.post("/password", data=form).status_code == 400
    assert site.store.listing.item(3, "ada").claimed_by == "ada"
    assert client.post("/password", data=form | {"again": form["new"]}).status_code == 303
    assert [line.kind for line in site.store.people.audit(name="ada")][:3] == [
        "signed_in",
        "password_changed",
        "signed_in",
    ]


def test_a_password_is_changed_only_with_the_old_one(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    new = {"csrf": csrf(client), "new": "another long password", "again": "another long password"}
    assert client.post("/password", data=new | {"old": "wrong"}).status_code == 400
    assert client.post("/password", data=new | {"old": PASSWORD, "again": "typo"}).status_code == 400
    assert client.post("/password", data=new | {"old": PASSWORD}).status_code == 303
    assert client.get("/mine").status_code == 200
    [changed] = site.store.people.audit(kind="password_changed", limit=1)
    assert (changed.user, changed.address) == ("ada", "127.0.0.1")
    with httpx.Client(base_url=site.url, timeout=60) as other:
        assert sign_in(other, "ada").status_code == 401
        assert sign_in(other, "ada", "another long password").status_code == 303
