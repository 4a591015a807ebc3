"""Machines put comments into the queue and open appeals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from moderation.comment import Comment
from moderation.queue import Filter, Ruling
from tests.review.conftest import Site
from tests.server.test_openapi import CHECKS


@pytest.fixture
def machine(empty: Site) -> Iterator[httpx.Client]:
    """A backend with a token."""
    secret, _ = empty.store.people.make_token("root", "backend", ("queue", "appeals"))
    with httpx.Client(base_url=empty.url, timeout=60, headers={"authorization": f"Bearer {secret}"}) as client:
        yield client


INSULT = {
    "id": "c1",
    "text": "You stupid, lying pig.",
    "author": "joe",
    "article": {"title": "Ferry", "url": "https://news.example/f"},
}


def test_comments_come_in_once(empty: Site, machine: httpx.Client) -> None:
    first = machine.post("/v1/queue", json={"site": "gazette", "comment": INSULT}).json()
    assert (first["new"], first["queued"], first["unchanged"]) == (1, 1, 0)
    [result] = first["results"]
    assert result["id"] == "c1" and result["action"] in ("review", "hold")
    again = machine.post("/v1/queue", json={"site": "gazette", "comment": INSULT}).json()
    assert (again["new"], again["queued"], again["unchanged"]) == (0, 0, 1)
    other = machine.post("/v1/queue", json={"site": "courier", "comment": INSULT}).json()
    assert other["new"] == 1
    [item] = empty.store.desk.claim("ada", Filter(site="gazette"))
    assert item.comment.article is not None and item.comment.article.title == "Ferry"
    assert any(span.label == "abuse" for span in item.version.spans)


def test_an_edit_is_scored_anew(empty: Site, machine: httpx.Client) -> None:
    machine.post("/v1/queue", json={"site": "gazette", "comment": INSULT})
    edited = machine.post(
        "/v1/queue", json={"site": "gazette", "comment": INSULT | {"text": "Thank you, you idiot."}}
    ).json()
    assert edited["edited"] == 1
    ref = edited["results"][0]["ref"]
    assert [version.text for version in empty.store.listing.versions(ref)][-1] == "Thank you, you idiot."


def test_many_at_once(empty: Site, machine: httpx.Client) -> None:
    comments = [{"id": f"c{n}", "text": "You stupid, lying pig." if n % 2 else "Lovely weather."} for n in range(100)]
    answer = machine.post("/v1/queue", json={"site": "gazette", "comments": comments}).json()
    assert answer["new"] == 100 and 50 <= answer["queued"] <= 55
    assert empty.store.listing.counts().waiting == answer["queued"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"site": "gazette"}, 400, "comment or comments"),
        ({"site": "", "comment": INSULT}, 400, "site"),
        ({"comment": INSULT}, 400, "site"),
        ({"site": "gazette", "comment": {"text": "x"}}, 400, "comment.id"),
        ({"site": "gazette", "comments": [INSULT, {"text": "x"}]}, 400, "comments[1].id"),
        ({"site": "gazette", "comments": [INSULT, {"id": "2", "text": 7}]}, 400, "comments[1].text"),
        ({"site": "gazette", "comment": INSULT | {"colour": "red"}}, 400, "colour"),
        ({"site": "gazette", "comments": [{"id": str(n), "text": ""} for n in range(1_001)]}, 413, "1000"),
        ([], 400, "object"),
    ],
)
def test_what_is_wrong_is_named(empty: Site, machine: httpx.Client, body: Any, status: int, words: str) -> None:
    answer = machine.post("/v1/queue", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert empty.store.listing.count(Filter(state=None)) == 0


def test_a_token_is_asked_for(empty: Site, machine: httpx.Client) -> None:
    body = {"site": "gazette", "comment": INSULT}
    for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}):
        answer = machine.post("/v1/queue", json=body, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    export, _ = empty.store.people.make_token("root", "reader", ("export",))
    assert machine.post("/v1/queue", json=body, headers={"authorization": f"Bearer {export}"}).status_code == 401
    assert machine.get("/v1/decisions").status_code == 401
    assert machine.get("/v1/queue").status_code == 405


def test_an_appeal(empty: Site, machine: httpx.Client) -> None:
    ref = machine.post("/v1/queue", json={"site": "gazette", "comment": INSULT}).json()["results"][0]["ref"]
    asked = {"site": "gazette", "id": "c1", "statement": "It was a joke."}
    assert machine.post("/v1/appeals", json=asked).status_code == 409
    empty.store.desk.decide("ada", ref, Ruling("reject", reason="ABUSE"))
    opened = machine.post("/v1/appeals", json=asked)
    assert opened.status_code == 201 and opened.json()["state"] == "open"
    assert machine.post("/v1/appeals", json=asked).json() == opened.json()
    assert empty.store.appeals.find(opened.json()["reference"]).comment_ref == ref
    assert machine.post("/v1/appeals", json=asked | {"id": "none"}).status_code == 404
    assert not empty.store.appeals.waiting("ada")
    assert empty.store.appeals.waiting("bob")


@pytest.fixture
def reader(empty: Site) -> Iterator[httpx.Client]:
    """A machine that reads decisions."""
    secret, _ = empty.store.people.make_token("root", "labels", ("export",))
    with httpx.Client(base_url=empty.url, timeout=60, headers={"authorization": f"Bearer {secret}"}) as client:
        yield client


def test_decisions_are_streamed(empty: Site, machine: httpx.Client, reader: httpx.Client) -> None:
    comments = [{"id": f"c{n}", "text": f"You stupid, lying pig {n}." * 20} for n in range(300)]
    machine.post("/v1/queue", json={"site": "gazette", "comments": comments})
    empty.put(Comment("c1", "You stupid, lying pig."), site="courier")
    empty.store.bulks.act("ada", Filter(), Ruling("reject", reason="ABUSE"))
    with reader.stream("GET", "/v1/decisions") as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        assert "content-length" not in answer.headers
        found = [json.loads(line) for line in answer.iter_lines()]
    expected = list(empty.store.exports.records())
    assert found == expected and len(found) > 200  # some wait for a second look
    [line] = reader.get("/v1/decisions", params={"site": "courier"}).text.splitlines()
    assert json.loads(line)["decision"]["act"] == "reject"
    assert reader.get("/v1/decisions", params={"since": "2099-01-01"}).text == ""
    [latest, *_] = empty.store.people.audit(kind="exported")
    assert (latest.user, latest.detail) == ("root", "decisions, token labels")


@pytest.mark.parametrize(
    ("query", "words"), [("since=yesterday", "since"), ("sites=gazette", "sites"), ("site=a&site=b", "site")]
)
def test_a_wrong_question_for_decisions(reader: httpx.Client, query: str, words: str) -> None:
    answer = reader.get(f"/v1/decisions?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert words in answer.json()["detail"]


QUEUE_ROUTES = [("/v1/queue", "POST"), ("/v1/appeals", "POST"), ("/v1/decisions", "GET")]
MODES = [(*route, mode) for route in QUEUE_ROUTES for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]


@pytest.mark.parametrize(("path", "method", "mode"), MODES)
def test_the_openapi_document_is_kept(empty: Site, path: str, method: str, mode: GenerationMode) -> None:
    secret, _ = empty.store.people.make_token("root", "all", ("queue", "appeals", "export"))
    document = httpx.get(f"{empty.url}/openapi.json", timeout=60).json()
    assert document["paths"][path][method.lower()]["security"] == [{"token": []}]
    operation = schemathesis.openapi.from_dict(document)[path][method]
    headers = {"authorization": f"Bearer {secret}"}

    with requests.Session() as session:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        def call(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=empty.url, session=session, headers=headers, checks=CHECKS)

        call()


def test_the_examples_of_the_openapi_document_work(empty: Site, machine: httpx.Client) -> None:
    paths = machine.get("/openapi.json").json()["paths"]

    def example(path: str) -> Any:
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]

    assert machine.post("/v1/queue", json=example("/v1/queue")).json()["new"] == 1
    ref = empty.store.listing.find("gazette", "c-1")
    assert ref is not None
    empty.store.desk.decide("ada", ref, Ruling("reject", reason="ABUSE"))
    assert machine.post("/v1/appeals", json=example("/v1/appeals")).status_code == 201
