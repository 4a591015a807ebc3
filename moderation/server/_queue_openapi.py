"""What the OpenAPI document says of the queue's routes for machines; they are there when a queue is mounted."""

from __future__ import annotations

from typing import Any

from moderation.server.intake import AppealAnswer, AppealIn, QueueAnswer, QueueMany, QueueOne
from moderation.server.openapi import More, errors, operation, ref

_QUEUE = {"site": "gazette", "comments": [{"id": "c-1", "text": "Nobody voted for this clown."}]}
_APPEAL = {"site": "gazette", "id": "c-1", "statement": "I spoke of the mayor's work."}
_TOKEN: dict[str, Any] = {"security": [{"token": []}]}


def described() -> More:
    """Return the description of ``/v1/queue``, ``/v1/appeals`` and ``/v1/decisions``."""
    put = operation("Put comments into the queue", "", "QueueAnswer", "Problem", _QUEUE, name="queue")
    # What scoring makes up when it is missing, the queue must know.
    identified = {"required": ["id"], "properties": {"id": {"type": "string", "minLength": 1}}}
    put["requestBody"]["content"]["application/json"]["schema"] = {
        "oneOf": [
            {**ref("QueueOne"), "properties": {"comment": identified}},
            {**ref("QueueMany"), "properties": {"comments": {"items": identified}}},
        ]
    }
    put["responses"] |= errors({"507": "No room is left on the database's disk"}, "Problem")
    appeal = operation("Open an appeal", "AppealIn", "AppealAnswer", "Problem", _APPEAL, name="appeals")
    appeal["responses"]["201"] = appeal["responses"].pop("200") | {"description": "The appeal, opened now or before"}
    appeal["responses"] |= errors(
        {"404": "No such comment", "409": "It cannot be appealed against", "507": "No room on the disk"}, "Problem"
    )
    for each in (put, appeal):
        del each["responses"]["403"], each["responses"]["429"]
    return More(
        types=(QueueOne, QueueMany, QueueAnswer, AppealIn, AppealAnswer),
        paths={
            "/v1/queue": {"post": put | _TOKEN},
            "/v1/appeals": {"post": appeal | _TOKEN},
            "/v1/decisions": {"get": _decisions() | _TOKEN},
        },
        schemes={"token": {"type": "http", "scheme": "bearer", "description": "A token: moderation users token"}},
    )


def _decisions() -> dict[str, Any]:
    given = [
        ("since", "From which time on, as in 2026-11-25", {"type": "string", "format": "date-time"}),
        ("site", "Of which site alone", {"type": "string"}),
    ]
    return {
        "operationId": "decisions",
        "summary": "Stream decisions as JSON lines",
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": schema} for name, text, schema in given
        ],
        "responses": {
            "200": {
                "description": "A JSON object a line",
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            }
        }
        | errors({"400": "The address asks for something else", "401": "The token is not known"}, "Problem"),
    }
