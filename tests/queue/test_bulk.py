"""Many comments in one act, seen beforehand and undone as one."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from moderation import Article
from moderation.errors import Conflict, Forbidden, InputError, KeyReused, NotFound
from moderation.queue import Filter, Intake, Ruling, Store
from moderation.queue.bulk import wilson
from moderation.queue.schema import decisions
from tests.queue.conftest import PLAIN, incoming
from tests.queue.recount import check

LOW = Filter(label="abuse", low=0.2, high=0.5)
APPROVE = Ruling("approve")
REJECT = Ruling("reject", reason="ABUSE")


def test_the_histogram_counts_what_a_range_takes_in(filled: Store) -> None:
    bars = filled.listing.histogram(Filter(label="abuse"))
    assert sum(bar.count for bar in bars) == 16
    for bar in bars:
        assert filled.listing.count(Filter(label="abuse", low=bar.low, high=bar.high)) == bar.count


@pytest.mark.parametrize("bars", [10, 20, 25, 40])
def test_every_bar_holds_its_own_edge(store: Store, bars: int) -> None:
    store.arrivals.put([incoming(k, k / bars) for k in range(bars + 1)], site="gazette", intake=Intake(queue_all=True))
    found = store.listing.histogram(Filter(label="abuse"), bars=bars)
    assert [bar.count for bar in found] == [1] * (bars - 1) + [2]  # 1 itself is in the last bar


def test_a_number_of_bars_that_would_not_fit_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="one of 10, 20"):
        store.listing.histogram(bars=47)


def test_without_a_label_it_is_the_deciding_one(filled: Store) -> None:
    filled.arrivals.put([incoming(50, 0.9, label="incitement")], site="gazette", intake=PLAIN)
    assert sum(bar.count for bar in filled.listing.histogram()) == 17
    assert filled.listing.count(Filter(low=0.9)) == 3
    assert filled.listing.count(Filter(label="incitement", low=0.9)) == 1


def test_a_label_alone_means_comments_marked_with_it(store: Store) -> None:
    store.arrivals.put([incoming(1, 0.9, threat=0.6), incoming(2, 0.9, threat=0.4)], site="gazette", intake=PLAIN)
    assert [entry.comment.id for entry in store.listing.page(Filter(label="threat")).entries] == ["c1"]
    assert dict(store.listing.counts().by_label) == {"abuse": 2, "threat": 1}


def test_a_preview_says_what_would_happen(filled: Store) -> None:
    [mine] = filled.desk.claim("bob", LOW)
    preview = filled.bulks.preview("ada", LOW)
    assert (preview.count, preview.claimed) == (5, 1)
    assert preview.mean == pytest.approx((0.2 + 0.25 + 0.3 + 0.35 + 0.4) / 5)
    assert len(preview.sample) == 5
    assert mine.ref not in {entry.ref for entry in preview.sample}
    assert (preview.precision, preview.interval) == (None, None)
    assert filled.bulks.preview("bob", LOW).count == 6


def test_expected_precision_comes_from_decisions_made_one_by_one(filled: Store) -> None:
    for n, ruling in enumerate([REJECT, APPROVE, APPROVE]):
        [item] = filled.desk.claim("ada", LOW)
        filled.desk.decide("ada", item.ref, ruling, key=str(n))
    preview = filled.bulks.preview("ada", LOW)
    assert (preview.rejected, preview.decided, preview.precision) == (1, 3, pytest.approx(1 / 3))
    assert preview.interval == wilson(1, 3)
    filled.bulks.act("ada", LOW, APPROVE)
    assert filled.bulks.preview("ada", LOW).decided == 3


def test_expected_precision_is_that_of_comments_that_fit(store: Store) -> None:
    """Two authors under two articles: who wrote of gold was rejected, everybody else approved."""
    about = Article("The gold", "https://news.example/gold")
    found = [incoming(n, 0.3, author=("joe", "ann")[n % 2], text=f"text {n} {'GOLD' * (n < 4)}") for n in range(16)]
    found = [replace(one, comment=replace(one.comment, article=about)) if n < 4 else one for n, one in enumerate(found)]
    store.arrivals.put(found, site="gazette", intake=PLAIN)
    for n in range(12):
        ref = store.listing.find("gazette", f"c{n}")
        assert ref is not None
        store.desk.decide("ada", ref, REJECT if n < 4 else APPROVE)
    gold = store.listing.item(1).article_ref
    for label in ("abuse", None):
        whole = Filter(label=label, low=0.0, high=1.0)
        for chosen, rejected, decided in (
            (whole, 4, 12),
            (replace(whole, words="gold"), 4, 4),
            (replace(whole, author="ann"), 2, 6),
            (replace(whole, author="ann", words="gold"), 2, 2),
            (replace(whole, article=gold), 4, 4),
            (replace(whole, site="courier"), 0, 0),
            (replace(whole, low=0.5), 0, 0),
        ):
            preview = store.bulks.preview("bob", chosen)
            assert (preview.rejected, preview.decided) == (rejected, decided), chosen


def test_an_act_without_a_label(filled: Store) -> None:
    filled.arrivals.put([incoming(50, 0.9, label="incitement")], site="gazette", intake=PLAIN)
    chosen = Filter(low=0.0, high=1.0, author="joe", words="clown")
    preview = filled.bulks.preview("ada", chosen)
    assert (preview.count, preview.mean) == (17, pytest.approx((sum(n / 20 for n in range(4, 20)) + 0.9) / 17))
    bulk = filled.bulks.act("ada", chosen, REJECT, seen=preview.seen, key="k")
    assert (bulk.size, bulk.filter) == (17, chosen)
    assert filled.bulks.act("ada", chosen, REJECT, seen=preview.seen, key="k").ref == bulk.ref
    filled.bulks.undo("ada", bulk.ref)
    assert filled.listing.counts().waiting == 17
    check(filled)


def test_an_act_names_its_article(filled: Store) -> None:
    ref = filled.listing.item(1).article_ref
    for article in (ref, None):
        filled.bulks.act("ada", Filter(article=article, high=0.5), APPROVE)
    assert [one.article for one in filled.bulks.latest()] == [None, "The ferry"]


def test_the_comments_of_an_act(filled: Store) -> None:
    bulk = filled.bulks.act("ada", LOW, APPROVE)
    filled.bulks.act("ada", Filter(label="abuse", low=0.5, high=0.6), APPROVE)
    first = filled.bulks.page(bulk.ref, "bob", limit=4)
    rest = filled.bulks.page(bulk.ref, "bob", limit=4, after=int(first.after or 0))
    assert [entry.comment.id for entry in (*first.entries, *rest.entries)] == [f"c{n}" for n in range(4, 10)]
    assert rest.after is None and {entry.state for entry in rest.entries} == {"approved"}
    assert filled.bulks.page(99, "bob").entries == ()


def test_the_comments_of_an_act_do_not_tell_the_second_who_looks(store: Store) -> None:
    store.arrivals.put([incoming(1), incoming(2)], site="gazette", intake=Intake(sample=0, double=1))
    bulk = store.bulks.act("ada", Filter(), APPROVE)
    assert [len(store.bulks.page(bulk.ref, name).entries) for name in ("ada", "bob", "sue")] == [2, 0, 0]
    store.desk.decide("bob", 1, APPROVE)
    assert [entry.ref for entry in store.bulks.page(bulk.ref, "sue").entries] == [1]


def test_wilson_interval() -> None:
    # Reference: statsmodels.stats.proportion.proportion_confint(8, 10, method="wilson")
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


def test_act_and_undo_as_one(filled: Store) -> None:
    bulk = filled.bulks.act("ada", LOW, REJECT, seen=filled.bulks.preview("ada", LOW).seen)
    assert (bulk.size, bulk.act, bulk.filter) == (6, "reject", LOW)
    assert filled.listing.counts().waiting == 10
    assert filled.listing.count(Filter(state="rejected")) == 6
    made = filled.listing.decisions("ada")
    assert {(past.bulk, past.decision.automation) for past in made} == {(bulk.ref, "partial")}
    check(filled)
    assert filled.bulks.undo("ada", bulk.ref).undone is not None
    assert filled.listing.counts().waiting == 16
    assert len(filled.listing.decisions("ada")) == 12
    with pytest.raises(Conflict, match="undone already"):
        filled.bulks.undo("ada", bulk.ref)
    check(filled)


def test_undo_leaves_what_was_decided_since(filled: Store) -> None:
    bulk = filled.bulks.act("ada", LOW, REJECT)
    kept, single = (entry.ref for entry in filled.listing.page(Filter(state="rejected"), limit=2).entries)
    filled.desk.decide("sue", kept, APPROVE, revise=True)
    alone = next(past for past in filled.listing.decisions("ada") if past.comment_ref == single)
    filled.desk.undo("ada", alone.ref)
    filled.bulks.undo("ada", bulk.ref)
    assert filled.listing.item(kept).state == "approved"
    assert filled.listing.counts().waiting == 15
    check(filled)


def test_who_may_undo(filled: Store) -> None:
    bulk = filled.bulks.act("ada", LOW, APPROVE)
    with pytest.raises(Forbidden):
        filled.bulks.undo("bob", bulk.ref)
    assert filled.bulks.undo("sue", bulk.ref).undone
    with pytest.raises(NotFound):
        filled.bulks.undo("sue", 99)


def test_a_double_submit_acts_once(filled: Store) -> None:
    first = filled.bulks.act("ada", LOW, APPROVE, key="b")
    assert filled.bulks.act("ada", LOW, APPROVE, key="b") == first
    assert filled.listing.counts().waiting == 10
    with pytest.raises(KeyReused):
        filled.bulks.act("ada", LOW, REJECT, key="b")


def test_another_ruling_or_filter_is_another_request(filled: Store) -> None:
    filled.bulks.act("ada", LOW, Ruling("reject", reason="ABUSE", note="first"), key="b")
    for chosen, ruling in (
        (LOW, Ruling("reject", reason="SPAM", note="first")),
        (LOW, Ruling("reject", reason="ABUSE", note="second")),
        (Filter(label="abuse", low=0.2, high=0.6), Ruling("reject", reason="ABUSE", note="first")),
    ):
        with pytest.raises(KeyReused):
            filled.bulks.act("ada", chosen, ruling, key="b")


def test_only_what_was_seen_is_taken_in(filled: Store) -> None:
    """Not what came, was edited, was undone or was scored anew since, nor what another has given back."""
    filled.arrivals.put([incoming(70, 0.3), incoming(71, 0.1)], site="gazette", intake=PLAIN)
    undone = filled.desk.decide("bob", 21, APPROVE).past.ref
    [held] = filled.desk.claim("bob", LOW)
    seen = filled.bulks.preview("ada", LOW).seen
    assert seen is not None and len(seen) == 5 and held.ref not in seen and 21 not in seen
    filled.desk.release("bob")
    filled.desk.undo("bob", undone)
    edited, decided = sorted(seen)[:2]
    name = filled.listing.item(edited).comment.id
    news = [incoming(60, 0.3), incoming(71, 0.3, model="m2"), incoming(int(name[1:]), 0.3, text="edited")]
    filled.arrivals.put(news, site="gazette", intake=PLAIN)
    filled.desk.decide("bob", decided, APPROVE)
    bulk = filled.bulks.act("ada", LOW, APPROVE, seen=seen)
    assert {past.comment_ref for past in filled.listing.decisions("ada")} == seen.keys() - {edited, decided}
    assert bulk.size == 3
    with pytest.raises(Conflict, match="none of the 5"):
        filled.bulks.act("ada", LOW, APPROVE, seen=seen)
    check(filled)


def test_a_range_that_is_too_wide_for_one_act_is_only_counted(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.queue.bulk.MOST", 5)
    preview = filled.bulks.preview("ada", LOW)
    assert (preview.count, preview.seen, preview.mean, len(preview.sample)) == (6, None, None, 6)


def test_second_looks_are_left_out(store: Store) -> None:
    store.arrivals.put([incoming(1), incoming(2)], site="gazette", intake=Intake(sample=0, double=1))
    [item] = store.desk.claim("ada")
    store.desk.decide("ada", item.ref, APPROVE)
    assert store.bulks.act("bob", Filter(), APPROVE).size == 1
    check(store)


def test_the_random_sample_is_looked_at_one_by_one(store: Store) -> None:
    store.arrivals.put([incoming(1, 0.1), incoming(2, 0.12)], site="gazette", intake=Intake(sample=1, double=0))
    store.arrivals.put([incoming(3, 0.3)], site="gazette", intake=Intake(sample=0, double=0))
    preview = store.bulks.preview("ada", Filter())
    assert preview.count == 1
    assert store.bulks.act("ada", Filter(), Ruling("approve"), seen=preview.seen).size == 1
    assert store.listing.counts().waiting == 2


def test_more_than_a_chunk(store: Store) -> None:
    store.arrivals.put([incoming(n, 0.3) for n in range(2_300)], site="gazette", intake=PLAIN)
    bulk = store.bulks.act("ada", Filter(high=0.5), APPROVE)
    assert bulk.size == 2_300
    store.bulks.undo("ada", bulk.ref)
    assert store.listing.counts().waiting == 2_300
    with store.database.read() as connection:
        assert len(connection.execute(select(decisions.c.id)).all()) == 4_600


@pytest.mark.parametrize("chosen", [Filter(state="approved"), Filter(state=None)])
def test_only_waiting_comments(filled: Store, chosen: Filter) -> None:
    with pytest.raises(InputError, match="waiting"):
        filled.bulks.act("ada", chosen, APPROVE)


def test_no_bulk_escalation_and_no_reject_without_reason(filled: Store) -> None:
    with pytest.raises(InputError, match="approve or reject"):
        filled.bulks.act("ada", LOW, Ruling("escalate", note="?"))
    with pytest.raises(InputError, match="reason"):
        filled.bulks.act("ada", LOW, Ruling("reject"))


def test_the_latest_bulk_acts(filled: Store) -> None:
    first = filled.bulks.act("ada", LOW, APPROVE)
    second = filled.bulks.act("bob", Filter(low=0.9), REJECT)
    assert filled.bulks.latest() == [second, first]
    assert filled.bulks.latest("ada") == [first] == [filled.bulks.get(first.ref)]


def test_pages_follow_each_other_without_gaps(filled: Store) -> None:
    for order in ("severity", "oldest", "newest", "uncertainty"):
        seen, after = [], None
        while True:
            page = filled.listing.page(order=order, limit=7, after=after)  # type: ignore[arg-type]
            seen += [entry.ref for entry in page.entries]
            if (after := page.after) is None:
                break
        assert len(seen) == len(set(seen)) == 16
        back = []
        while page.before is not None:
            page = filled.listing.page(order=order, limit=7, before=page.before)  # type: ignore[arg-type]
            back.append([entry.ref for entry in page.entries])
        assert back == [seen[7:14], seen[:7]]


def test_filters(filled: Store) -> None:
    filled.arrivals.put([incoming(1, author="ann")], site="herald", intake=PLAIN)
    article = filled.listing.page(Filter(site="herald")).entries[0].article_ref
    assert filled.listing.count(Filter(author="ann")) == 1
    assert filled.listing.count(Filter(article=article)) == 1
    assert filled.listing.count(Filter(site="gazette", author="ann")) == 0
    assert [(title, n) for _, title, n in filled.listing.articles()] == [("The ferry", 16), ("The ferry", 1)]
    assert filled.listing.sites() == ["gazette", "herald"]
    assert filled.listing.labels() == ["abuse"]


def found(store: Store, words: str, **more: Any) -> list[str]:
    """Return the comments whose text holds words, by their ids."""
    chosen = Filter(words=words, **more)
    entries = store.listing.page(chosen, order="oldest").entries
    assert store.listing.count(chosen) == len(entries)
    assert sum(bar.count for bar in store.listing.histogram(chosen)) == len(entries)
    return [entry.comment.id for entry in entries]


def test_a_text_is_searched_for_all_words_in_any_order_and_for_phrases(store: Store) -> None:
    texts = ["You complete idiot, you liar", "An idiot, complete with hat", "A complete fool"]
    store.arrivals.put([incoming(n, text=text) for n, text in enumerate(texts)], site="gazette", intake=PLAIN)
    assert found(store, "idiot complete") == found(store, "IDIOT omple") == ["c0", "c1"]
    assert found(store, '"complete idiot"') == found(store, "liar „complete  Idiot“") == ["c0"]
    assert found(store, "complete idiot fool") == []
    assert found(store, "complete " * 22) == ["c0", "c1", "c2"]


def test_a_text_is_searched_as_its_readers_see_it(store: Store) -> None:
    texts = [
        "com<b>plete</b> idiot &amp; liar, <a href='https://x.example'>a&nbsp;link</a>",
        "com\u00adplete\u00a0idi\u200bot\n\n  & liar",
        "Scheißkerl in Du\u0308sseldorf, e\u200d\u0301tat \x00 \ud800 \x1b0;",
        "SCHEISSKERL in DÜSSELDORF, ÉTAT ΣΊΣΥΦΟΣ",
        "<img src='x.png'>",
    ]
    store.arrivals.put([incoming(n, text=text) for n, text in enumerate(texts)], site="gazette", intake=PLAIN)
    assert found(store, '"complete idiot"') == found(store, '"& liar"') == found(store, '"t & l"') == ["c0", "c1"]
    assert found(store, '"a link"') == ["c0"]
    for markup in ("href", "nbsp", "<b>", "amp;"):
        assert found(store, markup) == []
    for words in ("scheisskerl", "Scheißkerl", "düsseldorf", "Du\u0308sseldorf", "état", "e\u0301tat"):
        assert found(store, words) == ["c2", "c3"]
    assert found(store, "σίσυφος") == ["c3"]
    assert found(store, "0;") == ["c2"] and found(store, "\x00é") == ["c2", "c3"]
    assert found(store, "png") == ["c4"]  # nothing else would be left to see


@pytest.mark.parametrize("words", ['""', '"\u200b', "\u00ad \u2060", "\x00"])
def test_words_that_ask_nothing_are_refused(filled: Store, words: str) -> None:
    nothing = Filter(words=words)
    for ask in (
        lambda: filled.listing.page(nothing),
        lambda: filled.listing.count(nothing),
        lambda: filled.desk.claim("ada", nothing),
        lambda: filled.bulks.preview("ada", nothing),
        lambda: filled.bulks.act("ada", nothing, REJECT),
    ):
        with pytest.raises(InputError, match="words: expected something to look for"):
            ask()
    assert filled.listing.counts().waiting == 16


def test_an_entry_tells_what_stands_around_the_first_hit(store: Store) -> None:
    texts = ["gold " + "x " * 500, "word " * 100 + "<b>so</b>&nbsp;much GOLD " + "tail " * 500]
    store.arrivals.put([incoming(n, text=text) for n, text in enumerate(texts)], site="gazette", intake=PLAIN)
    near, far = store.listing.page(Filter(words="gold"), order="oldest").entries
    assert near.around is None and far.around is not None
    assert "so\xa0much GOLD tail" in far.around[:80] and len(far.around) == store.listing.SHORT
    assert far.comment.text.startswith("word word")
    assert [one.around for one in store.listing.page(order="oldest").entries] == [None, None]


def test_a_text_is_searched_as_it_is_written_but_for_capitals(store: Store) -> None:
    texts = ["Buy GOLD now", "ÄRGER in Gdańsk, 100% sure", "100 sure_ly", "a*b [c] ?", "first\nsecond line"]
    store.arrivals.put([incoming(n, text=text) for n, text in enumerate(texts)], site="gazette", intake=PLAIN)
    assert found(store, "gold NOW") == ["c0"]
    assert found(store, "ärger") == found(store, "GDAŃSK") == found(store, "100%") == ["c1"]
    assert found(store, "100", label="abuse") == ["c1", "c2"]
    assert found(store, "s_re") == [] and found(store, "sure_") == ["c2"]
    assert found(store, "[c *b") == ["c3"] and found(store, "'; --") == []
    assert found(store, "second") == ["c4"]
    store.arrivals.put([incoming(0, text="Buy silver now")], site="gazette", intake=PLAIN)
    assert found(store, "gold") == [] and found(store, "silver") == ["c0"]
    [item] = store.desk.claim("ada", Filter(words="SILVER"))
    assert item.comment.id == "c0"
    assert store.bulks.act("bob", Filter(words="100"), REJECT).size == 2
    assert found(store, "sure", state="rejected") == ["c1", "c2"]


@pytest.mark.parametrize("bad", [{"state": "lost"}, {"low": -0.1}, {"high": 1.5}, {"words": ""}, {"words": "x" * 201}])
def test_a_filter_checks_its_values(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Filter(**bad)  # type: ignore[arg-type]


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "after",
    [
        "x", "!!", "bnVsbA", "WyJhIiwxXQ", "é",
        *map(cursor, ["[1,9223372036854775808]", "[1,-1]", "[1,1e999]", "[NaN,1]", f"[1{'0' * 400},1]", "[true,1]",
                      "[1,1.5]", "[" * 100_000, f"[1,{'9' * 5_000}]"]),
    ],
)  # fmt: skip
def test_a_broken_cursor_is_the_clients_fault(filled: Store, after: str) -> None:
    with pytest.raises(InputError, match="after"):
        filled.listing.page(after=after)


@pytest.mark.parametrize("when", ["2026-03-04T09:00:00", "2026-03-04", "yesterday", "0001-01-01T00:00:00+23:59"])
def test_a_cursor_holds_a_time_that_the_database_knows(filled: Store, when: str) -> None:
    with pytest.raises(InputError, match="after"):
        filled.listing.page(order="oldest", after=cursor(f'["{when}",1]'))


def test_single_decisions_are_told_apart_from_those_of_bulk_acts(filled: Store) -> None:
    alone = filled.desk.decide("ada", 20, REJECT).past.ref
    bulk = filled.bulks.act("ada", Filter(low=0.5), REJECT)
    inside = next(past for past in filled.listing.decisions("ada") if past.bulk and past.comment_ref == 15)
    taken_out = filled.desk.undo("ada", inside.ref).past.ref
    filled.bulks.undo("ada", bulk.ref)
    last = filled.desk.decide("ada", 12, REJECT).past.ref
    undone = filled.desk.undo("ada", last).past.ref
    assert [past.ref for past in filled.listing.decisions("ada", singly=True)] == [undone, last, taken_out, alone]
    assert len(filled.listing.decisions("ada")) == 4 + 2 * bulk.size - 1

    def some(**where: int) -> list[int]:
        return [past.ref for past in filled.listing.decisions("ada", singly=True, limit=2, **where)]

    assert (some(), some(before=last), some(after=alone)) == ([undone, last], [taken_out, alone], [last, taken_out])
