"""Perspective's protocol: requests, answers and errors to the letter."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderation import Scorer
from moderation.server._attributes import NOT_HERE
from tests.server.running import Server

TWO = "What kind of idiot name is foo? Sorry, I like your name."
ERROR = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"


def post(server: Server, body: Any, method: str = "analyze", **more: Any) -> httpx.Response:
    return server.client.post(f"/v1alpha1/comments:{method}?key=k", json=body, **more)


def error_of(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == status
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    return dict(error)


def test_the_answer_has_googles_form(server: Server) -> None:
    response = server.analyze(TWO, "TOXICITY", clientToken="c-81-r2", languages=["en"], doNotStore=True)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    answer = response.json()
    assert list(answer) == ["attributeScores", "languages", "detectedLanguages", "clientToken"]
    scores = answer["attributeScores"]["TOXICITY"]
    assert list(scores) == ["spanScores", "summaryScore"]
    (span,) = scores["spanScores"]
    assert list(span) == ["begin", "end", "score"]
    assert (span["begin"], span["end"]) == (0, len(TWO))
    assert scores["summaryScore"] == span["score"]
    assert scores["summaryScore"]["type"] == "PROBABILITY"
    assert 0.5 < scores["summaryScore"]["value"] < 1
    assert (answer["languages"], answer["detectedLanguages"], answer["clientToken"]) == (["en"], ["en"], "c-81-r2")


def test_without_a_token_there_is_none(server: Server) -> None:
    assert "clientToken" not in server.analyze(TWO).json()


@pytest.mark.parametrize("prefix", ["/v1alpha1", ""])
@pytest.mark.parametrize("name", ["comments:analyze", "comments%3Aanalyze"])
def test_bare_and_escaped_paths(server: Server, prefix: str, name: str) -> None:
    body = {"comment": {"text": TWO}, "requestedAttributes": {"TOXICITY": {}}}
    assert server.client.post(f"{prefix}/{name}?key=k", json=body).status_code == 200


PRODUCTION = ["TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT"]
NAMES = [*PRODUCTION, "INCITEMENT", "ABUSE", "SEXUALLY_EXPLICIT"]


@pytest.mark.parametrize("suffix", ["", "_EXPERIMENTAL", "@6", "_EXPERIMENTAL@2"])
def test_every_attribute_comes_under_the_very_name(server: Server, suffix: str) -> None:
    names = [name + suffix for name in NAMES]
    scores = server.analyze(TWO, *names).json()["attributeScores"]
    assert list(scores) == names
    plain = server.analyze(TWO, *NAMES).json()["attributeScores"]
    assert list(scores.values()) == list(plain.values())


def test_incitement_is_the_models_own_probability(server: Server, shipped: Scorer) -> None:
    text = "Somebody ought to set his house on fire tonight."
    scores = server.analyze(text, "INCITEMENT", "ABUSE").json()["attributeScores"]
    probabilities = shipped.score(text).probabilities
    assert scores["INCITEMENT"]["summaryScore"]["value"] == pytest.approx(probabilities["incitement"], abs=1e-6)
    assert scores["ABUSE"]["summaryScore"]["value"] == pytest.approx(probabilities["abuse"], abs=1e-6)


def test_sentences_in_utf_16(server: Server) -> None:
    spans = server.analyze(TWO, spanAnnotations=True).json()["attributeScores"]["TOXICITY"]["spanScores"]
    assert [(span["begin"], span["end"]) for span in spans] == [(0, 31), (32, 56)]
    assert spans[0]["score"]["value"] > spans[1]["score"]["value"]
    text = "🔪🔪 You idiot! 👩‍👩‍👧 Lovely day."
    spans = server.analyze(text, spanAnnotations=True).json()["attributeScores"]["TOXICITY"]["spanScores"]
    units = text.encode("utf-16-le")
    parts = [units[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le") for span in spans]
    assert parts == ["🔪🔪 You idiot!", "👩‍👩‍👧 Lovely day."]


@given(text=st.text(min_size=1, max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_has_spans_inside_it(server: Server, text: str) -> None:
    answer = server.analyze(text, spanAnnotations=True, languages=["en"])
    assert answer.status_code == 200, answer.text
    spans = answer.json()["attributeScores"]["TOXICITY"]["spanScores"]
    size = len(text.encode("utf-16-le", "surrogatepass")) // 2
    assert spans
    edges = [edge for span in spans for edge in (span["begin"], span["end"])]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= size


def test_a_threshold_cuts_scores(server: Server) -> None:
    requested = {"TOXICITY": {"scoreThreshold": 0.5}, "THREAT": {"scoreType": "PROBABILITY", "scoreThreshold": 1.0}}
    body = {"comment": {"text": TWO}, "requestedAttributes": requested, "spanAnnotations": True}
    scores = post(server, body).json()["attributeScores"]
    assert scores["TOXICITY"]["summaryScore"]["value"] >= 0.5
    assert all(span["score"]["value"] >= 0.5 for span in scores["TOXICITY"]["spanScores"])
    assert len(scores["TOXICITY"]["spanScores"]) == 1
    assert "summaryScore" not in scores["THREAT"]


@pytest.mark.parametrize("given_languages", ["en", ["en"], ["en-GB"], [], None, "EN_us"])
def test_languages_as_list_or_bare_string(server: Server, given_languages: Any) -> None:
    answer = server.analyze(TWO, languages=given_languages)
    assert answer.status_code == 200
    expected = [given_languages] if isinstance(given_languages, str) else given_languages or ["en"]
    assert answer.json()["languages"] == expected


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "multipart/form-data", "", None]
)
def test_json_whatever_the_content_type(server: Server, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = json.dumps({"comment": {"text": TWO}, "requestedAttributes": {"TOXICITY": {}}})
    response = server.client.post("/v1alpha1/comments:analyze?key=k", content=body, headers=headers)
    assert response.status_code == 200


def test_a_byte_order_mark_and_lone_surrogates_are_read(server: Server) -> None:
    body = b'\xef\xbb\xbf{"comment":{"text":"cut in half \\ud83d"},"requestedAttributes":{"TOXICITY":{}},"clientToken":"\\ud83d"}'
    response = server.client.post("/v1alpha1/comments:analyze?key=k", content=body)
    assert response.status_code == 200
    assert response.json()["clientToken"] == "\ud83d"


BASE: dict[str, Any] = {"comment": {"text": TWO}, "requestedAttributes": {"TOXICITY": {}}}
REFUSED = [
    # (what is changed in a good request, message, errorType)
    ({"comment": {"text": ""}}, "Comment must be non-empty.", "COMMENT_EMPTY"),
    ({"comment": {}}, "Comment must be non-empty.", "COMMENT_EMPTY"),
    ({"comment": None}, "Comment must be non-empty.", "COMMENT_EMPTY"),
    (
        {"comment": {"text": "x" * 23_368}},
        "Comment text was too many bytes. Value (23368) exceeded limit (20480).",
        "COMMENT_TOO_LONG",
    ),
    # bytes count, not characters
    (
        {"comment": {"text": "é" * 10_241}},
        "Comment text was too many bytes. Value (20482) exceeded limit (20480).",
        "COMMENT_TOO_LONG",
    ),
    ({"requestedAttributes": {}}, "Missing requested_attributes", "NO_REQUESTED_ATTRIBUTES"),
    ({"requestedAttributes": None}, "Missing requested_attributes", "NO_REQUESTED_ATTRIBUTES"),
    ({"requestedAttributes": {"FOO": {}}}, "Unknown requested attribute: FOO", "INVALID_REQUEST"),
    (
        {"requestedAttributes": {"THREAT": {"scoreType": "PERCENTILE"}}},
        "Requested score type PERCENTILE is not supported by attribute THREAT",
        "INVALID_REQUEST",
    ),
    (
        {"comment": {"text": "x", "type": "HTML"}},
        "Currently, only 'PLAIN_TEXT' comments are supported",
        "INVALID_REQUEST",
    ),
    ({"comment": {"text": "x", "type": "RTF"}}, "Unknown text type", "INVALID_REQUEST"),
    (
        {"context": {"entries": [{"text": "a"}], "articleAndParentComment": {"article": {"text": "b"}}}},
        "Context can have either entries or article_and_parent_comment, but both fields were populated.",
        "INVALID_REQUEST",
    ),
    (
        {"requestedAttributes": {"THREAT": {}}, "languages": ["om"]},
        "Attribute THREAT does not support request languages: om",
        "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
    ),
    (
        {"requestedAttributes": {"THREAT": {}}, "languages": ["en", "de"]},
        "Attribute THREAT does not support request languages: en, de",
        "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
    ),
]


@pytest.mark.parametrize(("change", "message", "kind"), REFUSED)
def test_errors_to_the_letter(server: Server, change: dict[str, Any], message: str, kind: str) -> None:
    error = error_of(post(server, BASE | change))
    assert error["message"] == message
    assert error["status"] == "INVALID_ARGUMENT"
    (detail,) = error["details"]
    assert (detail["@type"], detail["errorType"]) == (ERROR, kind)


def test_a_language_error_says_what_was_requested(server: Server) -> None:
    error = error_of(post(server, BASE | {"languages": ["om"]}))
    payload = error["details"][0]["languageNotSupportedByAttributeError"]
    assert payload == {"requestedLanguages": ["om"], "attribute": "TOXICITY"}


def test_the_limit_itself_is_allowed(server: Server) -> None:
    assert server.analyze("é" * 10_240, languages=["en"]).status_code == 200


def test_unsupported_languages_can_be_dropped(server: Server) -> None:
    answer = server.analyze(TWO, languages=["om"], dropUnsupportedAttributes=True)
    assert answer.status_code == 200
    assert answer.json()["attributeScores"] == {}


@pytest.mark.parametrize(
    "text", ["ok", "🔥", "lol", "?!", "hhhhhh", "42", " ", "Das ist nicht gut und die ist es auch"]
)
def test_no_text_is_refused_for_its_language(server: Server, text: str) -> None:
    assert server.analyze(text).status_code == 200


def test_a_detected_language_is_told(server: Server) -> None:
    answer = server.analyze("Das ist nicht gut, und ich werde es auch nicht mehr sagen.").json()
    assert answer["detectedLanguages"] == ["de"]
    assert answer["languages"] == ["de"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Invalid JSON payload received."),
        (b"{", "Invalid JSON payload received."),
        (b'{"comment": {"text": NaN}}', "Invalid JSON payload received."),
        (b'{"comment": {"text": "a"}, "comment": {"text": "b"}}', "each key once"),
        (b'{"comment": {"text": "\xff"}}', "expected UTF-8"),
        (b"[" * 100_000, "nesting"),
        (b"[1]", "expected `object`, got `array`"),
        (b'"text"', "expected `object`, got `str`"),
        (b'{"comment": "text"}', "comment: expected `object | null`, got `str`"),
        (b'{"comment": {"text": 5}}', "comment.text: expected `str | null`, got `int`"),
        (b'{"comment": {"text": "a"}, "requestedAttributes": ["TOXICITY"]}', "requestedAttributes: expected `object"),
        (b'{"comment": {"text": "a"}, "requestedAttributes": {"TOXICITY": 1}}', "expected `object | null`, got `int`"),
        (b'{"comment": {"text": "a"}, "languages": 5}', "languages: expected"),
        (b"1" * 5_000, "sensible length"),
    ],
)
def test_what_is_no_request_is_refused_in_words(server: Server, body: bytes, words: str) -> None:
    response = server.client.post("/v1alpha1/comments:analyze?key=k", content=body)
    error = error_of(response)
    assert words in error["message"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"][0]["errorType"] == "INVALID_REQUEST"


LONG = "TOXICITY@" + "x" * 5_000


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("analyze", {"requestedAttributes": {LONG.lower(): {}}}),
        ("analyze", {"requestedAttributes": {LONG: {"scoreType": "RAW"}}}),
        ("analyze", {"requestedAttributes": {LONG: {"scoreType": LONG}}}),
        ("analyze", {"requestedAttributes": {LONG: {"scoreThreshold": LONG}}}),
        ("analyze", {"requestedAttributes": {LONG: {}}, "languages": ["om"]}),
        ("analyze", {"languages": [LONG]}),
        ("analyze", {LONG: 1}),
        ("analyze", {"requestedAttributes": {LONG: {LONG: 1}}}),
        ("suggestscore", {"attributeScores": {LONG: {}}}),
        ("suggestscore", {"attributeScores": {LONG: {"summaryScore": {"value": 2}}}}),
        ("suggestscore", {"attributeScores": {LONG: {"summaryScore": {"value": 1, "type": LONG}}}}),
        ("suggestscore", {"attributeScores": {LONG: {"spanScores": [{"begin": 0}]}}}),
    ],
)
def test_errors_repeat_no_more_than_the_beginning_of_a_name(
    server: Server, method: str, change: dict[str, Any]
) -> None:
    response = post(server, BASE | change, method)
    error_of(response)
    assert len(response.content) < 1_000


def test_context_changes_nothing(server: Server) -> None:
    plain = server.analyze(TWO).json()
    context = {"entries": [{"text": "Council raises parking fees", "type": "PLAIN_TEXT"}]}
    assert server.analyze(TWO, context=context, sessionId="s", communityId="c").json() == plain


def test_fields_go_by_their_original_names_too(server: Server) -> None:
    asked = {"requested_attributes": {"TOXICITY": {"score_type": "PROBABILITY", "score_threshold": 1.0}}}
    context = {"article_and_parent_comment": {"parent_comment": {"text": "No."}}}
    more = {"client_token": "c-1", "span_annotations": True, "do_not_store": True, "session_id": "s"}
    body = {"comment": {"text": TWO}, "community_id": "c", "drop_unsupported_attributes": False, "context": context}
    answer = post(server, body | asked | more)
    assert answer.status_code == 200, answer.text
    assert answer.json()["clientToken"] == "c-1"
    assert answer.json()["attributeScores"] == {"TOXICITY": {"spanScores": []}}
    scores = {"TOXICITY": {"summary_score": {"value": 1}}, "INSULT": {"span_scores": [{"begin": 0, "end": 1}]}}
    suggested = post(server, {"comment": {"text": TWO}, "attribute_scores": scores}, "suggestscore")
    assert suggested.status_code == 200, suggested.text


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("analyze", {"donotstore": True}, 'Unknown name "donotstore": Cannot find field.'),
        ("analyze", {"comment": {"text": "a", "Text": "b"}}, "Unknown name \"Text\" at 'comment': Cannot find field."),
        ("analyze", {"requestedAttributes": {"INSULT": {"threshold": 1}}}, "at 'requestedAttributes[INSULT]'"),
        ("analyze", {"context": {"entries": [{"text": "a"}, {"body": "b"}]}}, "at 'context.entries[1]'"),
        ("analyze", {"doNotStore": False, "do_not_store": True}, "in two spellings"),
        ("suggestscore", {"doNotstore": True}, 'Unknown name "doNotstore": Cannot find field.'),
    ],
)
def test_a_name_that_is_no_field_is_refused_as_at_google(
    server: Server, method: str, change: dict[str, Any], words: str
) -> None:
    """Read past, a misspelt "do not store" would let the text be stored."""
    base = (
        BASE if method == "analyze" else {"comment": {"text": "a"}, "attributeScores": {"INSULT": {"spanScores": []}}}
    )
    error = error_of(post(server, base | change, method))
    assert error["message"].startswith("Invalid JSON payload received. ")
    assert words in error["message"]


def test_a_key_is_asked_for_where_keys_are_set(keyed: Server) -> None:
    for key in ("", "wrong", "secret-on", "secret-one "):
        error = error_of(keyed.analyze(TWO, key=key))
        assert error["message"] == "API key not valid. Please pass a valid API key."
        assert error["status"] == "INVALID_ARGUMENT"
        info = error["details"][0]
        assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        assert info["reason"] == "API_KEY_INVALID"
    assert keyed.analyze(TWO, key="secret-one").status_code == 200
    body = BASE
    for headers in (
        {"x-goog-api-key": "secret-one"},
        {"authorization": "Bearer secret-one"},
        {"x-api-key": "secret-one"},
    ):
        assert keyed.client.post("/v1alpha1/comments:analyze", json=body, headers=headers).status_code == 200


def test_a_spent_rate_is_429_in_googles_shape(keyed: Server) -> None:
    answers = [keyed.analyze(TWO, key="secret-two") for _ in range(6)]
    assert answers[0].status_code == 200
    refused = next(answer for answer in answers if answer.status_code == 429)
    error = error_of(refused, 429)
    assert error["status"] == "RESOURCE_EXHAUSTED"
    assert error["message"].startswith("Quota exceeded for quota metric 'Analysis requests (AnalyzeComment)'")
    info, help_ = error["details"]
    assert info["reason"] == "RATE_LIMIT_EXCEEDED"
    assert info["metadata"]["quota_limit"] == "AnalyzeRequestsPerMinutePerProject"
    assert help_["@type"] == "type.googleapis.com/google.rpc.Help"
    assert int(refused.headers["retry-after"]) >= 1
    assert keyed.analyze(TWO, key="secret-one").status_code == 200


def test_unknown_attributes_can_be_dropped(keyed: Server) -> None:
    scores = keyed.analyze(TWO, "SPAM", "TOXICITY", *NOT_HERE, key="secret-one").json()["attributeScores"]
    assert list(scores) == ["TOXICITY"]
    scores = keyed.analyze(TWO, "OBSCENE", "PROFANITY", "TOXICITY_FAST", key="secret-one").json()["attributeScores"]
    assert scores["OBSCENE"] == scores["PROFANITY"]
    assert set(scores) == {"OBSCENE", "PROFANITY", "TOXICITY_FAST"}


def test_raw_scores_are_the_models_own(keyed: Server, shipped: Scorer) -> None:
    scores = keyed.analyze(TWO, "TOXICITY", key="secret-one").json()["attributeScores"]
    expected = shipped.score(TWO).probabilities["abuse"]
    assert scores["TOXICITY"]["summaryScore"]["value"] == pytest.approx(expected, abs=1e-6)


def test_strict_languages(keyed: Server) -> None:
    error = error_of(keyed.analyze("xq zv", key="secret-one"))
    assert error["message"] == "Unable to detect language"
    assert error["details"][0]["errorType"] == "LANGUAGE_DETECTION_FAILED"
    german = "Das ist nicht gut, und ich werde es auch nicht mehr sagen."
    error = error_of(keyed.analyze(german, "THREAT", key="secret-one"))
    assert error["message"] == "Attribute THREAT does not support request languages: de"
    payload = error["details"][0]["languageNotSupportedByAttributeError"]
    assert payload == {"detectedLanguages": ["de"], "attribute": "THREAT"}
    assert keyed.analyze("xq zv", key="secret-one", languages=["en"]).status_code == 200


def test_languages_are_checked_in_perspectives_methods_alone(keyed: Server) -> None:
    body = {"comment": {"text": "Das ist nicht gut, und ich sage es auch nicht mehr.", "language": "de"}}
    assert keyed.client.post("/v1/score", json=body, headers={"X-Api-Key": "secret-three"}).status_code == 200


def test_cors_is_opt_in(server: Server, keyed: Server) -> None:
    asked = {"origin": "https://news.example", "access-control-request-method": "POST"}
    answer = keyed.client.options("/v1alpha1/comments:analyze", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://news.example"
    other = keyed.client.options("/v1alpha1/comments:analyze", headers=asked | {"origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers
    body = {"comment": {"text": TWO}, "requestedAttributes": {"TOXICITY": {}}}
    real = keyed.client.post(
        "/v1alpha1/comments:analyze?key=secret-one", json=body, headers={"origin": "https://news.example"}
    )
    assert real.headers["access-control-allow-origin"] == "https://news.example"
    without = server.client.post("/v1alpha1/comments:analyze", json=body, headers={"origin": "https://news.example"})
    assert "access-control-allow-origin" not in without.headers


def test_queries_that_mean_nothing_here_are_ignored(server: Server) -> None:
    """JSON is all that we give: no padding that a page could run, no protocol buffers."""
    query = {"callback": "alert", "alt": "proto", "prettyPrint": "true", "$.xgafv": "1", "quotaUser": "q"}
    answer = post(server, BASE, params=query)
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.content == post(server, BASE).content


def suggest(server: Server, **change: Any) -> httpx.Response:
    body = {
        "comment": {"text": "Get well soon, all of you."},
        "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}},
        "languages": ["en"],
        "communityId": "example.org/news",
        "clientToken": "c-82",
    }
    return post(server, body | change, "suggestscore")


def test_a_suggestion_is_answered(server: Server) -> None:
    answer = suggest(server)
    assert answer.status_code == 200
    assert answer.json() == {"clientToken": "c-82", "detectedLanguages": ["en"], "requestedLanguages": ["en"]}


@pytest.mark.parametrize(
    "scores",
    [
        {},
        None,
        {"TOXICITY": {}},
        {"TOXICITY": {"summaryScore": {"value": 2}}},
        {"TOXICITY": {"summaryScore": {"value": 1, "type": "RAW"}}},
        {"TOXICITY": {"spanScores": [{"begin": 0, "score": {"value": 1}}]}},
        {"NOT_THERE": {"summaryScore": {"value": 1}}},
    ],
)
def test_malformed_suggestions_are_refused(server: Server, scores: Any) -> None:
    error = error_of(suggest(server, attributeScores=scores))
    assert error["status"] == "INVALID_ARGUMENT"


def test_suggested_spans(server: Server) -> None:
    spans = [{"begin": 0, "end": 3, "score": {"value": 1}}, {"begin": 4, "end": 8, "score": {"value": 0}}]
    assert suggest(server, attributeScores={"INSULT": {"spanScores": spans}}).status_code == 200


def test_discovery_gives_our_own_address(server: Server) -> None:
    for path in ("/$discovery/rest?version=v1alpha1&key=K", "/discovery/v1/apis/commentanalyzer/v1alpha1/rest"):
        response = server.client.get(path)
        assert response.headers["content-type"] == "application/json; charset=UTF-8"
        document = response.json()
        assert document["rootUrl"] == server.address + "/"
        assert document["servicePath"] == ""
        assert document["batchPath"] == "batch"
        assert set(document["resources"]["comments"]["methods"]) == {"analyze", "suggestscore"}
    as_seen = server.client.get("/$discovery/rest", headers={"host": "comments.example:8443"})
    assert as_seen.json()["rootUrl"] == "http://comments.example:8443/"
    odd = server.client.get("/$discovery/rest", headers={"host": 'x"><script>'})
    assert odd.json()["rootUrl"] == server.address + "/"
    other = server.client.get("/$discovery/rest?version=v2")
    assert error_of(other, 404)["status"] == "NOT_FOUND"


def test_behind_a_proxy_the_scheme_is_the_clients(server: Server) -> None:
    headers = {"host": "comments.example", "x-forwarded-proto": "https"}
    assert server.client.get("/$discovery/rest", headers=headers).json()["rootUrl"] == "https://comments.example/"
