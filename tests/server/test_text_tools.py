"""Sentences, UTF-16 offsets, languages, keys and rates: the small parts that need no server to be seen working."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import InputError
from moderation.server.faults import Fault
from moderation.server.keys import Keys, Rates, read_keys, read_secrets
from moderation.server.language import detect
from moderation.server.limits import Gate
from moderation.server.sentences import MOST, Utf16, sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("No stop at all", ["No stop at all"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Mr. Holt paid 3.50 dollars. Dr. Who did not.", ["Mr. Holt paid 3.50 dollars.", "Dr. Who did not."]),
        ("J. R. Hartley wrote, e.g. on fishing.", ["J. R. Hartley wrote, e.g. on fishing."]),
        ("Really?! Yes... no.", ["Really?!", "Yes...", "no."]),
        ("first line\n\n  second line  ", ["first line", "second line"]),
        ("news.example/a.html is down.", ["news.example/a.html is down."]),
        ("これは本です。あれも。", ["これは本です。", "あれも。"]),
        ("  padded.  ", ["padded."]),
        (" ", [" "]),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert [text[begin:end] for begin, end in sentences(text)] == parts


@given(st.text(st.sampled_from(list("ab.!?\n \"'。é🔪")), min_size=1, max_size=80))
def test_sentences_cover_all_but_white_space(text: str) -> None:
    found = sentences(text)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges)
    if text.strip():
        assert "".join(text[begin:end] for begin, end in found).split() or not text.split()
        assert "".join("".join(text[begin:end] for begin, end in found).split()) == "".join(text.split())


@pytest.mark.parametrize("piece", ["!", ".", " ", "\n", "a. ", '?" ', "\u0300", "。"])
def test_sentences_take_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        begin = time.process_time()
        sentences(piece * size)
        return time.process_time() - begin

    small = min(seconds(10_000) for _ in range(3))
    assert seconds(80_000) < 40 * max(small, 1e-3)  # eight times the text; quadratic would be sixty-four times


def test_there_is_a_most_of_sentences() -> None:
    text = "Yes, so it is. " * 1_000
    assert len(sentences(text)) <= MOST
    assert sentences(text)[-1][1] == len(text.rstrip())


@given(st.text(max_size=60))
def test_utf16_offsets_are_those_of_the_encoding(text: str) -> None:
    at = Utf16(text)
    for place in range(len(text) + 1):
        assert at(place) == len(text[:place].encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The council is not what it was, and they know it.", "en"),
        ("Das ist nicht gut, und ich werde es auch nicht mehr sagen.", "de"),
        ("Du bist ein verdammter Idiot und ich hoffe, dass du bald stirbst, du dreckiges Schwein.", "de"),
        ("Ce n'est pas dans la ville que les gens sont pour une telle loi.", "fr"),
        ("Esto no está bien, pero la gente lo quiere para todo el año.", "es"),
        ("Isso não está certo, mas você também já sabe como eles são.", "pt"),
        ("Questo non è giusto, ma il sindaco lo sa anche più di noi.", "it"),
        ("Dat is niet goed en ik wil het ook niet meer van de raad horen.", "nl"),
        ("To nie jest dobre, ale oni się już z tego śmieją.", "pl"),
        ("Это совсем не то, что нам обещали на выборах.", "ru"),
        ("هذا ليس صحيحا ولا يمكن أن يستمر الأمر هكذا", "ar"),
        ("यह बिलकुल भी सही नहीं है और सब जानते हैं", "hi"),
        ("これはとても良いニュースだと思います。みなさんはどうですか", "ja"),
        ("这个决定对所有人来说都是不公平的我们不能接受这样的事情", "zh"),
        ("이것은 정말 좋은 소식이라고 생각합니다 여러분은 어떻습니까", "ko"),
    ],
)
def test_clear_languages_are_told(text: str, code: str) -> None:
    assert detect(text) == (code, True)


@pytest.mark.parametrize("text", ["", "ok", "🔥🔥", "привет", "42", "xq zv", "die die die", "lol"])
def test_in_doubt_it_is_english_and_unsure(text: str) -> None:
    code, sure = detect(text)
    assert code == "en" or (text == "die die die" and sure)
    assert not sure or text == "die die die"


@given(st.text(max_size=200))
def test_no_text_breaks_the_guess(text: str) -> None:
    assert isinstance(detect(text)[0], str)


def scope(key: str) -> dict[str, object]:
    return {"query_string": f"key={key}".encode(), "headers": []}


def test_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# a remark\n\nalpha\nbeta gazette\ngamma herald 600/m\ndelta 50/s\n")
    keys = read_keys(path)
    assert [key.name for key in keys] == ["line-3", "gazette", "herald", "line-6"]
    assert [key.interval for key in keys] == [None, None, 0.1, 0.02]
    found = Keys(keys)
    assert found.admit(scope("beta")) == "gazette"
    with pytest.raises(Fault) as caught:
        found.admit(scope("betaa"))
    assert caught.value.status == 401
    assert "alpha" not in repr(keys)


@pytest.mark.parametrize("line", ["a b c d", "a b 5", "a 0/s", "a b 5/h", "aü", "a\u200b", "\x7fa", "fine a"])
def test_a_wrong_line_is_named_and_not_quoted(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"fine\n{line.replace('a', 'secret', 1)}\n")
    with pytest.raises(InputError, match="line 2") as caught:
        read_keys(path)
    assert "secret" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("alpha gazette\n", encoding="utf-8-sig")
    assert Keys(read_keys(path)).admit(scope("alpha")) == "gazette"


def test_strangers_share_a_small_part_of_what_is_held() -> None:
    gate = Gate(10, 8_000)
    with gate.visit() as known, gate.visit(stranger=True) as first, gate.visit(stranger=True) as second:
        first.hold(600)
        with pytest.raises(Fault, match="as many bodies as it may"):
            second.hold(600)
        first.trust()
        second.hold(600)
        known.hold(6_800)
        with pytest.raises(Fault, match="as many bodies as it may"):
            known.hold(1)
    assert (gate.held, gate.strange) == (0, 0)


def test_empty_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# nothing\n")
    with pytest.raises(InputError, match="at least one key"):
        read_keys(tmp_path / "keys")
    with pytest.raises(InputError, match="at least one secret"):
        read_secrets(tmp_path / "keys")
    with pytest.raises(InputError, match="cannot be read"):
        read_keys(tmp_path / "missing")


def test_workers_share_a_rate(tmp_path: Path) -> None:
    workers = [Rates(2, tmp_path) for _ in range(3)]
    taken = [worker.take(0, 0.25) for _ in range(3) for worker in workers]
    assert taken.count(0) == 4  # a second's worth at once, over all of them
    assert all(wait >= 1 for wait in taken[4:])
    assert workers[0].take(1, 0.25) == 0
