"""What all rooms of the server share: the scorer, the policy, the bounds, the counters, and how they score."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from moderation.comment import Comment, Score, Span, Verdict
from moderation.policy import Policy
from moderation.scorer import MAX_CHARACTERS, Scorer
from moderation.server.faults import Fault
from moderation.server.feedback import Feedback
from moderation.server.keys import Keys
from moderation.server.limits import Gate
from moderation.server.logs import frames
from moderation.server.metrics import Metrics
from moderation.server.origins import Origins
from moderation.server.score_map import ScoreMap
from moderation.server.settings import Settings

logger = logging.getLogger("moderation.server")

OnScored = Callable[[Sequence[Comment], Sequence[Score], Sequence[Verdict]], None]
"""Gets what was scored; called in a thread of its own after the answer, may block, may be called from several."""

Reasons = Mapping[str, Sequence[Span]]
"""The words that drove each label."""

Judged = tuple[list[Score], list[Verdict], list[Reasons | None]]

Result = TypeVar("Result")

INLINE = 4_000
"""Characters that are scored at once; more goes to a thread, so that small requests do not wait behind it."""

PER_TEXT = 50
"""Characters that one more text counts for."""


@dataclass(slots=True)
class Service:
    """One server's parts. Routes are built over it; it is not changed afterwards."""

    scorer: Scorer
    policy: Policy
    settings: Settings
    score_map: ScoreMap
    keys: Keys
    coral_secrets: Sequence[bytes]
    origins: Origins
    gate: Gate
    metrics: Metrics
    feedback: Feedback | None = None
    on_scored: OnScored | None = None
    _thread: CapacityLimiter | None = None
    _hook: CapacityLimiter | None = None
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def probabilities(
        self, route: str, texts: Sequence[str], *, counted: int | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities per text and label; the first `counted` texts (default: all) enter the histograms."""
        if sum(map(len, texts)) + PER_TEXT * len(texts) <= INLINE:
            rows = self.scorer.predict_proba(texts)
        else:
            rows = await to_thread.run_sync(self.scorer.predict_proba, texts, limiter=self._limiter())
        self.metrics.scores(route, rows[:counted])
        return rows

    async def assess(
        self,
        route: str,
        comments: Sequence[Comment],
        *,
        explain: str = "flagged",
        told: Sequence[Comment] | None = None,
    ) -> Judged:
        """Return score, verdict and, where all are asked for, the reasons for every label of each comment.

        Parameters
        ----------
        explain : ``flagged``: comments that are not allowed; ``all``; ``none``
        told : the same comments as the hook gets them, where those that came without an id have one
        """
        self.ready_to_tell()
        rows = await self.probabilities(route, [comment.text for comment in comments])
        scores = [self.score_of(comment, row) for comment, row in zip(comments, rows.tolist(), strict=True)]
        judged = await self.apart(comments, self._judge, comments, scores, explain)
        verdicts = [verdict for verdict, _ in judged]
        for verdict in verdicts:
            self.metrics.verdict(verdict.action)
        if told is None:
            self.tell(comments, scores, verdicts)
        else:
            own = [replace(score, comment_id=one.id) for score, one in zip(scores, told, strict=True)]
            self.tell(told, own, [replace(v, comment_id=one.id) for v, one in zip(verdicts, told, strict=True)])
        return scores, verdicts, [reasons for _, reasons in judged]

    async def apart(self, comments: Sequence[Comment], work: Callable[..., Result], *given: Any) -> Result:
        """Do work on comments that takes some times as long as their scores: at once for few, else in a thread."""
        if sum(len(comment.text) for comment in comments) <= INLINE // 4:
            return work(*given)
        return await to_thread.run_sync(work, *given, limiter=self._limiter())

    def score_of(self, comment: Comment, row: list[float]) -> Score:
        """Return one comment's row of probabilities as a `Score`."""
        probabilities = dict(zip(self.scorer.labels, row, strict=True))
        return Score(comment.id, self.scorer.model_id, probabilities, len(comment.text) > MAX_CHARACTERS)

    def _judge(
        self, comments: Sequence[Comment], scores: Sequence[Score], explain: str
    ) -> list[tuple[Verdict, Reasons | None]]:
        found: list[tuple[Verdict, Reasons | None]] = []
        for comment, score in zip(comments, scores, strict=True):
            verdict, reasons = self.policy.decide(score), None
            if explain == "all" or (explain == "flagged" and verdict.action != "allow"):
                # Not kept: an explanation has a number for every n-gram and label of its text.
                explanation = self.scorer.explain(comment)
                verdict = self.policy.decide(score, explanation)
                if explain == "all":
                    reasons = {label: explanation.reasons(label) for label in score.probabilities}
            found.append((verdict, reasons))
        return found

    def ready_to_tell(self) -> None:
        """Raise a `Fault` (503) while the hook is as far behind as requests may wait, so that nothing piles up."""
        if self.on_scored is not None and len(self._running) >= self.settings.max_waiting:
            raise Fault("busy", 503, "the queue is behind; try again", headers={"retry-after": "1"})

    def tell(self, comments: Sequence[Comment], scores: Sequence[Score], verdicts: Sequence[Verdict]) -> None:
        """Pass what was scored to the hook, if there is one, without making the answer wait for it."""
        if self.on_scored is not None:
            task = asyncio.get_running_loop().create_task(self._tell(comments, scores, verdicts))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _tell(self, comments: Sequence[Comment], scores: Sequence[Score], verdicts: Sequence[Verdict]) -> None:
        assert self.on_scored is not None
        try:
            await to_thread.run_sync(self.on_scored, comments, scores, verdicts, limiter=self._hook_limiter())
        except Exception as error:
            self.metrics.event("hook_failed")
            logger.error("the hook on_scored failed", extra={"error": frames(error), "comments": len(comments)})

    @staticmethod
    def identity(text: str) -> str:
        """Return an id for a comment that came without one: the same text gets the same."""
        return "text-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    async def drain(self) -> None:
        """Wait until the hook has been told everything."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    def _hook_limiter(self) -> CapacityLimiter:
        # Threads of its own, so that a slow hook takes none from the answers.
        if self._hook is None:
            self._hook = CapacityLimiter(2)
        return self._hook

    def _limiter(self) -> CapacityLimiter:
        if self._thread is None:
            self._thread = CapacityLimiter(2)
        return self._thread
