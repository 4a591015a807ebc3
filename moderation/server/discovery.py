"""The discovery document that Google's client libraries read before their first call.

Its ``rootUrl`` is our own address as the client sees it, so that an unmodified client goes on calling us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from moderation.server import google, perspective
from moderation.server.faults import Fault
from moderation.server.service import Service

PATHS = ("/$discovery/rest", "/discovery/v1/apis/commentanalyzer/v1alpha1/rest")

_HOST = re.compile(r"[A-Za-z0-9._~-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")

_QUERY = {
    "key": "API key.",
    "access_token": "OAuth access token.",
    "oauth_token": "OAuth 2.0 token for the current user.",
    "alt": "Data format for response.",
    "fields": "Selector specifying which fields to include in a partial response.",
    "prettyPrint": "Returns response with indentations and line breaks.",
    "quotaUser": "Available to use for quota purposes for server-side applications.",
    "callback": "JSONP",
    "$.xgafv": "V1 error format.",
    "uploadType": "Legacy upload protocol for media.",
    "upload_protocol": "Upload protocol for media.",
}


class AnalyzeCommentResponse(msgspec.Struct, rename="camel"):
    """The scores of a comment."""

    attribute_scores: dict[str, perspective.AttributeScores]
    languages: list[str]
    detected_languages: list[str]
    client_token: str | None = None


class SuggestCommentScoreResponse(msgspec.Struct, rename="camel"):
    """What was understood of a suggestion."""

    detected_languages: list[str]
    requested_languages: list[str]
    client_token: str | None = None


_TYPES = (
    *(perspective.AnalyzeCommentRequest, AnalyzeCommentResponse),
    *(perspective.SuggestCommentScoreRequest, SuggestCommentScoreResponse),
)


def own_address(scope: Scope, public_url: str | None) -> str:
    """Return the address under which a client reached us, with a slash at the end."""
    if public_url:
        return public_url.rstrip("/") + "/"
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if not _HOST.fullmatch(host):
        server = scope.get("server") or ("127.0.0.1", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}/"


def document(root_url: str) -> dict[str, Any]:
    """Return the discovery document for a server at `root_url`, which ends with a slash."""
    methods = {
        "analyze": ("Analyzes the provided text and returns scores for requested attributes.", "AnalyzeComment"),
        "suggestscore": ("Suggest comment scores as training data.", "SuggestCommentScore"),
    }
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "commentanalyzer:v1alpha1",
        "name": "commentanalyzer",
        "version": "v1alpha1",
        "title": "Perspective Comment Analyzer API",
        "description": "The Perspective Comment Analyzer protocol, answered by moderation on your own machine.",
        "protocol": "rest",
        "rootUrl": root_url,
        "baseUrl": root_url,
        "basePath": "",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": {
            name: {"type": "string", "location": "query", "description": text} | _DEFAULTS.get(name, {})
            for name, text in _QUERY.items()
        },
        "auth": {"oauth2": {"scopes": {_SCOPE: {"description": "See your primary email address"}}}},
        "schemas": _schemas(),
        "resources": {
            "comments": {"methods": {name: _method(name, *about) for name, about in methods.items()}},
        },
    }


_SCOPE = "https://www.googleapis.com/auth/userinfo.email"
_DEFAULTS: Mapping[str, dict[str, str]] = {"alt": {"default": "json"}, "prettyPrint": {"default": "true"}}


def _method(name: str, text: str, schema: str) -> dict[str, Any]:
    path = f"v1alpha1/comments:{name}"
    return {
        "id": f"commentanalyzer.comments.{name}",
        "path": path,
        "flatPath": path,
        "httpMethod": "POST",
        "description": text,
        "parameters": {},
        "parameterOrder": [],
        "request": {"$ref": f"{schema}Request"},
        "response": {"$ref": f"{schema}Response"},
        "scopes": [_SCOPE],
    }


def _schemas() -> dict[str, Any]:
    """Return the types as Google's discovery format has them: JSON Schema without unions, references by bare name."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template="{name}")
    return {name: {"id": name} | _plain(schema) for name, schema in components.items()}


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        rest = [option for option in schema["anyOf"] if option != {"type": "null"}]
        return _plain(rest[0])
    kept = {key: _plain(value) for key, value in schema.items() if key not in ("title", "default", "required")}
    return kept | ({"format": "double"} if kept.get("type") == "number" else {})


def routes(service: Service) -> list[BaseRoute]:
    """Return the document's routes."""

    async def discovery(request: Request) -> Response:
        request.scope["moderation.route"] = "discovery"
        version = request.query_params.get("version", "v1alpha1")
        if version != "v1alpha1":
            return google.render(Fault("missing", 404, "The requested version is not here; v1alpha1 is"))
        address = own_address(request.scope, service.settings.public_url)
        return JSONResponse(document(address), media_type=google.JSON)

    return [Route(path, discovery, methods=["GET"]) for path in PATHS]
