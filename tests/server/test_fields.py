"""Google's `fields` parameter: a part of an answer of Perspective's methods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.running import Server
from tests.server.test_perspective import BASE, error_of, post


@pytest.mark.parametrize(
    ("mask", "kept"),
    [
        ("languages", {"languages": ["en"]}),
        ("attributeScores/TOXICITY/summaryScore/type,languages", None),
        ("attributeScores(TOXICITY/summaryScore/type),languages", None),
        ("attributeScores(TOXICITY(summaryScore(type))),languages", None),
        ("attributeScores/*/summaryScore/type, languages", None),
        ("nothing/like/this", {}),
        ("/".join("a" * 4_000), {}),
        ("attributeScores/INSULT", {"attributeScores": {}}),
    ],
)
def test_a_part_of_the_answer_can_be_asked_for(server: Server, mask: str, kept: Any) -> None:
    if kept is None:
        kept = {"attributeScores": {"TOXICITY": {"summaryScore": {"type": "PROBABILITY"}}}, "languages": ["en"]}
    answer = server.client.post("/v1alpha1/comments:analyze", params={"key": "k", "fields": mask}, json=BASE)
    assert answer.json() == kept


@pytest.mark.parametrize("mask", ["", "*", "attributeScores,*", "languages,detectedLanguages,attributeScores,x/y"])
def test_all_of_the_answer_can_be_asked_for(server: Server, mask: str) -> None:
    answer = server.client.post("/v1alpha1/comments:analyze", params={"key": "k", "fields": mask}, json=BASE)
    assert answer.json() == post(server, BASE).json()


def test_lists_are_looked_into(server: Server) -> None:
    mask = {"fields": "attributeScores(TOXICITY(spanScores/begin))"}
    answer = post(server, BASE | {"spanAnnotations": True}, params=mask).json()
    assert answer == {"attributeScores": {"TOXICITY": {"spanScores": [{"begin": 0}, {"begin": 32}]}}}


@pytest.mark.parametrize(
    "mask", ["a(", "a)", "a/", "/a", ",", "a,", "a(b", "a()", "a(b))", "a(b)c", "(" * 9_000, "a(" * 4_000]
)
def test_a_selection_that_cannot_be_read_is_refused(server: Server, mask: str) -> None:
    error = error_of(post(server, BASE, params={"fields": mask}))
    assert error["message"] == f"Invalid field selection {mask[:100]}"
    assert error["details"][0]["errorType"] == "INVALID_REQUEST"
