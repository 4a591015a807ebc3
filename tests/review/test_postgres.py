"""What PostgreSQL refuses and SQLite takes is the client's fault, and the database's address stays inside."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from moderation import Policy, Scorer
from moderation.comment import Article, Comment
from moderation.queue import Filter
from moderation.server.moderators import into_queue
from tests.queue import conftest as queues
from tests.review.conftest import PASSWORD, Site, open_store, serve

postgres = queues.postgres

ACCEPTED = ("text/html", "application/json")


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path, shipped: Scorer, policy: Policy) -> Iterator[Site]:
    """A server without comments on either database."""
    where = str(tmp_path / "queue.db")
    if request.param == "postgres":
        where = request.getfixturevalue("postgres")
        queues.empty(where)
    with open_store(where) as store:
        yield from serve(store, shipped, policy)


@pytest.fixture
def client(either: Site) -> Iterator[httpx.Client]:
    """A browser without a screen."""
    with httpx.Client(base_url=either.url, timeout=60, headers={"accept": "text/html"}) as client:
        yield client


def sign_in(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/sign-in", data={"name": name, "password": PASSWORD})


def test_nul_is_the_clients_fault(client: httpx.Client) -> None:
    answers = [sign_in(client, "a\x00b")]
    assert sign_in(client, "root").status_code == 303
    answers += [client.get("/audit?kind=%00"), client.get("/find?reference=%00")]
    for answer in answers:
        assert answer.status_code < 500
        assert "DataError" not in answer.text and "sql" not in answer.text.lower()


def test_what_the_database_says_is_not_shown(tmp_path: Path, shipped: Scorer, policy: Policy) -> None:
    """Where the database is is nobody's business outside, also while it cannot be used."""
    folder, away = tmp_path / "here", tmp_path / "away"
    folder.mkdir()
    with open_store(folder / "queue.db") as store:
        for site in serve(store, shipped, policy):
            store.database.engine.dispose()
            folder.rename(away)
            form = {"name": "ada", "password": PASSWORD}
            answers = [
                httpx.post(f"{site.url}/sign-in", data=form, headers={"accept": kind}, timeout=60) for kind in ACCEPTED
            ]
            answers.append(
                httpx.post(f"{site.url}/v1/queue", json={}, headers={"authorization": "Bearer x"}, timeout=60)
            )
            away.rename(folder)
    for answer in answers:
        assert answer.status_code == 503
        assert "queue.db" not in answer.text and "Error " not in answer.text


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("id", {"id": secrets.token_hex(4_500)}),
        ("author", {"author": secrets.token_hex(4_500)}),
        ("author", {"author": "é" * 901}),
        ("parent_id", {"parent_id": secrets.token_hex(4_500)}),
        ("article.url", {"article": {"url": "https://news.example/" + secrets.token_hex(4_500)}}),
        ("article.title", {"article": {"title": secrets.token_hex(4_500)}}),
    ],
)
def test_a_field_that_is_too_long_for_an_index_is_named(either: Site, place: str, more: dict[str, object]) -> None:
    secret, _ = either.store.people.make_token("root", "backend")
    good, bad = {"id": "1", "text": "You stupid liar."}, {"id": "2", "text": "You stupid liar."} | more
    with httpx.Client(base_url=either.url, timeout=60, headers={"authorization": f"Bearer {secret}"}) as machine:
        answer = machine.post("/v1/queue", json={"site": "gazette", "comments": [good, bad]})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == f"comments[1].{place}"
        assert "1,800 bytes" in answer.json()["detail"]
        assert either.store.listing.count(Filter(state=None)) == 0
        answer = machine.post("/v1/queue", json={"site": "gazette", "comment": bad})
        assert answer.json()["errors"][0]["path"] == f"comment.{place}"


def test_fields_as_long_as_they_may_be_are_kept(either: Site) -> None:
    secret, _ = either.store.people.make_token("root", "backend")
    longest = {name: secrets.token_hex(900) for name in ("id", "author", "parent_id")}
    article = {"title": "x" * 9_000, "url": secrets.token_hex(900)}
    body = {"site": "🐍" * 200, "comment": {"text": "You stupid liar.", "article": article, **longest}}
    with httpx.Client(base_url=either.url, timeout=60, headers={"authorization": f"Bearer {secret}"}) as machine:
        assert machine.post("/v1/queue", json=body).json()["new"] == 1


def test_a_double_click_on_a_bulk_act_gets_one_answer(either: Site, client: httpx.Client) -> None:
    either.put(*[Comment(f"c{n}", f"You stupid liar, number {n}.") for n in range(400)])
    sign_in(client, "ada")
    page = client.get("/bulk", params={"label": "abuse", "low": "0", "high": "1"}).text
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert form["key"] and form["seen"]
    form |= {"act": "approve"}

    def click(_: int) -> httpx.Response:
        return httpx.post(f"{either.url}/bulk", data=form, cookies=dict(client.cookies), timeout=60)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(click, range(4)))
    assert [answer.status_code for answer in answers] == [303] * 4
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(either.store.bulks.latest()) == 1


def test_what_scoring_puts_in_is_shortened_and_still_belongs_together(either: Site) -> None:
    long = secrets.token_hex(4_500)
    put = into_queue(either.store, either.scorer, either.policy, "scored")
    for comment in (
        Comment(long, "You stupid liar.", long, article=Article("x" * 9_000, long)),
        Comment("reply", "You stupid, stupid liar.", long, parent_id=long, article=Article(None, long)),
    ):
        score = either.scorer.score(comment)
        put([comment], [score], [either.policy.decide(score)])
    first, reply = (either.store.listing.item(ref).comment for ref in (1, 2))
    assert reply.parent_id == first.id and len(first.id) < 300 and first.id.startswith(long[:200])
    assert first.author == reply.author
    assert either.store.listing.item(1).article_ref == either.store.listing.item(2).article_ref
