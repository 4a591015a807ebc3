"""The OpenAPI document describes what the server does: schemathesis calls it by the document."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server.running import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


OPERATIONS = [
    *(("/v1/score", "POST"), ("/v1/moderations", "POST"), ("/v1alpha1/comments:analyze", "POST")),
    *(("/v1alpha1/comments:suggestscore", "POST"), ("/coral/phase", "POST"), ("/v1/model", "GET")),
    *(("/health", "GET"), ("/ready", "GET"), ("/metrics", "GET")),
]


QUEUE = ("/v1/queue", "/v1/appeals", "/v1/decisions")
"""Routes of the queue, which want its token; tests/review/test_intake.py calls them by the document."""


def document(server: Server) -> dict[str, Any]:
    return dict(server.client.get("/openapi.json").json())


def test_every_operation_is_called(server: Server) -> None:
    paths = document(server)["paths"]
    assert set(QUEUE) <= set(paths)
    assert {(path, method.upper()) for path in paths for method in paths[path] if path not in QUEUE} == set(OPERATIONS)


# A request without parameters cannot be wrong, so those that read are called in the right way only.
CALLS = [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
CALLS += [(*operation, GenerationMode.NEGATIVE) for operation in OPERATIONS if operation[1] == "POST"]


@pytest.mark.parametrize(("path", "method", "mode"), CALLS)
def test_the_document_is_kept(server: Server, path: str, method: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_dict(document(server))[path][method]

    with requests.Session() as session:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        def call(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=server.address, session=session, checks=CHECKS)

        call()


def test_what_guards_every_scoring_route_is_documented(server: Server) -> None:
    """Answers that no valid request gets, so that calling by the document does not find them missing."""
    for path, method in OPERATIONS:
        documented = set(document(server)["paths"][path][method.lower()]["responses"])
        if method == "POST":
            assert documented >= {"400", "401", "403", "408", "413", "415", "429", "503"}
    assert set(document(server)["paths"]["/v1/model"]["get"]["responses"]) == {"200", "401", "429"}
    assert set(document(server)["paths"]["/ready"]["get"]["responses"]) == {"200", "503"}


def test_it_is_openapi_3_1(server: Server) -> None:
    found = server.client.get("/openapi.json").json()
    assert found["openapi"] == "3.1.0"
    for path in ("/v1/score", "/v1/moderations", "/v1alpha1/comments:analyze", "/coral/phase", "/v1/model"):
        assert path in found["paths"]


def test_its_examples_work(server: Server) -> None:
    found = server.client.get("/openapi.json").json()
    for path, methods in found["paths"].items():
        if "post" in methods and path not in QUEUE:
            example = methods["post"]["requestBody"]["content"]["application/json"]["example"]
            assert server.client.post(path, json=example).is_success, path
