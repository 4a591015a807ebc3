"""OpenAI's shape, with OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from moderation import Policy, Scorer
from tests.server.running import Server

CATEGORIES = {
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
}
WITHOUT_A_HEAD = {name for name in CATEGORIES if name.startswith(("illicit", "self-harm"))} | {
    "sexual/minors",
    "violence/graphic",
}
RUDE = "You pathetic little liar, you are an idiot."


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="any", max_retries=0) as found:
        yield found


def test_the_client_reads_every_category(client: openai.OpenAI, shipped: Scorer) -> None:
    answer = client.moderations.create(model="omni-moderation-latest", input=RUDE)
    assert answer.model == shipped.model_id
    (result,) = answer.results
    assert result.flagged
    assert result.categories.harassment
    assert result.category_scores.harassment == pytest.approx(shipped.score(RUDE).probabilities["abuse"], abs=1e-6)
    data = result.model_dump(by_alias=True)
    for name in ("categories", "category_scores", "category_applied_input_types"):
        assert set(data[name]) == CATEGORIES
    for name in WITHOUT_A_HEAD:
        assert data["category_scores"][name] == 0
        assert data["categories"][name] is False
        assert data["category_applied_input_types"][name] == []


def test_one_result_per_text_in_their_order(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input=["A fine day.", RUDE, ""])
    assert [result.flagged for result in answer.results] == [False, True, False]


def test_parts_make_one_text(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input=[{"type": "text", "text": "A fine day."}, {"type": "text", "text": RUDE}])
    assert [result.flagged for result in answer.results] == [True]


def test_flagged_follows_the_policy(client: openai.OpenAI, shipped: Scorer) -> None:
    policy = Policy.load()
    texts = ["A fine day.", RUDE, "Somebody ought to set his house on fire.", "The council burned through its budget."]
    for result, text in zip(client.moderations.create(input=texts).results, texts, strict=True):
        if policy.decide(shipped.score(text)).action != "allow":
            assert result.flagged
        assert result.flagged == any(result.categories.model_dump().values())


def test_an_image_is_refused(client: openai.OpenAI) -> None:
    part: Any = {"type": "image_url", "image_url": {"url": "https://news.example/a.png"}}
    with pytest.raises(openai.BadRequestError, match="image_url, which this model cannot read"):
        client.moderations.create(input=[part])


@pytest.mark.parametrize(
    "body", [{}, {"input": 5}, {"input": []}, {"input": [1]}, {"input": None}, [], "x", {"input": ["a"] * 1_001}]
)
def test_errors_in_openais_shape(server: Server, body: Any) -> None:
    response = server.client.post("/v1/moderations", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def test_keys(keyed: Server) -> None:
    with openai.OpenAI(base_url=f"{keyed.address}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.moderations.create(input=RUDE)
        assert caught.value.code == "invalid_api_key"
    with openai.OpenAI(base_url=f"{keyed.address}/v1", api_key="secret-three", max_retries=0) as client:
        assert client.moderations.create(input=RUDE).results[0].flagged
