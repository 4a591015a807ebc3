"""The ASGI application: its rooms, put together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from moderation.comment import Score
from moderation.policy import Policy
from moderation.scorer import Scorer
from moderation.server import (
    batch_multipart,
    coral,
    discovery,
    google,
    native,
    openai,
    operations,
    pages,
    perspective,
)
from moderation.server.endpoint import Render
from moderation.server.faults import Fault, problem
from moderation.server.feedback import Feedback
from moderation.server.keys import Keys, read_keys, read_secrets
from moderation.server.limits import Gate
from moderation.server.metrics import Metrics
from moderation.server.observe import Observe
from moderation.server.openapi import More
from moderation.server.origins import Origins
from moderation.server.score_map import ScoreMap
from moderation.server.service import OnScored, Service
from moderation.server.settings import Settings

SHAPES: Mapping[str, Render] = {
    "/v1alpha1/": google.render,
    "/comments:": google.render,
    "/batch": google.render,
    "/$discovery/": google.render,
    "/v1/moderations": openai.render,
}
"""The shape of errors below an address; all others are problem details."""

logger = logging.getLogger("moderation.server")


def create_app(
    scorer: Scorer,
    policy: Policy,
    settings: Settings | None = None,
    *,
    extra_routes: Sequence[BaseRoute] = (),
    extra_document: More | None = None,
    on_scored: OnScored | None = None,
) -> Starlette:
    """Return the server as an ASGI application.

    Parameters
    ----------
    scorer, policy : what scores and what advises
    settings : what an operator may set
    extra_routes : routes of other rooms (the moderators' queue); they stand before our page at ``/``
    extra_document : what the OpenAPI document says of them
    on_scored : gets comments, scores and verdicts after the answer, in a thread of its own. It is not called for
        Perspective's calls that say ``doNotStore``

    Raises
    ------
    PolicyError
        when the policy has thresholds for labels that the model does not score
    InputError
        when a file that the settings name cannot be used, or an origin is none
    """
    settings = settings or Settings()
    service = create_service(scorer, policy, settings, on_scored)
    app = Starlette(
        routes=[
            # The routes that are called most stand first.
            *perspective.routes(service),
            *native.routes(service),
            *openai.routes(service),
            *coral.routes(service),
            *batch_multipart.routes(service),
            *discovery.routes(service),
            *operations.routes(service),
            *extra_routes,
            *pages.routes(service, extra_document),
        ],
        middleware=_middleware(service),
        exception_handlers={HTTPException: _http_error},
        lifespan=_lifespan(service),
    )
    app.state.service = service
    return app


def create_service(scorer: Scorer, policy: Policy, settings: Settings, on_scored: OnScored | None = None) -> Service:
    """Return the server's parts; raise what `create_app` raises."""
    policy.decide(Score("", scorer.model_id, dict.fromkeys(scorer.labels, 0.0)))
    score_map = ScoreMap.load(settings.score_map)
    if score_map.model_id != scorer.model_id and not settings.raw_scores:
        logger.warning(
            "the map to Perspective's scale was fitted for another model; fit it anew or use --raw-scores",
            extra={"map": score_map.model_id, "model": scorer.model_id},
        )
    feedback = None
    if settings.feedback is not None:
        feedback = Feedback(settings.feedback, keep_text=settings.feedback_text, model_id=scorer.model_id)
    return Service(
        scorer=scorer,
        policy=policy,
        settings=settings,
        score_map=score_map,
        keys=Keys(read_keys(settings.api_keys) if settings.api_keys else (), settings.shared),
        coral_secrets=read_secrets(settings.coral_secrets) if settings.coral_secrets else (),
        origins=Origins(settings.cors, public_url=settings.public_url, loopback=settings.loopback),
        gate=Gate(settings.max_waiting, settings.max_buffered),
        metrics=Metrics(scorer.labels, {"model": scorer.model_id, "policy": policy.id}, settings.shared),
        feedback=feedback,
        on_scored=on_scored,
    )


def _middleware(service: Service) -> list[Middleware]:
    layers = [Middleware(Observe, service=service)]
    if origins := list(service.settings.cors):
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["Retry-After"],
            )
        )
    return layers


async def _http_error(request: Request, error: Exception) -> Response:
    """Render what the router refuses in the shape of the protocol whose address was called."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        fault = Fault("method", 405, "this address takes another method", headers=error.headers)
    elif error.status_code == 404:
        fault = Fault("missing", 404, "there is nothing at this address")
    else:
        fault = Fault("invalid", error.status_code, str(error.detail), headers=error.headers)
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    return next((render for begin, render in SHAPES.items() if path.startswith(begin)), problem)(fault)


def _lifespan(service: Service):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.drain()

    return lifespan
