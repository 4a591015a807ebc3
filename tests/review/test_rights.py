"""Who may do what: sessions, roles, forms from elsewhere, throttling, and what headers say."""

from __future__ import annotations

import re
import socket
import time
from html import unescape
from pathlib import Path

import httpx
import pytest

from moderation import Policy, Scorer
from moderation.comment import Comment
from moderation.errors import InputError
from moderation.queue import Intake, Ruling
from moderation.server.review.bulk import packed, unpacked
from moderation.server.review.room import own_path
from moderation.server.settings import Settings
from tests.queue.conftest import Clock
from tests.review.conftest import PASSWORD, Site, open_store, serve


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/sign-in", data={"name": name, "password": password})


def csrf(client: httpx.Client) -> str:
    found = re.search(r'data-csrf="([^"]+)"', client.get("/mine").text)
    assert found is not None
    return found[1]


SENIOR = ["/senior", "/export/decisions.jsonl", "/export/decisions.csv", "/export/statements.jsonl"]
ADMIN = ["/people", "/audit"]
ALL = ["/work", "/", "/bulk", "/bulk/preview", "/appeals", "/mine", "/preferences", "/help", "/comments/1", "/counts",
       "/token", "/work/cards", *SENIOR, *ADMIN]  # fmt: skip


@pytest.mark.parametrize("path", ALL)
def test_nothing_is_shown_without_a_session(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
    assert client.get(path, headers={"accept": "application/json"}).status_code == 401


@pytest.mark.parametrize(("name", "refused"), [("ada", SENIOR + ADMIN), ("sue", ADMIN), ("root", [])])
def test_a_page_without_rights_is_refused_and_logged(
    client: httpx.Client, site: Site, name: str, refused: list[str]
) -> None:
    sign_in(client, name)
    for path in SENIOR + ADMIN:
        assert client.get(path).status_code == (403 if path in refused else 200), path
    lines = site.store.people.audit(kind="forbidden")
    assert [(line.user, line.detail) for line in lines[::-1]] == [(name, f"GET {path}") for path in refused]


def test_a_form_needs_the_token_of_its_session(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    site.store.desk.take("ada", 3)
    for token in ("", "wrong"):
        answer = client.post("/comments/3/decide", data={"act": "approve", "csrf": token})
        assert answer.status_code == 403
    assert site.store.people.audit(kind="forbidden")[0].detail == "POST /comments/3/decide"
    elsewhere = {"sec-fetch-site": "cross-site"}
    answer = client.post("/comments/3/decide", data={"act": "approve", "csrf": csrf(client)}, headers=elsewhere)
    assert answer.status_code == 403
    answer = client.post(
        "/sign-in", data={"name": "ada", "password": PASSWORD}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert not site.store.listing.decisions()
    answer = client.post("/comments/3/decide", data={"act": "approve", "csrf": csrf(client)})
    assert answer.status_code == 303
    assert len(site.store.listing.decisions()) == 1


@pytest.mark.parametrize("origin", ["http://[", "http://[::g]", "null", "https://evil.example"])
def test_a_form_of_another_origin_is_refused(client: httpx.Client, origin: str) -> None:
    answer = client.post("/sign-in", data={"name": "ada", "password": PASSWORD}, headers={"origin": origin})
    assert answer.status_code == 403


@pytest.mark.parametrize(("name", "held"), [("ada", "ada"), ("bob", None)])
def test_a_second_tab_may_sign_in_too(client: httpx.Client, site: Site, name: str, held: str | None) -> None:
    sign_in(client, "ada")
    first = client.cookies["moderation"]
    site.store.desk.take("ada", 3)
    assert sign_in(client, name, "wrong password").status_code == 401
    assert site.store.people.session(first) is not None
    assert sign_in(client, name).status_code == 303
    found = site.store.people.session(client.cookies["moderation"])
    assert found is not None and found.user.name == name
    assert site.store.people.session(first) is None
    assert site.store.listing.item(3, "sue").claimed_by == held
    assert site.store.people.audit(kind="forbidden") == []


def test_a_form_without_a_session_comes_back_and_says_that_nothing_was_done(client: httpx.Client, site: Site) -> None:
    form, stood = {"act": "approve", "back": "/mine"}, {"referer": f"{site.url}/comments/3?show=abuse"}
    asked = client.post("/comments/3/decide", data=form, headers=stood).headers["location"]
    assert asked == "/sign-in?lost=yes&next=/comments/3%3Fshow%3Dabuse%26lost%3Dyes"
    page = client.get(asked).text
    assert "what you sent was not done" in page
    wanted = unescape(re.search(r'name="next" value="([^"]+)"', page)[1])  # type: ignore[index]
    back = client.post("/sign-in", data={"name": "ada", "password": PASSWORD, "next": wanted}).headers["location"]
    assert back == "/comments/3?show=abuse&lost=yes"
    assert "what you sent was not done" in client.get(back).text
    assert "what you sent was not done" not in client.get("/comments/3").text
    assert not site.store.listing.decisions()


@pytest.mark.parametrize(
    ("referer", "back", "expected"),
    [
        (None, "/mine", "/mine"),
        ("https://evil.example/comments/3", "", "/work"),
        ("{url}/people/change", "", "/work"),  # the answer to a form: nothing to go back to
        ("{url}//evil.example/work", "https://evil.example/", "/work"),
        ("http://[evil", "//evil.example", "/work"),
    ],
)
def test_a_lost_form_leads_to_pages_of_ours_alone(
    client: httpx.Client, site: Site, referer: str | None, back: str, expected: str
) -> None:
    headers = {"referer": referer.format(url=site.url)} if referer else {}
    asked = client.post("/comments/3/skip", data={"back": back}, headers=headers).headers["location"]
    assert asked == f"/sign-in?lost=yes&next={expected}%3Flost%3Dyes"


def test_a_form_of_an_older_session_leads_back_to_its_page(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    old = csrf(client)
    client.cookies.clear()
    sign_in(client, "ada")
    form = {"act": "approve", "csrf": old}
    answer = client.post("/comments/3/decide", data=form, headers={"referer": f"{site.url}/comments/3?show=abuse"})
    assert answer.status_code == 403
    assert '<a href="/comments/3?show=abuse">Back to where you were</a>' in answer.text
    answer = client.post("/comments/3/decide", data=form, headers={"referer": "https://evil.example/comments/3"})
    assert answer.status_code == 403 and "Back to where you were" not in answer.text


def test_what_changes_something_does_not_answer_to_get(client: httpx.Client) -> None:
    sign_in(client, "ada")
    for path in ("/comments/3/decide", "/comments/3/skip", "/decisions/1/undo", "/sign-out", "/work/release"):
        assert client.get(path).status_code == 405


def test_the_cookie(client: httpx.Client, site: Site) -> None:
    cookie = sign_in(client, "ada").headers["set-cookie"].lower()
    assert cookie.startswith("moderation=") and "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
    assert "secure" not in cookie
    secret = client.cookies["moderation"]
    client.post("/sign-out", data={"csrf": csrf(client)})
    client.cookies.set("moderation", secret)
    assert client.get("/mine").status_code == 303


def test_headers(client: httpx.Client) -> None:
    sign_in(client, "ada")
    for path in ("/work", "/", "/mine", "/comments/999999", "/assets/review.css", "/sign-in"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/work").headers["cache-control"] == "no-store"
    page = client.get("/comments/3").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style| style=| on[a-z]+=", page)


def test_failed_sign_ins_have_to_wait(client: httpx.Client) -> None:
    for _ in range(5):
        assert sign_in(client, "ada", "wrong").status_code == 401
    answer = sign_in(client, "ada")
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert "ada" not in client.cookies
    assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    "where", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/\tx", "javascript:1"]
)
def test_no_way_to_another_site(client: httpx.Client, where: str) -> None:
    assert own_path(where) is None
    answer = client.post("/sign-in", data={"name": "ada", "password": PASSWORD, "next": where})
    assert answer.headers["location"] == "/work"


def test_what_the_script_asks_by_itself_keeps_no_session_alive(tmp_path: Path, shipped: Scorer, policy: Policy) -> None:
    clock = Clock()
    with open_store(tmp_path / "queue.db", now=clock) as store:
        for site in serve(store, shipped, policy):
            with httpx.Client(base_url=site.url, timeout=60, headers={"accept": "application/json"}) as client:
                sign_in(client, "ada")
                clock.forward(minutes=90)
                assert client.get("/mine", headers={"accept": "text/html"}).status_code == 200
                for _ in range(7):
                    assert client.get("/counts").status_code == client.get("/work/cards").status_code == 200
                    clock.forward(minutes=17)
                clock.forward(minutes=2)
                assert client.get("/counts").status_code == 401


def test_sign_in_goes_to_where_one_wanted(client: httpx.Client) -> None:
    where = client.get("/comments/3?show=abuse").headers["location"]
    assert where == "/sign-in?next=/comments/3%3Fshow%3Dabuse"
    answer = client.post("/sign-in", data={"name": "ada", "password": PASSWORD, "next": "/comments/3?show=abuse"})
    assert answer.headers["location"] == "/comments/3?show=abuse"


def test_a_form_sent_twice_counts_once(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    site.store.desk.take("ada", 3)
    form = {"act": "reject", "reason": "ABUSE", "csrf": csrf(client), "key": "the form's own key"}
    answers = [
        client.post("/comments/3/decide", data=form, headers={"accept": "application/json"}).json() for _ in range(2)
    ]
    assert [answer["repeated"] for answer in answers] == [False, True]
    assert answers[0]["decision"] == answers[1]["decision"]
    assert len(site.store.listing.decisions()) == 1


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"act": "reject"}, "reason"),
        ({"act": "reject", "reason": "NONE"}, "reason"),
        ({"act": "escalate", "note": "  "}, "note"),
        ({"act": "delete"}, "act"),
        ({"act": "reject", "reason": "ABUSE", "ground": "whim"}, "ground"),
    ],
)
def test_an_incomplete_decision_is_refused(client: httpx.Client, site: Site, form: dict[str, str], words: str) -> None:
    sign_in(client, "ada")
    answer = client.post("/comments/3/decide", data=form | {"csrf": csrf(client)})
    assert answer.status_code == 400
    told = re.search(r"<h1>.*</h1>\n<p>(.*)</p>", answer.text)
    assert told is not None and words in told[1].lower()
    assert not site.store.listing.decisions()


def test_forms_are_bounded(client: httpx.Client) -> None:
    sign_in(client, "ada")
    answer = client.post("/comments/3/decide", data={"note": "x" * 300_000})
    assert answer.status_code == 413
    answer = client.post("/comments/3/decide", content=b"act=approve", headers={"content-type": "text/plain"})
    assert answer.status_code == 400


def test_an_edit_since_it_was_read_is_not_decided_on(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    client.get("/comments/3")
    site.put(Comment("3", "I take it back, and ask the mayor's pardon, you clown.", "ironhorse77"))
    answer = client.post("/comments/3/decide", data={"act": "approve", "version": "1", "csrf": csrf(client)})
    assert answer.status_code == 409
    assert "version 2" in client.get("/comments/3").text


def test_only_ones_own_decision_can_be_undone(client: httpx.Client, site: Site) -> None:
    site.store.desk.decide("bob", 3, Ruling("approve"))
    sign_in(client, "ada")
    [made] = site.store.listing.decisions()
    assert client.post(f"/decisions/{made.ref}/undo", data={"csrf": csrf(client)}).status_code == 403
    assert site.store.listing.item(3).state == "approved"


def test_no_undo_is_offered_that_can_only_fail(client: httpx.Client, site: Site) -> None:
    desk, undos = site.store.desk, re.compile(r'action="/decisions/(\d+)/undo"')
    mine, revised = (desk.decide("ada", ref, Ruling("reject", reason="ABUSE")).past.ref for ref in (3, 4))
    desk.decide("sue", 4, Ruling("approve"), revise=True)
    site.store.desk.decide("bob", 5, Ruling("reject", reason="ABUSE"))
    opened = site.store.appeals.open("gazette", site.store.listing.item(5).comment.id)
    settled = site.store.appeals.decide("ada", opened.ref, Ruling("approve")).past.ref
    sign_in(client, "ada")
    assert undos.findall(client.get("/mine").text) == [str(mine)]
    assert "data-latest" not in client.get("/work").text
    for path in ("/comments/4", "/comments/5", f"/comments/5?done={settled}", f"/mine?done={revised}"):
        assert undos.findall(client.get(path).text) == ([str(mine)] if "mine" in path else [])
    assert undos.findall(client.get("/comments/3").text) == [str(mine)]


def test_opening_a_comment_keeps_nobody_else_from_it(client: httpx.Client, site: Site) -> None:
    """Neither an escalated one from the seniors, nor one that waits for a second look from those who may have it."""
    site.store.desk.decide("bob", 3, Ruling("escalate", note="Please look."))
    site.put(Comment("twice", "You stupid, lying pig."), intake=Intake(sample=0, double=1))
    twice = site.store.listing.find("gazette", "twice")
    assert twice is not None
    site.store.desk.decide("ada", twice, Ruling("approve"))
    sign_in(client, "ada")
    for ref in (3, twice):
        page = client.get(f"/comments/{ref}")
        assert page.status_code == 200 and "/decide" not in page.text
        assert site.store.listing.item(ref).claimed_by is None


def test_exports(client: httpx.Client, site: Site) -> None:
    site.store.desk.decide("ada", 3, Ruling("reject", reason="ABUSE"))
    sign_in(client, "sue")
    lines = client.get("/export/decisions.jsonl")
    assert lines.headers["content-disposition"] == 'attachment; filename="decisions.jsonl"'
    assert '"abuse":1' in lines.text and lines.text.count("\n") == 1
    assert client.get("/export/decisions.csv").text.count("\n") == 2
    assert "DECISION_GROUND_INCOMPATIBLE_CONTENT" in client.get("/export/statements.jsonl").text
    assert client.get("/export/passwords").status_code == 404
    assert len(site.store.people.audit(kind="exported")) == 3


def test_appeals_do_not_tell_the_second_reviewer_what_the_first_decided(client: httpx.Client, site: Site) -> None:
    site.put(Comment("twice", "You stupid, lying pig."), intake=Intake(sample=0, double=1))
    twice = site.store.listing.find("gazette", "twice")
    assert twice is not None
    site.store.desk.decide("bob", twice, Ruling("reject", reason="ABUSE"))
    second = site.store.desk.decide("sue", twice, Ruling("reject", reason="ABUSE")).past.ref
    appeal = site.store.appeals.open("gazette", "twice", statement="It was a joke.")
    sign_in(client, "ada")
    assert "lying pig" in client.get("/appeals").text
    assert client.get(f"/appeals/{appeal.ref}").status_code == 200
    site.store.desk.undo("sue", second)
    assert "lying pig" not in client.get("/appeals").text
    entered = client.post("/appeals", data={"csrf": csrf(client), "site": "gazette", "id": "twice"})
    answers = [entered, client.get(f"/appeals/{appeal.ref}"), client.get("/find", params={"reference": "AAAAA-AAAAA"})]
    assert [answer.status_code for answer in answers] == [409, 409, 404]
    for answer in answers[:2]:
        assert "waits for a decision" in answer.text and "rejected" not in answer.text


@pytest.mark.parametrize("path", ["/comments/{}", "/appeals/{}", "/comments/{}/thread", "/?article={}", "/?after={}"])
@pytest.mark.parametrize("digits", [19, 20, 5_000])
def test_huge_numbers_are_the_clients_fault(client: httpx.Client, path: str, digits: int) -> None:
    sign_in(client, "ada")
    assert 400 <= client.get(path.format("9" * digits)).status_code < 500


def test_a_huge_version_is_the_clients_fault(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    site.store.desk.take("ada", 3)
    form = {"act": "approve", "csrf": csrf(client), "version": "9" * 5_000}
    assert client.post("/comments/3/decide", data=form).status_code == 400
    assert not site.store.listing.decisions()


@pytest.mark.parametrize(
    "seen", [{}, {1: 1}, {1: 1, 2: 1, 3: 1, 9: 2, 10: 2, 12: 1}, dict.fromkeys(range(5, 9_999), 3)]
)
def test_what_a_preview_names_comes_back_from_its_form(seen: dict[int, int]) -> None:
    if seen:
        assert unpacked(packed(seen)) == seen
    assert packed({1: 1, 2: 1, 3: 1, 9: 2, 10: 2, 12: 1}) == "1-3,9-10:2,12"


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1:", "1,,2", "1-99999999999", "1-10001", "9" * 30, "٣"])
def test_a_form_that_names_no_comments(text: str) -> None:
    with pytest.raises(InputError, match="seen"):
        unpacked(text)


HALF_A_FORM = b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nname="


def test_a_form_that_does_not_arrive_keeps_no_connection(
    tmp_path: Path, shipped: Scorer, policy: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(tmp_path / "queue.db") as store:
        for site in serve(store, shipped, policy, Settings(body_timeout=1)):
            address = ("127.0.0.1", int(site.url.rpartition(":")[2]))
            with socket.create_connection(address) as slow:
                slow.settimeout(30)
                slow.sendall(HALF_A_FORM)
                reply = b"".join(iter(lambda: slow.recv(65_536), b""))  # until it is closed
            assert reply.startswith(b"HTTP/1.1 408 ") and b"within 1 seconds" in reply
            with socket.create_connection(address) as gone:
                gone.sendall(HALF_A_FORM)
            for _ in range(200):
                counted = httpx.get(f"{site.url}/metrics", timeout=60).text
                if 'status="499"' in counted:
                    break
                time.sleep(0.05)
            assert 'status="499"' in counted and 'status="500"' not in counted
    assert "a request failed" not in caplog.text


def test_strangers_write_nothing_into_the_audit(client: httpx.Client, site: Site) -> None:
    elsewhere = {"sec-fetch-site": "cross-site"}
    for path in ("/sign-in", "/work/release"):
        assert client.post(path, data={"name": "x"}, headers=elsewhere).status_code in (303, 403)
    assert site.store.people.audit(kind="forbidden") == []
    sign_in(client, "ada")
    assert client.post("/sign-in", data={"name": "x"}, headers=elsewhere).status_code == 403
    assert [line.user for line in site.store.people.audit(kind="forbidden")] == ["ada"]
