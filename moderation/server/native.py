"""Our own routes: ``POST /v1/score`` and ``GET /v1/model``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.comment import Article, Comment, Score, Verdict
from moderation.server.answers import json_answer
from moderation.server.endpoint import Call, Endpoint
from moderation.server.faults import Fault, convert, problem
from moderation.server.sentences import Utf16
from moderation.server.service import Judged, Reasons, Service

Explain = Literal["flagged", "all", "none"]
Offsets = Literal["code-points", "utf-16"]


class Story(msgspec.Struct, forbid_unknown_fields=True):
    """The news story under which a comment stands."""

    title: str | None = None
    url: str | None = None


class CommentIn(msgspec.Struct, forbid_unknown_fields=True):
    """A comment to score. Only the text moves its score."""

    text: str
    id: str | None = None
    author: str | None = None
    place: str | None = None
    created: str | None = None
    parent_id: str | None = None
    article: Story | None = None
    language: str | None = None


class ScoreOne(msgspec.Struct, forbid_unknown_fields=True):
    """One comment to score."""

    comment: CommentIn
    explain: Explain = "flagged"
    offsets: Offsets = "code-points"


class ScoreMany(msgspec.Struct, forbid_unknown_fields=True):
    """Comments to score."""

    comments: Annotated[list[CommentIn], msgspec.Meta(min_length=1)]
    explain: Explain = "flagged"
    offsets: Offsets = "code-points"


class Reason(msgspec.Struct):
    """A word that drove the verdict: where it stands, and its weight in log-odds."""

    start: int
    end: int
    label: str
    weight: float


class VerdictOut(msgspec.Struct, omit_defaults=True):
    """What the policy advises; a person decides."""

    action: Literal["allow", "review", "hold"]
    label: str | None = None
    threshold: float | None = None
    reasons: list[Reason] = []


class ResultOut(msgspec.Struct, omit_defaults=True):
    """One comment's scores and verdict."""

    id: str
    scores: dict[str, float]
    verdict: VerdictOut
    reasons: dict[str, list[Reason]] | None = None
    truncated: bool = False


class ScoreAnswer(msgspec.Struct):
    """Results in the order of the comments."""

    model: str
    policy: str
    results: list[ResultOut]


def read(data: Any, most: int) -> tuple[list[Comment], Explain, Offsets]:
    """Return comments and options of a request; raise a `Fault` that names what is wrong."""
    if not isinstance(data, dict):
        raise Fault("invalid", 400, "body: expected an object")
    if ("comment" in data) == ("comments" in data):
        got = "both" if "comment" in data else "neither"
        raise Fault("invalid", 400, f"body: expected either comment or comments, got {got}")
    request = convert(data, ScoreOne if "comment" in data else ScoreMany)
    given = [request.comment] if isinstance(request, ScoreOne) else request.comments
    if len(given) > most:
        raise Fault("invalid", 413, f"comments: expected at most {most}, got {len(given)}", path="comments")
    return [_comment(place, item) for place, item in enumerate(given, 1)], request.explain, request.offsets


def _named(data: Any, comments: list[Comment], service: Service) -> list[Comment]:
    """Return comments as the hook gets them: a place in one request is no name among those of all requests."""
    given = [data["comment"]] if "comment" in data else data["comments"]
    return [
        comment if one.get("id") is not None else replace(comment, id=service.identity(comment.text))
        for one, comment in zip(given, comments, strict=True)
    ]


def _comment(place: int, given: CommentIn) -> Comment:
    article = Article(given.article.title, given.article.url) if given.article else None
    return Comment(
        given.id if given.id is not None else str(place),
        given.text,
        given.author,
        given.place,
        given.created,
        given.parent_id,
        article,
        given.language,
    )


def result(
    comment: Comment,
    score: Score,
    verdict: Verdict,
    reasons: Reasons | None,
    offsets: Offsets,
) -> ResultOut:
    """Return one comment's result, with reasons for every label where they were asked for."""
    at = Utf16(comment.text) if offsets == "utf-16" else int

    def reason(span: Any) -> Reason:
        return Reason(at(span.start), at(span.end), span.label, span.weight)

    advice = VerdictOut(verdict.action, verdict.label, verdict.threshold, [reason(span) for span in verdict.reasons])
    every = None
    if reasons is not None:
        every = {label: [reason(span) for span in spans] for label, spans in reasons.items()}
    return ResultOut(comment.id, dict(score.probabilities), advice, every, score.truncated)


def routes(service: Service) -> list[BaseRoute]:
    """Return our own routes."""
    most = service.settings.max_comments

    async def score(call: Call) -> Response:
        data = await call.json()
        comments, explain, offsets = read(data, most)
        judged = await service.assess("score", comments, explain=explain, told=_named(data, comments, service))
        return await service.apart(comments, _answer, comments, judged, offsets)

    def _answer(comments: list[Comment], judged: Judged, offsets: Offsets) -> Response:
        results = [result(*parts, offsets) for parts in zip(comments, *judged, strict=True)]
        return json_answer(ScoreAnswer(service.scorer.model_id, service.policy.id, results))

    async def model(request: Request) -> Response:
        request.scope["moderation.route"] = "model"
        try:
            service.keys.admit(request.scope)
        except Fault as fault:
            return problem(fault)
        policy = {"id": service.policy.id, "thresholds": service.policy.thresholds}
        about: dict[str, Any] = {"policy": policy | {"description": service.policy.description}}
        about["perspective_map"] = {
            "model_id": service.score_map.model_id,
            "fits": service.score_map.model_id == service.scorer.model_id,
            "in_use": not service.settings.raw_scores,
        }
        return json_answer({"model": service.scorer.bundle.manifest} | about)

    many = service.settings.max_batch_body
    return [
        Route("/v1/score", Endpoint(service, "score", score, limit=many), methods=["POST"]),
        Route("/v1/model", model, methods=["GET"]),
    ]
