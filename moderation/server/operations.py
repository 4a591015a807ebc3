"""What whoever runs the server asks it: is it alive, is it ready, what has it counted."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from moderation.server.answers import json_answer
from moderation.server.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes; none of them asks for a key, and none tells more than counts and names."""

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def ready(_: Request) -> Response:
        """Ready means that a comment can be scored now and that there is room for it."""
        service.scorer.predict_proba(["ready"])
        full = service.gate.full
        about = {"ready": not full, "model": service.scorer.model_id, "policy": service.policy.id}
        return json_answer(about, 503 if full else 200)

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.exposition(), headers={"content-type": service.metrics.content_type})

    return [
        Route("/health", health, methods=["GET"]),
        Route("/ready", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
