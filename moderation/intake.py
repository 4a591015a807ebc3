"""From comments to the moderators' queue: score them, judge them, put them in. The queue itself knows no scorer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

from moderation.comment import Comment, Span
from moderation.errors import Conflict
from moderation.formats.rows import Row
from moderation.policy import Policy
from moderation.queue import Arrived, Filter, Incoming, Intake, Ruling, Store
from moderation.queue.people import Role
from moderation.scorer import Scorer, batches

MOST_SPANS = 40
"""Words kept per label for the page to highlight, the heaviest ones, for it and against it."""

DEMO = Path(__file__).parent / "demo.jsonl"
"""Invented comments under three invented stories, the sample thread among them."""

DEMO_NAME, DEMO_PASSWORD = "demo", "demonstration"
"""The account of a demonstration."""

DEMO_ROLES: dict[str, Role] = {DEMO_NAME: "admin", "robin": "moderator", "kim": "senior"}
"""All accounts of a demonstration, its own first; nobody can sign in to the others."""

DEMO_SITE = "example"
"""The site of a demonstration's comments."""

DEMO_RULINGS = {
    "3": Ruling("reject", reason="ABUSE"),
    "6": Ruling("approve"),
    "7": Ruling("approve"),
    "28": Ruling("escalate", note="A figure of speech among fans, or a wish that he be shot?"),
}
"""What a moderator of the demonstration has decided, where the comment is in the queue."""


def incoming(comments: Iterable[Comment], scorer: Scorer, policy: Policy) -> Iterator[Incoming]:
    """Score and judge comments in order, a batch at a time; they are explained only if they go into the queue."""
    for batch in batches(comments, lambda comment: len(comment.text)):
        for comment, score in zip(batch, scorer.score_many(batch), strict=True):
            spans = partial(heaviest, scorer, comment)
            yield Incoming(comment, score, policy.decide(score), policy.severity(score), spans)


def heaviest(scorer: Scorer, comment: Comment) -> tuple[Span, ...]:
    """Return the words that pulled hardest towards or away from each label, at most `MOST_SPANS`, in text order."""
    kept: list[Span] = []
    spans = scorer.explain(comment).spans
    for label in scorer.labels:
        kept += sorted((span for span in spans if span.label == label), key=lambda span: -abs(span.weight))[:MOST_SPANS]
    return tuple(sorted(kept, key=lambda span: (span.start, span.label)))


def take_in(
    store: Store,
    comments: Iterable[Comment],
    scorer: Scorer,
    policy: Policy,
    *,
    site: str,
    intake: Intake | None = None,
) -> Arrived:
    """Score comments and put them into the queue; see `Arrivals.put`."""
    return store.arrivals.put(incoming(comments, scorer, policy), site=site, intake=intake)


class ContentIds:
    """Gives comments that have no id of their own one that follows from author, time and text.

    A number in the file would not do: every file begins at 1, and site and id together name a comment. What is read
    again gets the same ids again; the same content twice in all that goes through one of these gets ids that count on.
    """

    def __init__(self) -> None:
        self._met: Counter[str] = Counter()

    def given(self, rows: Iterable[Row], *, page: bool = False) -> Iterator[Row]:
        """Yield rows with such ids in place of numbers; on a page, which is read whole, answers name the new ids."""
        numbers: dict[str | None, str] = {}
        if page:
            rows = list(rows)
            numbers = {row.comment.id: self._id(row.comment) for row in rows if row.comment and row.numbered}
        for row in rows:
            comment = row.comment
            if comment and page:
                parent = numbers.get(comment.parent_id, comment.parent_id)
                comment = replace(comment, id=numbers.get(comment.id, comment.id), parent_id=parent)
            elif comment and row.numbered:
                comment = replace(comment, id=self._id(comment))
            yield replace(row, comment=comment)

    def _id(self, comment: Comment) -> str:
        content = json.dumps([comment.author, comment.created, comment.text])
        found = f"content-{blake2b(content.encode('ascii'), digest_size=10).hexdigest()}"
        self._met[found] += 1
        return found if self._met[found] == 1 else f"{found}-{self._met[found]}"


def rescore(store: Store, scorer: Scorer, policy: Policy, intake: Intake | None = None) -> int:
    """Score what waits with the present model and policy, as after a change of either; return how many changed.

    Of what the policy now lets through, people look at the random sample of `intake`.
    """
    changed = 0
    for site in store.listing.sites():
        stale = (one.comment for one in store.listing.waiting(site) if not _stands(one, scorer, policy))
        changed += take_in(store, stale, scorer, policy, site=site, intake=intake or Intake()).rescored
    return changed


def _stands(one: Incoming, scorer: Scorer, policy: Policy) -> bool:
    """Say whether a comment was scored with this model, and judged as this policy judges."""
    if one.score.model_id != scorer.model_id or not policy.thresholds.keys() <= one.score.probabilities.keys():
        return False
    return one.judged_as(policy.decide(one.score), policy.severity(one.score))


def make_demo(store: Store, scorer: Scorer, policy: Policy) -> tuple[str, str]:
    """Fill an empty store with a demonstration; return name and password of its account, which is an admin's.

    Two more accounts, which nobody can sign in to, have decided on a few comments. Doing it again changes nothing.
    Raises `Conflict`, and changes nothing, when the store has other accounts or comments of another site: the password
    is known to everybody.
    """
    known = {user.name for user in store.people.all()}
    _refuse_real(store, known)
    for name, role in DEMO_ROLES.items():
        if name not in known:
            store.people.add(name, role, DEMO_PASSWORD if name == DEMO_NAME else None)
    comments = [Comment.from_json(json.loads(line)) for line in DEMO.read_text(encoding="utf-8").splitlines()]
    take_in(store, comments, scorer, policy, site=DEMO_SITE, intake=Intake(sample=0.1, double=0.1))
    if not known:
        for name in ("robin", "kim"):  # by chance one of these comments may want a second look
            for item in store.desk.claim(name, Filter(site=DEMO_SITE), hold=50):
                if ruling := DEMO_RULINGS.get(item.comment.id):
                    store.desk.decide(name, item.ref, ruling)
            store.desk.release(name)
        if store.listing.count(Filter(state="rejected", site=DEMO_SITE)):
            store.appeals.open(DEMO_SITE, "3", statement="I called them clowns. So does half the town.")
    return DEMO_NAME, DEMO_PASSWORD


def _refuse_real(store: Store, accounts: set[str]) -> None:
    """Raise `Conflict` unless a store is empty or a demonstration's, which has had its own account first."""
    others = accounts - DEMO_ROLES.keys() if DEMO_NAME in accounts else accounts
    site = store.listing.site_besides(DEMO_SITE)
    if others or site is not None:
        found = f"the account {min(others)!r}" if others else f"comments of the site {str(site)[:100]!r}"
        raise Conflict(
            f"the demonstration has an admin whose password is published, so it needs a database of its own; this one "
            f"has {found}. Name another: --database demo.db"
        )
