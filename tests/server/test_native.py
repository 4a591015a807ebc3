"""Our own routes: scores, verdicts and reasons; the passport; problem details."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from moderation import Comment, Policy, Score, Scorer, Verdict
from moderation.errors import PolicyError
from moderation.explain import Explanation
from moderation.server import Settings, create_app
from tests.server.running import Server

RUDE = "🔪 You pathetic little liar, you are an idiot."
MILD = "I like this article about gardens."


def score(server: Server, **body: Any) -> Any:
    response = server.client.post("/v1/score", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_many_comments_in_their_order(server: Server, shipped: Scorer) -> None:
    comments = [{"id": "c-1", "text": RUDE}, {"text": MILD, "author": "Ann", "article": {"title": "Gardens"}}]
    answer = score(server, comments=comments)
    assert (answer["model"], answer["policy"]) == (shipped.model_id, Policy.load().id)
    first, second = answer["results"]
    assert (first["id"], second["id"]) == ("c-1", "2")
    for result, text in ((first, RUDE), (second, MILD)):
        assert result["scores"] == pytest.approx(shipped.score(text).probabilities, abs=1e-6)
    assert first["verdict"]["action"] == "hold"
    assert second["verdict"] == {"action": "allow"}


def test_one_comment(server: Server) -> None:
    (result,) = score(server, comment={"text": RUDE})["results"]
    assert result["id"] == "1"


def test_reasons_mark_the_words(server: Server) -> None:
    (result,) = score(server, comment={"text": RUDE})["results"]
    words = [RUDE[reason["start"] : reason["end"]] for reason in result["verdict"]["reasons"]]
    assert "pathetic" in words
    (units,) = score(server, comment={"text": RUDE}, offsets="utf-16")["results"]
    raw = RUDE.encode("utf-16-le")
    found = [raw[2 * reason["start"] : 2 * reason["end"]].decode("utf-16-le") for reason in units["verdict"]["reasons"]]
    assert found == words


def test_explanations_on_request(server: Server, shipped: Scorer) -> None:
    (every,) = score(server, comment={"text": MILD}, explain="all")["results"]
    assert set(every["reasons"]) == set(shipped.labels)
    (none,) = score(server, comment={"text": RUDE}, explain="none")["results"]
    assert "reasons" not in none["verdict"]


def test_one_path_for_one_and_many(server: Server) -> None:
    texts = [MILD, RUDE, "x " * 3_000, ""] * 20
    together = score(server, comments=[{"text": text} for text in texts])["results"]
    for text, result in zip(texts[:4], together[:4], strict=True):
        (alone,) = score(server, comment={"text": text})["results"]
        assert alone["scores"] == result["scores"]


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ([], "", "expected an object"),
        ({}, "", "expected either comment or comments, got neither"),
        ({"comments": []}, "comments", "length >= 1"),
        ({"comments": [{"text": "a"}, {"text": 5}]}, "comments[1].text", "expected `str`, got `int`"),
        ({"comments": [{"id": "a"}]}, "comments[0]", "text"),
        ({"comment": {"text": "a", "colour": "red"}}, "comment", "colour"),
        ({"comment": {"text": "a"}, "comments": []}, "", "expected either comment or comments, got both"),
        ({"comment": {"text": "a"}, "explain": "some"}, "explain", "expected 'flagged' or 'all' or 'none', got 'some'"),
        (
            {"comments": [{"text": "a"}], "offsets": "bytes"},
            "offsets",
            "expected 'code-points' or 'utf-16', got 'bytes'",
        ),
        ({"comment": None}, "comment", "object"),
        ({"comments": [{"text": "a"}] * 1_001}, "comments", "at most 1000, got 1001"),
    ],
)
def test_mistakes_are_problem_details(server: Server, body: Any, path: str, words: str) -> None:
    response = server.client.post("/v1/score", json=body)
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert words in problem["detail"]
    if path:
        assert problem["errors"][0]["path"] == path


@pytest.mark.parametrize("route", ["/v1/score", "/v1/moderations"])
def test_mistakes_repeat_no_more_than_the_beginning_of_a_name(server: Server, route: str) -> None:
    for body in ({"comment": {"text": "a", "x" * 5_000: 1}}, {"input": [{"type": "x" * 5_000}]}):
        refused = server.client.post(route, json=body)
        assert refused.status_code == 400
        assert len(refused.content) < 1_000


def test_the_passport(server: Server, shipped: Scorer) -> None:
    answer = server.client.get("/v1/model").json()
    assert answer["model"] == shipped.bundle.manifest
    assert answer["policy"]["id"] == Policy.load().id
    assert answer["perspective_map"]["in_use"] is True


def test_keys_guard_our_routes(keyed: Server) -> None:
    assert keyed.client.get("/v1/model").status_code == 401
    assert keyed.client.get("/v1/model", headers={"x-api-key": "secret-one"}).status_code == 200
    refused = keyed.client.post("/v1/score", json={"comment": {"text": MILD}})
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/nowhere", "/v1/nowhere", "/docs/secrets", "/docs/..%2f..%2fapp.py"])
def test_an_unknown_address_is_a_problem(server: Server, path: str) -> None:
    response = server.client.get(path)
    assert response.status_code == 404
    assert response.json()["status"] == 404


def test_another_method_is_a_problem(server: Server) -> None:
    response = server.client.get("/v1/score")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["status"] == 405


@pytest.mark.parametrize("path", ["/v1alpha1/comments:analyze", "/comments:analyze", "/batch", "/v1alpha1/nothing"])
def test_what_the_router_refuses_of_perspective_has_googles_shape(server: Server, path: str) -> None:
    response = server.client.get(path)
    assert response.status_code in (404, 405)
    assert response.json()["error"]["code"] == response.status_code
    assert response.json()["error"]["status"] in ("NOT_FOUND", "UNIMPLEMENTED")
    assert ("allow" in response.headers) == (response.status_code == 405)


def test_what_the_router_refuses_of_moderations_has_openais_shape(server: Server) -> None:
    response = server.client.get("/v1/moderations")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_security_headers(server: Server) -> None:
    headers = server.client.get("/health").headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_pages_need_no_network(shipped: Scorer) -> None:
    with TestClient(create_app(shipped, Policy.load())) as client:
        for path in ("/", "/docs"):
            page = client.get(path)
            assert page.headers["content-type"].startswith("text/html")
            assert "script-src 'unsafe" not in page.headers["content-security-policy"]
            outside = [part for part in page.text.split('"') if part.startswith(("http://", "https://", "//"))]
            assert not outside
        for name in ("start.js", "swagger-ui.css", "swagger-ui-bundle.js"):
            assert client.get(f"/docs/{name}").status_code == 200


class Recorder:
    """What the hook was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Comment, Score, Verdict]] = []

    def __call__(self, comments: Sequence[Comment], scores: Sequence[Score], verdicts: Sequence[Verdict]) -> None:
        self.told += zip(comments, scores, verdicts, strict=True)


def test_the_hook_is_told_what_was_scored(shipped: Scorer) -> None:
    told = Recorder()
    with TestClient(create_app(shipped, Policy.load(), on_scored=told)) as client:
        client.post("/v1/score", json={"comments": [{"id": "c-1", "text": RUDE}, {"id": "c-2", "text": MILD}]})
        body = {"comment": {"text": RUDE}, "requestedAttributes": {"TOXICITY": {}}, "clientToken": "c-3"}
        client.post("/v1alpha1/comments:analyze", json=body)
        client.post("/v1alpha1/comments:analyze", json=body | {"doNotStore": True, "clientToken": "c-4"})
        client.post("/v1alpha1/comments:analyze", json=body | {"do_not_store": True, "client_token": "c-5"})
        client.post("/coral/phase", json={"comment": {"body": RUDE}, "story": {"url": "https://news.example/a"}})
    ids = [comment.id for comment, _, _ in told.told]
    assert ids[:2] == ["c-1", "c-2"]
    assert "c-3" in ids
    assert not {"c-4", "c-5"} & set(ids)  # their sender said doNotStore
    assert len(ids) == 4
    coral = told.told[-1][0]
    assert coral.article is not None
    assert coral.article.url == "https://news.example/a"
    assert all(comment.id == score.comment_id == verdict.comment_id for comment, score, verdict in told.told)


def test_a_hook_that_is_behind_makes_callers_wait(shipped: Scorer) -> None:
    go_on, told = threading.Event(), list[str]()

    def hook(comments: Sequence[Comment], *_: object) -> None:
        go_on.wait(30)
        told.extend(comment.id for comment in comments)

    app = create_app(shipped, Policy.load(), Settings(max_waiting=3), on_scored=hook)
    with TestClient(app) as client:
        statuses = [
            client.post("/v1/score", json={"comment": {"id": str(n), "text": MILD}}).status_code for n in range(5)
        ]
        go_on.set()
    assert statuses == [200, 200, 200, 503, 503]
    assert sorted(told) == ["0", "1", "2"]


def test_a_failing_hook_does_not_fail_the_request(shipped: Scorer, caplog: pytest.LogCaptureFixture) -> None:
    def hook(*_: object) -> None:
        raise RuntimeError(f"cannot store {RUDE}")

    with TestClient(create_app(shipped, Policy.load(), on_scored=hook)) as client:
        assert client.post("/v1/score", json={"comment": {"text": RUDE}}).status_code == 200
        client.get("/health")
    assert "the hook on_scored failed" in caplog.text
    assert "pathetic" not in "".join(str(vars(record)) for record in caplog.records)


def test_extra_routes_stand_before_our_page(shipped: Scorer) -> None:
    async def queue(_: object) -> PlainTextResponse:
        return PlainTextResponse("the queue", headers={"content-security-policy": "default-src 'self'"})

    async def broken(_: object) -> PlainTextResponse:
        raise ValueError(RUDE)

    routes = [Route("/", queue), Route("/v1/queue", queue), Route("/broken", broken)]
    with TestClient(create_app(shipped, Policy.load(), extra_routes=routes), raise_server_exceptions=False) as client:
        page = client.get("/")
        assert page.text == "the queue"
        assert page.headers.get_list("content-security-policy") == ["default-src 'self'"]
        assert client.get("/v1/queue").text == "the queue"
        failed = client.get("/broken")
        assert failed.status_code == 500
        assert failed.json()["detail"].startswith("Internal error")
        assert "pathetic" not in failed.text


def test_it_can_be_mounted(shipped: Scorer) -> None:
    inner = create_app(shipped, Policy.load())
    with TestClient(Starlette(routes=[Mount("/moderation", inner)])) as client:
        body = {"comment": {"text": RUDE}, "requestedAttributes": {"TOXICITY": {}}}
        assert client.post("/moderation/v1alpha1/comments:analyze", json=body).status_code == 200
        discovery = client.get("/moderation/$discovery/rest").json()
        assert discovery["rootUrl"] == "http://testserver/moderation/"


def test_bodies_held_at_a_time_are_bounded(shipped: Scorer) -> None:
    app = create_app(shipped, Policy.load(), Settings(max_buffered=1_000))
    with TestClient(app) as client:
        refused = client.post("/v1/score", json={"comment": {"text": "x" * 2_000}})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        for _ in range(50):  # what was held is given back
            assert client.post("/v1/score", json={"comment": {"text": "x" * 500}}).status_code == 200
    assert app.state.service.gate.held == 0


def test_reasons_for_many_comments_are_sought_beside_the_event_loop(
    shipped: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take seconds for a thousand long comments, and would keep every other request waiting."""
    where: set[int] = set()
    reasons = Explanation.reasons

    def watched(self: Explanation, *given: Any) -> Any:
        where.add(threading.get_ident())
        return reasons(self, *given)

    monkeypatch.setattr(Explanation, "reasons", watched)

    async def ask(count: int) -> int:
        transport = httpx.ASGITransport(create_app(shipped, Policy.load()))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            body = {"comments": [{"text": RUDE}] * count, "explain": "all"}
            return (await client.post("/v1/score", json=body)).status_code

    with ThreadPoolExecutor(1) as thread:  # a thread of its own, for other tests may keep a loop running in this one
        looping = thread.submit(threading.get_ident).result()
        assert thread.submit(lambda: asyncio.run(ask(1_000))).result() == 200
    assert where
    assert looping not in where


def test_a_policy_for_other_labels_is_refused_at_the_start(shipped: Scorer) -> None:
    policy = Policy.parse('id = "p"\n[thresholds.sarcasm]\nreview = 0.5\n')
    with pytest.raises(PolicyError, match="sarcasm"):
        create_app(shipped, policy, Settings())


@pytest.mark.parametrize("route, body", [("/v1/score", "comment"), ("/v1/moderations", "input")])
def test_the_hook_gets_no_two_texts_under_one_id(shipped: Scorer, route: str, body: str) -> None:
    told: dict[str, str] = {}

    def hook(comments: Sequence[Comment], scores: Sequence[Score], verdicts: Sequence[Verdict]) -> None:
        for comment, score, verdict in zip(comments, scores, verdicts, strict=True):
            assert comment.id == score.comment_id == verdict.comment_id
            assert told.setdefault(comment.id, comment.text) == comment.text

    with TestClient(create_app(shipped, Policy.load(), on_scored=hook)) as client:
        for text in ("One text.", "Another text."):
            assert client.post(route, json={body: {"text": text} if body == "comment" else text}).status_code == 200
    assert sorted(told.values()) == ["Another text.", "One text."]
