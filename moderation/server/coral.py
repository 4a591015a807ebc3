"""Coral's external moderation phase: ``POST /coral/phase``. (Coral's Perspective calls go to `perspective`.)"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from moderation.comment import Article, Comment, Score, Verdict
from moderation.markup import plain
from moderation.server.answers import json_answer
from moderation.server.endpoint import Call, Endpoint, header
from moderation.server.faults import Fault, convert
from moderation.server.service import Service

SIGNATURE = b"x-coral-signature"

TOXIC = {"actionType": "FLAG", "reason": "COMMENT_DETECTED_TOXIC"}

REASON_CODES: Mapping[str, str] = {
    "incitement": "ILLEGAL_CONTENT",
    "threat": "ILLEGAL_CONTENT",
    "identity_attack": "HATE_SPEECH",
    "insult": "HARASSMENT_BULLYING",
    "severe_abuse": "ABUSIVE",
    "abuse": "ABUSIVE",
    "profanity": "OFFENSIVE",
    "sexually_explicit": "OFFENSIVE",
}
"""Coral's DSA reason code for each of our labels."""

FINER = ("identity_attack", "insult")
"""Labels that say more exactly what abuse is, where they are likely."""


class PhaseComment(msgspec.Struct, rename={"parent_id": "parentID"}):
    """The comment that is being written."""

    body: str
    parent_id: str | None = None


class PhaseAuthor(msgspec.Struct):
    """Who writes it."""

    id: str | None = None
    role: str | None = None


class PhaseStory(msgspec.Struct):
    """The story under which it stands."""

    id: str | None = None
    url: str | None = None


class PhaseSite(msgspec.Struct):
    """The site of the story."""

    id: str | None = None


class PhaseRequest(msgspec.Struct, rename={"tenant_id": "tenantID", "tenant_domain": "tenantDomain"}):
    """What Coral sends to an external moderation phase."""

    comment: PhaseComment
    action: str | None = None
    author: PhaseAuthor | None = None
    story: PhaseStory | None = None
    site: PhaseSite | None = None
    tenant_id: str | None = None
    tenant_domain: str | None = None


class PhaseAction(msgspec.Struct, rename="camel"):
    """A mark on the comment."""

    action_type: str
    reason: str


class RejectionReason(msgspec.Struct, rename="camel"):
    """A reason in the words of the Digital Services Act."""

    code: str
    detailed_explanation: str


class ModerationAction(msgspec.Struct, rename="camel"):
    """The status with its reason."""

    status: str
    rejection_reason: RejectionReason


class PhaseResponse(msgspec.Struct, rename="camel", omit_defaults=True):
    """What Coral is to do."""

    actions: list[PhaseAction]
    status: str | None = None
    moderation_action: ModerationAction | None = None


def check_signature(given: str, body: bytes, secrets: Sequence[bytes]) -> None:
    """Raise a `Fault` unless one of the signatures is HMAC-SHA256 of the raw body with one of the secrets.

    While Coral changes its secret it sends a signature for each, and a receiver may know both too.
    """
    signatures = [part.strip()[7:].encode("latin-1") for part in given.split(",") if part.strip().startswith("sha256=")]
    expected = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    fits = [hmac.compare_digest(one, other) for one in signatures[:8] for other in expected]
    if not any(fits):
        raise _unsigned()


def _unsigned() -> Fault:
    detail = "X-Coral-Signature: expected HMAC-SHA256 of the body with a secret known here"
    return Fault("signature", 401, detail)


def answer(score: Score, verdict: Verdict) -> PhaseResponse | None:
    """Return what Coral is told; None: nothing.

    ``review`` marks the comment as toxic and lets Coral's later phases decide; ``hold`` withholds it until a person has
    looked. There is no rejection: that is for a person.
    """
    if verdict.action == "allow" or verdict.label is None:
        return None
    actions = [PhaseAction(TOXIC["actionType"], TOXIC["reason"])]
    if verdict.action == "review":
        return PhaseResponse(actions)
    status = "SYSTEM_WITHHELD"
    reason = RejectionReason(_code(score, verdict.label), _explanation(score, verdict))
    return PhaseResponse(actions, status, ModerationAction(status, reason))


def _code(score: Score, label: str) -> str:
    if label == "abuse":
        likely = [finer for finer in FINER if score.probabilities.get(finer, 0.0) >= 0.5]
        label = max(likely, key=lambda finer: score.probabilities[finer], default=label)
    return REASON_CODES.get(label, "OTHER")


def _explanation(score: Score, verdict: Verdict) -> str:
    label = str(verdict.label)
    return (
        f"Detected by automated means, not yet decided by a person: {label.replace('_', ' ')} "
        f"{score.probabilities[label]:.0%}, this site holds from {verdict.threshold:.0%} on "
        f"(policy {verdict.policy_id}, model {score.model_id})."
    )


def routes(service: Service) -> list[BaseRoute]:
    """Return the phase's route. Where Coral's secrets are known the signature is asked for, and no key."""
    secrets = service.coral_secrets

    async def phase(call: Call) -> Response:
        if secrets:
            check_signature(call.header(SIGNATURE), call.raw, secrets)
        request: PhaseRequest = convert(await call.json(), PhaseRequest)
        text = plain(request.comment.body).strip()  # Coral sends HTML or plain text and does not say which
        if not text:
            return Response(status_code=204)
        story = Article(url=request.story.url) if request.story and request.story.url else None
        comment = Comment(service.identity(text), text, parent_id=request.comment.parent_id, article=story)
        (score,), (verdict,), _ = await service.assess("coral", [comment], explain="none")
        found = answer(score, verdict)
        return Response(status_code=204) if found is None else json_answer(found)

    endpoint = Endpoint(service, "coral", phase)
    if secrets:
        endpoint.ask_in_body(_signed)
    return [Route("/coral/phase", endpoint, methods=["POST"])]


def _signed(scope: Scope) -> None:
    """Refuse a request without any signature before its body is read; who sent it, only the body will show."""
    if "sha256=" not in header(scope, SIGNATURE):
        raise _unsigned()
