"""The OpenAPI 3.1 document, built from the types that the routes read and write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import msgspec

from moderation.server import coral, native, openai, perspective
from moderation.server._attributes import NEAREST, Attributes
from moderation.server.discovery import AnalyzeCommentResponse, SuggestCommentScoreResponse
from moderation.server.service import Service
from moderation.server.spelling import messages, spellings

_TYPES = (
    *(perspective.AnalyzeCommentRequest, AnalyzeCommentResponse),
    *(perspective.SuggestCommentScoreRequest, SuggestCommentScoreResponse),
    *(openai.ModerationRequest, openai.ModerationResponse),
    *(coral.PhaseRequest, coral.PhaseResponse),
    *(native.ScoreOne, native.ScoreMany, native.ScoreAnswer),
)

_SAMPLE = "Nobody voted for this clown."


@dataclass(frozen=True, slots=True)
class More:
    """What another room adds to the document."""

    types: tuple[Any, ...] = ()
    """The types that its routes read and write."""
    paths: Mapping[str, Any] = field(default_factory=dict)
    """Its routes, as in ``paths``."""
    schemes: Mapping[str, Any] = field(default_factory=dict)
    """How its callers show who they are, as in ``securitySchemes``."""


def document(service: Service, more: More | None = None) -> dict[str, Any]:
    """Return the document for one server, with the attributes and limits that it has."""
    more = more or More()
    _, schemas = msgspec.json.schema_components((*_TYPES, *more.types), ref_template="#/components/schemas/{name}")
    schemas |= _error_schemas()
    _tighten(schemas, service)
    keyed = bool(service.keys.keys)
    out: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "moderation",
            "version": version("moderation"),
            "description": "Scores reader comments for incitement and abuse. It advises; a person decides.",
        },
        "servers": [{"url": "."}],
        "paths": _paths(service) | dict(more.paths),
        "components": {"schemas": schemas},
    }
    if more.schemes:
        out["components"]["securitySchemes"] = dict(more.schemes)
    if keyed:
        out["components"]["securitySchemes"] = dict(more.schemes) | {
            "key": {"type": "apiKey", "in": "query", "name": "key"},
            "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            "google": {"type": "apiKey", "in": "header", "name": "X-Goog-Api-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        out["security"] = [{"key": []}, {"header": []}, {"google": []}, {"bearer": []}]
    return out


def _paths(service: Service) -> dict[str, Any]:
    google, own, open_ai = "GoogleError", "Problem", "OpenAIError"
    phase = operation("Judge a comment for Coral", "PhaseRequest", "PhaseResponse", own, _PHASE, name="coral_phase")
    phase["responses"]["204"] = {"description": "Nothing to say; Coral's later phases decide."}
    if service.coral_secrets:
        phase["security"] = []
        phase["parameters"] = [
            {"name": "X-Coral-Signature", "in": "header", "required": True, "schema": {"type": "string"}}
        ]
    score = operation("Score comments", "", "ScoreAnswer", own, _SCORE, name="score")
    one_of = [{"$ref": f"#/components/schemas/{name}"} for name in ("ScoreMany", "ScoreOne")]
    score["requestBody"]["content"]["application/json"]["schema"] = {"oneOf": one_of}
    ready = _read("Whether it can score now", "ready")
    ready["responses"]["503"] = ready["responses"]["200"] | {"description": "As many requests wait as may"}
    analyze, suggest = "AnalyzeComment", "SuggestCommentScore"
    return {
        "/v1/score": {"post": score},
        "/v1/model": {
            "get": _read("The model's passport, the policy, and the map to Perspective's scale", "model", guarded=True)
        },
        "/v1alpha1/comments:analyze": {
            "post": operation(
                "Analyse a comment as the Perspective API does",
                *(f"{analyze}Request", f"{analyze}Response", google, _ANALYZE),
                name="analyze",
            )
        },
        "/v1alpha1/comments:suggestscore": {
            "post": operation(
                "Suggest what a comment's scores should be",
                *(f"{suggest}Request", f"{suggest}Response", google, _SUGGEST),
                name="suggestscore",
            )
        },
        "/v1/moderations": {
            "post": operation(
                "Classify text in the shape of OpenAI's moderation endpoint",
                *("ModerationRequest", "ModerationResponse", open_ai, {"input": _SAMPLE}),
                name="moderations",
            )
        },
        "/coral/phase": {"post": phase},
        "/health": {"get": _read("Whether the process lives", "health", "text/plain")},
        "/ready": {"get": ready},
        "/metrics": {"get": _read("Counts for Prometheus", "metrics", "text/plain")},
    }


_ANALYZE = {
    "comment": {"text": _SAMPLE},
    "requestedAttributes": {"TOXICITY": {}, "INCITEMENT": {}},
    "languages": ["en"],
    "doNotStore": True,
}
_SUGGEST = {"comment": {"text": _SAMPLE}, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 1}}}}
_SCORE = {"comments": [{"id": "c-1", "text": _SAMPLE}]}
_PHASE = {"action": "NEW", "comment": {"body": _SAMPLE, "parentID": None}}


_SPELLINGS = "Every field may also go by its original name (`do_not_store`); a name that is neither is refused."


def operation(
    summary: str, request: str, response: str, error: str, example: Mapping[str, Any], *, name: str
) -> dict[str, Any]:
    """Return the description of a route that reads JSON; `request`, `response` and `error` name schemas."""
    faults = {"400": "The request is not as it should be", "413": "The body is too large", "429": "The rate is used up"}
    faults |= {"401": "The key or signature is not known", "408": "The body came too slowly", "503": "Too busy"}
    faults |= {"403": "A web page of another origin called", "415": "The body is packed in another way than gzip"}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{request}"}, "example": example},
            },
        },
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": ref(response)}}},
            **errors(faults, error),
        },
    }


def _read(summary: str, name: str, media: str = "application/json", *, guarded: bool = False) -> dict[str, Any]:
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    content = {media: {"schema": schema}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "The answer", "content": content}}
        | (errors({"401": "The key is not known", "429": "The rate is used up"}, "Problem") if guarded else {}),
    }


def errors(texts: Mapping[str, str], shape: str) -> dict[str, Any]:
    """Return the descriptions of answers of one error shape, by status."""
    media = "application/problem+json" if shape == "Problem" else "application/json"
    return {status: {"description": text, "content": {media: {"schema": ref(shape)}}} for status, text in texts.items()}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _tighten(schemas: dict[str, Any], service: Service) -> None:
    """State what the types cannot: which fields Perspective requires, and which attributes there are."""
    refuse = service.settings.unknown_attributes == "refuse"
    score_map = None if service.settings.raw_scores else service.score_map
    names = list(Attributes(service.scorer.labels, score_map, nearest=not refuse).names)
    names += [f"{name}_EXPERIMENTAL" for name in names] + ([] if refuse else list(NEAREST))
    known = {"minProperties": 1, "propertyNames": {"enum": names} if refuse else {"type": "string"}}
    most = perspective.MAX_BYTES
    text = {"type": "string", "minLength": 1, "maxLength": most, "description": f"At most {most:,} bytes of UTF-8."}
    comment = {
        "type": "object",
        "required": ["text"],
        "properties": {"text": text, "type": {"enum": ["PLAIN_TEXT", "TEXT_TYPE_UNSPECIFIED", None]}},
        "additionalProperties": False,
    }
    for name, place in (
        ("AnalyzeCommentRequest", "requestedAttributes"),
        ("SuggestCommentScoreRequest", "attributeScores"),
    ):
        schema = schemas[name]
        schema["required"] = ["comment", place]
        schema["properties"]["comment"] = comment
        (values,) = (option for option in schema["properties"][place]["anyOf"] if option.get("type") == "object")
        schema["properties"][place] = values | known
        schema["description"] = _SPELLINGS
    for kind in messages(perspective.AnalyzeCommentRequest) | messages(perspective.SuggestCommentScoreRequest):
        schemas[kind.__name__]["propertyNames"] = {"enum": spellings(kind)}


def _error_schemas() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "integer"}
    problem = {"type": text, "title": text, "status": number, "detail": text}
    details = {"type": "array", "items": {"type": "object"}}
    google = {"code": number, "message": text, "status": text, "details": details}
    optional = {"type": ["string", "null"]}
    open_ai = {"message": text, "type": text, "param": optional, "code": optional}
    return {
        "Problem": {"type": "object", "required": list(problem), "properties": problem},
        "GoogleError": _wrapped(google, ["code", "message", "status"]),
        "OpenAIError": _wrapped(open_ai, list(open_ai)),
    }


def _wrapped(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    inner = {"type": "object", "required": required, "properties": properties}
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}
