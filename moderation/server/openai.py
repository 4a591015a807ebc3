"""The shape of OpenAI's ``POST /v1/moderations``, which many libraries speak."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.comment import Action, Comment, Score
from moderation.server.answers import json_answer, json_bytes
from moderation.server.endpoint import Call, Endpoint
from moderation.server.faults import Fault, convert
from moderation.server.service import Service

CATEGORIES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "harassment": (("abuse",), ("insult",)),
    "harassment/threatening": (("threat",),),
    "hate": (("identity_attack",),),
    "hate/threatening": (("identity_attack", "incitement"),),
    "illicit": (),
    "illicit/violent": (),
    "self-harm": (),
    "self-harm/intent": (),
    "self-harm/instructions": (),
    "sexual": (("sexually_explicit",),),
    "sexual/minors": (),
    "violence": (("incitement",),),
    "violence/graphic": (),
}
"""Which labels a category is read from: any of the groups, all labels inside a group. Without a group it is 0."""

DEFAULT_THRESHOLD = 0.5
"""Where a category is true whose label has no threshold in the policy."""


class TextPart(msgspec.Struct, tag="text", tag_field="type"):
    """A piece of text."""

    text: str


class ImagePart(msgspec.Struct, tag="image_url", tag_field="type"):
    """An image, which this server cannot read."""

    image_url: Any


class ModerationRequest(msgspec.Struct):
    """Text to classify: one, several, or one made of parts."""

    input: str | Annotated[list[str | TextPart | ImagePart], msgspec.Meta(min_length=1)]
    model: str | None = None


class ModerationResult(msgspec.Struct):
    """What was found in one input; the three maps have the same keys."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationResponse(msgspec.Struct):
    """One result per input."""

    id: str
    model: str
    results: list[ModerationResult]


def texts_of(request: ModerationRequest, most: int) -> list[str]:
    """Return the texts to score, one per result. Parts (objects) belong together and make one text."""
    if isinstance(request.input, str):
        return [request.input]
    if len(request.input) > most:
        raise Fault("invalid", 400, f"input: expected at most {most} texts, got {len(request.input)}", path="input")
    if any(isinstance(item, ImagePart) for item in request.input):
        raise Fault("invalid", 400, "input: expected text, got image_url, which this model cannot read", path="input")
    if all(isinstance(item, str) for item in request.input):
        return [str(item) for item in request.input]
    parts = [item.text if isinstance(item, TextPart) else str(item) for item in request.input]
    return ["\n".join(parts)]


def result(score: Score, thresholds: Mapping[str, Mapping[Action, float]]) -> ModerationResult:
    """Return a score in OpenAI's categories; a category is true from the policy's lowest threshold of its label on."""
    given = score.probabilities

    def strength(group: Sequence[str]) -> float:
        return min((given.get(label, 0.0) for label in group), default=0.0)

    def true(group: Sequence[str]) -> bool:
        return all(
            given.get(label, 0.0) >= min(thresholds.get(label, {}).values(), default=DEFAULT_THRESHOLD)
            for label in group
        )

    categories = {name: any(map(true, groups)) for name, groups in CATEGORIES.items()}
    scores = {name: max(map(strength, groups), default=0.0) for name, groups in CATEGORIES.items()}
    applied = {name: ["text"] if groups else [] for name, groups in CATEGORIES.items()}
    return ModerationResult(any(categories.values()), categories, scores, applied)


def render(fault: Fault) -> Response:
    """Render a fault as OpenAI does."""
    kinds = {"key": ("invalid_request_error", "invalid_api_key"), "rate": ("requests", "rate_limit_exceeded")}
    kind, code = kinds.get(fault.kind, ("server_error" if fault.status >= 500 else "invalid_request_error", None))
    message = "Incorrect API key provided." if fault.kind == "key" else fault.detail
    error = {"message": message, "type": kind, "param": fault.path or None, "code": code}
    return Response(json_bytes({"error": error}), fault.status, fault.headers, media_type="application/json")


def routes(service: Service) -> list[BaseRoute]:
    """Return the route."""

    async def moderations(call: Call) -> Response:
        request = convert(await call.json(), ModerationRequest)
        texts = texts_of(request, service.settings.max_comments)
        comments = [Comment(str(place), text) for place, text in enumerate(texts, 1)]
        told = [Comment(service.identity(text), text) for text in texts]
        scores, _, _ = await service.assess("moderations", comments, explain="none", told=told)
        results = [result(score, service.policy.thresholds) for score in scores]
        return json_answer(ModerationResponse(f"modr-{secrets.token_hex(12)}", service.scorer.model_id, results))

    endpoint = Endpoint(service, "moderations", moderations, render, limit=service.settings.max_batch_body)
    return [Route("/v1/moderations", endpoint, methods=["POST"])]
