"""Coral as its source builds its requests: the Perspective calls, the feedback, and the external phase."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.running import Server, serving

RUDE = "You pathetic little liar, you are an idiot."
MILD = "I like this article about gardens."
AGENT = {"content-type": "application/json", "user-agent": "Coral Perspective/9.11.8"}
STATUSES = {"NONE", "APPROVED", "REJECTED", "PREMOD", "SYSTEM_WITHHELD"}
CODES = {
    *("OFFENSIVE", "ABUSIVE", "SPAM", "BANNED_WORD", "AD", "ILLEGAL_CONTENT", "HARASSMENT_BULLYING", "MISINFORMATION"),
    *("HATE_SPEECH", "IRRELEVANT_CONTENT", "OTHER"),
}


@pytest.fixture(scope="module")
def coral(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows two of Coral's secrets, as while one is being changed, and keeps feedback with text."""
    folder = tmp_path_factory.mktemp("coral")
    (folder / "secrets").write_text("new-secret\nold-secret\n")
    options = [
        "--coral-secrets",
        str(folder / "secrets"),
        "--feedback",
        str(folder / "feedback.jsonl"),
        "--feedback-text",
    ]
    with serving(folder, *options) as running:
        yield running


@pytest.mark.parametrize("model", ["TOXICITY", "INCITEMENT", "SEVERE_TOXICITY"])
def test_analyze_as_coral_calls_it(server: Server, model: str) -> None:
    body = {"comment": {"text": RUDE}, "doNotStore": True, "requestedAttributes": {model: {}}, "languages": ["en"]}
    answer = server.client.post("/v1alpha1/comments:analyze?key=any", content=json.dumps(body), headers=AGENT)
    assert isinstance(answer.json()["attributeScores"][model]["summaryScore"]["value"], float)


def feedback(value: int, *, parent: bool) -> dict[str, Any]:
    about = {"url": "https://news.example/a?commentID=c-1"}
    about |= {"reply_to_id_Coral_comment_id": "c-0"} if parent else {}
    entry = {"text": json.dumps(about | {"Coral_comment_id": "c-1"}, separators=(",", ":"))}
    return {
        "comment": {"text": RUDE},
        "context": {"entries": [entry]},
        "attributeScores": {"TOXICITY": {"summaryScore": {"value": value}}},
        "languages": ["en"],
        "communityId": "Coral:https://comments.example",
        "clientToken": "comment:c-1",
    }


@pytest.mark.parametrize("parent", [True, False])
@pytest.mark.parametrize("value", [0, 1])
def test_feedback_is_kept_as_a_label(coral: Server, value: int, parent: bool) -> None:
    content = json.dumps(feedback(value, parent=parent))
    assert coral.client.post("/v1alpha1/comments:suggestscore?key=any", content=content, headers=AGENT).is_success
    last = json.loads((coral.log.parent / "feedback.jsonl").read_text().splitlines()[-1])
    assert last["labels"] == {"abuse": value}
    assert last["attributes"] == {"TOXICITY": value}
    assert last["client_token"] == "comment:c-1"
    assert last["text"] == RUDE
    assert ("reply_to_id_Coral_comment_id" in json.loads(last["context"][0])) == parent


def phase_body(text: str, action: str = "NEW", parent: str | None = None) -> bytes:
    """JSON.stringify(data, null, 2), as Coral sends it."""
    data = {
        "action": action,
        "comment": {"body": text, "parentID": parent},
        "author": {"id": "u-1", "role": "COMMENTER"},
        "story": {"id": "s-9", "url": "https://news.example/a"},
        "site": {"id": "site-1"},
        "tenantID": "t-1",
        "tenantDomain": "comments.example",
    }
    return json.dumps(data, indent=2, ensure_ascii=False).encode()


def sign(body: bytes, *secrets: str) -> str:
    return ",".join(f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}" for secret in secrets)


def call(server: Server, body: bytes, signature: str | None) -> httpx.Response:
    headers = {"content-type": "application/json", "user-agent": "Coral Moderation/9.11.8"}
    headers |= {} if signature is None else {"x-coral-signature": signature}
    return server.client.post("/coral/phase", content=body, headers=headers)


def quickest(call_once: Callable[[], object]) -> float:
    """Return the seconds of the quickest of some calls: the machine that runs tests may be busy."""

    def seconds() -> float:
        begin = time.perf_counter()
        call_once()
        return time.perf_counter() - begin

    return min(seconds() for _ in range(20))


def test_answers_come_before_corals_timeouts(server: Server) -> None:
    text = "You idiot. " * 300
    assert quickest(lambda: server.analyze(text)) < 0.8
    assert quickest(lambda: call(server, phase_body(text), None)) < 0.2


def check_as_joi_does(answer: dict[str, Any]) -> None:
    """The rules under which Coral drops a whole answer."""
    assert answer.get("status", "NONE") in STATUSES
    for action in answer.get("actions", []):
        assert action["actionType"] == "FLAG"
        assert action["reason"] in {"COMMENT_DETECTED_TOXIC", "COMMENT_DETECTED_SPAM"}
    assert all(tag in {"FEATURED", "STAFF"} for tag in answer.get("tags", []))
    if moderation := answer.get("moderationAction"):
        assert moderation["status"] in STATUSES
        assert moderation["rejectionReason"]["code"] in CODES
        assert all(isinstance(value, str) and value for value in moderation["rejectionReason"].values())


@pytest.mark.parametrize("action", ["NEW", "EDIT"])
@pytest.mark.parametrize("secrets", [["new-secret"], ["old-secret"], ["unknown", "new-secret"], ["new-secret", "x"]])
def test_one_fitting_signature_is_enough(coral: Server, action: str, secrets: list[str]) -> None:
    body = phase_body(RUDE, action, "c-0" if action == "EDIT" else None)
    response = call(coral, body, sign(body, *secrets))
    assert response.status_code == 200
    check_as_joi_does(response.json())


def test_what_is_held_says_why_and_is_not_rejected(coral: Server) -> None:
    body = phase_body(RUDE)
    answer = call(coral, body, sign(body, "new-secret")).json()
    assert answer["status"] == "SYSTEM_WITHHELD"
    assert answer["actions"] == [{"actionType": "FLAG", "reason": "COMMENT_DETECTED_TOXIC"}]
    reason = answer["moderationAction"]["rejectionReason"]
    assert reason["code"] in {"ABUSIVE", "HARASSMENT_BULLYING"}
    assert "automated means" in reason["detailedExplanation"]
    assert "pathetic" not in json.dumps(answer)


def test_what_a_person_should_look_at_is_marked_only(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('id = "p"\n[thresholds.abuse]\nreview = 0.5\n')
    with serving(tmp_path, "--policy", str(tmp_path / "policy.toml")) as server:
        answer = call(server, phase_body(RUDE), None).json()
    assert answer == {"actions": [{"actionType": "FLAG", "reason": "COMMENT_DETECTED_TOXIC"}]}


def test_nothing_to_say_is_204_without_a_body(coral: Server) -> None:
    for text in (MILD, "", "<p></p>"):
        body = phase_body(text)
        response = call(coral, body, sign(body, "new-secret"))
        assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        "sha256=abc",  # another length
        "sha256=" + "0" * 64,
        "sha1=" + "0" * 40,
        "sha256=é",
        ",,,",
    ],
)
def test_a_wrong_signature_is_401(coral: Server, signature: str | None) -> None:
    header = None if signature is None else signature.encode("latin-1").decode("latin-1")
    headers = {} if header is None else {"x-coral-signature": header.encode("latin-1")}
    response = coral.client.post("/coral/phase", content=phase_body(RUDE), headers=headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


def test_the_signature_is_over_the_raw_body(coral: Server) -> None:
    body = phase_body(RUDE)
    assert call(coral, body + b" ", sign(body, "new-secret")).status_code == 401
    assert call(coral, body, sign(body, "new-secret").upper().replace("SHA256", "sha256")).status_code == 401


def test_markup_does_not_hide_words(server: Server) -> None:
    marked = "<p>You pathetic <b>little</b> liar,</p><p>you are an <i>id</i>iot.</p>"
    plain = call(server, phase_body(RUDE), None).json()
    assert call(server, phase_body(marked), None).json()["actions"] == plain["actions"]
    assert call(server, phase_body("I &lt;3 this &amp; that, 3 < 4 and 5 > 2"), None).status_code == 204


@pytest.mark.parametrize("shell", ["<{}>", "<script>{}", "<![CDATA[{}]]>", "{} <![ x", "<!--{}-->", "<a {}"])
def test_what_only_looks_like_markup_is_read(server: Server, shell: str) -> None:
    assert call(server, phase_body(shell.format(RUDE)), None).status_code == 200


@pytest.mark.parametrize("piece", ["<a ", '<a b="', "<!--", "<b x"])
def test_markup_without_an_end_is_read_before_the_caller_gives_up(server: Server, piece: str) -> None:
    # "<a " took half a minute when reading was quadratic; the client waits for ten seconds.
    assert call(server, phase_body(piece * 20_000), None).status_code in (200, 204)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"comment": 5}', b'{"comment": {"body": 5}}', b"[]"])
def test_what_is_no_phase_is_400(server: Server, body: bytes) -> None:
    response = call(server, body, None)
    assert response.status_code == 400
    assert response.json()["status"] == 400
