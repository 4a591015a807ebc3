"""Score reader comments for incitement and abuse, on your own machine, with reasons.

::

    from moderation import Scorer, Policy

    scorer = Scorer.load()
    score = scorer.score("Somebody ought to set his house on fire.")
    verdict = Policy.load().decide(score, scorer.explain("Somebody ought to set his house on fire."))
"""

from moderation.comment import Article, Comment, Decision, Score, Span, Verdict
from moderation.errors import ModerationError
from moderation.explain import Explanation
from moderation.policy import Policy
from moderation.scorer import Scorer

__all__ = [
    "Article",
    "Comment",
    "Decision",
    "Explanation",
    "ModerationError",
    "Policy",
    "Score",
    "Scorer",
    "Span",
    "Verdict",
]
