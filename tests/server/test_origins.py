"""Web pages that call: those of allowed origins and our own may, any other may not; programs are not asked."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright
from starlette.testclient import TestClient

from moderation import Policy, Scorer
from moderation.errors import InputError
from moderation.server import Settings, create_app
from tests.conftest import CHROMIUM
from tests.review.conftest import FLAGS
from tests.server.running import Server, serving
from tests.server.test_operations import run

ANALYZE = {"comment": {"text": "A fine day."}, "requestedAttributes": {"TOXICITY": {}}, "languages": ["en"]}
SUGGEST = {"comment": {"text": "A fine day."}, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 1}}}}
BODIES = {
    "/v1alpha1/comments:analyze": ANALYZE,
    "/v1alpha1/comments:suggestscore": SUGGEST,
    "/v1/score": {"comment": {"text": "A fine day."}},
    "/v1/moderations": {"input": "A fine day."},
    "/coral/phase": {"comment": {"body": "A fine day."}},
}
EVIL = "https://evil.example"


def post(client: httpx.Client, path: str = "/v1alpha1/comments:analyze", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, json=BODIES[path], headers=named)


@pytest.mark.parametrize("path", BODIES)
def test_another_sites_page_may_not_call(server: Server, path: str) -> None:
    refused = post(server.client, path, origin=EVIL)
    assert refused.status_code == 403
    assert "--cors" in refused.text
    if "comments:" in path:
        assert refused.json()["error"]["status"] == "PERMISSION_DENIED"
    assert post(server.client, path).status_code in (200, 204)


def test_what_it_sends_leaves_no_feedback(tmp_path: Path) -> None:
    kept = tmp_path / "feedback.jsonl"
    with serving(tmp_path, "--feedback", str(kept)) as server:
        plain = {"content-type": "text/plain", "origin": EVIL}  # needs no preflight
        refused = server.client.post("/v1alpha1/comments:suggestscore", json=SUGGEST, headers=plain)
        assert refused.status_code == 403
        assert not kept.exists() or not kept.read_text()
        assert server.client.post("/v1alpha1/comments:suggestscore", json=SUGGEST).status_code == 200
        assert len(kept.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[", "host": "["}, 403),
        ({"origin": "http://127.0.0.1:8080", "host": "127.0.0.1:8080"}, 200),
        ({"origin": "http://127.0.0.1:8081", "host": "127.0.0.1:8080"}, 403),
        ({"origin": "http://localhost", "host": "LOCALHOST"}, 200),
        ({"origin": "http://[::1]:8080", "host": "[::1]:8080"}, 200),
        ({"origin": "http://app.localhost:8080", "host": "app.localhost:8080"}, 200),
        # Behind a proxy on this machine that ends TLS, with and without the host that the browser sent.
        ({"origin": "https://comments.example", "host": "comments.example"}, 200),
        ({"origin": "https://comments.example", "host": "127.0.0.1:8080", "sec_fetch_site": "same-origin"}, 200),
        # A page that turned its own name on this machine (DNS rebinding) thinks that it is of one origin with us.
        ({"origin": "http://rebound.example:8080", "host": "rebound.example:8080"}, 403),
        ({"origin": "http://rebound.example", "host": "rebound.example"}, 403),
    ],
)
def test_our_own_pages_and_programs_may(server: Server, headers: dict[str, str], expected: int) -> None:
    assert post(server.client, **headers).status_code == expected


def test_pages_of_an_allowed_origin_may(keyed: Server) -> None:
    for path in BODIES:
        allowed = post(keyed.client, path, origin="https://news.example", x_api_key="secret-one")
        assert allowed.status_code in (200, 204)
        assert allowed.headers["access-control-allow-origin"] == "https://news.example"
        assert post(keyed.client, path, origin=EVIL, x_api_key="secret-one").status_code == 403


def test_any_origin_may_where_that_is_set(shipped: Scorer) -> None:
    with TestClient(create_app(shipped, Policy.load(), Settings(cors=("*",)))) as client:
        for origin in (EVIL, "null"):
            assert post(client, origin=origin).status_code == 200


def test_a_name_of_our_own_is_known_by_the_public_address(shipped: Scorer) -> None:
    rebound = {"origin": "http://moderation.internal:8080", "host": "moderation.internal:8080"}
    for settings, expected in (
        (Settings(loopback=True), 403),
        (Settings(loopback=True, public_url="http://moderation.internal:8080/"), 200),
        (Settings(), 200),  # other machines reach us too, and by what name we cannot tell
    ):
        with TestClient(create_app(shipped, Policy.load(), settings)) as client:
            assert post(client, **rebound).status_code == expected


@pytest.mark.parametrize(
    "origin", ["news.example", "https://news.example/", "https://news.example/page", "https://[", ""]
)
def test_what_is_no_origin_is_refused_at_the_start(origin: str, shipped: Scorer) -> None:
    with pytest.raises(InputError, match="--cors: expected an origin"):
        create_app(shipped, Policy.load(), Settings(cors=(origin,)))


def test_the_command_says_what_is_no_origin() -> None:
    done = run("--port", "0", "--cors", "https://news.example/")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --cors: expected an origin as in https://news.example")


FETCH = """async ([address, body]) => {
  try { return (await fetch(address + "/v1alpha1/comments:analyze", {method: "POST", body})).status; }
  catch { return "no answer that the page may read"; }
}"""


def test_a_real_browser(tmp_path: Path, server: Server) -> None:
    """The page of another origin is that of a second server; the documented fetch sample is what it runs."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    (tmp_path / "open").mkdir()
    # A thread of its own, for the browser of other tests may live in this one.
    with serving(tmp_path / "open", "--cors", server.address) as opened, ThreadPoolExecutor(1) as thread:
        thread.submit(look, server, opened).result()


def look(server: Server, opened: Server) -> None:
    """Visit both servers' pages and call either from them."""
    with sync_playwright() as play, play.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        page = browser.new_page(bypass_csp=True)
        page.goto(f"{server.address}/docs")
        asked = json.dumps(ANALYZE)
        assert page.evaluate(FETCH, [server.address, asked]) == 200
        assert page.evaluate(FETCH, [opened.address, asked]) == 200
        page.goto(f"{opened.address}/docs")
        assert page.evaluate(FETCH, [server.address, asked]) == "no answer that the page may read"
        assert 'status="403"' in server.client.get("/metrics").text
