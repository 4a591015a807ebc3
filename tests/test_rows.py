"""Reading rows: every form, every way in which a row can be bad, and nothing lost around it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import InputError
from moderation.formats.rows import LONGEST_LINE, Fields, Format, Row, guess_format, open_plain, read_rows


def read(data: bytes, form: Format, fields: Fields | None = None) -> list[Row]:
    return list(read_rows(open_plain(io.BytesIO(data)), form, fields or Fields(), name="in"))


def texts(rows: list[Row]) -> list[str | None]:
    return [row.comment.text if row.comment else None for row in rows]


def test_json_lines_keep_their_fields() -> None:
    rows = read(b'{"id": 7, "text": "a", "author": "B", "likes": [1, {"x": null}]}\n\n{"comment_text": "c"}\n', "jsonl")
    assert texts(rows) == ["a", "c"]
    assert rows[0].data["likes"] == [1, {"x": None}]
    assert rows[0].comment is not None
    assert (rows[0].comment.id, rows[0].comment.author) == ("7", "B")
    assert rows[1].comment is not None
    assert (rows[1].line, rows[1].comment.id) == (3, "3")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"[1]", "expected a JSON object, got list"),
        (b'"x"', "expected a JSON object, got str"),
        (b'{"id": "1"}', "no field text or comment or comment_text"),
        (b'{"text": null}', "text: expected a string, got null"),
        (b'{"text": 5}', "text: expected a string, got int"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10"),
        (b'{"text": "a", "n": NaN}', "NaN is not allowed"),
        (b'{"text": "a", "n": 1e999}', "beyond the range of floating point"),
        (b"[" * 100_000, "JSON nested too deeply"),
        (b'{"text": "' + b"a" * (LONGEST_LINE + 5) + b'"}', "line longer than"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_a_bad_line_is_named_and_the_rest_goes_on(line: bytes, message: str) -> None:
    rows = read(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n', "jsonl")
    assert texts(rows) == ["before", None, "after"]
    assert rows[1].line == 2
    assert message in str(rows[1].error)


def test_an_error_does_not_repeat_the_text() -> None:
    (row,) = read(b'{"text": ["my secret"]}', "jsonl")
    assert "secret" not in str(row.error)


@pytest.mark.parametrize(("form", "sep"), [("csv", ","), ("tsv", "\t")])
def test_tables(form: Format, sep: str) -> None:
    data = f'id{sep}comment{sep}n\n1{sep}"two\nlines"{sep}3\n2{sep}x\n3{sep}last{sep}4\n'.encode()
    rows = read(data, form)
    assert texts(rows) == ["two\nlines", None, "last"]
    assert rows[0].data == {"id": "1", "comment": "two\nlines", "n": "3"}
    assert (rows[1].line, rows[1].error) == (4, "expected 3 columns, got 2")


def test_a_table_with_named_columns() -> None:
    rows = read(b"key,words\nk1,hello\n", "csv", Fields("words", "key"))
    assert rows[0].comment is not None
    assert (rows[0].comment.id, rows[0].comment.text) == ("k1", "hello")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (Fields(), r"in: no column text or comment .* among key, words\. Name it: --text-field"),
        (Fields("wrods"), "in: no column wrods among key, words"),
        (Fields("words", "nr"), r"in: no column nr among key, words\. Name it: --id-field"),
    ],
)
def test_a_table_without_the_column(fields: Fields, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(b"key,words\nk1,hello\n", "csv", fields)


def test_a_table_with_bad_bytes() -> None:
    rows = read(b"text,n\nok,1\n\xff,2\nend,4\n", "csv")
    hint = "if it is Windows-1252, iconv -f WINDOWS-1252 -t UTF-8 makes it so"
    assert (rows[1].error, rows[1].data) == (f"not UTF-8; {hint}", {})
    assert texts(rows) == ["ok", None, "end"]


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("length", [999, 1000, 1001, 1002, 2000, 2001, 5000])
def test_a_line_that_is_too_long_is_one_row_in_error(
    form: Format, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a table of one column each part of such a line would be a row of the right width."""
    monkeypatch.setattr("moderation.formats.rows.LONGEST_LINE", 1000)
    error = "line longer than 1000 bytes" if length > 1000 else None
    rows = read(b"text\nfine\n" + b"a" * length + b"\nfine\n", form)
    assert [(row.line, row.error) for row in rows] == [(2, None), (3, error), (4, None)]
    assert read(b"text\nfine\n" + b"a" * length, form)[-1].error == error  # as the last line, without an end


def test_a_line_that_is_too_long_inside_quotation_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.formats.rows.LONGEST_LINE", 1000)
    rows = read(b'id,text\n1,"begins\n' + b"a" * 3000 + b'\nends"\n2,fine\n', "csv")
    assert [(row.line, row.error) for row in rows] == [
        (2, "not CSV: a quotation mark is not closed before there is too much text"),
        (3, "line longer than 1000 bytes"),
        (4, "expected 2 columns, got 1"),
        (5, None),
    ]


def test_a_record_of_many_quoted_lines_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.formats.rows.LONGEST_LINE", 1000)
    rows = read(b'text\n"' + b'x","\n' * 1000 + b'"\nlast\n', "csv")
    assert "too much text" in str(rows[0].error)
    assert texts(rows)[-1] == "last"


def test_a_long_line_does_not_fill_memory() -> None:
    class Long(io.RawIOBase):
        """A table with one line of half a gigabyte."""

        parts = iter([b"id,text\n1,", *[b"a,b" * 350_000] * 512, b"\n2,fine\n"])
        rest = b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.rest = self.rest or next(self.parts, b"")
            count = min(len(buffer), len(self.rest))
            buffer[:count], self.rest = self.rest[:count], self.rest[count:]
            return count

    tracemalloc.start()
    rows = list(read_rows(io.BufferedReader(Long(), 1 << 17), "csv", Fields()))
    assert tracemalloc.get_traced_memory()[1] < 6 * LONGEST_LINE
    tracemalloc.stop()
    assert [(row.line, row.error) for row in rows] == [(2, f"line longer than {LONGEST_LINE} bytes"), (3, None)]


def test_a_quotation_mark_that_is_never_closed_costs_one_row() -> None:
    lines = [f"{number},comment {number}" for number in range(1, 1001)]
    lines[9] = '10,comment "with" a quote'  # not at the start of a field: no quotation
    lines[19] = '20,"opened'
    rows = read("\n".join(["id,text", *lines]).encode(), "csv")
    assert [row.line for row in rows] == list(range(2, 1002))
    assert texts(rows)[18:21] == ["comment 19", None, "comment 21"]
    assert rows[19].error == "not CSV: a quotation mark is not closed"
    assert texts(rows)[999] == "comment 1000"


@pytest.mark.parametrize(("form", "between"), [("csv", ","), ("tsv", "\t")])
def test_a_quotation_mark_that_is_never_closed_does_not_reach_to_the_next_one(form: Format, between: str) -> None:
    lines = ["id,text", "1,fine", '2,"never closed', "3,between", '4,"quoted, with more"', "5,last"]
    rows = read("\n".join(lines).replace(",", between).encode(), form)
    assert [row.line for row in rows] == [2, 3, 4, 5, 6]
    assert [row.line for row in rows if row.error is None] == [2, 4, 5, 6]
    assert str(rows[1].error).endswith("a quotation mark is not closed, or others in the same value are not doubled")


def test_quotation_marks_that_are_not_doubled_are_read_within_a_line() -> None:
    rows = read(b'id,text\n1,"she said "go" to me"\n2,"two\nlines"\n3,"a" b\n', "csv")
    assert texts(rows) == ['she said go" to me"', "two\nlines", "a b"]


def test_a_quotation_mark_before_more_text_than_a_field_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.formats.rows.LONGEST_LINE", 1000)
    lines = [f"{number},comment {number}" for number in range(1, 1001)]
    lines[19] = '20,"opened'
    rows = read("\n".join(["id,text", *lines, '1001,"two', 'lines"']).encode(), "csv")
    assert [row.error is None for row in rows] == [number != 20 for number in range(1, 1002)]
    assert (rows[1000].line, texts(rows)[1000]) == (1002, "two\nlines")


@given(st.text(st.sampled_from('a,"\r\n'), max_size=60))
def test_a_table_without_an_open_quotation_mark_is_what_the_standard_library_reads(tail: str) -> None:
    rows = read(("id,text\n" + tail + "\n").encode(), "csv")
    if not any("closed" in str(row.error) or "not CSV" in str(row.error) for row in rows):
        lines = io.BytesIO((tail + "\n").encode())
        assert [len(row.data) for row in rows] == [
            min(len(values), 2) for values in csv.reader(line.decode() for line in lines) if values
        ]


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("id,text,text", "text"),
        ("id,id,text", "id"),
        ("text,My note,id,My note", "My note"),
        ('text,"a\nb","a\nb"', "a b"),
    ],
)
def test_two_columns_of_one_name_are_refused(form: Format, header: str, column: str) -> None:
    table = f"{header}\n1,first,second\n".replace(",", "," if form == "csv" else "\t").encode()
    with pytest.raises(InputError, match=f"^in: two columns are named '{column}'; rename one of them$"):
        read(table, form)


def test_columns_without_a_name_get_their_place() -> None:
    """Spreadsheets write such columns at the end of a table."""
    (row,) = read(b"id,text,,\n1,hello,,x\n", "csv")
    assert row.data == {"id": "1", "text": "hello", "column 3": "", "column 4": "x"}
    (row,) = read(b",text\n1,hello\n", "csv")  # one alone needs none
    assert row.data == {"": "1", "text": "hello"}
    with pytest.raises(InputError, match="two columns are named 'column 3'"):
        read(b"text,column 3,,\n1,2,3,4\n", "csv")


@pytest.mark.parametrize(
    "table",
    [
        b"id;text\n1;hello, you\n",
        b'"id";"text"\r\n1;"hello, you"\r\n',
        b'\xef\xbb\xbf\n\n"id, of old";text;id\n;hello, you;1\n',
    ],
)
def test_semicolons_between_columns(table: bytes) -> None:
    (row,) = read(table, "csv")
    assert row.comment is not None
    assert (row.comment.id, row.comment.text) == ("1", "hello, you")


def test_a_header_with_commas_has_semicolons_in_its_names() -> None:
    assert read(b"text,a;b\nhello; you,c;d\n", "csv")[0].data == {"text": "hello; you", "a;b": "c;d"}
    assert texts(read(b'text,"a;b"\nhello; you,c\n', "csv")) == ["hello; you"]
    assert texts(read(b"text\nhello; you\n", "csv")) == ["hello; you"]
    assert read(b"text\ta;b\nhello\tc\n", "tsv")[0].data == {"text": "hello", "a;b": "c"}


def test_tabs_between_columns_of_a_csv_file_are_told() -> None:
    with pytest.raises(InputError, match=r"among 1; are there tabs between its columns\? Then name the format: tsv$"):
        read(b"id\ttext\n1\thello\n", "csv")


def test_a_missing_column_between_semicolons_is_told_by_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no column text or comment .* among key, words\. Name it: --text-field"):
        read(b"key;words\n1;hello\n", "csv")
    with pytest.raises(InputError, match=r"among 2; is the first line a header\?") as caught:
        read(b'"Alice";"You pathetic liar"\n', "csv")
    assert "pathetic" not in str(caught.value)


def test_a_csv_file_without_a_header_does_not_tell_its_first_comment() -> None:
    with pytest.raises(InputError, match=r"among 2; is the first line a header\?") as caught:
        read(b'Alice,"You pathetic liar"\n', "csv")
    assert "pathetic" not in str(caught.value)


def test_a_header_that_is_too_long() -> None:
    with pytest.raises(InputError, match="in, line 1: the header is not readable: line longer than 16777216 bytes"):
        read(b"a" * (LONGEST_LINE + 5) + b"\n1\n", "csv")


def test_a_byte_order_mark_before_a_quoted_header() -> None:
    assert texts(read(b'\xef\xbb\xbf"text"\nhello\n', "csv")) == ["hello"]


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\n\n\n", b"\xef\xbb\xbf\n"])
def test_blank_lines_before_a_header(blank: bytes) -> None:
    rows = read(blank + b"id,text\n1,hello\n\n2\n", "csv")
    assert texts(rows) == ["hello", None]
    above = blank.count(b"\n")
    assert [row.line for row in rows] == [above + 2, above + 4]


def test_an_unreadable_header_is_named_by_its_line() -> None:
    with pytest.raises(InputError, match="in, line 3: the header is not readable: new-line character"):
        read(b"\n\nid\rtext\n1,hello\n", "csv")


@pytest.mark.parametrize(("blank", "line"), [(b"", 1), (b"\n\n", 3)])
@pytest.mark.parametrize("header", [b"id,text,Gr\xf6sse", b"id,Gr\xf6sse"])
def test_a_header_that_is_not_utf_8_is_refused(header: bytes, blank: bytes, line: int) -> None:
    with pytest.raises(InputError, match=f"in, line {line}: the header is not readable: expected UTF-8; .*iconv"):
        read(blank + header + b"\n1,hello,3\n", "csv")


def test_a_header_may_hold_any_letters() -> None:
    (row,) = read("id,text,Größe\n1,hello,3\n".encode(), "csv")
    assert row.data == {"id": "1", "text": "hello", "Größe": "3"}


def test_blank_lines_alone_give_nothing() -> None:
    assert read(b"\n\r\n\n", "csv") == []


def test_a_named_id_field_must_be_there() -> None:
    (row,) = read(b'{"text": "a", "id": 1}', "jsonl", Fields(id="nr"))
    assert row.error == "no field nr"


def test_plain_lines() -> None:
    rows = read("\ufefffirst\r\n\n  \nsecond\n".encode() + b"\xff\nlast", "lines")
    assert texts(rows) == ["first", "second", None, "last"]
    assert [row.line for row in rows] == [1, 4, 5, 6]


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "lines"])
@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["text\nhi\n", '{"text": "Привет, “Größe”, 你好"}\n', "hi"])
def test_text_in_units_of_two_bytes_is_refused(form: Format, codec: str, text: str) -> None:
    with pytest.raises(
        InputError, match="^in: not UTF-8 but UTF-16 or the like; iconv -f UTF-16 -t UTF-8 makes it so$"
    ):
        read(text.encode(codec), form)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_with_a_mark_is_refused_in_any_script(codec: str) -> None:
    with pytest.raises(InputError, match="UTF-16"):
        read("\ufeffПривет".encode(codec), "lines")


def test_a_nul_is_a_character_like_others() -> None:
    assert texts(read(b"a\0b\0c\nhello\n", "lines")) == ["a\0b\0c", "hello"]
    assert texts(read(b"hello\n" + b"\0" * 9, "lines")) == ["hello", "\0" * 9]


@pytest.mark.parametrize("form", ["jsonl", "csv", "lines"])
def test_nothing_gives_nothing(form: Format) -> None:
    assert read(b"", form) == []


def test_gzip_is_seen_by_its_content() -> None:
    assert texts(read(gzip.compress(b"one\ntwo\n"), "lines")) == ["one", "two"]


def test_a_damaged_gzip_stream_is_an_error_of_the_input() -> None:
    packed = gzip.compress(b"".join(b'{"text": "%d"}\n' % n for n in range(50_000)))
    with pytest.raises(InputError, match="in: damaged gzip stream"):
        read(packed[:-20], "jsonl")
    with pytest.raises(InputError, match="in: damaged gzip stream"):
        read(packed[:5_000] + b"\xff" * 40 + packed[5_040:], "jsonl")


@pytest.mark.parametrize(
    ("name", "head", "form"),
    [
        ("a.jsonl", b"", "jsonl"),
        ("a.ndjson.gz", b"", "jsonl"),
        ("a.csv", b"", "csv"),
        ("a.TSV.gz", b"", "tsv"),
        ("a.html", b"", "page"),
        ("standard input", b'  {"text": "a"}', "jsonl"),
        ("standard input", b"just words", "lines"),
        ("a.txt", b"just\nwords\n", "lines"),
        ("a.txt", b"<!doctype html><html>", "page"),
        ("a.txt", b"{sigh} you liar\n", "lines"),
        ("a.txt.gz", b'{"quoted"} words\n', "lines"),
        ("a.TXT", b'[{"a"}] words\n', "lines"),
        ("standard input", b"{sigh} you liar\n", "lines"),
        ("standard input", b'\xef\xbb\xbf{\r\n\t"id": 1}', "jsonl"),
        ("comments.json", b"{ }", "jsonl"),
        ("comments", b"[deleted]\nwords\n", "lines"),
    ],
)
def test_guesses_the_form(name: str, head: bytes, form: Format) -> None:
    assert guess_format(name, head) == form


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("comments.json", b'[\n  {"id": "1"}]'),
        ("comments", b'[ {"id": "1"}]'),
        ("comments.json", b'["You liar","nice"]'),
        ("comments.JSON.gz", b"\xef\xbb\xbf\n[]\n"),
        ("comments.json", b'[\n[1, "a"]]'),
    ],
)
def test_a_json_array_is_no_line_of_text(name: str, head: bytes) -> None:
    with pytest.raises(InputError, match="a JSON array; expected JSON lines"):
        guess_format(name, head)


@pytest.mark.parametrize(
    "head", [b"id,text\n1,a\n", b'"id"; "text"\r\n', b"\xef\xbb\xbfCommentText\tauthor\n", b"a,b c,BODY,d\n"]
)
def test_a_table_without_a_name_is_not_taken_for_lines(head: bytes) -> None:
    with pytest.raises(
        InputError, match="standard input: looks like a table; name its form: --format csv, tsv or lines"
    ):
        guess_format("standard input", head)


@pytest.mark.parametrize(
    "head", [b"text\nid\n", b"Well, that is a text\n", b"comment; I'd say\n", b"id,title\n", b"id,text"]
)
def test_a_line_of_words_is_not_taken_for_a_table(head: bytes) -> None:
    assert guess_format("standard input", head) == "lines"


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers() | st.none(), max_size=3)))
def test_any_objects_come_back(objects: list[dict[str, object]]) -> None:
    data = "".join(json.dumps(item | {"text": "t"}) + "\n" for item in objects).encode()
    assert [row.data for row in read(data, "jsonl")] == [item | {"text": "t"} for item in objects]


@given(st.binary(max_size=200), st.sampled_from(["jsonl", "csv", "tsv", "lines"]))
def test_any_bytes_give_rows_or_a_clear_error(data: bytes, form: Format) -> None:
    try:
        rows = read(data, form)
    except InputError:
        return
    assert all((row.comment is None) != (row.error is None) for row in rows)


def test_the_sample_thread_reads(request: pytest.FixtureRequest) -> None:
    path = Path(request.config.rootpath) / "datasets" / "samples" / "thread.jsonl"
    rows = read(path.read_bytes(), "jsonl")
    assert len(rows) >= 10
    known = {row.comment.id for row in rows if row.comment}
    assert all(row.comment.parent_id in known | {None} for row in rows if row.comment)
