"""Saved forum pages to comments: HTML with schema.org's `Comment` markup, and pages saved as text.

HTML pages are read by what they say of themselves for search engines: JSON-LD and microdata. For the form of a
text page, where its thread begins and where it ends, see `moderation.formats._text_page`.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Any, NamedTuple

from moderation.comment import Article, Comment
from moderation.errors import PageError
from moderation.formats._html_page import COMMENT_TYPES, REPLY_KEYS, TEXT_KEYS, Markup, clean, local_types, read_markup
from moderation.formats._text_page import decode, has_thread, plain_text, read_text_page

HEAD = 64 << 10
"""Bytes that `is_page` wants to see."""

_PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
_ROW_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", ".parquet")

_LEAD = re.compile(r"(?>(?:\s|<!--.*?-->|<\?[^>]*>)*)", re.DOTALL)
_DOCTYPE = re.compile(r"<!doctype\s+html", re.IGNORECASE)
_ELEMENT = re.compile(r"<(?:html|head|body|meta|title|script|link|div|article|section|main|ul|ol|li)[\s>]", re.I)
_MARKED = re.compile(r"""schema\.org/(?:Comment|Answer|UserComments)["'\s]|application/ld\+json""", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8})*", re.IGNORECASE)


def is_page(name: str, head: bytes) -> bool:
    """Tell whether a file is a saved page rather than rows, from its name and its first 64 kB.

    A file is a page when it is called one, or when it begins as HTML or holds a comment's header of the text form, and
    its name does not say otherwise. So neither lines of comments nor JSON lines with HTML inside are taken for pages.
    """
    suffix = PurePath(name.lower().removesuffix(".gz")).suffix
    if suffix in _PAGE_SUFFIXES or suffix in _ROW_SUFFIXES:
        return suffix in _PAGE_SUFFIXES
    text = decode(head[:HEAD])
    return _is_html(text) or (not text.lstrip().startswith(("{", "[")) and has_thread(text))


def read_page(data: bytes, *, name: str = "page") -> list[Comment]:
    """Read the comments of a saved page, in page order.

    The page's own identifiers are kept where it has them and they tell its comments apart; all others are numbered
    from "1". Comments without words are left out; an answer to one keeps its identifier as ``parent_id`` if the page
    gave it one. The same bytes always give the same comments.

    Raise `PageError` naming the page, what was looked for and what was found when there is no thread, and
    `MissingExtra` for an HTML page when selectolax is not installed.
    """
    return read_numbered(data, name=name)[0]


def read_numbered(data: bytes, *, name: str = "page") -> tuple[list[Comment], set[str]]:
    """Read as `read_page` does; return the comments, and those of their ids that are numbers and not the page's own."""
    text = decode(data)
    if _is_html(text[:HEAD]) or (_MARKED.search(text) and not has_thread(text)):
        return _read_html(text, name)
    comments = read_text_page(text, name)
    return comments, {comment.id for comment in comments}


def _is_html(text: str) -> bool:
    """Tell whether a text begins as HTML. A lone tag is not enough: comments may begin with one."""
    lead = _LEAD.match(text)
    start = lead.end() if lead else 0
    if _DOCTYPE.match(text, start):
        return True
    twice = _ELEMENT.match(text, start) and _ELEMENT.search(text, start + 1)
    return text.startswith("<", start) and bool(twice or _MARKED.search(text, start))


def _read_html(text: str, name: str) -> tuple[list[Comment], set[str]]:
    """Read the comments of an HTML page; see `read_numbered`."""
    markup = read_markup(text, name)
    linked, items = _Collector(escaped=True), _Collector(escaped=False)
    linked.read(markup.linked)
    items.read(markup.items)
    entries = _merge(linked.entries, items.entries)
    if not any(entry.text for entry in entries):
        raise PageError(
            f"{name}: looked for schema.org comments with text; found {markup.blocks} JSON-LD blocks "
            f"({markup.blocks - len(markup.linked)} unreadable), {len(markup.items)} microdata items and "
            f"{len(entries)} comments without text"
        )
    stories = linked.stories | items.stories | {markup.url or ""}
    return _comments(entries, linked.article or items.article, stories, markup)


@dataclass(slots=True, eq=False)
class _Entry:
    """A comment as one form of markup has it."""

    text: str
    names: tuple[str, ...]
    """Its identifiers, best first."""
    author: str | None
    author_id: str | None
    """Identifier of the author's own item, which may hold the name."""
    place: str | None
    created: str | None
    language: str | None
    answers: tuple[str, ...]
    """Identifiers of what it answers."""
    order: int
    parent: _Entry | None = None
    article: Article | None = None
    quoted: bool = False
    """Whether it was seen only as what another comment answers."""
    same: _Entry | None = None
    """The entry of the same comment that stays."""

    @property
    def words(self) -> tuple[str, str]:
        """By what two entries without an identifier are known for the same."""
        return " ".join(self.text.split()), (self.author or "").casefold()

    def fill(self, other: _Entry) -> None:
        """Take over what only the other entry of the same comment knows, and a text that goes on where ours stops."""
        for name in ("author", "author_id", "place", "created", "language", "answers", "parent", "article"):
            if not getattr(self, name):
                setattr(self, name, getattr(other, name))
        if other.text.startswith(self.text.rstrip(".… ")):
            self.text = other.text if len(other.text) > len(self.text) else self.text
        if len(self.names) < 8:
            self.names = tuple(dict.fromkeys(self.names + other.names))


class _Place(NamedTuple):
    """A value, and where it stands."""

    value: Any
    key: str = ""
    around: _Entry | None = None
    """The comment around it, which it answers if it is one."""
    answer: _Entry | None = None
    """The comment that answers it, if it is one."""
    article: Article | None = None


class _Collector:
    """Finds the comments in items, however deep, in one pass without recursion."""

    def __init__(self, *, escaped: bool) -> None:
        self.entries: list[_Entry] = []
        self.article: Article | None = None
        self.stories: set[str] = set()
        """Identifiers of what is not a comment but may have comments."""
        self._escaped = escaped
        self._ids: dict[str, _Entry] = {}
        self._people: dict[str, str] = {}
        self._count = 0

    def read(self, roots: Sequence[Any]) -> None:
        """Take in all items of a page."""
        stack = [_Place(root) for root in reversed(roots)]
        seen: set[int] = set()  # itemref can make an item part of itself
        while stack:
            place = stack.pop()
            if isinstance(place.value, list):
                stack += [place._replace(value=value) for value in reversed(place.value)]
            elif isinstance(place.value, dict) and id(place.value) not in seen:
                seen.add(id(place.value))
                stack += reversed(list(self._inside(place)))
        self._finish()

    def _inside(self, place: _Place) -> Iterator[_Place]:
        """Take in one item and yield what is in it."""
        node, key, around, _, article = place
        types = local_types(node.get("@type"))
        entry = None
        if _is_comment(node, types, key):
            around = entry = self._comment(place)
        elif _is_story(node, types):
            around, article = None, self._story(node) or article
        elif (person := self._string(node.get("@id"))) and (name := self._string(node.get("name"))):
            self._people.setdefault(person, name)
        for inner, value in node.items():
            if isinstance(value, dict | list):
                above = inner == "parentItem"
                yield _Place(value, inner, None if above else around, entry if above else None, article)

    def _story(self, node: Mapping[str, Any]) -> Article | None:
        title = self._first(node, "headline", "name")
        url = self._first(node, "url", "mainEntityOfPage")
        self.stories |= {name for name in (url, self._first(node, "@id")) if name}
        article = Article(title, url) if title or url else None
        self.article = self.article or article
        return article

    def _comment(self, place: _Place) -> _Entry:
        """Make an entry, or add to the one that has the same identifier."""
        entry = self._entry(place.value)
        own = self._string(place.value.get("@id"))
        known = self._ids.setdefault(own, entry) if own else entry
        if known.text and entry.text and known.text != entry.text:
            known = entry  # an identifier that two comments share says nothing
        if known is entry:
            entry.quoted = place.answer is not None
            self.entries.append(entry)
        elif known.quoted and place.answer is None:
            known.quoted, known.order = False, entry.order
        known.fill(entry)
        known.parent = known.parent or place.around
        known.article = known.article or place.article
        if place.answer is not None:
            place.answer.parent = place.answer.parent or known
        return known

    def _entry(self, node: Mapping[str, Any]) -> _Entry:
        self._count += 1
        author = node.get("author") or node.get("creator")
        people = [one for one in (author if isinstance(author, list) else [author])[:9] if one]
        first = people[0] if people and isinstance(people[0], dict) else {}
        return _Entry(
            text=self._text(node),
            names=self._names(node, "@id", "identifier", "url", "@element"),
            author=", ".join(filter(None, map(self._person, people))) or None,
            author_id=self._first(first, "@id"),
            place=self._first(first, "homeLocation", "address") or self._first(node, "locationCreated"),
            created=self._first(node, "dateCreated", "datePublished", "commentTime"),
            language=_language(self._first(node, "inLanguage")),
            answers=self._answers(node.get("parentItem")),
            order=self._count,
        )

    def _text(self, node: Mapping[str, Any]) -> str:
        for key in TEXT_KEYS:
            value = node.get(key)
            texts = [_scalar(one) for one in (value if isinstance(value, list) else [value])]
            if text := "\n\n".join(filter(None, (plain_text(one) if self._escaped else one.strip() for one in texts))):
                return text
        return ""

    def _person(self, person: Any) -> str:
        return (
            (self._first(person, "name", "alternateName") or "") if isinstance(person, dict) else self._string(person)
        )

    def _names(self, node: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (self._string(node.get(key)) for key in keys))))

    def _answers(self, value: Any) -> tuple[str, ...]:
        value = value[0] if isinstance(value, list) and value else value
        return (
            self._names(value, "@id", "identifier", "url") if isinstance(value, dict) else self._names({"": value}, "")
        )

    def _first(self, node: Mapping[str, Any], *keys: str) -> str | None:
        return next(iter(self._names(node, *keys)), None)

    def _string(self, value: Any) -> str:
        """Return a value as one line of plain text."""
        text = _scalar(value)
        return " ".join((plain_text(text) if self._escaped else text).split())

    def _finish(self) -> None:
        """Name the authors who have an item of their own, and find the comments that stand there only as quotations."""
        first: dict[tuple[str, str], _Entry] = {}
        for entry in sorted(self.entries, key=lambda entry: (entry.quoted, entry.order)):
            entry.author = entry.author or self._people.get(entry.author_id or "")
            known = first.setdefault(entry.words, entry)
            if known is not entry and entry.quoted and entry.text and not entry.names:
                entry.same = known
        self.entries = sorted((entry for entry in self.entries if not entry.same), key=lambda entry: entry.order)


def _is_comment(node: Mapping[str, Any], types: frozenset[str], key: str) -> bool:
    """Tell a comment by its type, or by standing where only comments stand."""
    if types & COMMENT_TYPES:
        return True
    return key in REPLY_KEYS and (any(text in node for text in TEXT_KEYS) or node.keys() == {"@id"})


def _is_story(node: Mapping[str, Any], types: frozenset[str]) -> bool:
    """Tell what readers comment on."""
    if any(name.endswith(("Article", "Posting")) or name in ("Question", "Report") for name in types):
        return True
    return not node.keys().isdisjoint(REPLY_KEYS) and not node.keys().isdisjoint(("headline", "name"))


def _scalar(value: Any) -> str:
    """Return the text of a value in any of the ways in which JSON-LD writes one."""
    for _ in range(4):
        if isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            keys = ("@value", "value", "name", "addressLocality", "@id")
            value = next((value[key] for key in keys if value.get(key)), None)
    return clean(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _language(code: str | None) -> str | None:
    """Return a language code in the form of BCP 47, or None for what is none."""
    code = (code or "").strip().replace("_", "-")
    return code if _LANGUAGE.fullmatch(code) else None


def _by_name(entries: Sequence[_Entry]) -> dict[str, _Entry | None]:
    """Find entries by identifier, else by the part after its "#"; None where several have the same."""
    found: dict[str, _Entry | None] = {}
    ends: dict[str, _Entry | None] = {}
    for entry in entries:
        for name in entry.names:
            end = name.rpartition("#")[2]
            found[name] = entry if found.get(name, entry) is entry else None
            ends[end] = entry if ends.get(end, entry) is entry else None
    return ends | found


def _named(names: Mapping[str, _Entry | None], name: str) -> _Entry | None:
    return names.get(name) or names.get(name.rpartition("#")[2])


def _merge(linked: list[_Entry], items: list[_Entry]) -> list[_Entry]:
    """Join the two forms of markup: a comment in both appears once, and each stands where the page has it."""
    names, own_names = _by_name(linked), _by_name(items)
    words: dict[tuple[str, str], deque[_Entry]] = {}
    for entry in linked:
        words.setdefault(entry.words, deque()).append(entry)
    places: dict[_Entry, float] = {}
    for at, item in enumerate(items):
        known = [_named(names, name) for name in item.names if own_names[name] is item]
        alike = words.get(item.words) if item.text else None
        while alike and alike[0] in places:
            alike.popleft()
        match = next((one for one in (*known, *islice(alike or (), 1)) if one and one not in places), None)
        if match:
            places[match], item.same = at, match
            match.fill(item)
    before: float = len(items)
    for entry in reversed(linked):  # what only JSON-LD has stands before the next that both have
        before = places.setdefault(entry, before - 0.5 if before % 1 == 0 else before)
    places |= {item: at for at, item in enumerate(items) if not item.same}
    return sorted(places, key=lambda entry: (places[entry], entry.order))


def _comments(
    entries: Sequence[_Entry], article: Article | None, stories: set[str], markup: Markup
) -> tuple[list[Comment], set[str]]:
    """Number the entries, find what they answer, and leave out what has no words; see `read_numbered`."""
    names = _by_name(entries)
    for entry in entries:
        entry.parent = entry.parent or next(filter(None, (_named(names, name) for name in entry.answers)), None)
        while entry.parent and entry.parent.same:
            entry.parent = entry.parent.same
        entry.answers = () if entry.parent else tuple(name for name in entry.answers if name not in stories)
    _break_circles(entries)
    ids, numbers = _ids(entries)
    comments = []
    for entry in entries:
        story = entry.article or article or Article()
        story = Article(story.title or markup.title, story.url or markup.url)
        if entry.text:
            comments.append(
                Comment(
                    ids[entry],
                    entry.text,
                    entry.author,
                    entry.place,
                    entry.created,
                    ids.get(entry.parent) if entry.parent else next(iter(entry.answers), None),
                    story if story.title or story.url else None,
                    entry.language or _language(markup.language),
                )
            )
    return comments, numbers


def _break_circles(entries: Iterable[_Entry]) -> None:
    """Let no comment answer itself, not even through others: who follows the answers up would never arrive."""
    done: set[_Entry] = set()
    for entry in entries:
        path: dict[_Entry, None] = {}
        here: _Entry | None = entry
        while here is not None and here not in done and here not in path:
            path[here] = None
            here = here.parent
        if here is not None and here in path:
            here.parent = None
        done.update(path)


def _ids(entries: Sequence[_Entry]) -> tuple[dict[_Entry, str], set[str]]:
    """Give each entry the first of its own identifiers that no other has, or the next free number; tell the numbers.

    Entries without words only get an identifier if they have their own.
    """
    shared = Counter(name for entry in entries for name in entry.names)
    ids: dict[_Entry, str] = {}
    for entry in entries:
        if own := next((name for name in entry.names if shared[name] == 1), None):
            ids[entry] = own
    given = set(ids.values())
    taken, number = given.union(*(entry.answers for entry in entries)), 0
    for entry in entries:
        if entry not in ids and entry.text:
            number += 1
            while str(number) in taken:
                number += 1
            ids[entry] = str(number)
    return ids, {*ids.values()} - given
