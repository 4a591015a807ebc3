"""Pages for people: the OpenAPI document, an interactive page over it that needs no network, and a first page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from moderation.server.answers import json_answer
from moderation.server.discovery import own_address
from moderation.server.faults import Fault, problem
from moderation.server.openapi import More, document
from moderation.server.service import Service

ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon-32x32.png": "image/png"}

# Swagger UI draws with inline styles and images of its own making; scripts come from here alone.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

INTERACTIVE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>moderation: interactive documentation</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="docs/favicon-32x32.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body>
</html>
"""

START = """SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href, dom_id: "#ui", deepLinking: true, validatorUrl: null,
  tryItOutEnabled: true,
});
"""

FIRST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>moderation</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}}
code{{background:#8882;padding:.1em .3em;border-radius:.2em}}</style></head><body>
<h1>moderation</h1>
<p>This server scores reader comments for incitement and abuse. It advises; a person decides.</p>
<ul>
<li><a href="docs">Interactive documentation</a>, from the <a href="openapi.json">OpenAPI document</a></li>
<li>Perspective's clients: give them <code>{address}$discovery/rest?version=v1alpha1</code>
as discovery address, or <code>{address}v1alpha1</code> as endpoint</li>
<li>OpenAI's clients: base URL <code>{address}v1</code></li>
<li>Coral: Perspective endpoint <code>{address}v1alpha1</code>, external moderation phase
<code>{address}coral/phase</code></li>
<li><a href="ready">Readiness</a>, <a href="health">health</a>, <a href="metrics">metrics</a>,
<a href="v1/model">the model's passport</a></li>
</ul>
<p>Model <code>{model}</code>, policy <code>{policy}</code>.</p>
</body></html>
"""


def routes(service: Service, more: More | None = None) -> list[BaseRoute]:
    """Return the pages' routes. A queue that is mounted before them takes ``/`` for itself."""
    description = document(service, more)

    async def openapi(_: Request) -> Response:
        return json_answer(description)

    async def interactive(_: Request) -> Response:
        return HTMLResponse(INTERACTIVE, headers={"content-security-policy": PAGE_POLICY})

    async def start(_: Request) -> Response:
        return Response(START, media_type="text/javascript")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        folder = _assets()
        if name not in ASSETS or folder is None:
            return problem(Fault("missing", 404, "there is nothing at this address"))
        return FileResponse(folder / name, media_type=ASSETS[name], headers={"cache-control": "max-age=86400"})

    async def first(request: Request) -> Response:
        address = own_address(request.scope, service.settings.public_url)
        page = FIRST.format(address=address, model=service.scorer.model_id, policy=service.policy.id)
        policy = PAGE_POLICY.replace("script-src 'self'; ", "")
        return HTMLResponse(page, headers={"content-security-policy": policy})

    return [
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", interactive, methods=["GET"]),
        Route("/docs/start.js", start, methods=["GET"]),
        Route("/docs/{name}", asset, methods=["GET"]),
        Route("/", first, methods=["GET"]),
    ]


def _assets() -> Path | None:
    """Return the folder of Swagger UI's files, found without importing the package that brings them."""
    spec = find_spec("swagger_ui")
    return Path(str(spec.origin)).parent / "static" if spec and spec.origin else None
