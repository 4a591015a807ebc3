"""What a web page says in schema.org's words: JSON-LD and microdata as plain data, its title, address and language.

Nothing here calls itself: the depth of a page is its author's choice. The HTML parser itself is slow on pages made
for that, so `parser_work` bounds its work first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moderation.errors import MissingExtra, PageError

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

COMMENT_TYPES = frozenset({"Comment", "Answer", "CorrectionComment", "UserComments"})
REPLY_KEYS = frozenset({"comment", "comments", "suggestedAnswer", "acceptedAnswer"})
TEXT_KEYS = ("text", "commentText", "articleBody")
LINK_KEYS = ("identifier", "url", "parentItem", "mainEntityOfPage")
SHORT_KEYS = (
    *("author", "creator", "name", "headline", "address", "homeLocation"),
    *("dateCreated", "datePublished", "commentTime", "inLanguage"),
)


@dataclass(frozen=True, slots=True)
class Markup:
    """What a page says of itself."""

    linked: Sequence[Any]
    """JSON-LD values in page order."""
    items: Sequence[Any]
    """Microdata items without an item around them, in the form of JSON-LD."""
    blocks: int
    """JSON-LD blocks on the page."""
    title: str | None
    """Title of the page."""
    url: str | None
    """Address of the page."""
    language: str | None
    """BCP 47 code of the page."""


def read_markup(page: str, name: str) -> Markup:
    """Read a page's JSON-LD, microdata and head.

    Raise `MissingExtra` without selectolax, and `PageError` for a page that is made to stall the HTML parser.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingExtra("reading HTML pages needs the extra: pip install -e '.[pages]' in a clone") from error
    if parser_work(page) > MOST_WORK:
        raise PageError(f"{name}: looked for a page of common depth; found tags too deep or too many to read in time")
    tree = LexborHTMLParser(page)
    blocks = list(dict.fromkeys(node.text() for node in tree.css('script[type*="application/ld+json" i]')))
    linked = [value for value in map(_json, blocks) if value is not None]
    reader = _ItemReader(tree)
    if tree.root is not None and "itemscope" in page.lower():
        reader.read(tree.root)
    return Markup(linked, reader.roots, len(blocks), *_head(tree))


def _json(block: str) -> Any:
    """Return the value of a block, or None when it is broken; comment marks and semicolons around it do no harm."""
    text = block.replace("<![CDATA[", "", 1)
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _head(tree: LexborHTMLParser) -> tuple[str | None, str | None, str | None]:
    """Return title, address and language."""
    said: dict[str, str] = {}
    for node in tree.css("title, meta, link"):
        attributes = node.attributes
        key = attributes.get("property") or attributes.get("name") or attributes.get("rel") or node.tag or ""
        value = node.text() if node.tag == "title" else attributes.get("content") or attributes.get("href") or ""
        if value.strip():
            said.setdefault(key.lower(), " ".join(clean(value).split()))
    language = (tree.root.attributes.get("lang") if tree.root is not None else None) or ""
    title, url = said.get("og:title") or said.get("title"), said.get("canonical") or said.get("og:url")
    return title, url, language.strip() or None


# Text out of markup. The two marks stand for breaks until all is joined.
_PARAGRAPH, _LINE = "\x00", "\x01"
MARKS: Mapping[str, str] = {
    "br": "\n",
    **dict.fromkeys("p blockquote ul ol pre h1 h2 h3 h4 h5 h6 table dl".split(), _PARAGRAPH),
    **dict.fromkeys("div li tr dd dt section article header footer figure figcaption address aside hr".split(), _LINE),
    **dict.fromkeys(("td", "th"), " "),
}
_UNREAD = frozenset({"script", "style", "template", "noembed", "noframes", "iframe", "textarea"})
_RUN, _BLANKS = re.compile(r"[ \n\x00\x01]+"), re.compile(r"[ \t\n\f\r]+")
_NO_CHARACTERS = re.compile(r"[\x00\x01\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace what is no character: half surrogates, which JSON can hold and UTF-8 cannot, and two control codes."""
    return _NO_CHARACTERS.sub("\ufffd", text)


def chunk(text: str, *, verbatim: bool) -> str:
    """Return a stretch of text with its line breaks as they are, or as the blanks that they are in HTML's source."""
    return text if verbatim else _BLANKS.sub(" ", text)


def join(chunks: Sequence[str]) -> str:
    """Join chunks and marks, with at most one blank line at a time, as a browser's selection would."""
    return _RUN.sub(_break, "".join(chunks)).strip()


def _break(run: re.Match[str]) -> str:
    if _PARAGRAPH in run[0] or run[0].count("\n") > 1:
        return "\n\n"
    return "\n" if _LINE in run[0] or "\n" in run[0] else " "


@dataclass(slots=True)
class _Frame:
    """An item whose element is open."""

    item: dict[str, Any]
    chunks: list[str]
    """Words so far; of the comment around it, unless the item is itself a comment."""
    is_comment: bool
    open: set[str] = field(default_factory=set)
    """Properties whose elements are open."""


@dataclass(frozen=True, slots=True)
class _End:
    """What to do at the end of an element: finish a property, or the item."""

    depth: int
    frame: _Frame
    key: str | None = None
    start: int = 0


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, int, bool]]:
    """Yield every node on the way in and on the way out, with its depth."""
    node, depth = root, 0
    while True:
        yield node, depth, True
        child = None if node.tag in _UNREAD else node.first_child
        if child is not None:
            node, depth = child, depth + 1
            continue
        yield node, depth, False
        while depth and node.next is None and node.parent is not None:
            node, depth = node.parent, depth - 1
            yield node, depth, False
        if not depth or node.next is None:
            return
        node = node.next


class _ItemReader:
    """Builds items while a page is walked once, from top to bottom."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        self.roots: list[dict[str, Any]] = []
        self._frames: list[_Frame] = []
        self._ends: list[_End] = []
        self._verbatim = 0
        self._prepared: dict[int, dict[str, Any]] = {}
        self._referred: dict[str, dict[str, Any]] = {}
        for node in tree.css("[itemref]"):
            item = self._prepared[node.mem_id] = {}
            for element in (node.attributes.get("itemref") or "").split():
                self._referred.setdefault(element, item)

    def read(self, root: LexborNode) -> None:
        """Take in all items below a node."""
        for node, depth, entering in _walk(root):
            (self._enter if entering else self._leave)(node, depth)

    def _enter(self, node: LexborNode, depth: int) -> None:
        """Take in a node: its words, the item or the property that begins with it."""
        tag = node.tag or "-"
        if tag == "-text" and self._frames:
            self._frames[-1].chunks.append(chunk(clean(node.text_content or ""), verbatim=self._verbatim > 0))
        if tag.startswith("-"):
            return
        self._verbatim += tag == "pre"
        attributes = node.attributes
        self._mark(tag)
        alt = attributes.get("alt") or ""
        if self._frames and tag == "img" and not any(map(str.isalnum, alt)):
            self._frames[-1].chunks.append(clean(alt))  # an emoji that the site draws as a picture
        referred = self._referred.get(attributes.get("id") or "")
        if referred is not None:
            self._begin_frame(_Frame(referred, [], is_comment=True), depth)
        keys = [key for key in (attributes.get("itemprop") or "").split() if not key.startswith("@")]
        if "itemscope" in attributes:
            self._begin_item(node, keys, depth)
        elif self._frames:
            for key in keys:
                self._begin_property(key, tag, attributes, depth)

    def _leave(self, node: LexborNode, depth: int) -> None:
        """Finish what began with a node."""
        if node.tag != "br":
            self._mark(node.tag or "-")
        self._verbatim -= node.tag == "pre"
        while self._ends and self._ends[-1].depth == depth:
            end = self._ends.pop()
            if end.key is None:
                self._frames.pop()
                continue
            # Only a comment's text may be long: names within names would make the same words count again and again.
            limit = None if end.frame.is_comment and end.key in TEXT_KEYS else end.start + 64
            end.frame.item.setdefault(end.key, []).append(join(end.frame.chunks[end.start : limit]))
            end.frame.open.discard(end.key)

    def _mark(self, tag: str) -> None:
        if self._frames and tag in MARKS:
            self._frames[-1].chunks.append(MARKS[tag])

    def _begin_frame(self, frame: _Frame, depth: int) -> None:
        self._frames.append(frame)
        self._ends.append(_End(depth, frame))

    def _begin_item(self, node: LexborNode, keys: Sequence[str], depth: int) -> None:
        item, attributes = self._prepared.get(node.mem_id, {}), node.attributes
        types = local_types((attributes.get("itemtype") or "").split())
        is_comment = bool(types & COMMENT_TYPES) or not REPLY_KEYS.isdisjoint(keys[:1])
        item |= {"@type": sorted(types), "@id": attributes.get("itemid"), "@element": attributes.get("id")}
        around = self._frames[-1] if self._frames else None
        key = keys[0] if keys else None
        if is_comment and key not in (*REPLY_KEYS, "parentItem"):
            key = "comment"
        if around is None or key is None:
            self.roots.append(item)
        else:
            around.item.setdefault(key, []).append(item)
        self._begin_frame(_Frame(item, [] if is_comment or around is None else around.chunks, is_comment), depth)

    def _begin_property(self, key: str, tag: str, attributes: Mapping[str, str | None], depth: int) -> None:
        frame = self._frames[-1]
        value = attributes.get("content", attributes.get("datetime"))
        if value is None and key in LINK_KEYS:
            value = attributes.get("href")
        if key not in (*TEXT_KEYS, *LINK_KEYS, *SHORT_KEYS) or key in frame.open:
            return
        if value is not None:
            frame.item.setdefault(key, []).append(value)
        else:
            frame.open.add(key)
            self._ends.append(_End(depth, frame, key, len(frame.chunks)))


def local_types(value: Any) -> frozenset[str]:
    """Return the last parts of type names: "Comment" for "https://schema.org/Comment" and "schema:Comment"."""
    names = value if isinstance(value, list) else [value]
    return frozenset(re.split(r"[/#:]", name)[-1] for name in names if isinstance(name, str))


# A bound on the parser's work. HTML's rules look through all open elements at many tags and through all attributes of
# a tag at each, and open unclosed formatting elements anew in every paragraph. We follow the tags with a simpler
# machine that has at least as many elements open as the parser; where HTML is intricate, we stop believing end tags.
# Held against selectolax 0.4.4 and 1.0.2 on random tag soup: never more than five times as deep as counted here.

MOST_WORK = 2_000_000_000
"""Nanoseconds, roughly: 5 for an open element at a tag, 3 for a pair of attributes, 500 for an element opened anew."""

_MOST_NAMES = 30_000  # of tags and attributes, which the parser keeps in a table of fixed size
_BLANK = r"[ \t\n\f\r]"
_ATTRIBUTE = rf"""([^ \t\n\f\r/>][^ \t\n\f\r/>=]*+)
    (?:{_BLANK}*+={_BLANK}*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^ \t\n\f\r>]*+))?+"""
_ATTRIBUTES = re.compile(_ATTRIBUTE, re.VERBOSE)
_TOKEN = re.compile(
    rf"""<!--(?:-?>|.*?(?:--!?>|\Z)) | (?P<cdata><!\[CDATA\[)[^>]*+ | <[!?][^>]*+ | </(?![a-zA-Z])[^>]*+
    | <(?P<end>/?)(?P<name>[a-zA-Z][^ \t\n\f\r/>]*+)
      (?P<attributes>(?:[ \t\n\f\r/]*+{_ATTRIBUTE})*+)[ \t\n\f\r/]*+(?:>|\Z)""",
    re.DOTALL | re.VERBOSE,
)
_RAW_END = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
}
_CHILDLESS = frozenset(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr"
    " tr td th tbody thead tfoot colgroup caption head body html".split()
)  # and parts of tables, which make them deeper by no more than three
_ROOMS = frozenset("foreignobject desc title mi mo mn ms mtext annotation-xml".split())
_WALLS = _ROOMS | frozenset("applet table marquee object template select html".split())
_BLOCKS = frozenset(
    "address article aside blockquote button center details dir div dl fieldset figcaption figure footer header hgroup"
    " listing main menu nav ol pre section ul applet marquee object table template select".split()
)
_SPECIAL = frozenset(
    "dialog form frameset h1 h2 h3 h4 h5 h6 iframe noembed noframes noscript plaintext script search style summary"
    " textarea xmp li dd dt p".split()
).union(_WALLS, _BLOCKS)
_FORMATTING = frozenset("b big code em font i nobr s small strike strong tt u".split())
_UNFOREIGN = _FORMATTING | frozenset(
    "blockquote body br center dd div dl dt embed h1 h2 h3 h4 h5 h6 head hr img li listing menu meta ol p pre ruby span"
    " sub sup table ul var".split()
)


def parser_work(page: str) -> int:
    """Return an upper bound of the HTML parser's work on a page, or some number above `MOST_WORK`."""
    tags, at = _OpenTags(), 0
    while tags.work <= MOST_WORK and (token := _TOKEN.search(page, at)):
        at = token.end()
        name = (token["name"] or "").lower()
        if token["cdata"] and tags.foreign:
            tags.believing = False
        elif token["end"]:
            tags.end(name)
        elif name:
            tags.start(name, token["attributes"], closed=token[0].endswith("/>"))
        if name in _RAW_END and not token["end"]:
            at = tags.raw(page, at, _RAW_END[name])
    return tags.work


class _OpenTags:
    """The elements that the parser may have open, and the work that they have made for it so far."""

    def __init__(self) -> None:
        self.work = self.foreign = self._depth = self._options = self._merged = self._anew = self._doubted = 0
        self.believing = True
        self._open: list[str] = []
        self._names: set[str] = set()
        self._unclosed: dict[str, list[str]] = {}
        self._copies: Counter[str] = Counter()

    def start(self, name: str, attributes: str, *, closed: bool) -> None:
        """Open an element. Those that may or may not be open get a name that no end tag has."""
        self.work += 50 + 5 * self._depth + 500 * self._anew + self._naming(name, attributes)
        if name in _CHILDLESS and not self.foreign:
            return
        if name == "option":  # selectolax 1.0.2 looks at all options at each
            self._options += 1
            self.work += 4 * self._options
        self.believing = self.believing and not (self.foreign and name in _UNFOREIGN)
        doubtful = name in ("option", "select") or (self.foreign and closed)
        self._open.append(name + "/" if doubtful else name)
        self._depth += name != "p"
        self.foreign += name in ("svg", "math") and not doubtful
        if name in _FORMATTING:
            self._unclosed.setdefault(name, []).append(attributes)
            self._copies[name + attributes] += 1
            self._anew += self._copies[name + attributes] <= 3  # HTML opens no more than three of a kind anew

    def _naming(self, name: str, attributes: str) -> int:
        found = _ATTRIBUTES.findall(attributes)
        self._names.update(found, (name,))
        self._merged += len(found) if name in ("html", "body") else 0  # all such tags make one element
        return 3 * max(self._merged, len(found)) * len(found) if len(self._names) <= _MOST_NAMES else MOST_WORK

    def end(self, name: str) -> None:
        """Close an element and those inside, if the parser does."""
        self.work += 50 + 5 * self._depth + 500 * self._anew
        self.believing = self.believing and not (self.foreign and name in ("p", "br"))
        if not self.believing or name in _CHILDLESS:
            return
        stop = _WALLS if name in _BLOCKS else _SPECIAL
        for at in range(len(self._open) - 1, -1, -1):
            if self._open[at] == name:
                if at == len(self._open) - 1 or (name != "form" and name not in _ROOMS):
                    self._close(at)
                return
            self.work += 100
            if self._open[at].removesuffix("/") in stop:
                return

    def _close(self, at: int) -> None:
        name, *inside = self._open[at:]
        del self._open[at:]
        # An unclosed formatting element does not go with its surroundings: it comes back in what follows them.
        self._depth -= (name != "p") + sum(tag != "p" and tag not in _FORMATTING for tag in inside)
        self.foreign -= sum(tag in ("svg", "math") for tag in (name, *inside))
        if name in _FORMATTING:
            key = name + self._unclosed[name].pop()
            self._copies[key] -= 1
            self._anew -= self._copies[key] < 3

    def raw(self, page: str, at: int, end: re.Pattern[str]) -> int:
        """Return where the text of an element like script ends, or `at` when what is in it may be tags after all."""
        if at < self._doubted:
            return at
        stop = end.search(page, at)
        text = page[at : stop.start() if stop else len(page)]
        if ("<" in text and self.foreign) or ("<!--" in text and "<script" in text.lower()):
            self.believing = False
            self._doubted = at + len(text)
        return at if at < self._doubted else at + len(text)
