"""What goes into the queue and what comes out of it, as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isclose
from typing import Any, Literal, get_args

from moderation.comment import Act, Automation, Comment, Decision, Score, Span, Verdict
from moderation.errors import InputError
from moderation.queue.folding import terms
from moderation.queue.outcome import STATES, State

Order = Literal["severity", "oldest", "newest", "uncertainty"]
"""What comes first: the furthest beyond the policy's thresholds, the longest here, the latest, the least sure."""

ORDERS: tuple[Order, ...] = get_args(Order)

Origin = Literal["policy", "sample", "request"]
"""Why a comment is in the queue: the policy flagged it, by chance, or somebody asked for it."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One scored comment on its way into the queue."""

    comment: Comment
    """The comment."""
    score: Score
    """What the model says."""
    verdict: Verdict
    """What the policy advises."""
    severity: float
    """`Policy.severity` of the score: 1 where the first threshold is just reached."""
    spans: Sequence[Span] | Callable[[], Sequence[Span]] = ()
    """Words and their weights for the labels that the page is to explain; a function is called only for comments that
    go into the queue, so that what is let through need not be explained."""

    def judged_as(self, verdict: Verdict, severity: float) -> bool:
        """Say whether these are the comment's verdict and severity, whatever words drove it.

        A policy's id does not tell: its thresholds may have been edited under the same one.
        """
        fields = ("action", "policy_id", "label", "threshold")
        # Two ways to the same scores may differ in the last digits (`moderation.paths`).
        return all(getattr(self.verdict, name) == getattr(verdict, name) for name in fields) and isclose(
            self.severity, severity, rel_tol=1e-6, abs_tol=1e-9
        )


@dataclass(frozen=True, slots=True)
class Intake:
    """How what comes in is sorted."""

    sample: float = 0.01
    """Share of what the policy lets through that people look at all the same, in [0, 1]."""
    double: float = 0.05
    """Share of the queue that two people look at, in [0, 1]."""
    keep_passed: bool = True
    """Keep what was let through, so that threads and authors' records are whole."""
    queue_all: bool = False
    """Let people look at everything, whatever the policy says."""

    def __post_init__(self) -> None:
        for name in ("sample", "double"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of comments that were put in."""

    new: int = 0
    """Comments that were not known."""
    edited: int = 0
    """Known comments with another text."""
    rescored: int = 0
    """Known comments with the same text, scored by another model or judged by other thresholds."""
    unchanged: int = 0
    """Known comments that came again as they were, or that were erased."""
    queued: int = 0
    """How many of these now wait for a person who did not before."""


LONGEST_WORDS = 200
"""Characters that a text can be searched for."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which comments: all conditions hold at once, None asks nothing."""

    state: State | Literal["waiting"] | None = "waiting"
    """Where they stand; "waiting": for a first look or a second one."""
    label: str | None = None
    """Deciding label, or one with a probability of at least one half; with `low` or `high`: any, in that range."""
    low: float | None = None
    """Least probability of `label`, or of the deciding label when none is given."""
    high: float | None = None
    """Probability that is not reached any more; 1 takes in 1 itself."""
    site: str | None = None
    """Name of the site."""
    article: int | None = None
    """Number of the article (`Item.article_ref`)."""
    author: str | None = None
    """Name of the author, exactly."""
    words: str | None = None
    """What readers see in the present text: all of these words, and phrases in quotation marks as they stand, also
    inside longer words, in capitals or not; at most `LONGEST_WORDS` characters."""

    def __post_init__(self) -> None:
        allowed = (*STATES, "waiting", None)
        if self.state not in allowed:
            raise InputError(f"state: expected one of waiting, {', '.join(STATES)}, got {str(self.state)[:40]!r}")
        for name in ("low", "high"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name}: expected a probability from 0 to 1, got {value}")
        if self.words is not None and not 0 < len(self.words) <= LONGEST_WORDS:
            raise InputError(f"words: expected 1 to {LONGEST_WORDS} characters, got {len(self.words)}")

    @property
    def terms(self) -> tuple[str, ...]:
        """The words and phrases that are looked for, folded (`moderation.queue.folding`)."""
        return terms(self.words or "")

    def to_json(self) -> dict[str, Any]:
        """Return the conditions that are set."""
        names = ("state", "label", "low", "high", "site", "article", "author", "words")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, slots=True)
class Past:
    """One decision as it is kept."""

    ref: int
    """Number of the decision."""
    comment_ref: int
    """Number of the comment."""
    site: str
    """Site of the comment."""
    decision: Decision
    """The decision itself; `Decision.comment_id` is the site's own id."""
    stage: str
    """In what role it was made: review, second, senior, revision, appeal or undo."""
    before: State
    """Where the comment stood before."""
    after: State
    """Where it stood afterwards."""
    version: int
    """Which version of the text it was made on."""
    undoes: int | None = None
    """The decision that this one takes back."""
    undone: bool = False
    """Whether it was taken back."""
    bulk: int | None = None
    """The bulk act that it is part of."""
    sampled: bool = False
    """Whether the comment was in the queue by chance: the policy had let it through. Shown only afterwards."""
    ground: str | None = None
    """`illegal` or `incompatible` (with the site's rules), for a statement of reasons."""
    law: str | None = None
    """The law or the clause that was broken."""
    facts: str | None = None
    """What the author is told."""
    visibility: str | None = None
    """What was done: removed, disabled, demoted or labelled."""


@dataclass(frozen=True, slots=True)
class Version:
    """One text of a comment with its score."""

    number: int
    """Counted from 1."""
    text: str
    """The words; empty when erased."""
    received: datetime
    """When it came in."""
    score: Score
    """What the model said of it."""
    verdict: Verdict
    """What the policy advised, with the words that drove the deciding label."""
    severity: float
    """How near to the policy's thresholds."""
    spans: tuple[Span, ...] = ()
    """Words with their weights for every label that was explained, in the order of the text."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of an author's earlier comments on one site."""

    comments: int
    """All that are known, this one left out."""
    approved: int
    """Approved by a person."""
    rejected: int
    """Rejected by a person."""
    waiting: int
    """In the queue or escalated."""
    passed: int
    """Let through by the policy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list of comments."""

    ref: int
    """Number of the comment, for addresses and calls."""
    site: str
    """Its site."""
    comment: Comment
    """The comment as it reads now; in lists its text is cut to what shows `Listing.SHORT` characters."""
    state: State
    """Where it stands; "queued" for a second look, whatever the first one said."""
    label: str
    """The label that decided, or the likeliest."""
    probability: float
    """That label's probability."""
    severity: float
    """How near to the policy's thresholds: 1 where the first is just reached."""
    uncertainty: float
    """1 where the deciding label is as likely as not, 0 where it is certain."""
    received: datetime
    """When it came in."""
    article_ref: int | None = None
    """Number of its article."""
    claimed_by: str | None = None
    """Moderator who has it before them."""
    language: str | None = None
    """BCP 47 code, where known."""
    around: str | None = None
    """What readers see around the first of the words that were looked for, where it lies beyond the beginning."""


@dataclass(frozen=True, slots=True)
class Item:
    """One comment with everything that a moderator needs to decide."""

    ref: int
    """Number of the comment."""
    site: str
    """Its site."""
    comment: Comment
    """The comment as it reads now."""
    state: State
    """Where it stands; "queued" for a second look, whatever the first one said."""
    version: Version
    """The text that is to be decided on, with score, verdict and spans."""
    label: str
    """The label that decided, or the likeliest."""
    probability: float
    """That label's probability."""
    severity: float
    """How near to the policy's thresholds."""
    uncertainty: float
    """1 where the deciding label is as likely as not, 0 where it is certain."""
    received: datetime
    """When it came in."""
    article_ref: int | None
    """Number of its article, for `Filter.article`."""
    claimed_by: str | None
    """Moderator who has it before them."""
    claimed_until: datetime | None
    """When that claim ends."""
    parent: Comment | None = None
    """The comment that it answers, where known."""
    replies: tuple[Comment, ...] = ()
    """The first answers to it, oldest first."""
    reply_count: int = 0
    """All answers to it that are known."""
    author: Record | None = None
    """The author's record; None for a comment without a name."""
    history: tuple[Past, ...] = ()
    """Decisions so far, oldest first; empty while a second look is due, which must not see the first."""
    versions: int = 1
    """How many texts it has had."""
    erased: bool = False
    """Whether text and author were erased."""
    sampled: bool | None = None
    """Whether it was in the queue by chance; None until somebody has decided."""
    blind: bool = False
    """Whether who decides is to see neither score nor severity before: it waits by chance, or was drawn to look so."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list."""

    entries: tuple[Entry, ...]
    """The comments."""
    after: str | None
    """Where the page ends, for the next one; None at the end of the list."""
    before: str | None = None
    """Where the page begins, for the previous one; None at the beginning of the list."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is to do, for one moderator."""

    waiting: int
    """Comments that this moderator could be given."""
    escalated: int
    """Comments that wait for a senior."""
    appeals: int
    """Appeals that this moderator may decide."""
    by_label: Mapping[str, int] = field(default_factory=dict)
    """Waiting per label; a comment counts under each label that is marked."""
    by_site: Mapping[str, int] = field(default_factory=dict)
    """Waiting per site."""
    claimed: int = 0
    """Waiting comments that moderators have before them now."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram."""

    low: float
    """Least probability."""
    high: float
    """Probability that is not reached any more; 1 in the last bar, which takes in 1 itself."""
    count: int
    """Comments in it."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a moderator does with a comment, before it is kept."""

    act: Act
    """approve, reject or escalate; `Desk.undo` undoes."""
    reason: str | None = None
    """Code of the rule that was broken; asked for when rejecting."""
    note: str | None = None
    """Free words for colleagues; asked for when escalating."""
    ground: str | None = None
    """`illegal` or `incompatible`; default: what the reason says."""
    law: str | None = None
    """The law or clause; default: what the reason says."""
    facts: str | None = None
    """What the author is told; default: what the reason says."""
    visibility: str | None = None
    """removed (the default when rejecting), disabled, demoted or labelled."""
    automation: Automation = "none"
    """How far automated means took part in deciding; a score that a person only looked at is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision did."""

    past: Past
    """The decision as it is kept."""
    state: State
    """Where the comment stands now."""
    sampled: bool
    """Whether it was in the queue by chance."""
    repeated: bool = False
    """Whether the same request had come before; it had no second effect."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a bulk act would take in."""

    count: int
    """Comments, exactly; those that others have before them are left out."""
    sample: tuple[Entry, ...]
    """Some of them, by chance."""
    mean: float | None
    """Mean probability of the label (without one, of each one's deciding label), which is calibrated: the share that is
    expected to be what it says; None where `seen` is, and without any comment."""
    rejected: int
    """Earlier decisions on comments that fit but for their state, made one by one, that rejected."""
    decided: int
    """All earlier approvals and rejections of such comments, made one by one."""
    precision: float | None
    """rejected / decided; None without any."""
    interval: tuple[float, float] | None
    """95 % Wilson interval of the precision; None without any."""
    claimed: int = 0
    """Comments in the range that others have before them, or that wait for a second look; they are left out."""
    seen: Mapping[int, int] | None = None
    """Version of each comment by its number, for `Bulks.act`; None when they are too many for one act."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """A bulk act."""

    ref: int
    """Its number, for `Bulks.undo`."""
    moderator: str
    """Who acted."""
    act: Act
    """What was done."""
    made: datetime
    """When."""
    filter: Filter
    """On which comments."""
    size: int
    """How many comments it took in."""
    undone: datetime | None = None
    """When it was undone, if it was."""
    article: str | None = None
    """Title, or address, of the filter's article, in what `Bulks.get` and `Bulks.latest` return."""


@dataclass(frozen=True, slots=True)
class Appeal:
    """An author's objection to a rejection."""

    ref: int
    """Its number."""
    reference: str
    """The name under which the author knows it."""
    comment_ref: int
    """The comment."""
    opened: datetime
    """When it came."""
    statement: str | None
    """What the author says; None when erased."""
    contact: str | None
    """How to reach the author, where given."""
    state: Literal["open", "upheld", "overturned"]
    """Whether the rejection stands; open until another moderator than the first has decided."""
    decided: datetime | None = None
    """When it was decided."""
