"""The Perspective API (Comment Analyzer v1alpha1): analyze and suggestscore, as its clients call them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.comment import Article, Comment
from moderation.server import google
from moderation.server._attributes import Attributes
from moderation.server.answers import json_bytes
from moderation.server.endpoint import Answer, Call, Endpoint
from moderation.server.faults import ECHOED, convert
from moderation.server.fields import mask_of, select
from moderation.server.google import JSON
from moderation.server.language import detect
from moderation.server.score_map import Column
from moderation.server.sentences import Utf16, sentences
from moderation.server.service import Service
from moderation.server.spelling import spelt

MAX_BYTES = 20_480
"""Most bytes of UTF-8 in a comment."""

LANGUAGES = ("en",)
"""Languages that the model reads; a regional variety (``en-GB``) counts as its language."""

PREFIXES = ("/v1alpha1", "")

Method = Callable[[Any], Awaitable[dict[str, Any]]]
"""Answers one request, given as JSON data; raises a `Fault` with Google's message."""


class TextEntry(msgspec.Struct):
    """A text and its type."""

    text: str | None = None
    type: str | None = None


class ArticleAndParent(msgspec.Struct, rename="camel"):
    """The story and the comment that is answered."""

    article: TextEntry | None = None
    parent_comment: TextEntry | None = None


class Context(msgspec.Struct, rename="camel"):
    """What a comment refers to; it does not change scores."""

    entries: list[TextEntry] | None = None
    article_and_parent_comment: ArticleAndParent | None = None


class AttributeParameters(msgspec.Struct, rename="camel"):
    """How one attribute is to be given."""

    score_type: str | None = None
    score_threshold: float | None = None


class AnalyzeCommentRequest(msgspec.Struct, rename="camel"):
    """What to analyse."""

    comment: TextEntry | None = None
    requested_attributes: dict[str, AttributeParameters | None] | None = None
    languages: list[str] | str | None = None
    context: Context | None = None
    span_annotations: bool | None = None
    do_not_store: bool | None = None
    client_token: str | None = None
    session_id: str | None = None
    community_id: str | None = None
    drop_unsupported_attributes: bool | None = None


class ScoreValue(msgspec.Struct):
    """A score."""

    value: float | None = None
    type: str | None = None


class SpanScore(msgspec.Struct):
    """A score of a stretch of the text, in UTF-16 code units."""

    score: ScoreValue | None = None
    begin: int | None = None
    end: int | None = None


class AttributeScores(msgspec.Struct, rename="camel"):
    """An attribute's scores."""

    summary_score: ScoreValue | None = None
    span_scores: list[SpanScore] | None = None


class SuggestCommentScoreRequest(msgspec.Struct, rename="camel"):
    """What somebody thinks that a comment's scores should be."""

    comment: TextEntry | None = None
    attribute_scores: dict[str, AttributeScores | None] | None = None
    languages: list[str] | str | None = None
    context: Context | None = None
    do_not_store: bool | None = None
    client_token: str | None = None
    session_id: str | None = None
    community_id: str | None = None


class Perspective:
    """The two methods, over one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        settings = service.settings
        score_map = None if settings.raw_scores else service.score_map
        self.attributes = Attributes(service.scorer.labels, score_map, nearest=settings.unknown_attributes == "drop")

    @property
    def methods(self) -> dict[str, Method]:
        """The methods by their names in an address."""
        return {"analyze": self.analyze, "suggestscore": self.suggest}

    async def analyze(self, data: Any) -> dict[str, Any]:
        """Answer AnalyzeComment; raise a `Fault` with Google's message."""
        request = convert(spelt(data, AnalyzeCommentRequest), AnalyzeCommentRequest)
        text = _text(request.comment)
        wanted = self._requested(request.requested_attributes)
        _check_context(request.context)
        given = _languages(request.languages)
        detected, sure = detect(text)
        wanted = self._supported(wanted, given, detected, sure, drop=bool(request.drop_unsupported_attributes))
        spans = sentences(text) if request.span_annotations else [(0, len(text))]
        scores = await self._scores(request, text, wanted, spans)
        answer: dict[str, Any] = {"attributeScores": scores, "languages": given or [detected]}
        answer["detectedLanguages"] = [detected]
        if request.client_token is not None:
            answer["clientToken"] = request.client_token
        return answer

    def _requested(self, requested: Mapping[str, AttributeParameters | None] | None) -> dict[str, _Wanted]:
        """Return the attributes to give; raise a `Fault` for one that we do not have, unless these are dropped."""
        if not requested:
            raise google.no_attributes()
        wanted = {}
        for name, parameters in requested.items():
            column = self.attributes.column(name)
            if column is None:
                if self.service.settings.unknown_attributes == "refuse":
                    raise google.invalid(f"Unknown requested attribute: {name[:ECHOED]}")
                continue
            kind = parameters.score_type if parameters else None
            if kind not in (None, "SCORE_TYPE_UNSPECIFIED", "PROBABILITY"):
                raise google.score_type(kind, name)
            threshold = parameters.score_threshold if parameters else None
            wanted[name] = (column, threshold if threshold is not None else 0.0)
        return wanted

    def _supported(
        self, wanted: dict[str, _Wanted], given: list[str], detected: str, sure: bool, *, drop: bool
    ) -> dict[str, _Wanted]:
        """Refuse, or drop, attributes in a language that the model does not read."""
        check = self.service.settings.language_check
        if check == "off" or not wanted or (not given and check == "asked"):
            return wanted
        if not given and not sure:
            raise google.undetected()
        languages = given or [detected]
        if all(code.replace("_", "-").partition("-")[0].lower() in LANGUAGES for code in languages):
            return wanted
        if drop:
            return {}
        raise google.language(next(iter(wanted)), languages, requested=bool(given))

    async def _scores(
        self, request: AnalyzeCommentRequest, text: str, wanted: dict[str, _Wanted], spans: list[tuple[int, int]]
    ) -> dict[str, Any]:
        whole = len(spans) == 1 and spans[0] == (0, len(text))
        texts = [text] if whole else [text, *(text[begin:end] for begin, end in spans)]
        rows = await self.service.probabilities("analyze", texts, counted=1)
        table: list[list[float]] = rows.tolist()
        self._tell(request, text, table[0])
        places = Utf16(text)
        ranges = [(places(begin), places(end)) for begin, end in spans]
        answer = {}
        for name, (column, threshold) in wanted.items():
            values = [column.apply(row) for row in table]
            answer[name] = _attribute_scores(values[0], values if whole else values[1:], ranges, threshold)
        return answer

    def _tell(self, request: AnalyzeCommentRequest, text: str, row: Sequence[float]) -> None:
        """Pass the comment to the hook, unless its sender forbids that it be kept."""
        service = self.service
        if service.on_scored is None or request.do_not_store:
            return
        service.ready_to_tell()
        story = _story(request.context)
        comment = Comment(
            request.client_token or service.identity(text), text, article=Article(title=story) if story else None
        )
        score = service.score_of(comment, list(row))
        service.tell([comment], [score], [service.policy.decide(score)])

    async def suggest(self, data: Any) -> dict[str, Any]:
        """Answer SuggestCommentScore, and keep the suggestion where the operator wants it kept."""
        request = convert(spelt(data, SuggestCommentScoreRequest), SuggestCommentScoreRequest)
        text = _text(request.comment)
        _check_context(request.context)
        suggested = self._suggested(request.attribute_scores)
        given = _languages(request.languages)
        if self.service.feedback is None:
            self.service.metrics.event("feedback_dropped")
        else:
            self.service.feedback.keep(
                text,
                attributes=suggested,
                labels={
                    label: value
                    for name, value in suggested.items()
                    if (label := self.attributes.label(name, self.service.scorer.labels)) is not None
                },
                may_keep_text=not request.do_not_store,
                client_token=request.client_token,
                community=request.community_id,
                languages=given,
                context=[entry.text for entry in (request.context and request.context.entries) or [] if entry.text],
            )
            self.service.metrics.event("feedback_kept")
        answer: dict[str, Any] = {}
        if request.client_token is not None:
            answer["clientToken"] = request.client_token
        return answer | {"detectedLanguages": [detect(text)[0]], "requestedLanguages": given}

    def _suggested(self, scores: Mapping[str, AttributeScores | None] | None) -> dict[str, float]:
        """Return the suggested value per attribute: the summary's, else the largest span's."""
        if not scores:
            raise google.invalid("Missing attribute_scores")
        suggested = {}
        for name, entry in scores.items():
            if self.attributes.column(name) is None and self.service.settings.unknown_attributes == "refuse":
                raise google.invalid(f"Unknown attribute: {name[:ECHOED]}")
            spans = (entry and entry.span_scores) or []
            for span in spans:
                if span.begin is None or span.end is None or not 0 <= span.begin <= span.end:
                    raise google.invalid(f"Attribute {name[:ECHOED]}: span scores must have begin and end")
            given = [entry.summary_score] if entry and entry.summary_score else [span.score for span in spans]
            values = [_value(name, score) for score in given]
            if not values:
                raise google.invalid(f"Attribute {name[:ECHOED]} has neither summary_score nor span_scores")
            suggested[name] = max(values)
        return suggested


_Wanted = tuple[Column, float]


def _attribute_scores(
    value: float, spans: Sequence[float], ranges: Sequence[tuple[int, int]], threshold: float
) -> dict[str, Any]:
    """Return an attribute's scores as Google gives them; those below the threshold are left out."""
    scored = [
        {"begin": begin, "end": end, "score": {"value": score, "type": "PROBABILITY"}}
        for (begin, end), score in zip(ranges, spans, strict=True)
        if score >= threshold
    ]
    answer: dict[str, Any] = {"spanScores": scored}
    if value >= threshold:
        answer["summaryScore"] = {"value": value, "type": "PROBABILITY"}
    return answer


def _text(comment: TextEntry | None) -> str:
    """Return a comment's text; raise a `Fault` when it is empty, too long or of another type."""
    kind = comment.type if comment else None
    if kind not in (None, "TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT"):
        known = "Currently, only 'PLAIN_TEXT' comments are supported"
        raise google.invalid(known if kind == "HTML" else "Unknown text type")
    if comment is None or not comment.text:
        raise google.empty()
    text = comment.text
    if len(text) > MAX_BYTES // 4:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES:
            raise google.too_long(size, MAX_BYTES)
    return text


def _check_context(context: Context | None) -> None:
    if context is not None and context.entries and context.article_and_parent_comment is not None:
        raise google.invalid(
            "Context can have either entries or article_and_parent_comment, but both fields were populated."
        )


def _story(context: Context | None) -> str | None:
    """Return the beginning of the story's text, where a context has it."""
    article = context.article_and_parent_comment.article if context and context.article_and_parent_comment else None
    return (article.text or "")[:200] or None if article else None


def _languages(given: list[str] | str | None) -> list[str]:
    return [given] if isinstance(given, str) and given else list(given or [])


def _value(name: str, score: ScoreValue | None) -> float:
    kind = score.type if score else None
    if kind not in (None, "SCORE_TYPE_UNSPECIFIED", "PROBABILITY"):
        raise google.score_type(kind, name)
    value = score.value if score and score.value is not None else 0.0  # Google's JSON leaves a 0 out
    if not 0 <= value <= 1:
        raise google.invalid(f"Attribute {name[:ECHOED]}: a score must lie in [0, 1]")
    return value


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes of both methods, with and without the version in front."""
    perspective = Perspective(service)

    def answering(method: Method) -> Answer:
        async def answer(call: Call) -> Response:
            mask = mask_of(call.scope)
            return Response(json_bytes(select(await method(await call.json()), mask)), media_type=JSON)

        return answer

    endpoints = {
        name: Endpoint(service, name, answering(method), google.render) for name, method in perspective.methods.items()
    }
    return [
        Route(f"{prefix}/comments:{name}", endpoint, methods=["POST"], name=name)
        for prefix in PREFIXES
        for name, endpoint in endpoints.items()
    ]
