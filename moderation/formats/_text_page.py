"""Text: out of bytes, out of HTML inside a text, and out of a forum page saved as text.

A page saved as text, as some news sites' pages come out of a browser's "save as text"::

    Comments

    by: NAME from: PLACE
    December 29, 2012 2:26 PM
    The comment, in one or more paragraphs.

    In Response

    by: NAME
    December 30, 2012 11:20 AM
    An answer to the last comment that is not itself an answer.

- A comment begins at a line ``by: NAME`` or ``by: NAME from: PLACE`` with a date on the next line that is not blank. A
  ``by:`` without a date is text.
- The thread begins at the first comment after a line "Comments" that leads straight to a comment, so that the byline
  of the article stays out; where there is no such line, at the first comment.
- A comment ends where the next begins. The last one ends at the first *heading* after its first paragraph: a line with
  a blank line before it and something after it, that does not begin with a small letter, has at most 60 characters and
  no sentence punctuation, and either up to three words, or up to eight that are all capitalised (but for words of up to
  three letters and a few prepositions); or at an "In Response" that no comment follows. So the furniture of the page
  stays out. The price is paid by the last comment of a page alone: when it closes with a paragraph that looks like a
  heading, such as "Free the Harbour", and more text follows, that paragraph is lost.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from moderation.comment import Article, Comment
from moderation.errors import PageError
from moderation.formats._html_page import MARKS, chunk, clean, join

LONGEST_HEADER = 200
"""Characters in a line ``by: NAME from: PLACE``; what is longer is a sentence."""

_THREAD = re.compile(r"(?:\d+ )?comments?(?: ?\(\d+\))?:?", re.IGNORECASE)
_REPLY = re.compile(r"in response:?", re.IGNORECASE)
_FROM = re.compile(r"(?:^|\s)from:(?:\s|$)", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?…,;:。！？，；：、،؛؟।]")
_TRAIL = re.compile(r"\s[/>»›|]\s")
_SMALL_WORDS = frozenset({"from", "into", "onto", "over", "with", "than", "your"})

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_CLOCK = r"(?:,?\s+(?:at\s+)?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?\s?(?P<half>[AP]M)?)?"
_DATES = tuple(
    re.compile(rf"(?:[^\W\d]{{3,9}},?\s)?{day}{_CLOCK}", re.IGNORECASE)
    for day in (
        r"(?P<month>[a-z]{3,9})\.?\s(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s(?P<year>\d{4})",
        r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?\s(?P<month>[a-z]{3,9})\.?,?\s(?P<year>\d{4})",
    )
)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_YEAR = re.compile(r"\b\d{4}\b")
_CLOCK_OR_DAY = re.compile(r"\b\d{1,2}:\d{2}\b|\b\d{1,2}[./-]\d{1,2}[./-]\d{4}\b|\b\d{4}[./-]\d{1,2}[./-]\d{1,2}\b")


@dataclass(frozen=True, slots=True)
class _Header:
    """Where a comment begins, and who wrote it when."""

    start: int
    """Line on which what belongs to the comment before has ended."""
    body: int
    """Line after the date."""
    author: str | None
    place: str | None
    created: str
    reply: bool


def has_thread(text: str) -> bool:
    """Tell whether a text has at least one comment's header, so that plain lines of comments are not taken for it."""
    return next(_headers(_lines(text)), None) is not None


def read_text_page(text: str, name: str) -> list[Comment]:
    """Read the comments of a page saved as text, in page order, numbered from "1".

    Raise `PageError` when there is no comment.
    """
    lines = _lines(text)
    headers = _thread(lines, list(_headers(lines)))
    article = _article(lines[: headers[0].start]) if headers else None
    comments: list[Comment] = []
    above: str | None = None
    ends = [header.start for header in headers[1:]] + [_thread_end(lines, headers[-1].body)] if headers else []
    for header, end in zip(headers, ends, strict=True):
        body = _body(lines[header.body : end])
        number = str(len(comments) + 1)
        if not header.reply:
            above = number if body else None
        if body:
            parent = above if header.reply else None
            comments.append(
                Comment(number, body, header.author, header.place, header.created, parent_id=parent, article=article)
            )
    if not comments:
        raise PageError(
            f"{name}: looked for lines 'by: NAME from: PLACE' with a date and a comment below; "
            f"found {len(lines)} lines of text with {len(headers)} of them"
        )
    return comments


def _lines(text: str) -> list[str]:
    """Split into lines without the blanks around them, which a page saved as text has at random."""
    return [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _headers(lines: Sequence[str]) -> Iterator[_Header]:
    """Find the lines that begin a comment."""
    for at, line in enumerate(lines):
        if line[:3].lower() != "by:" or len(line) > LONGEST_HEADER:
            continue
        below = at + 1 if at + 1 < len(lines) and lines[at + 1] else at + 2
        created = read_date(lines[below]) if below < len(lines) else None
        if created is None:
            continue
        mark = _filled_before(lines, at)
        reply = mark is not None and _REPLY.fullmatch(lines[mark]) is not None
        author, place = _author_and_place(line[3:])
        yield _Header(mark if reply and mark is not None else at, below + 1, author, place, created, reply)


def _filled_before(lines: Sequence[str], at: int) -> int | None:
    """Return the nearest line above that is not blank; only two blank lines are passed, so the whole stays linear."""
    return next((before for before in range(at - 1, max(at - 4, -1), -1) if lines[before]), None)


def _author_and_place(line: str) -> tuple[str | None, str | None]:
    found = _FROM.search(line)
    author, place = (line[: found.start()], line[found.end() :]) if found else (line, "")
    return author.strip() or None, place.strip() or None


def _thread(lines: Sequence[str], headers: list[_Header]) -> list[_Header]:
    """Return the headers of the thread, without the byline of the article above it."""
    for at, header in enumerate(headers):
        above = _filled_before(lines, header.start)
        if above is not None and _THREAD.fullmatch(lines[above]):
            return headers[at:]
    return headers


def _thread_end(lines: Sequence[str], begin: int) -> int:
    """Return the line on which the last comment's text has ended."""
    last = max((at for at in range(begin, len(lines)) if lines[at]), default=begin - 1)
    begun = False
    for at in range(begin, last + 1):
        if begun and not lines[at - 1] and (_REPLY.fullmatch(lines[at]) or (at < last and _is_heading(lines[at]))):
            return at
        begun = begun or lines[at] != ""
    return last + 1


def _is_heading(line: str) -> bool:
    words = line.split()
    if not words or words[0][0].islower() or len(line) > 60 or _SENTENCE.search(line):
        return False
    return len(words) <= 3 or (len(words) <= 8 and all(map(_is_capitalised, words)))


def _is_capitalised(word: str) -> bool:
    return not word[0].isalpha() or word[0].isupper() or len(word) <= 3 or word in _SMALL_WORDS


def _body(lines: Sequence[str]) -> str:
    """Join the lines of a comment, with one blank line between paragraphs."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _article(lines: Sequence[str]) -> Article | None:
    """Take the first line that stands alone and reads like a headline, and the first that is an address."""
    title = next((line for at, line in enumerate(lines) if _is_alone(lines, at) and _is_headline(line)), None)
    url = next((line for line in lines if re.fullmatch(r"https?://\S+", line)), None)
    return Article(title, url) if title or url else None


def _is_alone(lines: Sequence[str], at: int) -> bool:
    return (at == 0 or not lines[at - 1]) and (at + 1 == len(lines) or not lines[at + 1])


def _is_headline(line: str) -> bool:
    """Refuse menus and paths ("News / Europe"), which are shorter, and sentences, which end in a full stop."""
    return (
        len(line.split()) >= 3
        and len(line) <= 200
        and not line.endswith((".", ",", ";", ":"))
        and not _TRAIL.search(line)
    )


def read_date(line: str) -> str | None:
    """Return a line that is a date as ISO 8601, or as it stands where its form or language is not known.

    Return None for all other lines. "12/11/2012" stays as it stands: which number is the month, the page does not say.
    """
    if len(line) > 60:
        return None
    if _ISO.fullmatch(line):
        return _checked(line)
    for form in _DATES:
        if (found := form.fullmatch(line)) and (month := _month(found["month"])):
            return _iso(found, month) or line
    short = len(line) <= 40 and len(line.split()) <= 7
    return line if short and _YEAR.search(line) and _CLOCK_OR_DAY.search(line) else None


def _checked(line: str) -> str:
    """Return a line in the form of ISO 8601 with its "T", or as it stands when there is no such day or hour."""
    try:
        datetime.fromisoformat(line)
    except ValueError:
        return line
    return line.replace(" ", "T")


def _month(name: str) -> int | None:
    """Return the number of an English month, whole or cut short."""
    return next((number for number, month in enumerate(_MONTHS, 1) if month.startswith(name.lower())), None)


def _iso(found: re.Match[str], month: int) -> str | None:
    """Return a date in words as ISO 8601, or None when there is no such day or hour."""
    hour, half = int(found["hour"] or 0), (found["half"] or "").upper()
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    try:
        moment = datetime(int(found["year"]), month, int(found["day"]), hour, minute, second)
    except ValueError:
        return None
    return moment.isoformat() if found["hour"] else moment.date().isoformat()


# Text out of bytes

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSET = re.compile(
    r"""<(?:meta|\?xml)[^>]{0,500}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII
)
_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    **dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be"), "utf-8"),
}
"""What browsers read when a page names the left (https://encoding.spec.whatwg.org/#names-and-labels)."""
_CODEC = re.compile(r"utf-8|cp\d+|iso8859-\d+|iso2022_jp|koi8-[ru]|mac-(?:roman|cyrillic)|gb18030|big5hkscs|euc_jp")
"""Encodings of the web. Python knows others, some of which fail or stall on arbitrary bytes."""


def decode(data: bytes) -> str:
    """Decode by byte order mark, by what an HTML page declares, or as UTF-8; bytes that fit nowhere become U+FFFD."""
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, "replace")
    head = data[:4096].decode("latin-1")
    declared = _CHARSET.search(head) if head.lstrip().startswith("<") else None
    name = _codec(declared[1]) if declared else None
    return data.decode(name, "replace") if name else _guess(data)


def _codec(label: str) -> str | None:
    """Return Python's name for an encoding of the web, or None."""
    try:
        name = codecs.lookup(label).name
    except LookupError:
        return None
    name = _WIDER.get(name, name)
    return name if _CODEC.fullmatch(name) else None


def _guess(data: bytes) -> str:
    """Decode as UTF-8, or as Western European when that gives more broken characters than whole ones."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = len(re.findall(r"[^\x00-\x7f\ufffd]", text)) if broken else 0
    return text if whole >= broken else data.decode("cp1252", "replace")


# Text out of HTML inside a text

_INLINE = (
    "a abbr b big bdi bdo center cite code del em font i iframe img ins kbd mark q s samp script small span strike"
    " strong style sub sup tbody thead tfoot time tt u var wbr"
)
_TAG = re.compile(rf"<!--[^<>]*-->|<(/?)({'|'.join([*MARKS, *_INLINE.split()])})(?=[\s/>])[^<>]*>", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"&#\d{9,};?")  # int() refuses more than 4,300 digits, and html.unescape lets that through


def plain_text(text: str) -> str:
    """Return a text that may hold HTML as the words a reader sees.

    Only tags that HTML knows count: "x <y and y> z" and "I <3 it" are text. Where no tag breaks lines, the line breaks
    of the text are meant; where one does, they are the source code's.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    tags = list(_TAG.finditer(text)) if "<" in text else []
    if not tags:
        return _unescape(text).strip()
    verbatim = not any((tag[2] or "").lower() in MARKS for tag in tags)
    last = {tag[2].lower(): tag.start() for tag in tags if tag[1]}
    chunks, at, until = [], 0, ""
    for tag in tags:
        name = (tag[2] or "").lower()
        if not until:
            chunks += [chunk(_unescape(text[at : tag.start()]), verbatim=verbatim), MARKS.get(name, "")]
        at = tag.end()
        if until == name and tag[1]:
            until = ""
        elif not until and name in ("script", "style") and last.get(name, -1) >= at:
            until = name
    return join([*chunks, chunk(_unescape(text[at:]), verbatim=verbatim)])


def _unescape(text: str) -> str:
    return clean(html.unescape(_LONG_NUMBER.sub("\ufffd", text))) if "&" in text else clean(text)
