"""On the way into the queue: the words that the page marks."""

from __future__ import annotations

from moderation import Comment, Scorer
from moderation.intake import MOST_SPANS, heaviest


def test_words_for_and_against_are_kept(shipped: Scorer) -> None:
    text = "Somebody ought to burn his house down, said nobody at the lovely garden party on Sunday, thank you."
    spans = heaviest(shipped, Comment("1", text))
    assert {span.weight > 0 for span in spans if span.label == "incitement"} == {True, False}
    assert [span.start for span in spans] == sorted(span.start for span in spans)


def test_of_a_long_text_the_heaviest_are_kept(shipped: Scorer) -> None:
    text = "burn the rats " + "on a quiet sunny Sunday morning " * 50
    spans = heaviest(shipped, Comment("1", text))
    every = shipped.explain(text).spans
    for label in shipped.labels:
        kept = [abs(span.weight) for span in spans if span.label == label]
        assert len(kept) == MOST_SPANS
        assert (
            min(kept) >= sorted((abs(span.weight) for span in every if span.label == label), reverse=True)[MOST_SPANS]
        )
