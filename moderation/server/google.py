"""Google's shape of errors (google.rpc.Status), with the messages that Perspective's clients match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from moderation.server.answers import json_bytes
from moderation.server.faults import ECHOED, Fault

JSON = "application/json; charset=UTF-8"
_ERROR = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_HELP = "type.googleapis.com/google.rpc.Help"

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}

_QUOTA = (
    "Quota exceeded for quota metric 'Analysis requests (AnalyzeComment)' and limit 'Analysis requests "
    "(AnalyzeComment) per minute' of service 'commentanalyzer.googleapis.com' for consumer '{caller}'."
)


class Refusal(Fault):
    """A fault with Perspective's own message and error type."""

    def __init__(self, error_type: str, message: str, payload: Mapping[str, Any] | None = None) -> None:
        detail = {"@type": _ERROR, "errorType": error_type} | dict(payload or {})
        super().__init__("invalid", 400, message, extra={"details": [detail]})


def empty() -> Refusal:
    """The comment has no text."""
    return Refusal("COMMENT_EMPTY", "Comment must be non-empty.")


def too_long(size: int, limit: int) -> Refusal:
    """The text has too many bytes."""
    message = f"Comment text was too many bytes. Value ({size}) exceeded limit ({limit})."
    return Refusal("COMMENT_TOO_LONG", message)


def no_attributes() -> Refusal:
    """No attribute was requested."""
    return Refusal("NO_REQUESTED_ATTRIBUTES", "Missing requested_attributes")


def language(attribute: str, languages: Sequence[str], *, requested: bool) -> Refusal:
    """The attribute is not there for a language that the caller gave, or that was detected."""
    key = "requestedLanguages" if requested else "detectedLanguages"
    attribute, codes = attribute[:ECHOED], [code[:ECHOED] for code in languages[:ECHOED]]
    payload = {"languageNotSupportedByAttributeError": {key: codes, "attribute": attribute}}
    message = f"Attribute {attribute} does not support request languages: {', '.join(codes)}"
    return Refusal("LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE", message, payload)


def undetected() -> Refusal:
    """No language can be told."""
    return Refusal("LANGUAGE_DETECTION_FAILED", "Unable to detect language")


def score_type(kind: str, attribute: str) -> Refusal:
    """The attribute is not there as this kind of score."""
    return invalid(f"Requested score type {kind[:ECHOED]} is not supported by attribute {attribute[:ECHOED]}")


def invalid(message: str) -> Refusal:
    """Anything else that is wrong with the request."""
    return Refusal("INVALID_REQUEST", message)


def error_body(fault: Fault) -> dict[str, Any]:
    """Return a fault as Google writes it."""
    status, message, details = fault.status, fault.detail, fault.extra.get("details")
    if fault.kind == "key":
        # Never 401: inside a batch it makes Google's Python client refresh credentials and send again.
        status, message = 400, "API key not valid. Please pass a valid API key."
        details = [_info("API_KEY_INVALID", {"service": "commentanalyzer.googleapis.com"})]
    elif fault.kind == "rate":
        message = _QUOTA.format(caller="project_number:0")
        details = [_info("RATE_LIMIT_EXCEEDED", _RATE), {"@type": _HELP, "links": []}]
    elif fault.kind in ("json", "invalid") and details is None:
        words = "Invalid JSON payload received. " if fault.kind == "json" else ""
        message = words + message
        details = [{"@type": _ERROR, "errorType": "INVALID_REQUEST"}]
    error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    if details:
        error["details"] = details
    return {"error": error}


_RATE = {
    "quota_metric": "commentanalyzer.googleapis.com/analyze_requests",
    "quota_limit": "AnalyzeRequestsPerMinutePerProject",
    "service": "commentanalyzer.googleapis.com",
    "consumer": "projects/0",
}


def _info(reason: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {"@type": _INFO, "reason": reason, "domain": "googleapis.com", "metadata": dict(metadata)}


def render(fault: Fault) -> Response:
    """Render a fault as Google does."""
    body = error_body(fault)
    headers = {} if fault.kind == "key" else fault.headers
    return Response(json_bytes(body), body["error"]["code"], headers, media_type=JSON)
